"""Choose which ready jobs fit into a runner's free capacity."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rekindle.domain.texts.quantities import format_duration, format_size

if TYPE_CHECKING:
    from rekindle.domain.definition import Resources
    from rekindle.domain.models import ReadyJob, RunnerCapacity

_CPU_DECIMALS = 6
"""Decimals of a cpu, so that fractions add up again."""


class Capacity(msgspec.Struct, frozen=True):
    """The total or free resources of a runner."""

    cpus: float
    memory: int  # bytes
    gpus: int = 0
    licences: Mapping[str, int] = msgspec.field(default_factory=dict)  # a missing name means none
    seconds: float | None = None  # of wall time until the allocation ends; None: no end

    def fits(self, asked: Resources) -> bool:
        """Return whether an attempt can start now. Resources that are not asked for always fit, even below zero
        (adopted attempts may take more than there is); a job without a time limit fits any remaining time."""
        # Several times for each claim, so nothing is made here; `find_shortages` names the same resources.
        return not (
            (asked.cpus and round(asked.cpus, _CPU_DECIMALS) > round(self.cpus, _CPU_DECIMALS))
            or (asked.memory and asked.memory > self.memory)
            or (asked.gpus and asked.gpus > self.gpus)
            or (asked.time is not None and self.seconds is not None and asked.time > self.seconds)
            or (asked.licences and find_shortages(self, asked))
        )

    def take(self, asked: Resources) -> Capacity:
        """Return the capacity left beside an attempt with these resources."""
        return self._adjusted(asked, -1)

    def give(self, asked: Resources) -> Capacity:
        """Return the capacity after such an attempt has ended."""
        return self._adjusted(asked, 1)

    def _adjusted(self, asked: Resources, sign: int) -> Capacity:
        licences = self.licences
        if asked.licences:
            licences = dict(licences)
            for name, count in asked.licences:
                licences[name] = licences.get(name, 0) + sign * count
        return replace(
            self,
            cpus=round(self.cpus + sign * asked.cpus, _CPU_DECIMALS),
            memory=self.memory + sign * asked.memory,
            gpus=self.gpus + sign * asked.gpus,
            licences=licences,
        )


def capacity_of(offer: RunnerCapacity) -> Capacity:
    """Return the total capacity of a runner."""
    return Capacity(offer.cpus, offer.memory, offer.gpus, offer.licences)


def pack_jobs(free: Capacity, classes: Iterable[tuple[Resources, Sequence[ReadyJob]]]) -> list[ReadyJob]:
    """Return the jobs to start now, by priority, highest first, then by id. A job that does not fit is skipped, and
    smaller ones behind it may start. `classes` has the resources of each class once, with its jobs in any order.

    Free capacity only shrinks, so the first job that does not fit ends its class. After sorting, the time is linear in
    the jobs taken."""
    queues: list[tuple[Resources, Iterator[ReadyJob]]] = []
    heads: list[tuple[int, int, int, ReadyJob]] = []

    def push(index: int) -> None:
        if (job := next(queues[index][1], None)) is not None:
            heapq.heappush(heads, (-job.priority, job.id, index, job))

    for resources, jobs in classes:
        if free.fits(resources):
            queues.append((resources, iter(sorted(jobs, key=lambda job: (-job.priority, job.id)))))
            push(len(queues) - 1)
    taken: list[ReadyJob] = []
    while heads:
        *_, index, job = heapq.heappop(heads)
        asked = queues[index][0]
        if free.fits(asked):
            free = free.take(asked)
            taken.append(job)
            push(index)
    return taken


class Shortage(msgspec.Struct, frozen=True):
    """A resource that a job asks more of than there is."""

    what: str  # cpus, memory (bytes), gpus, time (seconds), or a licence
    asked: float
    there: float
    licence: bool = False

    def __str__(self) -> str:
        """Format the shortage: `64 cpus of 2`."""
        if self.what == "memory":
            exact = (f"{self.asked:.0f} bytes", f"{self.there:.0f}")
            return "memory {} of {}".format(
                *_distinct(format_size(int(self.asked)), format_size(int(self.there)), *exact)
            )
        if self.what == "time":
            exact = (f"{self.asked:g} s", f"{self.there:g} s")
            return "time {} of {}".format(*_distinct(format_duration(self.asked), format_duration(self.there), *exact))
        many = "" if self.asked == 1 else "s"
        what = f"{self.what} licence{many}" if self.licence else f"{self.what.removesuffix('s')}{many}"
        return f"{self.asked:g} {what} of {self.there:g}"


def find_shortages(capacity: Capacity, asked: Resources) -> tuple[Shortage, ...]:
    """Return every resource that a job asks more of than `capacity` has."""
    return tuple(lack for lack in _compare_resources(asked, capacity) if lack.there < lack.asked)


def explain_never_fits(total: Capacity, asked: Resources, owner: str = "this runner") -> str | None:
    """Return why an attempt can never start in `total`, with each shortage; None: it can. `owner` names the runner."""
    if total.fits(asked):
        return None
    lacks = ", ".join(map(str, find_shortages(total, asked)))
    return f"it asks more than {owner} has: {lacks}"


def _compare_resources(asked: Resources, capacity: Capacity) -> Iterator[Shortage]:
    """Yield every requested resource with its capacity."""
    if asked.cpus:
        yield Shortage("cpus", round(asked.cpus, _CPU_DECIMALS), round(capacity.cpus, _CPU_DECIMALS))
    if asked.memory:
        yield Shortage("memory", asked.memory, capacity.memory)
    if asked.gpus:
        yield Shortage("gpus", asked.gpus, capacity.gpus)
    for name, count in asked.licences:
        if count:
            yield Shortage(name, count, capacity.licences.get(name, 0), licence=True)
    if asked.time is not None and capacity.seconds is not None:
        yield Shortage("time", asked.time, capacity.seconds)


def _distinct(want: str, have: str, exact_want: str, exact_have: str) -> tuple[str, str]:
    """Return two different amounts, exact if they would look equal."""
    return (want, have) if want != have else (exact_want, exact_have)
