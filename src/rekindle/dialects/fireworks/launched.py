"""An attempt as FireWorks tells a launch: where and when it ran, what it did, how it came to an end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rekindle.dialects.fireworks.flows import date_text
from rekindle.dialects.fireworks.fwactions import done_by
from rekindle.dialects.fireworks.tasks.details import details_of
from rekindle.dialects.fireworks.words import launch_state
from rekindle.domain.models import Attempt
from rekindle.domain.states import ENDED, State


def launch_document(
    attempt: Attempt, spec: Mapping[str, Any], fworker: str | None = None, *, times: bool = False
) -> dict[str, Any]:
    """The launch that an attempt is, of a firework with this spec; `fworker` is the name of who launched it. With
    `times` as the collection of launches has it, with when it began and ended."""
    told = {
        "fworker": {"name": fworker or attempt.host, "category": "", "query": "{}", "env": {}},
        "fw_id": attempt.job,
        "launch_dir": attempt.folder,
        "host": attempt.host,
        "ip": None,
        "trackers": list(spec.get("_trackers", ())),
        "action": action_document(attempt, spec),
        "state": launch_state(attempt.state),
        "state_history": _history(attempt),
        "launch_id": attempt.id,
    }
    if not times:
        return told
    began, ended = attempt.started, attempt.ended
    seconds = ended - began if began is not None and ended is not None else None
    return {**told, "time_start": _date(began), "time_end": _date(ended), "runtime_secs": seconds}


def action_document(attempt: Attempt, spec: Mapping[str, Any]) -> dict[str, Any] | None:
    """What it did: its tasks' actions as one, or why it did not come to its end; None while it runs."""
    if attempt.state not in ENDED:
        return None
    if attempt.state is State.COMPLETED:
        return {**NOTHING, **done_by(attempt.steps)}
    failed = next(
        (step for step in attempt.steps if step.state is not State.COMPLETED and step.kept_from is None), None
    )
    own = json.loads(attempt.binding).get("spec", spec) if attempt.binding else spec
    tasks = list(own.get("_tasks", ()))
    task = tasks[failed.position] if failed is not None and failed.position < len(tasks) else None
    data = {
        "_message": _message(attempt),
        "_task": task,
        "_exception": {"_stacktrace": _stacktrace(attempt), "_details": details_of(_stacktrace(attempt))},
    }
    return {**NOTHING, "stored_data": {**done_by(attempt.steps).get("stored_data", {}), **data}, "exit": True}


NOTHING: Mapping[str, Any] = {
    "stored_data": {},
    "exit": False,
    "update_spec": {},
    "mod_spec": [],
    "additions": [],
    "detours": [],
    "append_wfs": [],
    "defuse_children": False,
    "defuse_workflow": False,
    "propagate": False,
}
"""An action that does nothing, with every key that FireWorks writes."""


def _message(attempt: Attempt) -> str:
    if attempt.failure and attempt.failure.message:
        return attempt.failure.message
    if attempt.exit_code:
        return f"it ended with {attempt.exit_code}"
    return attempt.cause.value if attempt.cause else ""


def _stacktrace(attempt: Attempt) -> str:
    """The traceback; of what has none its message, and the end of what it wrote to stderr."""
    failure = attempt.failure
    if failure is None:
        return _message(attempt)
    return failure.traceback or "\n".join(part for part in (_message(attempt), failure.stderr) if part)


def _history(attempt: Attempt) -> list[dict[str, Any]]:
    """When it came into which state, and the task at which it was."""
    history: list[dict[str, Any]] = []
    checkpoint = _checkpoint(attempt)
    if attempt.started is not None:
        history.append({"state": "RUNNING", "created_on": _date(attempt.started)})
        if checkpoint:
            history[-1] |= {"updated_on": _date(_seen(attempt)), "checkpoint": checkpoint}
    elif attempt.queued is not None:
        history.append({"state": "RESERVED", "created_on": _date(attempt.queued)})
    if attempt.ended is not None:
        last = {"state": launch_state(attempt.state), "created_on": _date(attempt.ended)}
        history.append(last | ({"checkpoint": checkpoint} if checkpoint else {}))
    return history


def _checkpoint(attempt: Attempt) -> dict[str, Any]:
    done = [step for step in attempt.steps if step.state is State.COMPLETED or step.kept_from is not None]
    if not attempt.steps:
        return {}
    found = done_by(done)
    return {
        "_task_n": min(len(done), attempt.steps[-1].position),
        "_all_stored_data": found.get("stored_data", {}),
        "_all_update_spec": found.get("update_spec", {}),
        "_all_mod_spec": found.get("mod_spec", []),
    }


def _seen(attempt: Attempt) -> float | None:
    return max((at for step in attempt.steps for at in (step.started, step.ended) if at), default=attempt.started)


def _date(at: float | None) -> str | None:
    return None if at is None else date_text(at)
