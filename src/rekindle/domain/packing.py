"""Which ready jobs to take into the room that is free."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rekindle.domain.definition import Resources
from rekindle.domain.models import ReadyClass, ReadyJob

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
        return not any(have < want for _, want, have in _needs(asked, self))

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


def never_fits(total: Room, asked: Resources) -> str | None:
    """Why an attempt that asks this can never start in `total`, each thing with what there is; None: it can."""
    lacking = [_lack(name, want, have) for name, want, have in _needs(asked, total) if have < want]
    return "; ".join(lacking) or None


def _needs(asked: Resources, room: Room) -> Iterator[tuple[str, float, float]]:
    """(what, how much is asked, how much there is) of everything that is asked."""
    if asked.cpus:
        yield "cpu", round(asked.cpus, _GRAIN), round(room.cpus, _GRAIN)
    if asked.memory:
        yield "memory", asked.memory, room.memory
    if asked.gpus:
        yield "gpu", asked.gpus, room.gpus
    for name, count in asked.licences:
        if count:
            yield f"licence of {name}", count, room.licences.get(name, 0)
    if asked.time is not None and room.seconds is not None:
        yield "time", asked.time, room.seconds


def _lack(name: str, want: float, have: float) -> str:
    if name == "memory":
        return f"it asks {_size(want)} of memory, and there is {_size(have)}"
    if name == "time":
        return f"it asks {_duration(want)} of time, and {_duration(have)} is left"
    thing, of, which = name.partition(" ")
    asked = name if want == 1 else f"{thing}s{of}{which}"
    return f"it asks {want:g} {asked}, and there {'is' if have == 1 else 'are'} {have:g}"


def _size(count: float) -> str:
    """Bytes in the largest unit that they fill."""
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{_short(count / size)} {unit}"
    return f"{count:g} bytes"


def _duration(seconds: float) -> str:
    """Whole seconds, asked ones and those that are left alike rounded down: 1h30m, 90s as 1m30s."""
    left = max(0, math.floor(seconds))
    parts = [(left // 86400, "d"), (left // 3600 % 24, "h"), (left // 60 % 60, "m"), (left % 60, "s")]
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
