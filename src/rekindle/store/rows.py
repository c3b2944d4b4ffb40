"""Decode rows into domain values, and encode them. Columns are found by name."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rekindle.domain.definition import Resources
from rekindle.domain.models import Attempt, Failure, Job, LeftRunning, StepOutcome
from rekindle.domain.next_attempt import DEFAULT_NEXT_ATTEMPT, NextAttempt
from rekindle.domain.states import Cause, State
from rekindle.domain.verdicts import Verdict, VerdictLevel
from rekindle.journal.encoding import from_json, json_reader, to_json
from rekindle.store.queries import Row, column_names, load

if TYPE_CHECKING:
    from rekindle.domain.models import AttemptEnd, NewAttempt
    from rekindle.store.stored_paths import Convert, StoredPaths

STATES: tuple[State, ...] = tuple(State)
"""States by number: indexing takes a fifth of the time of a call."""

STATE_NUMBERS = tuple(map(int, State))
"""Plain integers by state: sqlite3 looks for an adapter of each value of another type."""

CAUSES: dict[str | None, Cause | None] = {None: None, **{cause.value: cause for cause in Cause}}

JOB_COLUMNS = load("jobs")["job_columns"].text
ATTEMPT_COLUMNS = load("attempts")["attempt_columns"].text
STEP_COLUMNS = load("attempts")["step_columns"].text


def _getter(columns: str, fields: Sequence[str], **renamed: str) -> Any:
    """Return what takes the values of `fields` from a row, by column name; the row's first value for a field without a
    column of its own, which the caller fills in. `renamed`: by field, the column of another name."""
    at = {name: position for position, name in enumerate(column_names(columns))}
    return itemgetter(*(at.get(renamed.get(name, name), 0) for name in fields))


def _positions(columns: str, *names: str) -> Any:
    return itemgetter(*map(column_names(columns).index, names))


_job_fields = _getter(JOB_COLUMNS, Job.__struct_fields__, next="next_attempt")

_attempt_fields = _getter(ATTEMPT_COLUMNS, Attempt.__struct_fields__, signature="digest")
_attempt_failure = _positions(ATTEMPT_COLUMNS, "error_type", "error_message", "error_traceback", "error_stderr")
_attempt_verdict = _positions(ATTEMPT_COLUMNS, "verdict", "verdict_message")
_NO_FAILURE = (None, None, None, None)
_A_STATE, _A_CAUSE, _A_FAILURE, _A_FOLDER, _A_VERDICT, _A_PARTIAL, _A_STEPS, _A_SHARED, _A_LEFT = (
    Attempt.__struct_fields__.index(name)
    for name in ("state", "cause", "failure", "folder", "verdict", "partial", "steps", "shared", "left_running")
)
_J_STATE, _J_CANCELED, _J_RETIRED, _J_NEXT = (
    Job.__struct_fields__.index(name) for name in ("state", "canceled", "retired", "next")
)

_STEP_FIELDS = ("position", "name", "state", "cause", "exit_code", "signal", "started", "ended", "result", "kept_from")
_step_fields = _positions(STEP_COLUMNS, *_STEP_FIELDS, "action", "verdict", "verdict_message")


def job_of(row: Row, paths: StoredPaths) -> Job:
    """Return the job of a row of `job_columns`."""
    values = list(_job_fields(row))
    values[_J_STATE] = STATES[values[_J_STATE]]
    values[_J_CANCELED], values[_J_RETIRED] = values[_J_CANCELED] != 0, values[_J_RETIRED] != 0
    values[_J_NEXT] = next_attempt_of(values[_J_NEXT], paths)
    return Job(*values)


def step_of(row: Row) -> StepOutcome:
    """Return the step of a row of `step_columns`."""
    position, name, state, cause, *rest, word, message = _step_fields(row)
    values = [position, name, STATES[state], CAUSES[cause], *rest, verdict_of(word, message)]
    return StepOutcome(*values)


def step_columns(attempt: int, step: StepOutcome) -> dict[str, Any]:
    """Return the columns of a step's row."""
    verdict, verdict_message = verdict_columns(step.verdict)
    return {
        "attempt": attempt,
        "position": step.position,
        "name": step.name,
        "state": int(step.state),
        "cause": step.cause and step.cause.value,
        "exit_code": step.exit_code,
        "signal": step.signal,
        "started": step.started,
        "ended": step.ended,
        "result": step.result,
        "kept_from": step.kept_from,
        "action": step.action,
        "verdict": verdict,
        "verdict_message": verdict_message,
    }


def attempt_of(row: Row, paths: StoredPaths, steps: Sequence[StepOutcome] = ()) -> Attempt:
    """Return the attempt of a row of `attempt_columns`, with these steps."""
    values = list(_attempt_fields(row))
    values[_A_STATE], values[_A_CAUSE] = STATES[values[_A_STATE]], CAUSES[values[_A_CAUSE]]
    texts = _attempt_failure(row)
    values[_A_FAILURE] = None if texts == _NO_FAILURE else Failure(*(text or "" for text in texts))
    values[_A_FOLDER] = paths.decode(values[_A_FOLDER])
    values[_A_VERDICT] = verdict_of(*_attempt_verdict(row))
    values[_A_PARTIAL], values[_A_SHARED] = values[_A_PARTIAL] != 0, values[_A_SHARED] != 0
    values[_A_STEPS] = tuple(steps)
    if values[_A_LEFT] is not None:
        values[_A_LEFT] = _LEFT_RUNNING(values[_A_LEFT])
    return Attempt(*values)


def claim_row(attempt: NewAttempt, runner: int, folder: str, now: float) -> Row:
    """Return the row of the block `insert_attempt` for a claimed attempt. `folder` is its stored path."""
    return (*_claimed(attempt), attempt.job.attempts + 1, runner, folder, int(attempt.shared), now)


_claimed = attrgetter(
    *("id", "token", "job.id", "job.workflow", "job.revision", "job.template", "job.own_binding", "identity"),
    *("job.next.resume_attempt", "job.next.resume_step", "job.next.overrides", "job.next.pinned_to"),
)
"""The first values of a row of `insert_attempt`, in its order."""


def end_columns(end: AttemptEnd, signature: int | None) -> dict[str, Any]:
    """Return the columns of an attempt's row that its end sets. `signature`: the row of the end's signature."""
    failure, (verdict, verdict_message) = end.failure, verdict_columns(end.verdict)
    return {
        "attempt": end.attempt,
        "state": int(end.state),
        "ended": end.ended,
        "started": end.started,
        "worker": end.worker,
        "host": end.host,
        "pid": end.pid,
        "pid_start": end.pid_start,
        "cause": end.cause and end.cause.value,
        "exit_code": end.exit_code,
        "signal": end.signal,
        "signature": signature,
        "error_type": failure and failure.type,
        "error_message": failure and failure.message,
        "error_traceback": failure and failure.traceback,
        "error_stderr": failure and failure.stderr,
        "evidence": end.evidence,
        "cpu_seconds": end.cpu_seconds,
        "max_rss_bytes": end.max_rss_bytes,
        "result": end.result,
        "verdict": verdict,
        "verdict_message": verdict_message,
        "partial": int(end.partial),
        "code": end.code,
        "left_running": end.left_running and to_json(end.left_running).decode(),
    }


def only_completed(end: AttemptEnd) -> bool:
    """Return whether an attempt completed, and its end has no value for a column that `complete_attempt` does not
    set."""
    return end.state is State.COMPLETED and _beside_completion(end) == _UNSET


_beside_completion = attrgetter(
    "cause", "signal", "failure", "verdict", "evidence", "left_running", "signature", "partial"
)
_UNSET = (None, None, None, None, None, None, None, False)


def only_completed_step(step: StepOutcome) -> bool:
    """Return whether a step completed, and has no value for a column that `complete_step` does not set."""
    return step.state is State.COMPLETED and _beside_step_completion(step) == _UNSET_STEP


_beside_step_completion = attrgetter("cause", "signal", "kept_from", "action", "verdict")
_UNSET_STEP = (None, None, None, None, None)


def verdict_columns(verdict: Verdict | None) -> tuple[str | None, str | None]:
    """Return the two columns of a verdict: word and message."""
    return (None, None) if verdict is None else (verdict.word.value, verdict.message)


def verdict_of(word: str | None, message: str | None) -> Verdict | None:
    """Return the verdict of its two columns."""
    return None if word is None else Verdict(VerdictLevel(word), message or "")


def resources_of(row: Any) -> Resources:
    """Return the resources of a named row with cpus, memory, gpus, time and licences."""
    entries = from_json(row.licences)
    licences = tuple((one[0], one[1]) for one in entries if len(one) == _LICENCE)
    options = tuple(one[0] for one in entries if len(one) != _LICENCE)
    return Resources(row.cpus, row.memory, row.gpus, row.time or None, licences, options)


def licences_text(one: Resources) -> str:
    """Return the column `licences`: JSON, with [name, count] of each licence, and then [option] of each option for a
    batch executor. Together with the other columns it identifies a resource class."""
    return to_json([*one.licences, *((option,) for option in one.options)]).decode()


_LICENCE = 2  # the length of a licence's entry


def with_next_attempt(value: NextAttempt, convert: Convert) -> NextAttempt:
    """Return what a job's next attempt does, with its path converted."""
    return value if value.folder is None else replace(value, folder=convert(value.folder))


def next_attempt_of(text: str | None, paths: StoredPaths) -> NextAttempt:
    """Return the next attempt of its column."""
    return DEFAULT_NEXT_ATTEMPT if text is None else with_next_attempt(_NEXT_ATTEMPT(text), paths.decode)


def next_attempt_text(value: NextAttempt, paths: StoredPaths) -> str | None:
    """Return the column of a next attempt."""
    return None if value == DEFAULT_NEXT_ATTEMPT else to_json(with_next_attempt(value, paths.encode)).decode()


_NEXT_ATTEMPT = json_reader(NextAttempt)
_LEFT_RUNNING = json_reader(LeftRunning)
