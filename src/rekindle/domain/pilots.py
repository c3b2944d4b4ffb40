"""How many pilots the ready jobs are worth. A pilot is a batch job of another engine that runs a runner."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.definition import Resources
from rekindle.domain.packing import find_shortages

if TYPE_CHECKING:
    from rekindle.domain.packing import Capacity

START_SECONDS = 60.0
"""The work of one processor for which a pilot is worth its start."""


class ReadyGroup(msgspec.Struct, frozen=True):
    """Ready jobs of one template with the same resources. `seconds`: how long earlier attempts took, or None."""

    name: str  # of one of them
    jobs: int
    resources: Resources
    seconds: float | None


class PilotAdvice(msgspec.Struct, frozen=True):
    """What pilots of one size are good for. `useful`: how many would have work. `unfit`: jobs that fit in none, each
    with the resources that are missing."""

    jobs: int
    useful: int
    unfit: tuple[tuple[str, str], ...] = ()


def advise(groups: Iterable[ReadyGroup], size: Capacity) -> PilotAdvice:
    """Return how many pilots of this size (`size.seconds`: until the grace period) the ready jobs would keep busy.

    A job counts as the share of a pilot that it takes, and less if it is short: pilots that live for seconds only are
    not worth their wait in a queue. A job whose duration is not known counts as long."""
    jobs, shares, unfit = 0, 0.0, []
    for group in groups:
        lacks = ", ".join(map(str, find_shortages(size, group.resources)))
        if not lacks and group.resources.time is None and size.seconds is not None and group.seconds is not None:
            lacks = "time" if group.seconds > size.seconds else ""
        if lacks:
            unfit.append((group.name, lacks))
            continue
        jobs += group.jobs
        busy = 1.0 if group.seconds is None else min(1.0, group.seconds / START_SECONDS)
        shares += group.jobs * _share(group.resources, size) * busy
    return PilotAdvice(jobs, max(1, math.ceil(shares)) if jobs else 0, tuple(unfit))


def _share(asked: Resources, size: Capacity) -> float:
    """Return the part of a pilot that a job takes."""
    amounts = [(asked.cpus, size.cpus), (asked.memory, size.memory), (asked.gpus, size.gpus)]
    shares = [wanted / there for wanted, there in amounts if wanted and there]
    return max(shares, default=1.0 / max(1.0, size.cpus))
