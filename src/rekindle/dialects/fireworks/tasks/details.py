"""What an exception says of itself beside its text (`to_dict`): FireWorks keeps it with the launch, and gives it to the
spec of the next one. Here it is a line of the traceback."""

from __future__ import annotations

import json
from typing import Any

from rekindle.dialects.fireworks.tasks.actions import as_json

_BEGINNING = "_details: "


def note_details(error: BaseException) -> None:
    """Note what the exception's `to_dict` gives, where it has one."""
    if callable(getattr(error, "to_dict", None)):
        try:
            text = json.dumps(as_json(error))
        except Exception:  # noqa: BLE001 - a user's method, asked for what may as well be missing
            return
        error.add_note(_BEGINNING + text)


def details_of(trace: str) -> Any:
    """What was noted, of a traceback. None: nothing."""
    for line in reversed(trace.splitlines()):
        if line.startswith(_BEGINNING):
            try:
                return json.loads(line.removeprefix(_BEGINNING))
            except ValueError:
                return None
    return None


def with_details(trace: str, details: Any) -> str:
    """A traceback in which they are noted."""
    return trace if details is None else f"{trace.rstrip()}\n{_BEGINNING}{json.dumps(details)}\n"
