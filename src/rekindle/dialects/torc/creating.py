"""Storing a torc spec: as a workflow of its own, as torc does it, or as the next revision of one."""

from __future__ import annotations

from pathlib import Path

import click

from rekindle.dialects.opening import opened
from rekindle.dialects.torc.asked import asked
from rekindle.dialects.torc.reading import Loaded, load, load_commands
from rekindle.dialects.torc.records import folder_of, free_folder, make_folder, save
from rekindle.dialects.torc.showing import emit
from rekindle.domain.errors import NotFound
from rekindle.engine.looking import look
from rekindle.engine.results import Submitted
from rekindle.engine.session import Session
from rekindle.engine.submitting.submit import preview, submit


def create_from(spec: Path, *, update: bool = False, commands_of: str | None = None) -> None:
    """Read the file, store it, and tell the key of the workflow. Whatever is wrong with it, nothing is made."""
    loaded = None if update else _read(spec, commands_of)
    with opened(create=not update) as session:
        done = _updated(session, spec) if loaded is None else _created(session, spec, commands_of, loaded)
    if asked().as_json:
        emit({"workflow_key": str(done.workflow), "workflow_id": done.workflow, "name": done.name, "jobs": done.jobs})
    elif done.created:
        click.echo(f"Created workflow {done.workflow} {done.name} with {done.jobs:,} jobs")
    else:
        what = "unchanged" if done.unchanged else f"revision {done.revision}"
        click.echo(f"Workflow {done.workflow} {done.name}: {what}")


def _created(session: Session, spec: Path, commands_of: str | None, loaded: Loaded) -> Submitted:
    directory = spec.parent.resolve()
    while not make_folder(directory, loaded.records.folder):
        loaded = _read(spec, commands_of)
    save(directory, loaded.records)
    return submit(session, loaded.definition, new=True)


def _updated(session: Session, spec: Path) -> Submitted:
    loaded = load(spec, lambda name: _known_folder(session, name))
    preview(session, loaded.definition, revise=True)  # what is refused leaves the values as they are
    save(spec.parent.resolve(), loaded.records, only_new=True)
    return submit(session, loaded.definition, revise=True)


def _known_folder(session: Session, name: str) -> str:
    folder = folder_of(session, look.find_workflow(session, name))
    if folder is None:
        raise NotFound(f"the workflow {name} did not come through torc", hint="without --update it becomes another one")
    return folder


def _read(spec: Path, commands_of: str | None) -> Loaded:
    directory = spec.parent.resolve()
    if commands_of is None:
        return load(spec, lambda name: free_folder(directory, name))
    return load_commands(spec, commands_of, lambda name: free_folder(directory, name))
