"""Submitting a definition: a new workflow, the next revision of one, or nothing new."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import msgspec

from rekindle.domain.changes.revisions import compare
from rekindle.domain.definition import Definition
from rekindle.domain.errors import NotFound, Refused
from rekindle.domain.models import Workflow
from rekindle.domain.states import ACTIVE
from rekindle.domain.texts.jobnames import composed
from rekindle.engine.folders import attempt_files
from rekindle.engine.looking.look import digest_of
from rekindle.engine.nesting import refuse_while_imported
from rekindle.engine.presence import alive
from rekindle.engine.results import Preview, Submitted
from rekindle.engine.session import Session, tentative
from rekindle.engine.submitting.revising import outline_of, resubmit, takes_over, with_stored_names
from rekindle.engine.wake import ring
from rekindle.journal.copies import remove_tree
from rekindle.journal.places import attempt_folder, subtasks_folder
from rekindle.store.port import Archive


def submit(
    session: Session,
    definition: Definition,
    *,
    name: str | None = None,
    new: bool = False,
    revision_of: int | None = None,
    revise: bool = False,
) -> Submitted:
    """Store a definition.

    A name that the store does not have, or `new`: a new workflow. A name it has, from the same folder, or the id of a
    workflow as `revision_of`: its next revision, or nothing when definition and parameters are the same. From another
    folder: SubmitRefused. From another file that is there beside the workflow's: SubmitRefused, unless `revise` or an
    id says that it is the next revision. NotFound for an id that is not there.
    """
    refuse_while_imported("submits")
    definition = identified(definition, name)
    revise = revise or revision_of is not None or takes_over(session, definition)
    now = session.clock()
    with session.store.write() as archive:
        known = None if new else _known(archive, definition, revision_of)
        submitted = (
            resubmit(archive, known, definition, now, revise=revise) if known else _created(archive, definition, now)
        )
        runners = alive(archive, now)
    ring(session.store.folder, runners)
    return submitted


def preview(
    session: Session,
    definition: Definition,
    *,
    name: str | None = None,
    new: bool = False,
    revision_of: int | None = None,
    revise: bool = False,
) -> Preview:
    """What `submit` would do, and refuse; nothing is changed."""
    definition = identified(definition, name)
    revise = revise or revision_of is not None or takes_over(session, definition)
    with tentative(session) as archive:
        known = None if new else _known(archive, definition, revision_of)
        if known is None:
            return Preview(_created(archive, definition, session.clock()))
        before = archive.workflows.outline(known.id, known.revision)
        submitted = resubmit(archive, known, definition, session.clock(), revise=revise)
        if submitted.unchanged:
            return Preview(submitted)
        return Preview(submitted, compare(before, outline_of(with_stored_names(archive, known, definition))))


def identified(definition: Definition, name: str | None = None) -> Definition:
    """A definition as it is stored, under another name if one is given. One that was made in Python has no file whose
    digest tells whether it changed: it gets that of its content."""
    if name:
        definition = dataclasses.replace(definition, name=composed(name))
    if definition.source_digest is not None:
        return definition
    content = msgspec.json.encode((definition.templates, definition.jobs, definition.edges), order="sorted")
    return dataclasses.replace(definition, source_digest=digest_of(content))


def _known(archive: Archive, definition: Definition, revision_of: int | None) -> Workflow | None:
    """The workflow of which it is the next revision; None: it is a new one."""
    known = archive.workflows.find(revision_of or definition.name)
    if known is None and revision_of is not None:
        raise NotFound(f"no such workflow: {revision_of}")
    return known


def _created(archive: Archive, definition: Definition, now: float) -> Submitted:
    workflow = archive.workflows.add(definition, now)
    archive.events.add(now, "submitted", workflow, {"name": definition.name, "jobs": len(definition.jobs)})
    return Submitted(workflow, definition.name, revision=1, jobs=len(definition.jobs), created=True)


def archive_workflow(session: Session, workflow: int, back: bool = False) -> None:
    """Set a workflow aside (it is not run, and left out of lists), or bring it `back`. Refused while it runs."""
    now = session.clock()
    with session.store.write() as archive:
        if not back:
            _refuse_while_active(archive, workflow, "archived")
        archive.workflows.archive(workflow, None if back else now)
        archive.events.add(now, "unarchived" if back else "archived", workflow, {})
        runners = alive(archive, now)
    ring(session.store.folder, runners)


def delete_workflow(session: Session, workflow: int, *, files: bool = False) -> None:
    """Remove a workflow with all its history; with `files` its attempts' folders and logs too, save folders that
    others may be in. Refused while it runs. This cannot be undone."""
    with session.store.write() as archive:
        _refuse_while_active(archive, workflow, "deleted")
        attempts = archive.attempts.listing(None, workflow)
        own = {attempt_folder(session.store.folder, attempt.id) for attempt in attempts}
        folders = own | {attempt.folder for attempt in attempts if attempt.folder}
        folders -= {attempt.folder for attempt in attempts if attempt.shared}
        archive.workflows.delete(workflow)
        archive.events.add(session.clock(), "deleted", None, {"workflow": workflow, "attempts": len(attempts)})
    if files:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        for beside in own:
            shutil.rmtree(subtasks_folder(beside), ignore_errors=True)
            for path in attempt_files(Path(beside)):
                remove_tree(str(path)) if path.is_dir() else path.unlink(missing_ok=True)


def _refuse_while_active(archive: Archive, workflow: int, what: str) -> None:
    found = archive.workflows.find(workflow)
    if found is None:
        raise NotFound(f"no such workflow: {workflow}")
    if any(found.counts.get(state) for state in ACTIVE) or archive.queue.leaving(workflow):
        raise Refused(f"{found.name} runs and cannot be {what}", hint=f"rekindle cancel -w {found.id}")
