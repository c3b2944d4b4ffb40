"""A step's verdict and action: read from where the step left them, told with it; later steps see what it has set."""

from __future__ import annotations

import json

import msgspec

from rekindle.domain.actions import BAD_ACTION, BadAction, action_document, apply_change, read_action
from rekindle.domain.causes import Cause
from rekindle.domain.errors import BadValue
from rekindle.domain.models import Failure
from rekindle.domain.states import State
from rekindle.domain.verdicts import BAD_VERDICT, Verdict, read_verdict
from rekindle.worker.findings import StepEnd
from rekindle.worker.folders import take_action, take_verdict
from rekindle.worker.frame import Frame


def left_action(leaves: str) -> tuple[str | None, BadValue | None]:
    """(the JSON text of the action that a command left, what is wrong with it)."""
    try:
        text = take_action(leaves)
        if text is None:
            return None, None
        return written(action_document(read_action(msgspec.json.decode(text)))), None
    except BadValue as error:
        return None, error
    except (msgspec.DecodeError, json.JSONDecodeError) as error:
        return None, BadAction(f"$REKINDLE_ACTION is not JSON: {error}", hint="write one JSON object")


def left_verdict(leaves: str) -> tuple[Verdict | None, BadValue | None]:
    """(the verdict that a command left, what is wrong with it)."""
    try:
        text = take_verdict(leaves)
        return None if text is None else read_verdict(text), None
    except BadValue as error:
        return None, error


def written(document: object) -> str | None:
    """An action's document as text; None: it asks for nothing."""
    return msgspec.json.encode(document).decode() if document else None


def take_effect(end: StepEnd, frame: Frame) -> tuple[StepEnd, bool]:
    """A step has completed: let later steps see the parameters that it set. Returns its end (a failure where they
    cannot be set) and whether the attempt ends here."""
    if end.action is None or not end.completed:
        return end, False
    action = read_action(msgspec.json.decode(end.action))
    try:
        frame.scope["params"] = apply_change(frame.scope["params"], action.set)
    except BadAction as error:
        return refused(end, error), False
    return end, action.exit


def refused(end: StepEnd, error: BadValue, stderr: str = "") -> StepEnd:
    """The end of a step whose action cannot be taken."""
    return _failed(end, Failure(BAD_ACTION, str(error), stderr=stderr))


def unread(end: StepEnd, error: BadValue, stderr: str = "") -> StepEnd:
    """The end of a step whose verdict cannot be taken."""
    return _failed(end, Failure(BAD_VERDICT, str(error), stderr=stderr))


def _failed(end: StepEnd, failure: Failure) -> StepEnd:
    return msgspec.structs.replace(
        end, state=State.FAILED, cause=Cause.EXCEPTION, failure=failure, action=None, verdict=None
    )
