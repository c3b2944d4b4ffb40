"""Submitting a definition: a new workflow, the next revision of one, or nothing new."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import msgspec

from rekindle.domain.definition import Definition
from rekindle.domain.errors import NotFound, Refused, SubmitRefused
from rekindle.domain.models import Workflow
from rekindle.domain.states import ACTIVE
from rekindle.engine.folders import attempt_files
from rekindle.engine.joining import first_adders, join_revision, refuse_taken_names
from rekindle.engine.look import digest_of
from rekindle.engine.presence import is_alive
from rekindle.engine.results import Submitted
from rekindle.engine.session import Session
from rekindle.engine.wake import ring
from rekindle.journal.copies import remove_tree
from rekindle.journal.places import attempt_folder, subtasks_folder
from rekindle.store.port import Archive


def submit(session: Session, definition: Definition, *, name: str | None = None, new: bool = False) -> Submitted:
    """Store a definition.

    A name that the store does not have, or `new`: a new workflow. A name it has, from the same folder: its next
    revision, or nothing when definition and parameters are the same. From another folder: SubmitRefused.
    """
    definition = _identified(dataclasses.replace(definition, name=name) if name else definition)
    now = session.clock()
    with session.store.write() as archive:
        known = None if new else archive.workflows.find(definition.name)
        if known is None:
            submitted = _created(archive, definition, now)
        else:
            submitted = _resubmitted(archive, known, definition, now)
        runners = [runner.id for runner in archive.runners.alive() if is_alive(runner)]
    ring(session.store.folder, runners)
    return submitted


def _identified(definition: Definition) -> Definition:
    """A definition made in Python has no file whose digest tells whether it changed: take its content's."""
    if definition.source_digest is not None:
        return definition
    content = msgspec.json.encode(
        (definition.templates, definition.jobs, definition.edges, definition.directory), order="sorted"
    )
    return dataclasses.replace(definition, source_digest=digest_of(content))


def _created(archive: Archive, definition: Definition, now: float) -> Submitted:
    workflow = archive.workflows.add(definition, now)
    archive.events.add(now, "submitted", workflow, {"name": definition.name, "jobs": len(definition.jobs)})
    return Submitted(workflow, definition.name, revision=1, jobs=len(definition.jobs), created=True)


def _resubmitted(archive: Archive, known: Workflow, definition: Definition, now: float) -> Submitted:
    if known.directory != definition.directory:
        raise SubmitRefused(
            f"this store has a workflow {known.name!r} from another folder, {known.directory}",
            hint="--as NAME submits this one under a name of its own",
        )
    params = archive.workflows.params(known.id, known.revision)
    if known.source_digest == definition.source_digest and params == dict(definition.params):
        return Submitted(known.id, known.name, known.revision, jobs=len(definition.jobs), created=False, unchanged=True)
    _refuse_losing_what_runs(archive, known, definition)
    refuse_taken_names(archive, known, definition)
    revised = archive.workflows.revise(known.id, definition, now)
    join_revision(archive, known, revised)
    detail = {
        "revision": revised.revision,
        "added": len(revised.added),
        "retired": len(revised.retired),
        "changed": len(revised.changed),
    }
    archive.events.add(now, "revised", known.id, detail)
    return Submitted(
        known.id,
        known.name,
        revised.revision,
        jobs=len(definition.jobs),
        created=False,
        added=revised.added,
        retired=revised.retired,
        changed=revised.changed,
    )


def _refuse_losing_what_runs(archive: Archive, known: Workflow, definition: Definition) -> None:
    active = [attempt.job for attempt in archive.attempts.active() if attempt.workflow == known.id]
    if not active:
        return
    kept = {job.name for job in definition.jobs}
    jobs = archive.jobs.get(sorted(active))
    adders = first_adders(archive, [job.id for job in jobs if job.added_by is not None])
    gone = [job.name for job in jobs if adders.get(job.id, job.name) not in kept]
    if gone:
        raise SubmitRefused(
            f"the new revision leaves out jobs that run now: {', '.join(gone[:10])}",
            hint="wait for them, or end them with `rekindle cancel`",
        )


def archive_workflow(session: Session, workflow: int, back: bool = False) -> None:
    """Set a workflow aside (it is not run, and left out of lists), or bring it `back`. Refused while it runs."""
    now = session.clock()
    with session.store.write() as archive:
        if not back:
            _refuse_while_active(archive, workflow, "archived")
        archive.workflows.archive(workflow, None if back else now)
        archive.events.add(now, "unarchived" if back else "archived", workflow, {})


def delete_workflow(session: Session, workflow: int, *, files: bool = False) -> None:
    """Remove a workflow with all its history; with `files` its attempts' folders and logs too. Refused while it
    runs. This cannot be undone."""
    with session.store.write() as archive:
        _refuse_while_active(archive, workflow, "deleted")
        attempts = archive.attempts.listing(None, workflow)
        folders = {attempt_folder(session.store.folder, attempt.id) for attempt in attempts}
        folders |= {attempt.folder for attempt in attempts if attempt.folder}
        archive.workflows.delete(workflow)
        archive.events.add(session.clock(), "deleted", None, {"workflow": workflow, "attempts": len(attempts)})
    if files:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(subtasks_folder(folder), ignore_errors=True)
            for path in attempt_files(Path(folder)):
                remove_tree(str(path)) if path.is_dir() else path.unlink(missing_ok=True)


def _refuse_while_active(archive: Archive, workflow: int, what: str) -> None:
    found = archive.workflows.find(workflow)
    if found is None:
        raise NotFound(f"no such workflow: {workflow}")
    if any(found.counts.get(state) for state in ACTIVE):
        raise Refused(f"{found.name} runs and cannot be {what}", hint=f"rekindle cancel -w {found.id}")


def differences(session: Session, workflow: int, definition: Definition) -> Submitted:
    """What submitting `definition` as the next revision would do; nothing is changed."""

    class _Looked(Exception):
        """Leaves the transaction, so that nothing of it is kept."""

    with session.store.read() as archive:
        known = archive.workflows.find(workflow)
    if known is None:
        raise NotFound(f"no such workflow: {workflow}")
    definition = dataclasses.replace(_identified(definition), name=known.name)
    answer: list[Submitted] = []
    try:
        with session.store.write() as archive:
            answer.append(_resubmitted(archive, known, definition, session.clock()))
            raise _Looked
    except _Looked:
        return answer[0]
