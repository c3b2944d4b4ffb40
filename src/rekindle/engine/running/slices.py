"""Slices: the jobs that one element of a batch takes on, sized by how long they take.

An element costs its engine far more than a short job, so it carries several. How long a job takes is known from
earlier attempts of this run. Jobs of unknown duration are spread evenly over a number of elements: an element starts
nothing after its time and gives back the rest, so that long jobs among them do not wait for each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rekindle.domain.definition import Resources
    from rekindle.domain.models import ReadyJob
    from rekindle.domain.packing import Capacity
    from rekindle.engine.running.dispatch import DurationAverages

MAX_READY = 20_000
"""The most ready jobs of a resource class that are read for slices at once."""


def slice_jobs(
    free: Capacity,
    resources: Mapping[int, Resources],
    ready: Mapping[int, Sequence[ReadyJob]],
    kinds: Mapping[int, int],
    durations: DurationAverages,
) -> list[list[ReadyJob]]:
    """Return slices of the ready jobs, by resource class, each of one class and in the order of the queue; those with
    the highest priority first. A slice takes the resources of one job from `free`. `kinds`: see `TaskTemplates`."""
    slices = [(number, one) for number, jobs in ready.items() for one in _slices(jobs, kinds, durations)]
    slices.sort(key=lambda one: (-one[1][0].priority, one[1][0].id))
    fitting = []
    for number, jobs in slices:
        if free.fits(resources[number]):
            free = free.take(resources[number])
            fitting.append(jobs)
    return fitting


def _slices(jobs: Sequence[ReadyJob], kinds: Mapping[int, int], durations: DurationAverages) -> list[list[ReadyJob]]:
    """Cut the jobs of one class into slices of equal time."""
    supply = durations.supply
    known = [durations.estimate(kinds[job.template]) for job in jobs]
    seconds = [0.0 if one == math.inf else one for one in known]
    number = max(math.ceil(sum(seconds) / supply.seconds), min(len(jobs), supply.spread), -(-len(jobs) // supply.most))
    least = sum(seconds) / number / max(1, len(jobs) // number) or 1.0  # what a job of unknown duration counts
    ends = list(accumulate(max(one, least) for one in seconds))
    found: list[list[ReadyJob]] = [[] for _ in range(number)]
    for job, end in zip(jobs, ends, strict=True):
        found[min(number - 1, math.ceil(number * end / ends[-1]) - 1)].append(job)
    return [one for one in found if one]
