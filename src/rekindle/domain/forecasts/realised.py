"""What decided when a workflow ended: the attempts of its critical path, and what passed between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from rekindle.domain.run_plots import TimedAttempt, critical_path

_Span = tuple[float, float]


class PastPathJob(msgspec.Struct, frozen=True):
    """An attempt on the critical path, and the seconds between the end of the one before it and its start: `repeated`,
    while earlier attempts of the job ran; `waited`, while others of the workflow ran (for a slot, most often); `idle`,
    while nothing of the workflow ran."""

    attempt: TimedAttempt
    seconds: float
    repeated: float
    waited: float
    idle: float


def realised_path(attempts: Sequence[TimedAttempt], parents: Callable[[int], Sequence[int]]) -> list[PastPathJob]:
    """Return the live attempts that determined when the workflow ended, first to last. `attempts` are in the order of
    their starts, `parents` the ids of the jobs that a job needs."""
    path = critical_path(attempts, parents)
    on_path = {one.job for one in path}
    spans = [(one.started, one.ended) for one in attempts if one.ended is not None and one.ended > one.started]
    busy = _merged(spans)
    earlier: dict[int, list[_Span]] = {}
    for one in attempts:
        if one.archived and one.job in on_path and one.ended is not None:
            earlier.setdefault(one.job, []).append((one.started, one.ended))
    found = []
    ready: float | None = None
    for one in path:
        ended = one.ended if one.ended is not None else one.started
        gap = (one.started if ready is None else ready, one.started)
        repeated = _overlap(gap, _merged(earlier.get(one.job, ())))
        running = _overlap(gap, busy)
        idle = max(0.0, gap[1] - gap[0]) - running
        found.append(PastPathJob(one, max(0.0, ended - one.started), repeated, max(0.0, running - repeated), idle))
        ready = ended
    return found


def _merged(spans: Sequence[_Span]) -> list[_Span]:
    """Return spans that do not overlap and cover the same time."""
    found: list[_Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _overlap(span: _Span, merged: Sequence[_Span]) -> float:
    """Return the seconds of a span that others cover."""
    return sum(max(0.0, min(span[1], end) - max(span[0], start)) for start, end in merged)
