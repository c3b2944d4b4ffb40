"""What a plan will cost, by what earlier attempts took: a guess, and it says how much of it is one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from rekindle.domain.definition import Resources
from rekindle.domain.graph import topological_order
from rekindle.domain.overrides import modified_of
from rekindle.domain.rerunning.rerun import Expected, Graph, JobView, PlannedJob


@dataclass(frozen=True, slots=True)
class Past:
    """What attempts that completed took: medians, in seconds of running time.

    `jobs` is by job, over its own attempts; `alike`, for jobs that have none, over those of its template. `steps` and
    `steps_alike` are the same for single steps, by name; they are there for jobs that keep some of theirs."""

    jobs: Mapping[int, float] = field(default_factory=dict)
    alike: Mapping[int, float] = field(default_factory=dict)
    steps: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    steps_alike: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    cores: float = 1.0  # that the plan has to run on


NOTHING_KNOWN = Past()


def expected_cost(jobs: Sequence[PlannedJob], views: Mapping[int, JobView], graph: Graph, past: Past) -> Expected:
    """The cost of `jobs`, each of which runs once, or as often as it is repeated, except those that stay as they are.
    Those with an attempt in reserve may not have to, and are counted apart. The wall time is that of the longest chain
    of jobs that need each other, or of all the work shared among the cores, whichever is more."""
    reserved = [job for job in jobs if job.reserve is not None]
    jobs = [job for job in jobs if job.reserve is None and (job.releases or not job.stays)]
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
        core_seconds += taken[job.id] * _cpus(views[job.id].resources, job.manner.overrides)
    wall = max(_longest_chain([job.id for job in jobs], taken, graph), core_seconds / past.cores)
    return Expected(
        attempts=sum(_runs(job) for job in jobs),
        seconds=_told(seconds),
        unknown=sum(_runs(job) for job in jobs if job.id not in taken),
        core_seconds=_told(core_seconds),
        wall_seconds=_told(wall),
        guessed=guessed,
        reserved=len(reserved),
        reserved_seconds=_told(math.fsum(perhaps)),
        cores=past.cores,
    )


def _runs(job: PlannedJob) -> int:
    return 1 + job.manner.repeats


def _seconds(job: PlannedJob, view: JobView, past: Past) -> tuple[float, bool] | None:
    """How long it will run, and whether other jobs say so; None: nobody does."""
    if job.resume_attempt is not None and job.resume_step:
        return _of_steps(view.steps[job.resume_step :], past.steps.get(job.id, {}), past.steps_alike.get(job.id, {}))
    if (own := past.jobs.get(job.id)) is not None:
        return own, False
    alike = past.alike.get(job.id)
    return None if alike is None else (alike, True)


def _of_steps(names: Sequence[str], own: Mapping[str, float], alike: Mapping[str, float]) -> tuple[float, bool] | None:
    """The steps that run, of a job that keeps those before them."""
    found = [own.get(name, alike.get(name)) for name in names]
    known = [one for one in found if one is not None]
    if len(known) < len(names):
        return None
    return math.fsum(known), any(name not in own for name in names)


@lru_cache(maxsize=1024)
def _cpus(resources: Resources, overrides: str | None) -> float:
    return modified_of(overrides).resources(resources).cpus


def _longest_chain(jobs: Sequence[int], taken: Mapping[int, float], graph: Graph) -> float:
    """Seconds of the longest chain of jobs that need each other."""
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


def _told(seconds: float) -> float:
    """To the millisecond: what is finer is noise."""
    return round(seconds, 3)
