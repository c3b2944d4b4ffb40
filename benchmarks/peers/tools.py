"""The peers that scripts/peers has installed: their programs and versions, and how their work begins."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace

from benchmarks.commands import ROOT
from benchmarks.harness import CommandFailed, Measurement, Sample, Samples, Target, Unavailable, beside, progress

INSTALLED = ROOT / ".benchmarks" / "peers"
DEBIAN = {"parallel": "parallel", "make": "make", "ninja": "ninja-build", "xargs": "findutils"}

Begin = Callable[[Path, int, ExitStack], Callable[[], Sample]]
"""Prepare so many jobs in a folder; return what runs the measured command. The stack ends what was started."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A way to do the work. `tool` is its program in Debian, its folder in INSTALLED, or empty for this environment.

    `most` jobs are enough to know the rate of a slow one. A `slow` one is measured in one round of SLOW."""

    name: str
    tool: str
    begin: Begin
    most: int = 10_000_000
    note: str = ""
    slow: bool = False


SLOW = 3
"""Of so many rounds, a slow peer is measured in the first."""


def program(tool: str, name: str = "") -> str:
    """Return the path of a program of a tool; raise Unavailable with the reason."""
    if tool in DEBIAN:
        if (found := shutil.which(tool)) is None:
            raise Unavailable(f"{DEBIAN[tool]} is not installed")
        return found
    failed = INSTALLED / f"{tool}.failed"
    if failed.exists():
        raise Unavailable(failed.read_text().strip() or "it could not be installed")
    path = INSTALLED / tool / "bin" / (name or tool)
    if not path.exists():
        raise Unavailable("it is not installed: make bench PEERS=1")
    return str(path)


@lru_cache
def version(tool: str) -> str:
    """Return the version of a tool."""
    if tool in DEBIAN:
        shown = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", DEBIAN[tool]], capture_output=True, text=True)
        return shown.stdout.partition("-")[0].partition("+")[0]
    stamp = INSTALLED / f"{tool}.installed"
    return stamp.read_text().split()[0].partition("==")[2] if stamp.exists() else ""


def measure(peers: Sequence[Peer], count: int, rounds: int, *, fresh: bool, rates: bool) -> list[Measurement]:
    """Measure peers in turn; the first is what the others are compared with. What is not installed, or fails, is
    listed with the reason.

    With `fresh`, each round begins in a new folder; else each peer keeps one, as its command changes nothing."""
    with ExitStack() as kept:
        measured = _Measured(count, None if fresh else kept)
        measured.take(peers, rounds)
    return [measured.measurement(peer, peers[0], rates=rates) for peer in peers]


def measure_sizes(peers: Sequence[Peer], sizes: Sequence[int], rounds: int, most_seconds: float) -> list[Measurement]:
    """Measure the times of peers in turn, at each size, in new folders; the names of measurements have the size.

    A peer is left out of a size if one round of it, preparation included, would take more than `most_seconds`, as far
    as the size before it says."""
    found = []
    seconds: Mapping[str, float] = {}
    before = 0
    for size in dict.fromkeys(sizes):
        late = {
            name: f"{before:,} jobs took {took:.0f} s with their preparation"
            for name, took in seconds.items()
            if took * size / before > most_seconds
        }
        measured = _Measured(size, None, late)
        measured.take(peers, rounds)
        here = [measured.measurement(peer, peers[0], rates=False) for peer in peers]
        named = {one.name: f"{one.name}, {size:,} jobs" for one in here}
        found += [
            replace(
                one,
                name=named[one.name],
                targets=tuple(replace(target, beside=named[target.beside]) for target in one.targets),
            )
            for one in here
        ]
        seconds, before = measured.seconds, size
    return found


class _Measured:
    """The samples of peers at one size. `reasons`: by name, why one is not measured. `seconds`: by name, what its
    longest round took, preparation included. With `kept`, each peer keeps its folder until that stack is closed."""

    def __init__(self, count: int, kept: ExitStack | None, reasons: Mapping[str, str] | None = None) -> None:
        self.reasons, self.seconds = dict(reasons or {}), dict[str, float]()
        self._count, self._kept, self._samples = count, kept, Samples()
        self._begun: dict[str, Callable[[], Sample]] = {}

    def take(self, peers: Sequence[Peer], rounds: int) -> None:
        """Measure peers in turn, in rounds."""
        for number in range(rounds):
            progress.round = f"round {number + 1} of {rounds}"
            for peer in peers:
                if peer.name in self.reasons or (peer.slow and number % SLOW):
                    continue
                began = time.perf_counter()
                try:
                    self._once(peer)
                except (Unavailable, CommandFailed) as error:
                    self.reasons[peer.name] = str(error).strip().splitlines()[-1][-160:]
                    self._samples.taken.pop(peer.name, None)
                    self.seconds.pop(peer.name, None)
                else:
                    took = time.perf_counter() - began
                    self.seconds[peer.name] = max(took, self.seconds.get(peer.name, 0.0))

    def _once(self, peer: Peer) -> None:
        if peer.tool:
            program(peer.tool, "python")
        if self._kept is None:
            with ExitStack() as stack:
                self._samples.take(peer.name, self._prepared(peer, stack))
            return
        if peer.name not in self._begun:
            self._begun[peer.name] = self._prepared(peer, self._kept)
        self._samples.take(peer.name, self._begun[peer.name])

    def _prepared(self, peer: Peer, stack: ExitStack) -> Callable[[], Sample]:
        count = min(self._count, peer.most)
        progress.step(f"{peer.name}: prepare {count:,}")
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="rekindle-peer-", ignore_cleanup_errors=True)))
        return peer.begin(folder, count, stack)

    def measurement(self, peer: Peer, ours: Peer, *, rates: bool) -> Measurement:
        """Return what was measured of a peer, beside ours."""
        unit = "/s" if rates else "s"
        if peer.name in self.reasons:
            return Measurement(peer.name, unit, (), note=f"not measured: {self.reasons[peer.name]}")
        taken, done = self._samples.taken[peer.name], min(self._count, peer.most)
        made = f"version {version(peer.tool)}" if peer.tool else ""
        fewer = f"{done:,} jobs" if done < self._count else ""
        targets: tuple[Target, ...] = () if peer is ours or (fewer and not rates) else (beside(ours.name),)
        return Measurement(
            peer.name,
            unit,
            tuple(done / one.wall if rates else one.wall for one in taken),
            tuple(one.processor for one in taken),
            tuple(one.memory for one in taken if one.memory),
            targets,
            note=", ".join(filter(None, (made, fewer, peer.note))),
        )
