"""Storing a torc spec: as a workflow of its own, as torc does it, or as the next revision of one."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from rekindle.dialects.opening import opened
from rekindle.dialects.torc.asked import asked
from rekindle.dialects.torc.reading import Loaded, load, load_commands, workflow_name
from rekindle.dialects.torc.records import folder_of, new_folder, save
from rekindle.dialects.torc.showing import emit
from rekindle.domain.errors import NotFound, Refused, SpecError
from rekindle.engine import look
from rekindle.engine.results import Submitted
from rekindle.engine.session import Session
from rekindle.engine.submit import preview, submit


def create_from(spec: Path, *, update: bool = False, commands_of: str | None = None) -> None:
    """Read the file, store it, and tell the key of the workflow."""
    _read(spec, commands_of, "torc_output/unnamed")  # what is wrong with it is told before anything is made
    with opened(create=not update) as session:
        done = _updated(session, spec) if update else _created(session, spec, commands_of)
    if asked().as_json:
        emit({"workflow_key": str(done.workflow), "workflow_id": done.workflow, "name": done.name, "jobs": done.jobs})
    elif done.created:
        click.echo(f"Created workflow {done.workflow} {done.name} with {done.jobs:,} jobs")
    else:
        what = "unchanged" if done.unchanged else f"revision {done.revision}"
        click.echo(f"Workflow {done.workflow} {done.name}: {what}")


def _created(session: Session, spec: Path, commands_of: str | None) -> Submitted:
    directory = spec.parent.resolve()
    folder = new_folder(directory, commands_of or workflow_name(spec))
    try:
        loaded = _read(spec, commands_of, folder)
        save(directory, loaded.records)
        return submit(session, loaded.definition, new=True)
    except (SpecError, Refused):
        shutil.rmtree(directory / folder)
        raise


def _updated(session: Session, spec: Path) -> Submitted:
    name = workflow_name(spec)
    workflow = look.find_workflow(session, name)
    folder = folder_of(session, workflow)
    if folder is None:
        raise NotFound(f"the workflow {name} did not come through torc", hint="without --update it becomes another one")
    loaded = load(spec, folder)
    preview(session, loaded.definition)  # what is refused leaves the values as they are
    save(spec.parent.resolve(), loaded.records, only_new=True)
    return submit(session, loaded.definition)


def _read(spec: Path, commands_of: str | None, folder: str) -> Loaded:
    return load(spec, folder) if commands_of is None else load_commands(spec, commands_of, folder)
