"""How a step runs (Activity) and ends (StepEnd), and the journal records for both.

Dates come from the wall clock at the start of an attempt; after that, the monotonic time passed is added. A clock that
is set meanwhile therefore makes no attempt end before it began or last for a year."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from rekindle.domain.errors import RekindleError
from rekindle.domain.models import Failure, LeftRunning, StepOutcome
from rekindle.domain.states import Cause, State, state_after
from rekindle.domain.verdicts import Verdict, worst_verdict
from rekindle.journal.records import Ended, Started

if TYPE_CHECKING:
    from rekindle.journal.orders import Assignment

LEFTOVER_INTERVAL = 0.05
"""Seconds between two checks whether processes that a command left have used up their grace."""


class Activity(Protocol):
    """A running step or preparation. `left_nothing`, after the end: it left no process behind."""

    left_nothing: bool

    @property
    def handles(self) -> list[int]:
        """Descriptors that become readable when there is something to poll."""
        ...

    @property
    def due(self) -> float | None:
        """When `poll` must be called although nothing is readable (monotonic seconds); None: never."""
        ...

    def poll(self, now: float) -> StepEnd | None:
        """Handle the events up to `now` (monotonic). Return the step's end once it has ended."""
        ...

    def stop(self, cause: Cause, message: str, now: float, grace: float) -> None:
        """Make it end for this cause (CANCELED, TIMEOUT or OOM). A command and all its processes have `grace`
        seconds between SIGTERM and SIGKILL. A later `poll` returns the end."""
        ...

    def cut_grace(self, now: float) -> None:
        """End the grace now: it has been told to end before."""
        ...


MAX_TRACEBACK = 32 * 1024
"""Characters of a traceback that are kept: its end, which names the error."""


class StepEnd(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one step ended. Times are seconds since the epoch; `cpu_seconds` and `max_rss_bytes` are the step's."""

    state: State
    started: float
    ended: float
    cause: Cause | None = None
    exit_code: int | None = None
    signal: int | None = None
    failure: Failure | None = None
    result: str | None = None  # JSON text
    evidence: str | None = None  # JSON text
    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    action: str | None = None  # JSON text
    verdict: Verdict | None = None
    left: LeftRunning | None = None  # processes left running
    passed_on: str | None = None  # JSON text: the result for the jobs that need this one, if different

    @property
    def completed(self) -> bool:
        """Whether the step completed."""
        return self.state is State.COMPLETED


class StartError(RekindleError):
    """A step's program or function cannot be started."""


MAX_NAMED_PROCESSES = 10
"""The number of left processes that are named; all are counted."""


class StepTotals(msgspec.Struct):
    """Resources and the worst verdict of all steps of an attempt."""

    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    verdict: Verdict | None = None
    left: LeftRunning | None = None

    def add(self, end: StepEnd) -> None:
        """Add a step: sum the processor time, keep the highest memory peak and the worst verdict."""
        if end.cpu_seconds is not None:
            self.cpu_seconds = (self.cpu_seconds or 0.0) + end.cpu_seconds
        if end.max_rss_bytes is not None:
            self.max_rss_bytes = max(self.max_rss_bytes or 0, end.max_rss_bytes)
        if end.verdict is not None:
            self.verdict = worst_verdict((self.verdict, end.verdict))
        if end.left is not None:
            self.leave(end.left)

    def leave(self, left: LeftRunning) -> None:
        """Add the processes that a step left running."""
        before = self.left
        if before is not None:
            processes = (*before.processes, *left.processes)[:MAX_NAMED_PROCESSES]
            left = LeftRunning(left.killed, before.count + left.count, processes)
        self.left = left


def step_outcome(position: int, name: str, end: StepEnd) -> StepOutcome:
    """Return the row of a step."""
    return StepOutcome(
        position,
        name,
        end.state,
        end.cause,
        end.exit_code,
        end.signal,
        end.started,
        end.ended,
        end.result,
        action=end.action if end.completed else None,
        verdict=end.verdict if end.completed else None,
    )


def ended_record(
    assignment: Assignment,
    started: float,
    step: StepOutcome,
    end: StepEnd,
    totals: StepTotals,
    left_out: tuple[StepOutcome, ...] = (),
    code: str | None = None,
) -> Ended:
    """Return the record of an attempt's end: the last step's end with the totals of all steps. `started` is the
    attempt's; `left_out` are the skipped steps behind the last one."""
    return Ended(
        attempt=assignment.attempt,
        token=assignment.token,
        state=end.state,
        ended=end.ended,
        started=started,
        cause=end.cause,
        exit_code=end.exit_code,
        signal=end.signal,
        failure=end.failure,
        cpu_seconds=totals.cpu_seconds,
        max_rss_bytes=totals.max_rss_bytes,
        result=end.result if end.passed_on is None else end.passed_on,
        verdict=totals.verdict if end.completed else None,
        evidence=end.evidence,
        steps=(step, *left_out),
        code=code,
        left_running=totals.left,
    )


def started_record(assignment: Assignment, pid: int | None = None, pid_start: int | None = None) -> Started:
    """Return the record of an attempt that starts now."""
    return Started(assignment.attempt, assignment.token, wall_time(), pid, pid_start, time.monotonic())


def ended_before_steps(assignment: Assignment, started: float, end: StepEnd) -> Ended:
    """Return the record of an attempt that started and ended before its first step."""
    return Ended(
        attempt=assignment.attempt,
        token=assignment.token,
        state=end.state,
        ended=end.ended,
        started=started,
        cause=end.cause,
        failure=end.failure,
        evidence=end.evidence,
    )


def never_started(assignment: Assignment, state: State, cause: Cause, message: str) -> Ended:
    """Return the record of an attempt that ended before it started."""
    return Ended(
        attempt=assignment.attempt,
        token=assignment.token,
        state=state,
        ended=wall_time(),
        cause=cause,
        failure=Failure(message=message),
    )


def crashed_step(started: float, error: Exception) -> StepEnd:
    """Return the end of a step that failed now because handling it raised `error`."""
    import traceback

    text = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]
    failure = Failure(type(error).__name__, f"rekindle cannot handle what it left: {error}", text)
    return StepEnd(State.FAILED, started, wall_time(), Cause.EXCEPTION, failure=failure)


def canceled_record(assignment: Assignment) -> Ended:
    """Return the record of an attempt that was canceled before it started."""
    return never_started(assignment, State.CANCELED, Cause.CANCELED, "canceled before it started")


def stopped_step(started: float, cause: Cause, message: str) -> StepEnd:
    """Return the end of a step that was stopped now."""
    return StepEnd(state_after(cause), started, wall_time(), cause, failure=Failure(message=message))


def failed_step(started: float, cause: Cause, message: str, **more: Any) -> StepEnd:
    """Return the end of a step that failed now, with `message`."""
    failure = Failure(message=message, stderr=more.pop("stderr", ""), traceback=more.pop("traceback", ""))
    return StepEnd(State.FAILED, started, wall_time(), cause, failure=failure, **more)


def signal_name(number: int) -> str:
    """Return SIGKILL for 9; realtime signals have only a number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def missing_message(kind: str, paths: dict[str, str]) -> str:
    """Return «missing output: data (build/data.npz)» for declared files that do not exist."""
    named = ", ".join(name if name == path else f"{name} ({path})" for name, path in paths.items())
    return f"missing {kind}{'s' if len(paths) > 1 else ''}: {named}"


class Clock:
    """Dates in seconds since the epoch. A machine's sleep does not count while an attempt runs."""

    def __init__(self) -> None:
        self.set()

    def set(self) -> None:
        """Read the wall clock."""
        self._date, self._since = time.time(), time.monotonic()

    def date(self) -> float:
        """Return the current date."""
        return self._date + time.monotonic() - self._since


CLOCK = Clock()
"""This process's clock: it runs one attempt at a time."""


def wall_time() -> float:
    """Return the current date by this process's clock."""
    return CLOCK.date()
