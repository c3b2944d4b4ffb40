"""What the plots of a workflow show: attempts over time by outcome, durations and memory by group, what ran where, and
the critical path. Times are in seconds since the epoch, sizes in bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heappop, heappush, nlargest

import msgspec

from rekindle.domain.states import State

BINS = 60
"""The number of intervals into which a run is divided."""

MOST_BARS = 1_500
"""The most attempts that a timeline shows; of more, the longest."""

MOST_GROUPS = 40
"""The most groups whose durations are shown; of more, those with the most time."""

_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


class TimedAttempt(msgspec.Struct, frozen=True):
    """An attempt that has started. `ended` is None while it runs."""

    id: int
    job: int
    name: str
    template: str
    number: int
    state: State
    cause: str | None
    host: str
    worker: str
    started: float
    ended: float | None
    max_rss_bytes: int | None
    archived: bool


class OutcomeBins(msgspec.Struct, frozen=True):
    """How many attempts ended in each interval, by outcome: `completed`, `canceled`, or the cause of a failure."""

    start: float
    width: float  # of an interval
    counts: Mapping[str, Sequence[int]]  # by outcome, one number for each interval

    @property
    def highest(self) -> int:
        """Return the largest number of attempts of an interval."""
        return max((sum(numbers) for numbers in zip(*self.counts.values(), strict=True)), default=0)


class Spread(msgspec.Struct, frozen=True):
    """The smallest, lower quartile, median, upper quartile and largest of some values, and how many there are."""

    count: int
    low: float
    lower: float
    median: float
    upper: float
    high: float


class GroupSpread(msgspec.Struct, frozen=True):
    """The durations and the peak memory of the attempts of one template, of the first, second … attempts of its
    jobs."""

    template: str
    number: int  # of the attempt; LATER: this one and all later ones
    seconds: Spread
    memory: Spread | None


LATER = 4
"""Attempts from this number on are taken together."""


class Bar(msgspec.Struct, frozen=True):
    """An attempt on a timeline; `critical`: it is on the critical path."""

    attempt: TimedAttempt
    end: float
    critical: bool


class Lane(msgspec.Struct, frozen=True):
    """A line of a timeline: attempts on one host that do not overlap."""

    host: str
    bars: tuple[Bar, ...]


class Timeline(msgspec.Struct, frozen=True):
    """What ran where. `left_out`: how many shorter attempts are not shown."""

    start: float
    end: float
    lanes: tuple[Lane, ...]
    left_out: int
    critical_seconds: float


def outcome_bins(attempts: Sequence[TimedAttempt], now: float, bins: int = BINS) -> OutcomeBins | None:
    """Return the ends of attempts over time; None if none has started. The intervals have a round length."""
    if not attempts:
        return None
    start = min(one.started for one in attempts)
    end = max((one.ended if one.ended is not None else now for one in attempts), default=now)
    width = _round_width(max(end - start, 0.0) / bins)
    first = math.floor(start / width) * width
    number = max(1, math.ceil((end - first) / width + 1e-9))
    counts: dict[str, list[int]] = {}
    for one in attempts:
        if one.ended is not None:
            at = min(number - 1, max(0, int((one.ended - first) / width)))
            counts.setdefault(_outcome(one), [0] * number)[at] += 1
    return OutcomeBins(first, width, dict(sorted(counts.items(), key=_order)))


def spreads(attempts: Iterable[TimedAttempt], most: int = MOST_GROUPS) -> tuple[list[GroupSpread], int]:
    """Return the spreads by template and attempt number, and how many templates are left out. Attempts that were lost
    or canceled are not counted: they were cut off."""
    found: dict[str, dict[int, list[TimedAttempt]]] = {}
    for one in attempts:
        if one.ended is not None and one.state is not State.CANCELED and one.cause != "lost":
            found.setdefault(one.template, {}).setdefault(min(one.number, LATER), []).append(one)

    def total(template: str) -> float:
        return sum((one.ended or 0.0) - one.started for several in found[template].values() for one in several)

    shown = nlargest(most, found, key=total)
    rows = [
        GroupSpread(
            template,
            number,
            _spread([max(0.0, (one.ended or 0.0) - one.started) for one in several]),
            _memory([one.max_rss_bytes for one in several if one.max_rss_bytes is not None]),
        )
        for template in shown
        for number, several in sorted(found[template].items())
    ]
    return rows, len(found) - len(shown)


def critical_path(
    attempts: Iterable[TimedAttempt], parents: Callable[[int], Sequence[int]], most: int = 1_000
) -> list[TimedAttempt]:
    """Return the attempts that determined when the workflow ended, first to last: the live one that ended last, the one
    that ended last of the jobs that it needed, and so on. `parents`: the ids of the jobs that a job needs."""
    live = {one.job: one for one in attempts if not one.archived and one.ended is not None}
    path: list[TimedAttempt] = []
    at = max(live.values(), key=_end, default=None)
    while at is not None and len(path) < most:
        path.append(at)
        at = max((live[job] for job in parents(at.job) if job in live), key=_end, default=None)
    return path[::-1]


def timeline(
    attempts: Sequence[TimedAttempt], path: Sequence[TimedAttempt], now: float, most: int = MOST_BARS
) -> Timeline | None:
    """Return what ran where; None if nothing has started. The critical path is always shown."""
    if not attempts:
        return None
    critical = {one.id for one in path}
    ends = {one.id: max(one.started, now if one.ended is None else one.ended) for one in attempts}
    lengths = {one.id: ends[one.id] - one.started for one in attempts}
    shown = set(nlargest(most, lengths, key=lengths.__getitem__)) | critical
    lanes: dict[str, list[list[Bar]]] = {}
    free: dict[str, list[tuple[float, int]]] = {}  # by host: when each lane's last bar ends
    for one in sorted(attempts, key=lambda one: (one.started, one.id)):
        if one.id not in shown:
            continue
        of_host, ends_of_host = lanes.setdefault(one.host, []), free.setdefault(one.host, [])
        if ends_of_host and ends_of_host[0][0] <= one.started:
            _, number = heappop(ends_of_host)
        else:
            number = len(of_host)
            of_host.append([])
        of_host[number].append(Bar(one, ends[one.id], one.id in critical))
        heappush(ends_of_host, (ends[one.id], number))
    return Timeline(
        min(one.started for one in attempts),
        max(ends.values()),
        tuple(Lane(host, tuple(bars)) for host in sorted(lanes) for bars in lanes[host]),
        len(attempts) - len(shown),
        sum(ends[one.id] - one.started for one in path),
    )


def _outcome(one: TimedAttempt) -> str:
    if one.state is State.COMPLETED:
        return "completed"
    return "canceled" if one.state is State.CANCELED else one.cause or "failed"


def _order(item: tuple[str, Sequence[int]]) -> tuple[int, int]:
    """Sort outcomes: completed ones first, then the most frequent causes, canceled ones last."""
    name, numbers = item
    return {"completed": 0, "canceled": 2}.get(name, 1), -sum(numbers)


def _round_width(width: float) -> float:
    """Return the next round length of an interval in seconds."""
    if width <= 1:
        return next((one for one in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if one >= width), 1.0)
    days = math.ceil(width / _STEPS[-1])
    return float(next((one for one in _STEPS if one >= width), days * _STEPS[-1]))


def _end(one: TimedAttempt) -> tuple[float, int]:
    return one.ended or 0.0, one.id


def _memory(values: Sequence[int]) -> Spread | None:
    return _spread(values) if values else None


def _spread(values: Sequence[float]) -> Spread:
    ordered = sorted(values)

    def at(share: float) -> float:
        position = share * (len(ordered) - 1)
        below = int(position)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (ordered[above] - ordered[below]) * (position - below)

    return Spread(len(ordered), ordered[0], at(0.25), at(0.5), at(0.75), ordered[-1])
