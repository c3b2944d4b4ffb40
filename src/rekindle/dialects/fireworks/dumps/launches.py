"""A launch of a dump becomes an attempt that was over before."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rekindle.dialects.fireworks.dumps.documents import Document, moment
from rekindle.dialects.fireworks.tasks.details import with_details
from rekindle.domain.causes import Cause
from rekindle.domain.histories import PastAttempt
from rekindle.domain.models import Failure, StepOutcome
from rekindle.domain.states import State

_RAISED = re.compile(r"(?P<type>[^\W\d][\w.]*)(?::\s*(?P<message>.*))?")

_MOST = 64_000
"""Characters kept of a stack trace: its end."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """From where a launch goes on: the position of the launch before among the job's, and of the task."""

    launch: int
    task: int


def past_attempt(
    launch: Document, steps: Sequence[str], *, archived: bool, number: int, recovery: Recovery | None = None
) -> PastAttempt:
    """The attempt. `steps` are the names of the job's steps; `number` is what it is to be called by."""
    state = launch.get("state")
    history = [one for one in launch.get("state_history") or () if isinstance(one, Mapping)]
    times = {one.get("state"): moment(one.get("created_on")) for one in reversed(history)}
    started = times.get("RUNNING") or moment(launch.get("time_start"))
    ended = times.get(state) if state in ("COMPLETED", "FIZZLED") else None
    ended = ended or moment(launch.get("time_end")) or _last_seen(history) or started or 0.0
    action = launch.get("action") if isinstance(launch.get("action"), Mapping) else None
    cause, failure = _why(state, action)
    checkpoint = next((one["checkpoint"] for one in reversed(history) if one.get("checkpoint")), None)
    done = {key: value for key, value in (action or {}).items() if value and key in _TOLD}
    outcomes = _steps(steps, cause, checkpoint, done, recovery)
    return PastAttempt(
        ended=max(ended, started or ended),
        cause=cause,
        archived=archived,
        queued=times.get("RESERVED") or started,
        started=started,
        failure=failure,
        host=_text(launch.get("host")),
        runner=str((launch.get("fworker") or {}).get("name") or ""),
        folder=_text(launch.get("launch_dir")),
        result=json.dumps(done) if cause is None and done else None,
        steps=outcomes,
        builds_on=recovery.launch if recovery else None,
        start_step=recovery.task if recovery else 0,
        id=number,
    )


_TOLD = (
    "stored_data",
    "update_spec",
    "mod_spec",
    "propagate",
    "exit",
    "defuse_children",
    "defuse_workflow",
    "additions",
    "detours",
    "append_wfs",
)


def _why(state: Any, action: Mapping[str, Any] | None) -> tuple[Cause | None, Failure | None]:
    """What ended it, and what it said. A launch that had not ended is lost, as one that never said how it ended."""
    if state == "COMPLETED":
        return None, None
    stored = (action or {}).get("stored_data")
    said = stored if isinstance(stored, Mapping) else {}
    exception = said.get("_exception")
    trace = exception.get("_stacktrace") if isinstance(exception, Mapping) else None
    if state != "FIZZLED" or (action is None and not trace):
        return Cause.LOST, None
    trace = str(trace or "")[-_MOST:]
    last = next((line for line in reversed(trace.splitlines()) if _RAISED.fullmatch(line)), "")
    raised = _RAISED.fullmatch(last)
    message = (raised["message"] if raised else None) or str(said.get("_message") or "")
    details = exception.get("_details") if isinstance(exception, Mapping) else None
    return Cause.EXCEPTION, Failure(raised["type"] if raised else "", message, with_details(trace, details))


def _steps(
    names: Sequence[str], cause: Cause | None, checkpoint: Any, done: Document, recovery: Recovery | None
) -> tuple[StepOutcome, ...]:
    """What is known of its tasks: a checkpoint was written before each was begun, with what those before had done.
    What a launch has done stands with the last that completed."""
    reached = checkpoint.get("_task_n") if isinstance(checkpoint, Mapping) else None
    if reached is None and cause is not None:
        return ()
    last = len(names) - 1 if reached is None else min(int(reached), len(names) - 1)
    before = done if cause is None else _before(checkpoint)
    completed = last + 1 if cause is None else last
    kept = recovery.task if recovery else 0
    outcomes = [
        StepOutcome(
            at,
            names[at],
            State.COMPLETED,
            result=json.dumps(before) if at == completed - 1 and before else None,
            kept_from=recovery.launch if recovery and at < kept else None,
        )
        for at in range(completed)
    ]
    if cause is not None:
        outcomes.append(StepOutcome(last, names[last], State.FAILED, cause))
    return tuple(outcomes)


def _before(checkpoint: Mapping[str, Any]) -> Document:
    found = {key: checkpoint.get(f"_all_{key}") for key in ("stored_data", "update_spec", "mod_spec")}
    return {key: value for key, value in found.items() if value}


def _last_seen(history: Sequence[Document]) -> float | None:
    seen = (moment(one.get(key)) for one in history for key in ("created_on", "updated_on"))
    return max((one for one in seen if one is not None), default=None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
