"""Quarantine: failures of jobs with a known problem do not fail the batch, until a day.

A quarantine covers failed jobs. It ends with its last day, in UTC; from then on the failures count again. Jobs that
need a failed job wait, in quarantine or not, unless they have `when: finished`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime

import msgspec

from rekindle.domain.definition import Quarantine
from rekindle.domain.states import State


class QuarantinedJobs(msgspec.Struct, frozen=True):
    """The failed jobs of one template that has a quarantine. `ended`: the quarantine is over, and they count."""

    template: str
    quarantine: Quarantine
    ended: bool
    jobs: tuple[int, ...]


def utc_day(now: float) -> date:
    """Return the day of a time in seconds since the epoch."""
    return datetime.fromtimestamp(now, UTC).date()


def is_in_force(one: Quarantine | None, today: date) -> bool:
    """Return whether a quarantine covers the failures of this day."""
    return one is not None and today <= one.until


def covered_jobs(found: Iterable[QuarantinedJobs]) -> frozenset[int]:
    """Return the failed jobs that do not fail the batch."""
    return frozenset(job for one in found if not one.ended for job in one.jobs)


def failed_counts(counts: Mapping[State, int], found: Iterable[QuarantinedJobs]) -> dict[State, int]:
    """Return the counts that decide about the outcome of a batch: without the failed jobs in quarantine and, if no
    other job failed or was canceled, without the jobs that wait for these."""
    covered = len(covered_jobs(found))
    if not covered:
        return dict(counts)
    left = {**counts, State.FAILED: counts.get(State.FAILED, 0) - covered}
    if not (left[State.FAILED] or left.get(State.CANCELED)):
        left.pop(State.WAITING, None)
    return {state: number for state, number in left.items() if number > 0}
