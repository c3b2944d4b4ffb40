"""Store torc's specs as workflows and revisions, with a copy for `export`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rekindle.dialects.command_session import open_store
from rekindle.dialects.torc.torc_options import print_json, torc_options
from rekindle.dialects.torc.torc_records import folder_of, free_folder, make_folder, save_records, write_text
from rekindle.dialects.torc.torc_spec import FolderOf, TorcSpec, load_spec
from rekindle.domain.errors import NotFound, RekindleError
from rekindle.engine.queries import selections
from rekindle.engine.submit.submit import preview, submit

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.engine.results import SubmitResult
    from rekindle.engine.session import Session

Reader = Callable[[Path, Path, FolderOf], TorcSpec]
"""Reads a file into a spec, like `load_spec`."""

_SPEC_FILE = "spec.json"


def read_new_spec(spec: Path, reader: Reader = load_spec) -> TorcSpec:
    """Read a spec file for a new workflow of this folder."""
    directory = Path.cwd()
    return reader(spec, directory, lambda name: free_folder(directory, name))


def store_spec(spec: Path, *, update: bool = False, reader: Reader = load_spec, quiet: bool = False) -> int:
    """Read a spec file, store it, print the workflow's key unless `quiet`, and return it. If the file is invalid,
    nothing is stored. `update`: as the next revision of the workflow of that name."""
    loaded = None if update else read_new_spec(spec, reader)
    with open_store(create=not update) as session:
        done = _update(session, spec) if loaded is None else _create(session, spec, reader, loaded)
    if quiet:
        return done.workflow
    if torc_options().as_json:
        print_json(
            {
                "id": done.workflow,
                "workflow_key": str(done.workflow),
                "workflow_id": done.workflow,
                "name": done.name,
                "jobs": done.jobs,
            }
        )
    elif done.created:
        click.echo(f"Created workflow {done.workflow} {done.name} with {done.jobs:,} jobs")
    else:
        what = "unchanged" if done.unchanged else f"revision {done.revision}"
        click.echo(f"Workflow {done.workflow} {done.name}: {what}")
    return done.workflow


def stored_spec(session: Session, workflow: Workflow) -> str:
    """Return the spec of a workflow's latest revision as JSON. Raise NotFound if torc's commands did not store it."""
    folder = folder_of(session, workflow)
    if folder is None:
        raise NotFound(
            f"the workflow {workflow.name} did not come through torc", hint=f"`rekindle workflows show {workflow.id}`"
        )
    path = Path(workflow.directory, folder, _SPEC_FILE)
    try:
        return path.read_text()
    except OSError as error:
        raise RekindleError(
            f"{path} cannot be read: {error.strerror}", hint="`torc create --update` writes it"
        ) from error


def _create(session: Session, spec: Path, reader: Reader, loaded: TorcSpec) -> SubmitResult:
    directory = Path.cwd()
    while not make_folder(directory, loaded.records.folder):
        loaded = read_new_spec(spec, reader)
    _save(directory, loaded)
    return submit(session, loaded.definition, new=True)


def _update(session: Session, spec: Path) -> SubmitResult:
    loaded = load_spec(spec, Path.cwd(), lambda name: _known_folder(session, name))
    preview(session, loaded.definition, revise=True)  # raises before any value is written
    _save(Path.cwd(), loaded, only_new=True)
    return submit(session, loaded.definition, revise=True)


def _save(directory: Path, loaded: TorcSpec, *, only_new: bool = False) -> None:
    save_records(directory, loaded.records, only_new=only_new)
    write_text(directory / loaded.records.folder / _SPEC_FILE, loaded.source)


def _known_folder(session: Session, name: str) -> str:
    folder = folder_of(session, selections.find_workflow(session, name))
    if folder is None:
        raise NotFound(f"the workflow {name} did not come through torc", hint="without --update it becomes another one")
    return folder
