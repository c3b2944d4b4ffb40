"""What a step left: its result, verdict and action, read from where the step wrote them; later steps see what the
action has set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from rekindle.domain.actions import BadAction, action_document, apply_change, read_action
from rekindle.domain.causes import Cause
from rekindle.domain.errors import BadValue
from rekindle.domain.models import Failure
from rekindle.domain.states import State
from rekindle.domain.verdicts import Verdict, read_verdict
from rekindle.journal.encoding import from_json, to_json
from rekindle.worker.findings import StepEnd
from rekindle.worker.folders import BadFolder, check_folder, take_action, take_result, take_verdict
from rekindle.worker.frame import Frame


class Leaves(NamedTuple):
    """What a command left. `trouble`: the first of it that cannot be taken."""

    result: str | None = None  # JSON text
    verdict: Verdict | None = None
    action: str | None = None  # JSON text
    trouble: BadValue | None = None


def take_leaves(leaves: str) -> Leaves:
    """Take what a command left, and remove it. `leaves`: see Assignment.leaves."""
    try:
        check_folder(leaves)
    except BadValue as error:
        return Leaves(trouble=error)
    found: dict[str, Any] = {}
    trouble: BadValue | None = None
    for name, take in _TAKES.items():
        try:
            found[name] = take(leaves)
        except BadValue as error:
            trouble = trouble or error
    return Leaves(**found, trouble=trouble)


def _verdict(leaves: str) -> Verdict | None:
    text = take_verdict(leaves)
    return None if text is None else read_verdict(text)


def _action(leaves: str) -> str | None:
    value = take_action(leaves)
    document = None if value is None else action_document(read_action(value))
    return to_json(document).decode() if document else None


_TAKES: dict[str, Callable[[str], Any]] = {"result": take_result, "verdict": _verdict, "action": _action}


def take_effect(end: StepEnd, frame: Frame) -> tuple[StepEnd, bool]:
    """A step has completed: let later steps see the parameters that it set. Returns its end (a failure where they
    cannot be set) and whether the attempt ends here."""
    if end.action is None or not end.completed:
        return end, False
    action = read_action(from_json(end.action))
    try:
        frame.scope["params"] = apply_change(frame.scope["params"], action.set)
    except BadAction as error:
        return spoiled(end, error), False
    return end, action.exit


def in_place(end: StepEnd, leaves: str) -> StepEnd:
    """Return the end of a step: a failure where the step has put something else in the place of its own folder."""
    try:
        check_folder(leaves)
    except BadFolder as error:
        return spoiled(end, error)
    return end


def spoiled(end: StepEnd, error: BadValue | None, stderr: str = "") -> StepEnd:
    """Return the end of a step that left something that cannot be taken: a failure, unless it failed by itself. No
    `error`: all that it left was taken."""
    if error is None or not end.completed:
        return end
    failure = Failure(type(error).__name__, str(error), stderr=stderr)
    return msgspec.structs.replace(
        end, state=State.FAILED, cause=Cause.EXCEPTION, failure=failure, action=None, verdict=None
    )
