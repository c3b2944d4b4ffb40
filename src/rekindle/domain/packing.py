"""Which ready jobs to take into the room that is free."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from rekindle.domain.definition import Resources
from rekindle.domain.models import Offer, ReadyClass, ReadyJob
from rekindle.domain.texts.quantities import format_duration, format_size

_GRAIN = 6  # decimals of a cpu: thirds are taken and given back without leaving crumbs


@dataclass(frozen=True, slots=True)
class Room:
    """What a runner has, in all or free at the moment."""

    cpus: float
    memory: int  # bytes
    gpus: int = 0
    licences: Mapping[str, int] = field(default_factory=dict)  # a name that is not there: none
    seconds: float | None = None  # of wall time until the allocation ends; None: no end

    def fits(self, asked: Resources) -> bool:
        """Whether an attempt can start here now. What is not asked for fits, even where there is less than none
        (adopted attempts may take more than there is); no time limit fits any time that is left."""
        return not any(lack.there < lack.asked for lack in _needs(asked, self))

    def take(self, asked: Resources) -> Room:
        """What is left beside an attempt that takes `asked`."""
        return self._shift(asked, -1)

    def give(self, asked: Resources) -> Room:
        """What is free when such an attempt has ended."""
        return self._shift(asked, 1)

    def _shift(self, asked: Resources, sign: int) -> Room:
        licences = self.licences
        if asked.licences:
            licences = dict(licences)
            for name, count in asked.licences:
                licences[name] = licences.get(name, 0) + sign * count
        return replace(
            self,
            cpus=round(self.cpus + sign * asked.cpus, _GRAIN),
            memory=self.memory + sign * asked.memory,
            gpus=self.gpus + sign * asked.gpus,
            licences=licences,
        )


def room_of(offer: Offer) -> Room:
    """What a runner has in all."""
    return Room(offer.cpus, offer.memory, offer.gpus, offer.licences)


def pack(free: Room, classes: Iterable[tuple[ReadyClass, Sequence[ReadyJob]]]) -> list[ReadyJob]:
    """The jobs to start now, in order: by priority, highest first, then by id. One that does not fit is passed
    over and smaller ones behind it are taken. `classes` has each class once, with its jobs in any order.

    Room only shrinks on the way, so the first job of a class that does not fit ends its class: the time is in
    proportion to the jobs taken, beside ordering what is given."""
    queues: list[tuple[Resources, Iterator[ReadyJob]]] = []
    heads: list[tuple[int, int, int, ReadyJob]] = []

    def push(index: int) -> None:
        if (job := next(queues[index][1], None)) is not None:
            heapq.heappush(heads, (-job.priority, job.id, index, job))

    for ready, jobs in classes:
        if free.fits(ready.resources):
            queues.append((ready.resources, iter(sorted(jobs, key=lambda job: (-job.priority, job.id)))))
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


class Lack(NamedTuple):
    """One thing of which a job asks more than there is."""

    what: str  # cpus, memory (bytes), gpus, time (seconds), or a licence
    asked: float
    there: float
    licence: bool = False

    def __str__(self) -> str:
        """`64 cpus of 2`."""
        if self.what == "memory":
            exact = (f"{self.asked:.0f} bytes", f"{self.there:.0f}")
            return "memory {} of {}".format(*_apart(format_size(int(self.asked)), format_size(int(self.there)), *exact))
        if self.what == "time":
            exact = (f"{self.asked:g} s", f"{self.there:g} s")
            return "time {} of {}".format(*_apart(format_duration(self.asked), format_duration(self.there), *exact))
        many = "" if self.asked == 1 else "s"
        what = f"{self.what} licence{many}" if self.licence else f"{self.what.removesuffix('s')}{many}"
        return f"{self.asked:g} {what} of {self.there:g}"


def lacking(room: Room, asked: Resources) -> tuple[Lack, ...]:
    """Everything of which a job asks more than `room` has."""
    return tuple(lack for lack in _needs(asked, room) if lack.there < lack.asked)


def never_fits(total: Room, asked: Resources, owner: str = "this runner") -> str | None:
    """Why an attempt that asks this can never start in `total`, each thing with what there is; None: it can. `owner`:
    whose room that is."""
    lacks = ", ".join(map(str, lacking(total, asked)))
    return f"it asks more than {owner} has: {lacks}" if lacks else None


def _needs(asked: Resources, room: Room) -> Iterator[Lack]:
    """Everything that is asked, beside what there is."""
    if asked.cpus:
        yield Lack("cpus", round(asked.cpus, _GRAIN), round(room.cpus, _GRAIN))
    if asked.memory:
        yield Lack("memory", asked.memory, room.memory)
    if asked.gpus:
        yield Lack("gpus", asked.gpus, room.gpus)
    for name, count in asked.licences:
        if count:
            yield Lack(name, count, room.licences.get(name, 0), licence=True)
    if asked.time is not None and room.seconds is not None:
        yield Lack("time", asked.time, room.seconds)


def _apart(want: str, have: str, exact_want: str, exact_have: str) -> tuple[str, str]:
    """Two amounts that differ, told so that they are seen to differ."""
    return (want, have) if want != have else (exact_want, exact_have)
