"""Expected cost of a plan, estimated from the durations of earlier attempts."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.graph import topological_order
from rekindle.domain.overrides import decode_overrides
from rekindle.domain.rerun.plan import ExpectedCost, PlannedJob, PlannedJobs

if TYPE_CHECKING:
    from rekindle.domain.definition import Resources
    from rekindle.domain.rerun.views import JobGraph, JobTable


class DurationHistory(msgspec.Struct, frozen=True):
    """Median running times of completed attempts, in seconds.

    `jobs` is by job, from its own attempts; `alike`, for jobs without any, by template. `steps` and `steps_alike` are
    by job: the same for single steps, by name, for jobs that keep some of their steps."""

    jobs: Mapping[int, float] = msgspec.field(default_factory=dict)
    alike: Mapping[int, float] = msgspec.field(default_factory=dict)
    steps: Mapping[int, Mapping[str, float]] = msgspec.field(default_factory=dict)
    steps_alike: Mapping[int, Mapping[str, float]] = msgspec.field(default_factory=dict)
    cores: float = 1.0  # available to the plan


NO_HISTORY = DurationHistory()


def expected_cost(
    planned: PlannedJobs, retired: Container[int], views: JobTable, graph: JobGraph, past: DurationHistory
) -> ExpectedCost:
    """Return the expected cost of the planned jobs, without those that are retired.

    Each job counts as often as it runs; unchanged jobs do not count. Jobs with an attempt to reuse are counted apart.
    The wall time is that of the longest dependency chain, or of all the work divided by the cores, whichever is more.
    """
    taken: dict[int, float] = {}
    perhaps: list[float] = []
    core_seconds: list[float] = []
    attempts = unknown = guessed = reserved = 0
    for change, ids in ((one.change, [job for job in one.ids if job not in retired]) for one in planned.sets):
        reuses, runs = change.next.reuse_candidate is not None, 1 + change.next.repeats
        if not (reuses or _counts(change)):
            continue
        times = _seconds(change, ids, views, past)
        if reuses:
            reserved += len(ids)
            perhaps += [seconds for seconds, _ in times.values()]
            continue
        attempts += runs * len(ids)
        unknown += runs * (len(ids) - len(times))
        for job, (seconds, guess) in times.items():
            taken[job] = seconds * runs
            guessed += guess * runs
            core_seconds.append(taken[job] * _cpus(views.kind(job).resources, change.next.overrides))
    work = math.fsum(core_seconds)
    return ExpectedCost(
        attempts=attempts,
        seconds=_rounded(math.fsum(taken.values())),
        unknown=unknown,
        core_seconds=_rounded(work),
        wall_seconds=_rounded(max(_longest_chain(planned, taken, graph), work / past.cores)),
        guessed=guessed,
        reserved=reserved,
        reserved_seconds=_rounded(math.fsum(perhaps)),
        cores=past.cores,
    )


def _seconds(
    change: PlannedJob, ids: Sequence[int], views: JobTable, past: DurationHistory
) -> dict[int, tuple[float, bool]]:
    """Return (running time of one attempt, whether estimated from other jobs) of the jobs for which it is known."""
    found: dict[int, tuple[float, bool]] = {}
    if change.next.resume_attempt is not None and change.next.resume_step:
        for job in ids:
            names = views.kind(job).steps[change.next.resume_step :]
            known = _seconds_of_steps(names, past.steps.get(job, {}), past.steps_alike.get(job, {}))
            if known is not None:
                found[job] = known
        return found
    if not (past.jobs or past.alike):
        return found
    for job in ids:
        if (own := past.jobs.get(job)) is not None:
            found[job] = own, False
        elif (alike := past.alike.get(views.kind(job).template)) is not None:
            found[job] = alike, True
    return found


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


def _longest_chain(planned: PlannedJobs, taken: Mapping[int, float], graph: JobGraph) -> float:
    """Return the seconds of the longest chain of planned jobs that need each other."""
    if not taken:
        return 0.0
    jobs = [job for one in planned.sets if _counts(one.change) for job in one.ids]
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


def _counts(change: PlannedJob) -> bool:
    """Return whether the jobs of a set run again, whatever comes out of others."""
    return change.next.reuse_candidate is None and (change.releases or not change.stays)


def _rounded(seconds: float) -> float:
    """Round to milliseconds."""
    return round(seconds, 3)
