"""What a runner knows of its workers: what each has been given, and how fast such work goes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from rekindle.domain.definition import Resources
from rekindle.executors.port import WorkerInfo
from rekindle.journal.orders import Assignment

STOCK_SECONDS = 0.08
"""Work that a worker should have before it, so that it need not wait for the next turn of the runner."""

MOST_STOCK = 1024

NOTHING = Resources(cpus=0.0)


@dataclass(frozen=True, slots=True)
class Flight:
    """An attempt that a worker has and has not ended."""

    job: int
    name: str
    workflow: int
    template: int
    resource_class: int
    assignment: Assignment
    resources: Resources


@dataclass(slots=True)
class Bench:
    """One worker as its runner sees it. All that it has takes the same resources, one after the other."""

    info: WorkerInfo
    position: int = 0  # bytes of its journal that have been read
    resource_class: int | None = None
    resources: Resources = NOTHING
    flights: dict[int, Flight] = field(default_factory=dict)  # by attempt, in the order given
    heard: float = 0.0  # monotonic: when its journal last grew, or it was given work while idle
    recalled: bool = False
    retired: bool = False  # it is given no more: its journal is damaged

    @property
    def idle(self) -> bool:
        """It has nothing to do."""
        return not self.flights


class Pace:
    """How long attempts take, learnt by template: a moving average, seconds."""

    def __init__(self) -> None:
        self._known: dict[int, float] = {}

    def learn(self, template: int, seconds: float) -> None:
        """One more attempt took so long; at least what starting it costs."""
        seconds = max(seconds, 1e-5)
        known = self._known.get(template)
        self._known[template] = seconds if known is None else known + 0.2 * (seconds - known)

    def of(self, template: int) -> float:
        """The average; of what has never ended nothing is known: infinite."""
        return self._known.get(template, math.inf)

    def depth(self, template: int) -> int:
        """How many of these a worker should have at once: 1 when they are long or unknown."""
        return min(MOST_STOCK, max(1, math.ceil(STOCK_SECONDS / self.of(template))))

    def stock(self, bench: Bench) -> float:
        """Seconds of work that a bench has before it."""
        return sum(self.of(flight.template) for flight in bench.flights.values())
