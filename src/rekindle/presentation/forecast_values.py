"""Forecasts as values for Python."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  fields of Structs
from typing import Any

from rekindle.presentation.values import StateName, Value


class ForecastEnd(Value, frozen=True):
    """When something is done.

    Attributes:
        expected: In the expected schedule.
        p10: In 10 of 100 runs by then.
        p50: In 50 of 100.
        p90: In 90 of 100.
    """

    expected: datetime
    p10: datetime
    p50: datetime
    p90: datetime


class ForecastJob(Value, frozen=True):
    """A job of the critical path.

    Attributes:
        id: The job.
        name: Its name.
        workflow: Its workflow.
        state: Its state now.
        start: When it is expected to start, or now.
        end: When it is expected to end.
        seconds: How long it is expected to take, from now if it runs.
        waits: For what its start waits: needs, slot, delay or nothing.
        earliest_start: When it could start by its needs alone.
        latest_start: When it must start, by needs alone, so that the end does not move.
        slack: The seconds between these.
        hour_costs: How many seconds later all is done if it takes an hour more; None: not simulated.
        estimate: Where its duration comes from: own, alike, assumed or others.
    """

    id: int
    name: str
    workflow: int
    state: StateName
    start: datetime
    end: datetime
    seconds: float
    waits: str
    earliest_start: datetime
    latest_start: datetime
    slack: float
    hour_costs: float | None
    estimate: str


class Forecast(Value, frozen=True):
    """When unfinished jobs will be done, and which decide it.

    Attributes:
        at: When the forecast was made.
        jobs: How many jobs are expected to run.
        running: How many of them run already.
        end: When the last one is done; None: unknown.
        seconds: The same in seconds from `at`: expected, p10, p50 and p90.
        workflows: The end of each workflow.
        simulations: How many runs were simulated for the spread.
        work_seconds: The seconds of all jobs together.
        least_by_needs: The least seconds, by the longest chain of needs.
        least_by_capacity: The least seconds, by the work and what the runners have.
        slots: How many jobs run at once.
        runners: The runners that are alive; empty: a runner on this machine is assumed.
        slot_more: When the last one is done with a slot more.
        path: The jobs that decide the end, first to last.
        path_jobs: How many these are; `path` has the last 1,000.
        estimates: How many durations come from where.
        overdue: Running attempts that take longer than each before.
        left_out: Jobs that are not expected to run: failed, held and unfit ones, each with those below.
        other_workflows: Unfinished jobs of other workflows, which are not counted.
        past: Of a workflow that has ended: what decided its end.
    """

    at: datetime
    jobs: int
    running: int
    end: ForecastEnd | None
    seconds: dict[str, float] | None
    workflows: list[dict[str, Any]]
    simulations: int
    work_seconds: float | None
    least_by_needs: float | None
    least_by_capacity: float | None
    slots: int
    runners: list[int]
    slot_more: datetime | None
    path: list[ForecastJob]
    path_jobs: int
    estimates: dict[str, int]
    overdue: int
    left_out: dict[str, int]
    other_workflows: int
    past: dict[str, Any] | None
