"""Measurements and how they are made: operations in turn, medians with spread, targets, and growth.

A row is a function `(count, rounds) -> list[Measurement]` in a module of benchmarks/rows, listed there in ROWS. See
benchmarks/README.md.
"""

from __future__ import annotations

import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

Answer = TypeVar("Answer")

MB = 1_000_000
NOISE = 0.05  # what a fitted exponent may exceed that of n log n by


class CommandFailed(Exception):
    """A measured command ended with another exit code than expected, so its time is meaningless."""


class Unavailable(Exception):
    """What a row measures, or is compared with, is not installed. The text says what and why."""


class Sample(msgspec.Struct, frozen=True):
    """What one execution took.

    Times are seconds. `processor` is that of the process and its children. `memory` is the peak of the largest of
    these processes in bytes; 0 if unknown.
    """

    wall: float
    processor: float
    memory: int = 0
    answer: Any = None


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """A limit of a measurement. `of` is value, ratio, processor (seconds), memory (bytes) or exponent.

    A ratio is the median divided by that of the measurement `beside` of the same row. Without `most` and `least`,
    the ratio is only shown.
    """

    of: str
    most: float | None = None
    least: float | None = None
    beside: str = ""

    def met(self, value: float) -> bool | None:
        """Return whether a value is within the limit; None if there is no limit."""
        if self.most is not None:
            return value <= self.most
        return value >= self.least if self.least is not None else None


def at_most(limit: float, times: str = "") -> Target:
    """Demand a median of at most `limit`, or at most `limit` times the median of another measurement."""
    return Target("ratio" if times else "value", most=limit, beside=times)


def at_least(limit: float, times: str = "") -> Target:
    """Demand a median of at least `limit`, or at least `limit` times the median of another measurement."""
    return Target("ratio" if times else "value", least=limit, beside=times)


def beside(name: str) -> Target:
    """Show the ratio to another measurement without a limit."""
    return Target("ratio", beside=name)


def processor(seconds: float) -> Target:
    """Demand a median of at most so many seconds of processor time."""
    return Target("processor", most=seconds)


def memory(most: float) -> Target:
    """Demand a peak of at most so many bytes in the largest process."""
    return Target("memory", most=most)


class Measurement(msgspec.Struct, frozen=True, omit_defaults=True):
    """One measured quantity, by round. Units: s (seconds), /s (a rate), B (bytes) and, for a number, an empty text.

    A measurement without values has a note that says why."""

    name: str
    unit: str
    values: tuple[float, ...]
    processor: tuple[float, ...] = ()
    memory: tuple[int, ...] = ()
    targets: tuple[Target, ...] = ()
    exponent: float | None = None
    note: str = ""

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(self.values)

    def quantity(self, target: Target, others: Mapping[str, Measurement]) -> float | None:
        """Return what a target limits; None if it was not measured."""
        if target.of == "ratio":
            other = others.get(target.beside)
            return self.value / other.value if other is not None and other.values and other.value else None
        if target.of == "exponent":
            return self.exponent
        found: Sequence[float] = {"processor": self.processor, "memory": self.memory}.get(target.of, self.values)
        return statistics.median(found) if found else None


class Samples:
    """The samples of named operations, in the order in which they were first taken."""

    def __init__(self) -> None:
        self.taken: dict[str, list[Sample]] = {}

    def take(self, name: str, operation: Callable[[], Answer]) -> Answer:
        """Run an operation and keep its sample: the one that it returns, or else one of the call. Return its answer."""
        progress.step(name)
        before, started = used(), time.perf_counter()
        answer = operation()
        sample = Sample(time.perf_counter() - started, used() - before)
        self.taken.setdefault(name, []).append(answer if isinstance(answer, Sample) else sample)
        return answer

    def seconds(self, targets: Mapping[str, Sequence[Target]] | None = None) -> list[Measurement]:
        """Return the times of each operation, with the targets of some."""
        return self._measurements("s", lambda sample: sample.wall, targets)

    def rates(self, count: int, targets: Mapping[str, Sequence[Target]] | None = None) -> list[Measurement]:
        """Return how many a second each operation does, if it does `count`."""
        return self._measurements("/s", lambda sample: count / sample.wall, targets)

    def _measurements(
        self, unit: str, value: Callable[[Sample], float], targets: Mapping[str, Sequence[Target]] | None
    ) -> list[Measurement]:
        targets = targets or {}
        if unknown := targets.keys() - self.taken.keys():
            raise ValueError(f"targets of operations that were not measured: {', '.join(sorted(unknown))}")
        return [
            Measurement(
                name,
                unit,
                tuple(value(one) for one in taken),
                tuple(one.processor for one in taken),
                tuple(one.memory for one in taken if one.memory),
                tuple(targets.get(name, ())),
            )
            for name, taken in self.taken.items()
        ]


def in_turn(rounds: int, *named: tuple[str, Callable[[], object]]) -> Samples:
    """Measure operations in turn (A B A B …), so that other load of the machine affects all of them."""
    samples = Samples()
    for number in range(rounds):
        progress.round = f"round {number + 1} of {rounds}"
        for name, operation in named:
            samples.take(name, operation)
    progress.round = ""
    return samples


def used() -> float:
    """Return the processor seconds of this process and of its children that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of the values do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


@dataclass(frozen=True, slots=True)
class Row:
    """A group of measurements: `measure(count, rounds)` is called for each of `sizes`.

    The measurements of the size `at` (default: the largest) are the row's, made in `rounds` rounds; those of other
    sizes, in `growth_rounds`, are for the exponents. `quick` are the sizes of a short look, in at most two rounds. Rows
    with `peers` are measured only if they are named, or with --peers.
    """

    name: str
    about: str
    measure: Callable[[int, int], Sequence[Measurement]]
    sizes: tuple[int, ...]
    quick: tuple[int, ...]
    rounds: int = 3
    growth_rounds: int = 1
    at: int | None = None
    peers: bool = False


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one run of a row found: a line of the history. `load` is the load average when the run started."""

    row: str
    about: str
    date: str
    commit: str
    machine: str
    load: float
    quick: bool = False
    size: int = 0
    sizes: tuple[int, ...] = ()
    rounds: int = 0
    measurements: tuple[Measurement, ...] = ()
    unavailable: str = ""

    @property
    def by_name(self) -> dict[str, Measurement]:
        """The measurements by name."""
        return {one.name: one for one in self.measurements}


def measure(row: Row, sizes: Sequence[int], at: int, rounds: int) -> tuple[Measurement, ...]:
    """Measure a row at some sizes; return the measurements of the size `at`, with exponents if there are several."""
    found: dict[int, Sequence[Measurement]] = {}
    for size in sizes:
        progress.row = f"{row.name} {size:,}" if len(sizes) > 1 else row.name
        found[size] = row.measure(size, rounds if size == at else row.growth_rounds)
    if len(sizes) == 1:
        return tuple(found[at])
    return tuple(_with_exponent(one, found) for one in found[at])


def _with_exponent(one: Measurement, found: Mapping[int, Sequence[Measurement]]) -> Measurement:
    """Fit the exponent of the times (of rates: of count / rate), and limit it to that of n log n."""
    same = {size: other for size, others in found.items() for other in others if other.name == one.name}
    if len(same) < 2 or one.unit not in ("s", "/s") or not all(other.value for other in same.values()):
        return one
    times = {size: other.value if one.unit == "s" else size / other.value for size, other in same.items()}
    limit = Target("exponent", most=round(n_log_n(min(times), max(times)) + NOISE, 2))
    return msgspec.structs.replace(one, exponent=exponent(times), targets=(*one.targets, limit))


def exponent(values: Mapping[int, float]) -> float:
    """Return k of the fit value = c · size^k, by least squares of the logarithms. At least two sizes are needed."""
    sizes = [math.log(size) for size in values]
    return statistics.linear_regression(sizes, [math.log(value) for value in values.values()]).slope


def n_log_n(least: int, most: int) -> float:
    """Return the exponent that n log n has between two sizes."""
    return exponent({size: size * math.log(size) for size in (least, most)})


class Progress:
    """What is measured now, on stderr: a line that is rewritten on a terminal, else a line each ten seconds."""

    EVERY = 10.0

    def __init__(self) -> None:
        self.row = self.round = ""
        self.shown = time.monotonic()

    def step(self, name: str) -> None:
        """Show that an operation begins."""
        if sys.stderr.isatty() or time.monotonic() - self.shown >= self.EVERY:
            self.show(name)

    def show(self, name: str) -> None:
        """Show that an operation begins which may take long."""
        line = "bench: " + ", ".join(filter(None, (self.row, self.round, name)))
        if sys.stderr.isatty():
            print(f"\r\033[K{line[:100]}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)
        self.shown = time.monotonic()

    def clear(self) -> None:
        """Remove the line, so that results can be printed."""
        self.round = ""
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


progress = Progress()
