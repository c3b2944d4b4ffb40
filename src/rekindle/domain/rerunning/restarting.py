"""What a restart begins with: what did not come to an end of its own, what is stale, and what was reset by hand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rekindle.domain.causes import Cause
from rekindle.domain.models import Job
from rekindle.domain.rerunning.rerun import FROM_FAILED_STEP, RESET_HOLD, How, Reason
from rekindle.domain.states import ACTIVE, State

BY_ITSELF = frozenset({Cause.EXIT, Cause.EXCEPTION, Cause.MISSING_OUTPUT, Cause.SUBTASKS})
"""Causes of a failure that is an answer: the job ran to an end of its own, and would come to it again."""

CUT_OFF = How(keep_modified=True)
"""Run again as it was to run: nobody asked for anything else."""

GO_ON = How(FROM_FAILED_STEP, keep_modified=True)
"""For what was cut off amid a fan-out: what is complete of that does not run again."""

STALE = How(keep_modified=True, recovery="clear")
"""From the beginning: a resume point rests on what has changed."""

RELEASE = How(release=True)


@dataclass(frozen=True, slots=True)
class Restart:
    """The requests of a restart, what is stale of their jobs, and what a restart leaves as it is."""

    requests: Sequence[tuple[Sequence[int], How]]  # those without jobs are left out
    why: Mapping[int, tuple[Reason, ...]]
    running: tuple[Job, ...] = ()
    stays: tuple[Job, ...] = ()  # failed by themselves


def ended_by_itself(state: State, cause: Cause | None) -> bool:
    """Whether an attempt that ended so has given its answer, good or bad; what was killed, lost, canceled or never
    started has not."""
    return state is State.COMPLETED or (state is State.FAILED and cause in BY_ITSELF)


def begin_restart(
    jobs: Iterable[Job],
    causes: Mapping[int, Cause | None],
    stale: Mapping[int, tuple[Reason, ...]],
    *,
    only_reset: bool = False,
) -> Restart:
    """Sort out the jobs of a workflow. `jobs`: at least those that failed, were canceled, run, or are held, by id;
    `causes`: by job, why its live attempt did not succeed; `stale`: by job, what has changed since its live attempt.

    With `only_reset` nothing but those that were reset by hand are let go. Retired jobs are never meant."""
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
        return Restart(_filled([(_ids(released), RELEASE)]), {}, tuple(running), ())
    requests = [(_ids(cut_off), CUT_OFF), (sorted(stale), STALE), (_ids(released), RELEASE)]
    return Restart(_filled(requests), stale, tuple(running), tuple(stays))


def begin_update(
    jobs: Iterable[Job],
    interrupted: Collection[int],
    stale: Mapping[int, tuple[Reason, ...]],
    *,
    retry_failed: bool = False,
) -> Restart:
    """Choose what `run` runs again of a workflow: completed jobs that are stale, interrupted jobs, and with
    `retry_failed` failed ones. `jobs` are all that have ended, by id; `interrupted` those whose attempt was lost, or
    canceled with its runner; `stale`: by job, what has changed since its live attempt. Other failed jobs stay failed,
    and jobs that were canceled by name stay canceled, whatever has changed."""
    again: list[Job] = []
    outdated: list[Job] = []
    stays: list[Job] = []
    for job in jobs:
        if job.retired:
            continue
        ran = job.id in interrupted or (job.state is State.FAILED and retry_failed)
        if job.state is not State.COMPLETED and not ran:
            stays.append(job)
        elif job.id in stale:
            outdated.append(job)
        elif ran:
            again.append(job)
    why = {job.id: stale[job.id] for job in outdated}
    return Restart(_filled([(_ids(again), CUT_OFF), (_ids(outdated), STALE)]), why, stays=tuple(stays))


def going_on(begun: Restart, jobs: Collection[int]) -> Restart:
    """The same restart, in which those of its jobs that were cut off amid a fan-out, `jobs`, go on there."""
    requests: list[tuple[Sequence[int], How]] = [(sorted(jobs), GO_ON)]
    for ids, how in begun.requests:
        requests.append(([job for job in ids if job not in jobs], how))
    return replace(begun, requests=_filled(requests))


def _ids(jobs: Sequence[Job]) -> list[int]:
    return sorted(job.id for job in jobs)


def _filled(requests: Sequence[tuple[Sequence[int], How]]) -> list[tuple[Sequence[int], How]]:
    return [(jobs, how) for jobs, how in requests if jobs]
