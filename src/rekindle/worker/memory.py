"""What an attempt's processes hold together, sampled while one runs that has a limit; others are never looked at.

Held is what cannot be dropped and read again: anonymous and shared memory, in memory or swapped out. A page that
several processes share counts once for all of them. Exact numbers are dear, so that the cheap sum, in which such a page
counts for each, is taken first, and they are asked for only when that is over the limit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

from rekindle.journal.processes import descendants_of

FIRST, LONGEST, SHORTEST = 0.05, 0.25, 0.02
"""Seconds from an attempt's start to the first look, and at most and at least from one look to the next. What falls
short of the first is never looked at."""

_SHARE = 20  # looking may take one part in so many of a worker's time
_SELDOM = 1.0  # but is never further apart, however many processes there are

_CHEAP = (b"RssAnon:", b"RssShmem:", b"VmSwap:")
_EXACT = (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")


class Gauge:
    """When to look at what some processes hold, and whether it is too much."""

    def __init__(self, roots: Callable[[], Iterable[int]], now: float) -> None:
        """`roots`: the processes that count, with all their descendants."""
        self._roots = roots
        self.due = now + FIRST
        self._interval = FIRST
        self._last: tuple[float, int] = (now, 0)

    def over(self, limit: int, before: int) -> int | None:
        """The bytes held when that is more than `limit`; None: it is not. What was held `before` does not count."""
        began = time.monotonic()
        processes = descendants_of(self._roots())
        held = sum(map(held_at_most, processes)) - before
        if held > limit:
            held = sum(map(held_exactly, processes)) - before
        self._plan(began, time.monotonic(), held, limit)
        return held if held > limit else None

    def postpone(self, now: float) -> None:
        """Look again a little later, should there be nothing to look at now."""
        self.due = now + FIRST

    def _plan(self, began: float, now: float, held: int, limit: int) -> None:
        """Look again in twice the time, sooner when the limit comes nearer."""
        at, earlier = self._last
        self._last = began, held
        self._interval = min(2 * self._interval, LONGEST)
        growth = (held - earlier) / max(began - at, 1e-3)
        if growth > 0:
            self._interval = max(SHORTEST, min(self._interval, max(0, limit - held) / growth / 2))
        self.due = now + min(max(self._interval, _SHARE * (now - began)), _SELDOM)


def held_at_most(pid: int) -> int:
    """Bytes that a process holds, those that it shares included; 0 for one that is gone."""
    return _sum(f"/proc/{pid}/status", _CHEAP)


def held_exactly(pid: int) -> int:
    """Bytes that a process holds, of what it shares its part. Where the kernel does not tell, the most it may be."""
    return _sum(f"/proc/{pid}/smaps_rollup", _EXACT) or held_at_most(pid)


def _sum(path: str, names: tuple[bytes, ...]) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        text = os.read(fd, 8192)
    except OSError:  # it has ended meanwhile, or is another user's
        return 0
    finally:
        os.close(fd)
    return 1024 * sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(names))
