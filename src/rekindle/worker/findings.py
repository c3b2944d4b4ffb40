"""How a step ended, and the records that tell it."""

from __future__ import annotations

import signal
import time
import traceback
from dataclasses import dataclass
from typing import Any

import msgspec

from rekindle.domain.causes import Cause, state_after
from rekindle.domain.errors import RekindleError
from rekindle.domain.models import Failure, LeftRunning, StepOutcome
from rekindle.domain.states import State
from rekindle.domain.verdicts import Verdict, worst
from rekindle.journal.orders import Assignment
from rekindle.journal.records import Ended, Started
from rekindle.worker.clock import date

MOST_TRACEBACK = 32 * 1024
"""Characters of a traceback that are kept: its end, which says what happened."""


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
    left: LeftRunning | None = None  # the processes that it left running

    @property
    def completed(self) -> bool:
        """It did what it should."""
        return self.state is State.COMPLETED


class StartError(RekindleError):
    """A step's program or function cannot be started."""


MOST_NAMED = 10
"""Of the processes that an attempt left running so many are named, and all are counted."""


@dataclass(slots=True)
class Totals:
    """What the steps of an attempt took together, and the worst that they found."""

    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    verdict: Verdict | None = None
    left: LeftRunning | None = None

    def add(self, end: StepEnd) -> None:
        """Count one more step: processor times add up, the peak of memory is the highest, the verdict the worst."""
        if end.cpu_seconds is not None:
            self.cpu_seconds = (self.cpu_seconds or 0.0) + end.cpu_seconds
        if end.max_rss_bytes is not None:
            self.max_rss_bytes = max(self.max_rss_bytes or 0, end.max_rss_bytes)
        if end.verdict is not None:
            self.verdict = worst((self.verdict, end.verdict))
        if end.left is not None:
            self.leave(end.left)

    def leave(self, left: LeftRunning) -> None:
        """Count the processes that one more step left running."""
        before = self.left
        if before is not None:
            processes = (*before.processes, *left.processes)[:MOST_NAMED]
            left = LeftRunning(left.killed, before.count + left.count, processes)
        self.left = left


def outcome_of(position: int, name: str, end: StepEnd) -> StepOutcome:
    """The row of a step."""
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


def ended_of(
    assignment: Assignment,
    started: float,
    step: StepOutcome,
    end: StepEnd,
    totals: Totals,
    left_out: tuple[StepOutcome, ...] = (),
    code: str | None = None,
) -> Ended:
    """The record of an attempt's end: its last step's, with what all steps took. `started` is the attempt's;
    `left_out` are the steps behind the last one that an action left undone; `code` as the record has it."""
    return Ended(
        attempt=assignment.attempt,
        token=assignment.token,
        at=end.ended,
        state=end.state,
        started=started,
        cause=end.cause,
        exit_code=end.exit_code,
        signal=end.signal,
        failure=end.failure,
        cpu_seconds=totals.cpu_seconds,
        max_rss_bytes=totals.max_rss_bytes,
        result=end.result,
        verdict=totals.verdict if end.completed else None,
        evidence=end.evidence,
        steps=(step, *left_out),
        code=code,
        left_running=totals.left,
    )


def begun(assignment: Assignment, pid: int | None = None, pid_start: int | None = None) -> Started:
    """The record of an attempt's start, now."""
    return Started(assignment.attempt, assignment.token, date(), pid, pid_start, time.monotonic())


def ended_before_steps(assignment: Assignment, started: float, end: StepEnd) -> Ended:
    """The record of an attempt that began, and ended before any step of it did."""
    return Ended(
        attempt=assignment.attempt,
        token=assignment.token,
        at=end.ended,
        state=end.state,
        started=started,
        cause=end.cause,
        failure=end.failure,
        evidence=end.evidence,
    )


def never_started(assignment: Assignment, state: State, cause: Cause, message: str) -> Ended:
    """The record of an attempt that ended before any step of it began."""
    return Ended(
        attempt=assignment.attempt,
        token=assignment.token,
        at=date(),
        state=state,
        cause=cause,
        failure=Failure(message=message),
    )


def crashed(started: float, error: Exception) -> StepEnd:
    """A step that failed now because handling it raised `error`, for whatever the step left."""
    text = "".join(traceback.format_exception(error))[-MOST_TRACEBACK:]
    failure = Failure(type(error).__name__, f"rekindle cannot handle what it left: {error}", text)
    return StepEnd(State.FAILED, started, date(), Cause.EXCEPTION, failure=failure)


def canceled_before(assignment: Assignment) -> Ended:
    """The record of an attempt that was canceled before it started."""
    return never_started(assignment, State.CANCELED, Cause.CANCELED, "canceled before it started")


def stopped(started: float, cause: Cause, message: str) -> StepEnd:
    """A step that was made to end, now."""
    return StepEnd(state_after(cause), started, date(), cause, failure=Failure(message=message))


def failed(started: float, cause: Cause, message: str, **more: Any) -> StepEnd:
    """A step that failed now, with `message`."""
    failure = Failure(message=message, stderr=more.pop("stderr", ""), traceback=more.pop("traceback", ""))
    return StepEnd(State.FAILED, started, date(), cause, failure=failure, **more)


def signal_name(number: int) -> str:
    """SIGKILL for 9; realtime signals have only a number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def missing(kind: str, paths: dict[str, str]) -> str:
    """«missing output: data (build/data.npz)»: which of the declared files are not there."""
    named = ", ".join(name if name == path else f"{name} ({path})" for name, path in paths.items())
    return f"missing {kind}{'s' if len(paths) > 1 else ''}: {named}"
