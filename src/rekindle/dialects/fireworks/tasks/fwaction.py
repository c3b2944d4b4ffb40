"""The FWAction of a Firetask as a dict of JSON values, and the details of its exception."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rekindle.dialects.fireworks.tasks.task_parameters import BadTask

KEYS = (
    "stored_data",
    "exit",
    "update_spec",
    "mod_spec",
    "additions",
    "detours",
    "append_wfs",
    "defuse_children",
    "defuse_workflow",
    "propagate",
)
_LISTS = ("mod_spec", "additions", "detours", "append_wfs")
_TABLES = ("stored_data", "update_spec")
_FILES = ("FWAction.json", "FWAction.yaml")

FileStamp = tuple[int, int, int]


def action_dict(returned: object) -> dict[str, Any]:
    """Return the FWAction that a task returned as a dict with FireWorks' keys and JSON values, without empty ones.
    Raises BadTask for anything else."""
    if returned is None:
        return {}
    if is_fwaction(returned):
        returned = {key: value for key, value in vars(returned).items() if key in KEYS}
    if not isinstance(returned, Mapping):
        raise BadTask(f"a Firetask returns an FWAction or nothing, not {returned!r:.80}")
    unknown = [key for key in returned if key not in KEYS]
    if unknown:
        raise BadTask(f"an FWAction has no {unknown[0]!r:.60}", hint=f"its keys: {', '.join(KEYS)}")
    action = {key: _action_value(key, json_value(returned[key])) for key in KEYS if key in returned}
    return {key: value for key, value in action.items() if value}


def is_fwaction(value: object) -> bool:
    """Return whether this is a FireWorks FWAction object."""
    module = sys.modules.get("fireworks.core.firework")
    return module is not None and isinstance(value, module.FWAction)


def json_value(value: Any) -> Any:
    """Convert a value to JSON as FireWorks does for its database: objects by `as_dict` or `to_dict`, times to ISO
    8601, arrays to lists, anything else to its text. Sets become lists, and numbers stay numbers."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    for form in ("as_dict", "to_dict"):
        if not isinstance(value, type) and callable(getattr(value, form, None)):
            return json_value(getattr(value, form)())
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(key): json_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_value(inner) for inner in value]
    if callable(getattr(value, "tolist", None)):  # arrays, and scalars of array libraries
        return json_value(value.tolist())
    return str(value)


class WrittenAction:
    """The FWAction file that a task writes into the launch folder. Files from before the task are ignored."""

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / name for name in _FILES]
        self._before = [_file_stamp(path) for path in self._paths]

    def action(self) -> dict[str, Any] | None:
        """Return the FWAction that was written since, or None."""
        for path, before in zip(self._paths, self._before, strict=True):
            if _file_stamp(path) not in (None, before):
                return _read_action_file(path)
        return None


def _read_action_file(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    try:
        found = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise BadTask(f"{path.name} cannot be read: {error}") from error
    if not isinstance(found, Mapping):
        raise BadTask(f"{path.name} is an object with the keys of an FWAction, not {found!r:.60}")
    return {str(key): value for key, value in found.items() if key != "_fw_name"}


def _file_stamp(path: Path) -> FileStamp | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _action_value(key: str, value: Any) -> Any:
    if not value:
        return value
    if key in _LISTS:
        return value if isinstance(value, list) else [value]
    if key in _TABLES and not isinstance(value, dict):
        raise BadTask(f"`{key}` of an FWAction is an object, not {value!r:.60}")
    return value if key in _TABLES else True


_DETAILS_PREFIX = "_details: "


def add_details_note(error: BaseException) -> None:
    """Add the result of the exception's `to_dict`, if it has one, as a note. FireWorks keeps these details with the
    launch, and adds them to the spec of the next one; here they are a line of the traceback."""
    if callable(getattr(error, "to_dict", None)):
        try:
            text = json.dumps(json_value(error))
        except Exception:  # noqa: BLE001 - a user's method; its details are optional
            return
        error.add_note(_DETAILS_PREFIX + text)


def parse_details(trace: str) -> Any:
    """Return the details that are noted in a traceback, or None."""
    for line in reversed(trace.splitlines()):
        if line.startswith(_DETAILS_PREFIX):
            try:
                return json.loads(line.removeprefix(_DETAILS_PREFIX))
            except ValueError:
                return None
    return None


def append_details(trace: str, details: Any) -> str:
    """Return a traceback with these details noted."""
    return trace if details is None else f"{trace.rstrip()}\n{_DETAILS_PREFIX}{json.dumps(details)}\n"
