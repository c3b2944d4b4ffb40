"""The peers that scripts/peers has installed: their programs and versions, and how their work begins."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.commands import ROOT
from benchmarks.harness import CommandFailed, Measurement, Sample, Samples, Target, Unavailable, beside, progress

INSTALLED = ROOT / ".benchmarks" / "peers"
DEBIAN = {"parallel": "parallel", "make": "make", "ninja": "ninja-build", "xargs": "findutils"}

Begin = Callable[[Path, int, ExitStack], Callable[[], Sample]]
"""Prepare so many jobs in a folder; return what runs the measured command. The stack ends what was started."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A way to do the work. `tool` is its program in Debian, its folder in INSTALLED, or empty for this environment.

    `most` jobs are enough to know the rate of a slow one."""

    name: str
    tool: str
    begin: Begin
    most: int = 10_000_000
    note: str = ""


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
    reasons: dict[str, str] = {}
    samples = Samples()
    with ExitStack() as kept:
        begun: dict[str, Callable[[], Sample]] = {}
        for number in range(rounds):
            for peer in peers:
                progress.round = f"round {number + 1} of {rounds}"
                if peer.name in reasons:
                    continue
                try:
                    _once(peer, min(count, peer.most), samples, begun, None if fresh else kept)
                except (Unavailable, CommandFailed) as error:
                    reasons[peer.name] = str(error).splitlines()[-1][-160:]
                    samples.taken.pop(peer.name, None)
    return [_measurement(peer, peers[0], count, samples, reasons, rates=rates) for peer in peers]


def _once(
    peer: Peer, count: int, samples: Samples, begun: dict[str, Callable[[], Sample]], kept: ExitStack | None
) -> None:
    if peer.tool:
        program(peer.tool, "python")
    if kept is None:
        with ExitStack() as stack:
            progress.step(f"{peer.name}: prepare {count:,}")
            samples.take(peer.name, _begin(peer, count, stack))
        return
    if peer.name not in begun:
        progress.step(f"{peer.name}: prepare {count:,}")
        begun[peer.name] = _begin(peer, count, kept)
    samples.take(peer.name, begun[peer.name])


def _begin(peer: Peer, count: int, stack: ExitStack) -> Callable[[], Sample]:
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="rekindle-peer-", ignore_cleanup_errors=True)))
    return peer.begin(folder, count, stack)


def _measurement(
    peer: Peer, ours: Peer, count: int, samples: Samples, reasons: dict[str, str], *, rates: bool
) -> Measurement:
    unit = "/s" if rates else "s"
    if peer.name in reasons:
        return Measurement(peer.name, unit, (), note=f"not measured: {reasons[peer.name]}")
    taken, done = samples.taken[peer.name], min(count, peer.most)
    made = f"version {version(peer.tool)}" if peer.tool else ""
    fewer = f"{done:,} jobs" if done < count else ""
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
