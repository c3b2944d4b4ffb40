"""What torc's commands tell of a workflow that no job holds: its files and user data by name.

The values of user data are files, which jobs read and write like any others: a change of one is seen by its content.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from rekindle.domain.errors import NotFound, RekindleError
from rekindle.domain.models import Workflow
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.engine.looking import look
from rekindle.engine.session import Session
from rekindle.journal.encoding import to_json

FOLDER_PARAM = "torc_folder"
"""The parameter of a workflow that names its folder; only workflows that came through torc have it."""

OUTPUT_FOLDER = "torc_output"
_RECORDS = "records.json"


@dataclass(frozen=True, slots=True)
class Datum:
    """One value that jobs hand on: in which file, and the JSON text that the spec gives."""

    path: str  # below the project's folder
    ephemeral: bool = False
    given: str | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """Files and user data by name, in the order of the spec. The key of each is its position, from 1."""

    folder: str
    files: dict[str, str] = field(default_factory=dict)
    user_data: dict[str, Datum] = field(default_factory=dict)


def free_folder(directory: Path, name: str) -> str:
    """A folder that is not there yet, for a workflow of that name, below the project's."""
    base = re.sub(r"[^\w.-]", "_", name).lstrip(".") or "workflow"
    names = (f"{OUTPUT_FOLDER}/{base}-{number}" for number in itertools.count(1))
    return next(folder for folder in names if not (directory / folder).exists())


def make_folder(directory: Path, folder: str) -> bool:
    """Make it; False: somebody else has."""
    try:
        (directory / folder / "user_data").mkdir(parents=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise RekindleError(f"cannot make {directory / folder}: {error.strerror}") from error
    return True


def folder_of(session: Session, workflow: Workflow) -> str | None:
    """Where a workflow has its user data; None: it did not come through torc."""
    found = look.params(session, workflow).get(FOLDER_PARAM)
    return found if isinstance(found, str) else None


def save(directory: Path, records: Records, *, only_new: bool = False) -> None:
    """Write the records, and the values that the spec gives; with `only_new` those that it gave before stay as they
    are."""
    earlier = _read(directory, records.folder) if only_new else Records(records.folder)
    for name, one in records.user_data.items():
        before = earlier.user_data.get(name)
        if one.given is not None and (before is None or before.given != one.given):
            write_text(directory / one.path, one.given)
    write_text(directory / records.folder / _RECORDS, to_json(records).decode())


def records_of(session: Session, workflow: Workflow) -> Records:
    """What was kept of a workflow; nothing, of one that did not come through torc."""
    folder = folder_of(session, workflow)
    return Records("") if folder is None else _read(Path(workflow.directory), folder)


def find(records: Records, key: str) -> tuple[str, Datum]:
    """User data by key or name; NotFound names the nearest."""
    names = list(records.user_data)
    name = names[int(key) - 1] if key.isdecimal() and 0 < int(key) <= len(names) else key
    if name not in records.user_data:
        raise NotFound(f"no such user data: {key}", hint=did_you_mean(key, names) or "the workflow has none")
    return name, records.user_data[name]


def value_of(workflow: Workflow, datum: Datum) -> Any:
    """The value now; None where there is none."""
    path = Path(workflow.directory, datum.path)
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RekindleError(f"{path} cannot be read as JSON: {error}", hint="mend or remove the file") from error


def write_text(path: Path, text: str) -> None:
    """Write a file at once: whoever reads it sees what was there before, or all of this."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text + "\n")
        beside.replace(path)
    except OSError as error:
        raise RekindleError(f"cannot write {path}: {error.strerror}") from error


def _read(directory: Path, folder: str) -> Records:
    try:
        return msgspec.json.decode((directory / folder / _RECORDS).read_bytes(), type=Records)
    except FileNotFoundError:
        return Records(folder)
    except (OSError, msgspec.MsgspecError) as error:
        raise RekindleError(f"{directory / folder / _RECORDS} cannot be read: {error}") from error
