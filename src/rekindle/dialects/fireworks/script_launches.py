"""The records of launches that a script runs itself: which tasks have completed, and how a launch ended."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rekindle.dialects.fireworks.flow import PERFORM
from rekindle.dialects.fireworks.tasks.fwaction import action_dict, append_details
from rekindle.domain.actions import Action, action_document, read_action
from rekindle.domain.errors import BadValue
from rekindle.domain.models import Failure, StepOutcome
from rekindle.domain.states import Cause, State
from rekindle.engine.running.detached import step_names
from rekindle.journal.records import Ended, StepEnded

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt
    from rekindle.engine.session import Session

_CHECKPOINT_KEYS = ("stored_data", "update_spec", "mod_spec")


def completed_tasks(session: Session, attempt: Attempt, checkpoint: Mapping[str, Any]) -> list[StepEnded]:
    """Return the records of the tasks that a checkpoint says have completed. Its data belong to the last of them."""
    done = {key: checkpoint.get(f"_all_{key}") for key in _CHECKPOINT_KEYS}
    result = {key: value for key, value in done.items() if value}
    return _steps(session, attempt, int(checkpoint.get("_task_n", 0)), result)


def launch_end(session: Session, attempt: Attempt, action: Any, state: str) -> list[StepEnded | Ended]:
    """Return the records of a launch that ends now with an FWAction (an object, its dict or None). Raises BadValue for
    another state than COMPLETED and FIZZLED, and BadTask or BadSpecChange for an invalid FWAction."""
    if state not in ("COMPLETED", "FIZZLED"):
        raise BadValue(f"a launch cannot end in the state {state!r:.60}", hint="COMPLETED or FIZZLED")
    fwaction, names, now = action_dict(action), step_names(session, attempt), session.clock()
    began = attempt.started or now
    if state == "FIZZLED":
        return [_failed_end(attempt, fwaction, names, began, now)]
    last = len(names) - 1
    acts = action_document(_dynamic_action(attempt, fwaction, last))
    read_action(acts)
    result = json.dumps(fwaction) if fwaction else None
    step = StepOutcome(
        last,
        names[last],
        State.COMPLETED,
        started=began,
        ended=now,
        result=result,
        action=json.dumps(acts) if acts else None,
    )
    end = Ended(
        attempt=attempt.id,
        token=attempt.token,
        state=State.COMPLETED,
        ended=now,
        started=began,
        result=result,
        steps=(step,),
    )
    return [*_steps(session, attempt, last, {}), end]


def _dynamic_action(attempt: Attempt, fwaction: Mapping[str, Any], task: int) -> Action:
    """Convert an FWAction as the step of a firework does. The module is imported by its name, as workers do, because it
    runs users' Firetasks, which may open a LaunchPad."""
    perform = importlib.import_module(PERFORM.partition(":")[0])
    context = SimpleNamespace(job=attempt.job, attempt=attempt.number)  # the part of a worker's that is read
    made: Action = perform.rekindle_action(fwaction, {}, context, task)
    return made


def _steps(session: Session, attempt: Attempt, count: int, result: Mapping[str, Any]) -> list[StepEnded]:
    names, now = step_names(session, attempt), session.clock()
    count = min(count, len(names))
    return [
        StepEnded(
            attempt.id,
            attempt.token,
            StepOutcome(
                at,
                names[at],
                State.COMPLETED,
                started=attempt.started,
                ended=now,
                result=json.dumps(result) if result and at == count - 1 else None,
            ),
        )
        for at in range(attempt.start_step, count)
    ]


def _failed_end(attempt: Attempt, fwaction: Mapping[str, Any], names: list[str], began: float, now: float) -> Ended:
    done = [step.position for step in attempt.steps if step.state is State.COMPLETED]
    at = min(max(done, default=attempt.start_step - 1) + 1, len(names) - 1)
    stored = fwaction.get("stored_data", {})
    exception = stored.get("_exception") or {}
    trace = str(exception.get("_stacktrace") or "").rstrip()
    kind, _, message = trace.splitlines()[-1].partition(": ") if trace else ("", "", "")
    message = message or str(stored.get("_message") or "it was marked FIZZLED")
    failure = Failure(kind, message, append_details(trace, exception.get("_details")), "")
    step = StepOutcome(at, names[at], State.FAILED, Cause.EXCEPTION, started=began, ended=now)
    return Ended(
        attempt=attempt.id,
        token=attempt.token,
        state=State.FAILED,
        ended=now,
        started=began,
        cause=Cause.EXCEPTION,
        failure=failure,
        steps=(step,),
    )
