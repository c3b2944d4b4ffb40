"""What a Firetask returns, as a dict of JSON values: an FWAction, its dict, or a document that it wrote."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rekindle.dialects.fireworks.tasks.given import BadTask

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

Look = tuple[int, int, int]


def as_action(returned: object) -> dict[str, Any]:
    """The FWAction that a task returned, as a dict: FireWorks' keys, JSON values, empty ones left out. BadTask for
    what is none."""
    if returned is None:
        return {}
    if is_fwaction(returned):
        returned = {key: value for key, value in vars(returned).items() if key in KEYS}
    if not isinstance(returned, Mapping):
        raise BadTask(f"a Firetask returns an FWAction or nothing, not {returned!r:.80}")
    unknown = [key for key in returned if key not in KEYS]
    if unknown:
        raise BadTask(f"an FWAction has no {unknown[0]!r:.60}", hint=f"its keys: {', '.join(KEYS)}")
    action = {key: _form(key, as_json(returned[key])) for key in KEYS if key in returned}
    return {key: value for key, value in action.items() if value}


def is_fwaction(value: object) -> bool:
    """Whether it is FireWorks' own object."""
    module = sys.modules.get("fireworks.core.firework")
    return module is not None and isinstance(value, module.FWAction)


def as_json(value: Any) -> Any:
    """A value as JSON has it, as FireWorks writes it into its database: objects through `as_dict` or `to_dict`, times
    as ISO 8601, arrays as lists, anything else as its text. Of sets a list is made, and numbers stay numbers."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    for form in ("as_dict", "to_dict"):
        if not isinstance(value, type) and callable(getattr(value, form, None)):
            return as_json(getattr(value, form)())
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(inner) for inner in value]
    if callable(getattr(value, "tolist", None)):  # arrays, and the single numbers of their libraries
        return as_json(value.tolist())
    return str(value)


class Left:
    """What a task writes into its launch's folder for want of a return value. What was there before is not its own."""

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / name for name in _FILES]
        self._before = [_look(path) for path in self._paths]

    def action(self) -> dict[str, Any] | None:
        """The FWAction that has been written since; None: none has."""
        for path, before in zip(self._paths, self._before, strict=True):
            if _look(path) not in (None, before):
                return _read(path)
        return None


def _read(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    try:
        found = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise BadTask(f"{path.name} cannot be read: {error}") from error
    if not isinstance(found, Mapping):
        raise BadTask(f"{path.name} is an object with the keys of an FWAction, not {found!r:.60}")
    return {str(key): value for key, value in found.items() if key != "_fw_name"}


def _look(path: Path) -> Look | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _form(key: str, value: Any) -> Any:
    if not value:
        return value
    if key in _LISTS:
        return value if isinstance(value, list) else [value]
    if key in _TABLES and not isinstance(value, dict):
        raise BadTask(f"`{key}` of an FWAction is an object, not {value!r:.60}")
    return value if key in _TABLES else True
