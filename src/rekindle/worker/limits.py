"""Limits of time and memory, and why a step was terminated: by this worker or by the kernel. The evidence is kept
with the attempt.

The memory of an attempt's processes is sampled only if it has a limit. The memory held is what cannot be dropped and
read again: anonymous and shared memory, in memory or swapped out. A page that several processes share counts once.
Exact numbers are expensive. So the cheap sum, in which a shared page counts for each process, is taken first, and exact
numbers only if that sum is over the limit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from rekindle.domain.states import Cause
from rekindle.journal.encoding import to_json
from rekindle.journal.processes import OomKillCounter, descendants_of
from rekindle.journal.records import ALLOCATION
from rekindle.worker.steps import StepEnd, wall_time

_BY_A_KILL = (Cause.SIGNAL, Cause.EXIT)
_KILLED = 137  # a shell's exit code if its last command was killed


class Termination(msgspec.Struct, frozen=True):
    """Why this worker terminates a step. `peak`: the bytes that its processes were seen to hold."""

    cause: Cause
    message: str
    evidence: Mapping[str, Any] | None = None
    peak: int = 0

    def apply(self, end: StepEnd) -> StepEnd:
        """Return the end of the terminated step with the evidence."""
        if end.cause is not self.cause or self.evidence is None:
            return end
        return msgspec.structs.replace(
            end, evidence=_json_text(self.evidence), max_rss_bytes=max(end.max_rss_bytes or 0, self.peak) or None
        )


def cancellation(allocation: str = "") -> Termination:
    """Return the termination of a canceled step. `allocation`: the one that ends, if that is why."""
    if allocation:
        return Termination(Cause.CANCELED, f"ended in time, because {allocation} ends", {ALLOCATION: allocation})
    return Termination(Cause.CANCELED, "canceled while it ran")


def over_time(limit: float, elapsed: float) -> Termination:
    """Return the termination of a step that ran longer than its limit, in seconds."""
    evidence = {"limit_seconds": limit, "elapsed_seconds": round(elapsed, 3)}
    return Termination(Cause.TIMEOUT, f"ran longer than its limit of {limit:g} s", evidence)


def over_memory(limit: int, held: int) -> Termination:
    """Return the termination of a step that held more than its limit, in bytes."""
    from rekindle.domain.texts.quantities import format_size

    seen = "a sample of what its processes held"
    evidence = {"limit_bytes": limit, "peak_bytes": held, "seen": seen, "at": wall_time()}
    return Termination(Cause.OOM, f"held {format_size(held)}, over its limit of {format_size(limit)}", evidence, held)


def classify_kill(end: StepEnd, kills: OomKillCounter, before: int) -> StepEnd:
    """Return the end of a step with the cause OOM if it was killed by no one here and the kernel has killed since.
    `before`: the kernel's count when the step began."""
    if end.cause not in _BY_A_KILL or (end.signal != signal.SIGKILL and end.exit_code != _KILLED):
        return end
    found = kills.since(before)
    if found is None or end.failure is None:
        return end
    failure = msgspec.structs.replace(end.failure, message=f"{end.failure.message}: the kernel was out of memory")
    evidence = {**found, "peak_bytes": end.max_rss_bytes, "at": end.ended}
    return msgspec.structs.replace(end, cause=Cause.OOM, failure=failure, evidence=_json_text(evidence))


def _json_text(evidence: Mapping[str, Any]) -> str:
    return to_json(evidence).decode()


FIRST_SAMPLE, LONGEST_INTERVAL, SHORTEST_INTERVAL = 0.05, 0.25, 0.02
"""Seconds from an attempt's start to the first sample, and the longest and shortest time between samples. A shorter
attempt is never sampled."""

_SHARE = 20  # sampling may take this part of a worker's time
_SELDOM = 1.0  # longest interval, however many processes there are

_CHEAP = (b"RssAnon:", b"RssShmem:", b"VmSwap:")
_EXACT = (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")


class MemoryMonitor:
    """Decides when to sample the memory of processes, and whether it is over the limit."""

    def __init__(self, roots: Callable[[], Iterable[int]], now: float) -> None:
        """`roots`: the processes that count, with all their descendants."""
        self._roots = roots
        self.due = now + FIRST_SAMPLE
        self._interval = FIRST_SAMPLE
        self._last: tuple[float, int] = (now, 0)

    def exceeds(self, limit: int, before: int) -> int | None:
        """Return the bytes held if they exceed `limit`, otherwise None. Memory held `before` does not count."""
        began = time.monotonic()
        processes = descendants_of(self._roots())
        held = sum(map(held_at_most, processes)) - before
        if held > limit:
            held = sum(map(held_exactly, processes)) - before
        self._schedule(began, time.monotonic(), held, limit)
        return held if held > limit else None

    def postpone(self, now: float) -> None:
        """Sample a little later: there is nothing to sample now."""
        self.due = now + FIRST_SAMPLE

    def _schedule(self, began: float, now: float, held: int, limit: int) -> None:
        """Double the interval, and shorten it when the memory approaches the limit."""
        at, earlier = self._last
        self._last = began, held
        self._interval = min(2 * self._interval, LONGEST_INTERVAL)
        growth = (held - earlier) / max(began - at, 1e-3)
        if growth > 0:
            self._interval = max(SHORTEST_INTERVAL, min(self._interval, max(0, limit - held) / growth / 2))
        self.due = now + min(max(self._interval, _SHARE * (now - began)), _SELDOM)


def held_at_most(pid: int) -> int:
    """Return the bytes that a process holds, shared ones included; 0 if it is gone."""
    return _sum(f"/proc/{pid}/status", _CHEAP)


def held_exactly(pid: int) -> int:
    """Return the bytes that a process holds, with its part of shared ones. Without that number, the upper bound."""
    return _sum(f"/proc/{pid}/smaps_rollup", _EXACT) or held_at_most(pid)


def _sum(path: str, names: tuple[bytes, ...]) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        text = os.read(fd, 8192)
    except OSError:  # the process has ended, or is another user's
        return 0
    finally:
        os.close(fd)
    return 1024 * sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(names))
