"""Measure and print wall times in seconds. Medians and interleaved rounds reduce the noise of the machine."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Answer = TypeVar("Answer")


class CommandFailed(Exception):
    """A measured command ended with another exit code than expected, so its time is meaningless."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The times of one operation, in the order of measurement."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median time."""
        return statistics.median(self.seconds)


class Stopwatch:
    """Measures named operations, and keeps their times in the order of their first measurement."""

    def __init__(self) -> None:
        self._times: dict[str, list[float]] = {}

    def take(self, name: str, operation: Callable[[], Answer]) -> Answer:
        """Run an operation, record its time, and return its result."""
        started = time.perf_counter()
        answer = operation()
        self._times.setdefault(name, []).append(time.perf_counter() - started)
        return answer

    def rows(self) -> list[Measured]:
        """Return the times of each name."""
        return [Measured(name, tuple(taken)) for name, taken in self._times.items()]


def in_turn(rounds: int, *named: tuple[str, Callable[[], object]]) -> list[Measured]:
    """Measure operations in turn (A B A B …), so that other load of the machine affects all of them."""
    watch = Stopwatch()
    for _ in range(rounds):
        for name, operation in named:
            watch.take(name, operation)
    return watch.rows()


def command(words: Sequence[str | Path], folder: Path, *, expect: int = 0, stdin: bytes = b"") -> None:
    """Run a command without output. Raise CommandFailed for another exit code than `expect`."""
    done = subprocess.run([str(word) for word in words], cwd=folder, input=stdin, capture_output=True, check=False)
    if done.returncode != expect:
        error = done.stderr.decode(errors="replace").strip()[-500:]
        raise CommandFailed(f"{' '.join(map(str, words))}: ended with {done.returncode}, not {expect}: {error}")


def show_rates(title: str, count: int, ours: Measured, limit: Measured) -> None:
    """Print the rates of two ways to run `count` jobs."""
    print(f"\n== {title}")
    print(f"   {'':32}{'median s':>10}{'per second':>12}   rounds")
    for one in (ours, limit):
        rounds = " ".join(f"{taken:.2f}" for taken in one.seconds)
        print(f"   {one.name:32}{one.median:>10.2f}{count / one.median:>12,.0f}   {rounds}")
    print(f"   {limit.median / ours.median:.2f} of the rate of {limit.name}", flush=True)


def show_times(title: str, rows: Sequence[Measured]) -> None:
    """Print the times of operations in milliseconds."""
    print(f"\n== {title}")
    print(f"   {'':44}{'median ms':>12}   least - most")
    for one in rows:
        span = f"{min(one.seconds) * 1000:,.1f} - {max(one.seconds) * 1000:,.1f}" if len(one.seconds) > 1 else ""
        print(f"   {one.name:44}{one.median * 1000:>12,.1f}   {span}".rstrip(), flush=True)


def show_times_beside(title: str, limit: Measured, rows: Sequence[Measured]) -> None:
    """Print the times of several ways to do the same, each as a multiple of the first."""
    print(f"\n== {title}")
    print(f"   {'':36}{'median s':>10}{'times':>8}   rounds")
    for one in (limit, *rows):
        rounds = " ".join(f"{taken:.2f}" for taken in one.seconds)
        print(f"   {one.name:36}{one.median:>10.2f}{one.median / limit.median:>8.2f}   {rounds}", flush=True)
