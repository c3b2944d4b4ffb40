"""Taking times, and telling them. Times are seconds of wall time; a machine's noise is met with medians and turns."""

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
    """A command that is measured did not end as it should: its time would mean nothing."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The times of one thing, in the order they were taken."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)


class Stopwatch:
    """Takes the times of named things, and keeps them in the order in which the names first came."""

    def __init__(self) -> None:
        self._taken: dict[str, list[float]] = {}

    def take(self, name: str, what: Callable[[], Answer]) -> Answer:
        """Do it, note how long it took, and give what it answered."""
        started = time.perf_counter()
        answer = what()
        self._taken.setdefault(name, []).append(time.perf_counter() - started)
        return answer

    def rows(self) -> list[Measured]:
        """One for each name."""
        return [Measured(name, tuple(taken)) for name, taken in self._taken.items()]


def in_turn(rounds: int, *named: tuple[str, Callable[[], object]]) -> list[Measured]:
    """Several things in turn (A B A B …), so that what else the machine does falls on all of them."""
    watch = Stopwatch()
    for _ in range(rounds):
        for name, what in named:
            watch.take(name, what)
    return watch.rows()


def command(words: Sequence[str | Path], folder: Path, *, expect: int = 0, stdin: bytes = b"") -> None:
    """Run a command to its end, unseen."""
    done = subprocess.run([str(word) for word in words], cwd=folder, input=stdin, capture_output=True, check=False)
    if done.returncode != expect:
        said = done.stderr.decode(errors="replace").strip()[-500:]
        raise CommandFailed(f"{' '.join(map(str, words))}: ended with {done.returncode}, not {expect}: {said}")


def show_rates(title: str, count: int, ours: Measured, limit: Measured) -> None:
    """Two ways to do `count` things, beside each other."""
    print(f"\n== {title}")
    print(f"   {'':32}{'median s':>10}{'per second':>12}   rounds")
    for one in (ours, limit):
        rounds = " ".join(f"{taken:.2f}" for taken in one.seconds)
        print(f"   {one.name:32}{one.median:>10.2f}{count / one.median:>12,.0f}   {rounds}")
    print(f"   {limit.median / ours.median:.2f} of the rate of {limit.name}", flush=True)


def show_times(title: str, rows: Sequence[Measured]) -> None:
    """What several things take, in milliseconds."""
    print(f"\n== {title}")
    print(f"   {'':44}{'median ms':>12}   least - most")
    for one in rows:
        span = f"{min(one.seconds) * 1000:,.1f} - {max(one.seconds) * 1000:,.1f}" if len(one.seconds) > 1 else ""
        print(f"   {one.name:44}{one.median * 1000:>12,.1f}   {span}".rstrip(), flush=True)
