"""Choose the jobs of a restart or an update: interrupted jobs, stale jobs, and jobs that were reset by hand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from rekindle.domain.models import Job
from rekindle.domain.rerun.plan import Reason
from rekindle.domain.rerun.request import FROM_FAILED_STEP, RESET_HOLD, How, InternalHow, RequestMode
from rekindle.domain.states import ACTIVE, ENDED_BADLY, Cause, State

OWN_FAILURES = frozenset({Cause.EXIT, Cause.EXCEPTION, Cause.MISSING_OUTPUT, Cause.SUBTASKS})
"""Causes of failures that would repeat: the job itself ran to its end."""


RERUN_INTERRUPTED = How(keep_modified=True)
"""Run again as before: nobody asked for other options."""


RESUME_INTERRUPTED = How(FROM_FAILED_STEP, keep_modified=True)
"""Resume a fan-out that was interrupted: its completed subtasks do not run again."""


RERUN_STALE = How(keep_modified=True, recovery="clear")
"""From the beginning, since a resume point would depend on changed inputs."""


RELEASE = InternalHow(mode=RequestMode.RELEASE)


class Restart(msgspec.Struct, frozen=True):
    """The requests of a restart, the stale reasons of their jobs, and the jobs left alone."""

    requests: Sequence[tuple[Sequence[int], How]]  # requests without jobs are omitted
    why: Mapping[int, tuple[Reason, ...]]
    running: tuple[Job, ...] = ()
    stays: tuple[Job, ...] = ()  # failed by themselves


def ended_by_itself(state: State, cause: Cause | None) -> bool:
    """Return whether an attempt ran to its own end, completed or failed. Attempts that were killed, lost, canceled or
    never started did not."""
    return state is State.COMPLETED or (state is State.FAILED and cause in OWN_FAILURES)


def choose_for_restart(
    jobs: Iterable[Job],
    causes: Mapping[int, Cause | None],
    stale: Mapping[int, tuple[Reason, ...]],
    *,
    only_reset: bool = False,
) -> Restart:
    """Choose the jobs that a restart runs again.

    `jobs`: at least those that failed, were canceled, are running or are held, by id. `causes`: by job, why its live
    attempt did not succeed. `stale`: by job, the changes since its live attempt. With `only_reset`, only jobs reset by
    hand are released. Retired jobs are ignored."""
    cut_off: list[Job] = []
    released: list[Job] = []
    running: list[Job] = []
    stays: list[Job] = []
    for job in jobs:
        if job.retired:
            continue
        if job.state in ACTIVE:
            running.append(job)
        elif job.held == RESET_HOLD and job.attempt is None:
            released.append(job)
        elif job.state in (State.FAILED, State.CANCELED) and job.id not in stale:
            own = ended_by_itself(job.state, causes.get(job.id))
            (stays if own else cut_off).append(job)
    if only_reset:
        return Restart(_without_empty([(_ids(released), RELEASE)]), {}, tuple(running), ())
    requests = [(_ids(cut_off), RERUN_INTERRUPTED), (sorted(stale), RERUN_STALE), (_ids(released), RELEASE)]
    return Restart(_without_empty(requests), stale, tuple(running), tuple(stays))


def choose_for_update(
    jobs: Iterable[Job],
    interrupted: Collection[int],
    stale: Mapping[int, tuple[Reason, ...]],
    *,
    retry_failed: bool = False,
) -> Restart:
    """Choose the jobs that `run` runs again: stale completed jobs, interrupted jobs, and with `retry_failed` failed
    ones.

    `jobs` are all ended jobs, and stale ones that wait to resume an interrupted attempt, by id. `interrupted` are those
    whose attempt was lost, or canceled with its runner. `stale`: by job, the changes since its live attempt, or the
    interrupted one. Other failed jobs stay failed, and jobs canceled by name stay
    canceled, even if stale."""
    again: list[Job] = []
    outdated: list[Job] = []
    stays: list[Job] = []
    for job in jobs:
        if job.retired:
            continue
        ran = job.id in interrupted or (job.state is State.FAILED and retry_failed)
        if job.state in ENDED_BADLY and not ran:
            stays.append(job)
        elif job.id in stale:
            outdated.append(job)
        elif ran:
            again.append(job)
    why = {job.id: stale[job.id] for job in outdated}
    return Restart(
        _without_empty([(_ids(again), RERUN_INTERRUPTED), (_ids(outdated), RERUN_STALE)]), why, stays=tuple(stays)
    )


def resume_fan_outs(begun: Restart, jobs: Collection[int]) -> Restart:
    """Return the same restart in which `jobs`, interrupted within a fan-out, resume it."""
    requests: list[tuple[Sequence[int], How]] = [(sorted(jobs), RESUME_INTERRUPTED)]
    for ids, how in begun.requests:
        requests.append(([job for job in ids if job not in jobs], how))
    return replace(begun, requests=_without_empty(requests))


def _ids(jobs: Sequence[Job]) -> list[int]:
    return sorted(job.id for job in jobs)


def _without_empty(requests: Sequence[tuple[Sequence[int], How]]) -> list[tuple[Sequence[int], How]]:
    return [(jobs, how) for jobs, how in requests if jobs]
