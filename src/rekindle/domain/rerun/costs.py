"""Expected cost of a plan, estimated from the durations of earlier attempts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.graph import topological_order
from rekindle.domain.overrides import decode_overrides
from rekindle.domain.rerun.plan import ExpectedCost, JobGraph, JobView, PlannedJob

if TYPE_CHECKING:
    from rekindle.domain.definition import Resources


class DurationHistory(msgspec.Struct, frozen=True):
    """Median running times of completed attempts, in seconds.

    `jobs` is by job, from its own attempts; `alike`, for jobs without any, from attempts of the same template. `steps`
    and `steps_alike` are the same for single steps, by name, for jobs that keep some of their steps."""

    jobs: Mapping[int, float] = msgspec.field(default_factory=dict)
    alike: Mapping[int, float] = msgspec.field(default_factory=dict)
    steps: Mapping[int, Mapping[str, float]] = msgspec.field(default_factory=dict)
    steps_alike: Mapping[int, Mapping[str, float]] = msgspec.field(default_factory=dict)
    cores: float = 1.0  # available to the plan


NO_HISTORY = DurationHistory()


def expected_cost(
    jobs: Sequence[PlannedJob], views: Mapping[int, JobView], graph: JobGraph, past: DurationHistory
) -> ExpectedCost:
    """Return the expected cost of the planned jobs.

    Each job counts as often as it runs; unchanged jobs do not count. Jobs with an attempt to reuse are counted apart.
    The wall time is that of the longest dependency chain, or of all the work divided by the cores, whichever is more.
    """
    reserved = [job for job in jobs if job.next.reuse_candidate is not None]
    jobs = [job for job in jobs if job.next.reuse_candidate is None and (job.releases or not job.stays)]
    perhaps = [found[0] for job in reserved if (found := _seconds(job, views[job.id], past)) is not None]
    taken: dict[int, float] = {}
    seconds = core_seconds = 0.0
    guessed = 0
    for job in jobs:
        found = _seconds(job, views[job.id], past)
        if found is None:
            continue
        once, guess = found
        taken[job.id] = once * _runs(job)
        guessed += guess * _runs(job)
        seconds += taken[job.id]
        core_seconds += taken[job.id] * _cpus(views[job.id].resources, job.next.overrides)
    wall = max(_longest_chain([job.id for job in jobs], taken, graph), core_seconds / past.cores)
    return ExpectedCost(
        attempts=sum(_runs(job) for job in jobs),
        seconds=_rounded(seconds),
        unknown=sum(_runs(job) for job in jobs if job.id not in taken),
        core_seconds=_rounded(core_seconds),
        wall_seconds=_rounded(wall),
        guessed=guessed,
        reserved=len(reserved),
        reserved_seconds=_rounded(math.fsum(perhaps)),
        cores=past.cores,
    )


def _runs(job: PlannedJob) -> int:
    return 1 + job.next.repeats


def _seconds(job: PlannedJob, view: JobView, past: DurationHistory) -> tuple[float, bool] | None:
    """Return (running time, whether estimated from other jobs), or None if unknown."""
    if job.next.resume_attempt is not None and job.next.resume_step:
        return _seconds_of_steps(
            view.steps[job.next.resume_step :], past.steps.get(job.id, {}), past.steps_alike.get(job.id, {})
        )
    if (own := past.jobs.get(job.id)) is not None:
        return own, False
    alike = past.alike.get(job.id)
    return None if alike is None else (alike, True)


def _seconds_of_steps(
    names: Sequence[str], own: Mapping[str, float], alike: Mapping[str, float]
) -> tuple[float, bool] | None:
    """Return the same for a job that runs only these steps."""
    found = [own.get(name, alike.get(name)) for name in names]
    known = [one for one in found if one is not None]
    if len(known) < len(names):
        return None
    return math.fsum(known), any(name not in own for name in names)


@lru_cache(maxsize=1024)
def _cpus(resources: Resources, overrides: str | None) -> float:
    return decode_overrides(overrides).resources(resources).cpus


def _longest_chain(jobs: Sequence[int], taken: Mapping[int, float], graph: JobGraph) -> float:
    """Return the seconds of the longest chain of jobs that need each other."""
    at = {job: position for position, job in enumerate(jobs)}
    edges = [(at[job], at[child]) for job in jobs for child in graph.children.get(job, ()) if child in at]
    following: dict[int, list[int]] = {}
    for parent, child in edges:
        following.setdefault(parent, []).append(child)
    before = [0.0] * len(jobs)
    longest = 0.0
    for node in topological_order(len(jobs), edges):
        end = before[node] + taken.get(jobs[node], 0.0)
        longest = max(longest, end)
        for child in following.get(node, ()):
            before[child] = max(before[child], end)
    return longest


def _rounded(seconds: float) -> float:
    """Round to milliseconds."""
    return round(seconds, 3)
