"""The files and user data of a torc workflow by name, and how a restart resets ephemeral user data.

A user data value is a file that jobs read and write like any other, so a changed value is detected by content."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from blake3 import blake3

from rekindle.dialects.torc.torc_status import jobs_of
from rekindle.domain.errors import NotFound, RekindleError
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.states import ACTIVE
from rekindle.domain.texts.display import did_you_mean
from rekindle.engine.queries import workflow_queries
from rekindle.engine.staleness.stale_jobs import find_stale_jobs
from rekindle.files.digests import digest_of
from rekindle.journal.encoding import to_json

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.engine.session import Session

FOLDER_PARAM = "torc_folder"
"""The parameter that names a workflow's folder. Only workflows that torc commands added have it."""

OUTPUT_FOLDER = "torc_output"
_RECORDS_FILE = "records.json"


class UserDatum(msgspec.Struct, frozen=True):
    """A value that jobs pass on: its file, and the JSON text in the spec."""

    path: str  # below the project's folder
    ephemeral: bool = False
    given: str | None = None


class TorcRecords(msgspec.Struct, frozen=True):
    """Files and user data by name, in the order of the spec. An entry's key is its position, from 1."""

    folder: str
    files: dict[str, str] = msgspec.field(default_factory=dict)
    user_data: dict[str, UserDatum] = msgspec.field(default_factory=dict)


def free_folder(directory: Path, name: str) -> str:
    """Return a folder below the project's that does not exist yet, for a workflow of this name."""
    base = re.sub(r"[^\w.-]", "_", name).lstrip(".") or "workflow"
    names = (f"{OUTPUT_FOLDER}/{base}-{number}" for number in itertools.count(1))
    return next(folder for folder in names if not (directory / folder).exists())


def make_folder(directory: Path, folder: str) -> bool:
    """Make the folder. Returns False if it exists."""
    try:
        (directory / folder / "user_data").mkdir(parents=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise RekindleError(f"cannot make {directory / folder}: {error.strerror}") from error
    return True


def folder_of(session: Session, workflow: Workflow) -> str | None:
    """Return a workflow's folder, or None if torc commands did not add the workflow."""
    found = workflow_queries.params(session, workflow).get(FOLDER_PARAM)
    return found if isinstance(found, str) else None


def save_records(directory: Path, records: TorcRecords, *, only_new: bool = False) -> None:
    """Write the records, and the values in the spec. With `only_new` values that the spec did not change stay."""
    earlier = _read_records(directory, records.folder) if only_new else TorcRecords(records.folder)
    for name, one in records.user_data.items():
        before = earlier.user_data.get(name)
        if one.given is not None and (before is None or before.given != one.given):
            write_text(directory / one.path, one.given)
    write_text(directory / records.folder / _RECORDS_FILE, to_json(records).decode())


def records_of(session: Session, workflow: Workflow) -> TorcRecords:
    """Return a workflow's records; empty ones if torc commands did not add the workflow."""
    folder = folder_of(session, workflow)
    return TorcRecords("") if folder is None else _read_records(Path(workflow.directory), folder)


def find_user_data(records: TorcRecords, key: str) -> tuple[str, UserDatum]:
    """Return user data by key or name. Raises NotFound with the nearest name."""
    names = list(records.user_data)
    name = names[int(key) - 1] if key.isdecimal() and 0 < int(key) <= len(names) else key
    if name not in records.user_data:
        raise NotFound(f"no such user data: {key}", hint=did_you_mean(key, names) or "the workflow has none")
    return name, records.user_data[name]


def value_of(workflow: Workflow, datum: UserDatum) -> Any:
    """Return the present value, or None if there is none."""
    path = Path(workflow.directory, datum.path)
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RekindleError(f"{path} cannot be read as JSON: {error}", hint="correct or remove the file") from error


def write_text(path: Path, text: str) -> None:
    """Write a file atomically."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(_file_text(text))
        beside.replace(path)
    except OSError as error:
        raise RekindleError(f"cannot write {path}: {error.strerror}") from error


def _file_text(text: str) -> str:
    return text + "\n"


def _read_records(directory: Path, folder: str) -> TorcRecords:
    try:
        return msgspec.json.decode((directory / folder / _RECORDS_FILE).read_bytes(), type=TorcRecords)
    except FileNotFoundError:
        return TorcRecords(folder)
    except (OSError, msgspec.MsgspecError) as error:
        raise RekindleError(f"{directory / folder / _RECORDS_FILE} cannot be read: {error}") from error


class EphemeralReset(msgspec.Struct):
    """The values that a restart resets, the jobs that have to run again because of that, and the changes that it takes
    back."""

    jobs: dict[int, tuple[Reason, ...]] = msgspec.field(default_factory=dict)
    values: dict[str, int] = msgspec.field(default_factory=dict)  # name -> the job that makes it, or 0
    restored: dict[str, str] = msgspec.field(default_factory=dict)  # absolute path -> digest of the value in the spec

    def ignores(self, _job: int, reason: Reason) -> bool:
        """Return whether a change does not make a job stale.

        As in torc, a file or value that was edited after a job had made it is kept, and only its readers run again. A
        reader that had the value in the spec gets the same one again."""
        detail = reason.detail
        if reason.kind is ReasonKind.OUTPUT:
            return detail["after"] is not None
        return reason.kind is ReasonKind.INPUT and self.restored.get(detail["path"]) == detail["before"] is not None


def plan_ephemeral_reset(session: Session, workflow: Workflow, records: TorcRecords) -> EphemeralReset:
    """Plan the reset of ephemeral user data.

    A value that a job made is removed, and the job runs again. A value in the spec is restored, and its readers run
    again if they had another one. Other values stay."""
    found = EphemeralReset()
    ephemeral = {name: one for name, one in records.user_data.items() if one.ephemeral}
    if not ephemeral:
        return found
    templates = {template.name: template for template in workflow_queries.templates(session, workflow.id)}
    rows = [row for row in jobs_of(session, workflow) if row.job.name in templates and not row.job.retired]
    makers = _by_path({row.job.id: templates[row.job.name].outputs for row in rows})
    readers = _by_path({row.job.id: templates[row.job.name].inputs for row in rows})
    active = {row.job.id for row in rows if row.job.state in ACTIVE}
    for name, one in ephemeral.items():
        path = Path(workflow.directory, one.path)
        if not path.exists():
            continue
        if made_by := makers.get(one.path):
            if made_by[0] not in active:
                found.values[name] = made_by[0]
                detail = {"name": f"user_data_{name}", "path": str(path), "before": None, "after": None}
                found.jobs[made_by[0]] = (Reason(ReasonKind.OUTPUT, detail),)
        elif one.given is not None and path.read_text().strip() != one.given:
            touched = readers.get(one.path, [])
            if not active.intersection(touched):
                found.values[name] = 0
                found.restored[str(path)] = blake3(_file_text(one.given).encode()).hexdigest()
                _add_readers(session, name, str(path), touched, found)
    return found


def _add_readers(session: Session, name: str, path: str, readers: list[int], found: EphemeralReset) -> None:
    """Add the readers of a value that had the present one, which will be replaced."""
    detail = {"name": f"user_data_{name}", "path": path, "before": digest_of(path), "after": found.restored[path]}
    stale = find_stale_jobs(session, readers).stale
    for job in readers:
        differs = any(one.kind is ReasonKind.INPUT and one.detail["path"] == path for one in stale.get(job, ()))
        if not differs and job not in found.jobs:
            found.jobs[job] = (Reason(ReasonKind.INPUT, detail),)


def reset_ephemeral(workflow: Workflow, records: TorcRecords, found: EphemeralReset, reset: set[int]) -> None:
    """Remove or restore the values whose makers are reset."""
    for name, maker in found.values.items():
        one = records.user_data[name]
        if maker and maker not in reset:
            continue
        if one.given is None:
            Path(workflow.directory, one.path).unlink(missing_ok=True)
        else:
            write_text(Path(workflow.directory, one.path), one.given)


def _by_path(paths: Mapping[int, Mapping[str, str]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for job, named in paths.items():
        for path in named.values():
            found.setdefault(path, []).append(job)
    return found
