"""Forecasts as JSON documents and as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rekindle.domain.forecasts.estimates import EstimateSource
from rekindle.presentation import documents, words

if TYPE_CHECKING:
    from rekindle.domain.forecasts.forecast import Forecast, PathJob, Spread
    from rekindle.domain.forecasts.realised import PastPathJob
    from rekindle.engine.queries.forecasts import PastPath, StoreForecast

_LAST_TIME = 253_370_764_800.0
"""The beginning of the year 9999: later ends are shown as this."""


def forecast(given: StoreForecast) -> dict[str, Any]:
    """Return a forecast: the end, its bounds, and the jobs that decide it."""
    found = given.found
    known = found.end is not None
    return {
        "at": _iso(given.at),
        "jobs": found.jobs,
        "running": found.running,
        "end": _spread(found.end, given.at),
        "seconds": found.end and _seconds(found.end),
        "workflows": [
            {"id": number, "name": name, "end": _spread(found.ends.get(number), given.at)}
            for number, name in given.workflows.items()
        ],
        "simulations": found.simulations,
        "work_seconds": round(found.work, 3) if known else None,
        "least_by_needs": round(found.by_needs, 3) if known else None,
        "least_by_capacity": round(found.by_capacity, 3) if known else None,
        "slots": sum(one.slots for one in given.places),
        "runners": list(given.runners),
        "slot_more": None if found.slot_more is None else _iso(given.at + found.slot_more),
        "path": [_path_job(one, given) for one in found.path],
        "path_jobs": found.path_jobs,
        "estimates": {source.value: number for source, number in found.sources.items()},
        "overdue": found.overdue,
        "left_out": {
            "failed": found.left_out.failed,
            "held": found.left_out.held,
            "unfit": found.left_out.unfit,
        },
        "other_workflows": given.others,
        "past": given.past and past_path(given.past),
    }


def _spread(spread: Spread | None, at: float) -> dict[str, Any] | None:
    return None if spread is None else {name: _iso(at + seconds) for name, seconds in _seconds(spread).items()}


def _seconds(spread: Spread) -> dict[str, float]:
    return {
        "expected": round(spread.expected, 3),
        "p10": round(spread.p10, 3),
        "p50": round(spread.p50, 3),
        "p90": round(spread.p90, 3),
    }


def _path_job(one: PathJob, given: StoreForecast) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": given.names.get(one.id, ""),
        "workflow": one.workflow,
        "state": one.state.label,
        "start": _iso(given.at + one.start),
        "end": _iso(given.at + one.end),
        "seconds": round(one.end - one.start, 3),
        "waits": one.waits,
        "earliest_start": _iso(given.at + one.earliest),
        "latest_start": _iso(given.at + one.latest),
        "slack": round(one.slack, 3),
        "hour_costs": None if one.hour_costs is None else round(one.hour_costs, 3),
        "estimate": one.source.value,
    }


def past_path(past: PastPath) -> dict[str, Any]:
    """Return what decided when a workflow ended."""
    return {
        "workflow": past.workflow.id,
        "name": past.workflow.name,
        "ran_seconds": round(sum(one.seconds for one in past.jobs), 3),
        "repeated_seconds": round(sum(one.repeated for one in past.jobs), 3),
        "waited_seconds": round(sum(one.waited for one in past.jobs), 3),
        "idle_seconds": round(sum(one.idle for one in past.jobs), 3),
        "path": [_past_job(one) for one in past.jobs],
    }


def _past_job(one: PastPathJob) -> dict[str, Any]:
    return {
        "id": one.attempt.job,
        "name": one.attempt.name,
        "attempt": one.attempt.id,
        "started": _iso(one.attempt.started),
        "ended": _iso(one.attempt.ended),
        "seconds": round(one.seconds, 3),
        "repeated_seconds": round(one.repeated, 3),
        "waited_seconds": round(one.waited, 3),
        "idle_seconds": round(one.idle, 3),
    }


def forecast_lines(given: StoreForecast) -> Iterator[str]:
    """Yield when the jobs will be done, the bounds, and what the forecast assumes."""
    found = given.found
    if not found.jobs:
        yield "no job is left that can run"
        yield from (f"  {line}" for line in _not_counted(given))
        return
    running = f", {found.running:,} of them running" if found.running else ""
    yield f"{words.plural(found.jobs, 'job')} to run{running}; {_where(given)}"
    if found.end is None:
        yield "when they are done is unknown: no attempt of a job like these has completed"
        yield "  `rekindle forecast --assume 10m` takes each for 10 minutes"
    else:
        end = found.end
        yield f"done about {_short(given.at + end.p50)}, in {_span(end.p50)}"
        if end.p90 - end.p10 >= 1:
            between = f"{_short(given.at + end.p10)} and {_short(given.at + end.p90)}"
            yield f"  8 of 10 runs end between {between} ({found.simulations} simulated)"
        decides = "needs decide" if found.by_needs >= found.by_capacity else "the capacity decides"
        yield f"  at least {_span(found.by_needs)} by needs, {_span(found.by_capacity)} by capacity: {decides}"
        if found.slot_more is not None:
            gain = end.expected - found.slot_more
            yield f"  a slot more: {f'{_span(gain)} earlier' if gain >= 1 else 'no earlier'}"
    yield from (f"  {line}" for line in _assumptions(found))
    yield from (f"  {line}" for line in _not_counted(given))


def _where(given: StoreForecast) -> str:
    slots = words.plural(sum(one.slots for one in given.places), "slot")
    if given.runners:
        return f"{slots} of {words.plural(len(given.runners), 'runner')}"
    return f"assuming {slots} on this machine"


def _assumptions(found: Forecast) -> Iterator[str]:
    others = found.sources.get(EstimateSource.OTHERS, 0)
    if others and found.end is not None:
        yield f"{words.plural(others, 'job')} without history: taken for any of the others (--assume D)"
    if assumed := found.sources.get(EstimateSource.ASSUMED, 0):
        yield f"{words.plural(assumed, 'job')} without history: as assumed"
    if found.overdue:
        verb = "takes" if found.overdue == 1 else "take"
        yield f"{words.plural(found.overdue, 'running attempt')} {verb} longer than any before"


def _not_counted(given: StoreForecast) -> Iterator[str]:
    left = given.found.left_out
    for number, why in (
        (left.failed, "failed, or below a failed one"),
        (left.held, "held, or below a held one"),
        (left.unfit, "too large for every runner, or below such a job"),
    ):
        if number:
            yield f"not counted: {words.plural(number, 'job')} {why}"
    if given.others:
        yield f"not counted: {words.plural(given.others, 'job')} of other workflows"


def _iso(at: float | None) -> str | None:
    """Return a time as in other documents."""
    return documents.iso(None if at is None else min(at, _LAST_TIME))


def _short(at: float) -> str:
    return words.short_time(min(at, _LAST_TIME))


def _span(seconds: float) -> str:
    """Return a duration to the second; below ten, to a tenth."""
    return words.duration(round(seconds, 1) if seconds < 10 else float(round(seconds))) or "0s"


def path_cells(one: PathJob, given: StoreForecast) -> tuple[str, ...]:
    """Return the cells of a job of the path: name, start, duration, what it waits for, slack, cost of an hour."""
    cost = "" if one.hour_costs is None else _span(one.hour_costs)
    return (
        given.names.get(one.id, ""),
        "running" if one.state.label == "running" else _short(given.at + one.start),
        _span(one.end - one.start),
        {"nothing": "", "slot": "a slot", "delay": "its delay"}.get(one.waits, one.waits),
        _span(one.slack),
        cost,
    )


def past_lines(past: PastPath) -> Iterator[str]:
    """Yield how the time of a workflow that has ended was spent."""
    if not past.jobs:
        return
    parts = [f"{_span(sum(one.seconds for one in past.jobs))} running"]
    for seconds, what in (
        (sum(one.repeated for one in past.jobs), "in attempts that were repeated"),
        (sum(one.waited for one in past.jobs), "waiting while others ran"),
        (sum(one.idle for one in past.jobs), "while nothing ran"),
    ):
        if seconds >= 0.05:
            parts.append(f"{_span(seconds)} {what}")
    yield f"{past.workflow.name}: these jobs decided its end: {', '.join(parts)}"


def past_cells(one: PastPathJob) -> tuple[str, ...]:
    """Return the cells of an attempt of the past path: name, start, duration, and the time before it."""
    return (
        one.attempt.name,
        words.short_time(one.attempt.started),
        _span(one.seconds),
        *(_span(seconds) if seconds >= 0.05 else "" for seconds in (one.repeated, one.waited, one.idle)),
    )
