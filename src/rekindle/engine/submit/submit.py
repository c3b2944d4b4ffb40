"""Submit definitions as new workflows or revisions; archive and delete workflows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.changes.revisions import diff_outlines
from rekindle.domain.definition import Definition, check_workflow_name
from rekindle.domain.errors import NotFound, Refused
from rekindle.domain.expansion import job_texts
from rekindle.domain.states import ACTIVE
from rekindle.engine.notify import notify
from rekindle.engine.plan_inputs import KnownPaths, write_with_paths
from rekindle.engine.preconditions import refuse_while_imported
from rekindle.engine.presence import live_runners
from rekindle.engine.results import SubmitPreview, SubmitResult
from rekindle.engine.retention.cache import sweep
from rekindle.engine.retention.prune import finish_removals
from rekindle.engine.reuse_offers import offer_reuse
from rekindle.engine.session import Session, tentative
from rekindle.engine.submit.revise import (
    is_unchanged,
    may_replace_source,
    outline_of,
    revise_workflow,
    with_stored_names,
)
from rekindle.journal.paths import attempt_folder, subtasks_folder
from rekindle.journal.trees import remove_tree

if TYPE_CHECKING:
    from rekindle.domain.models import Runner, Workflow
    from rekindle.store.archive import Snapshot, Transaction
    from rekindle.store.workflows import StoreProgress

_SORTED = msgspec.json.Encoder(order="sorted")
_ENCODED = 4096  # jobs or edges that are encoded together


def submit(
    session: Session,
    definition: Definition,
    *,
    name: str | None = None,
    new: bool = False,
    revision_of: int | None = None,
    revise: bool = False,
    progress: StoreProgress | None = None,
) -> SubmitResult:
    """Store a definition. `progress` is called while a new workflow is stored.

    An unknown name, or `new`: a new workflow. A known name from the same folder, or the id of a workflow as
    `revision_of`: the next revision, or nothing if definition and parameters are unchanged. SubmitRefused if the
    workflow is from another folder; or from another file that still exists, unless `revise` or `revision_of` is given.
    NotFound for an unknown id.
    """
    refuse_while_imported("submits")
    definition = with_source_digest(definition, name)
    revise = revise or revision_of is not None or may_replace_source(session, definition)
    now = session.clock()

    def change(archive: Transaction, paths: KnownPaths) -> tuple[SubmitResult, list[Runner]]:
        known = None if new else _known_workflow(archive, definition, revision_of)
        submitted = (
            revise_workflow(archive, known, definition, now, paths.exists, revise=revise)
            if known
            else _create_workflow(archive, definition, now, progress)
        )
        offer_reuse(archive, [submitted.workflow])
        return submitted, archive.runners.alive()

    submitted, registered = write_with_paths(session.store.write, change)
    runners = live_runners(registered, now)
    notify(session.store, runners)
    return submitted


def preview(
    session: Session,
    definition: Definition,
    *,
    name: str | None = None,
    new: bool = False,
    revision_of: int | None = None,
    revise: bool = False,
) -> SubmitPreview:
    """Return what `submit` would do, with the same errors; nothing is changed."""
    definition = with_source_digest(definition, name)
    revise = revise or revision_of is not None or may_replace_source(session, definition)

    def change(archive: Transaction, paths: KnownPaths) -> SubmitPreview:
        known = None if new else _known_workflow(archive, definition, revision_of)
        if known is None:
            return SubmitPreview(_create_workflow(archive, definition, session.clock()))
        same = is_unchanged(archive, known, definition)
        before = None if same else archive.workflows.outline(known.id, known.revision)
        submitted = revise_workflow(archive, known, definition, session.clock(), paths.exists, revise=revise)
        if before is None:
            return SubmitPreview(submitted)
        return SubmitPreview(
            submitted, diff_outlines(before, outline_of(with_stored_names(archive, known, definition)))
        )

    return write_with_paths(lambda: tentative(session), change)


def with_source_digest(definition: Definition, name: str | None = None) -> Definition:
    """Return a definition as it is stored, under `name` if given. A definition made in Python has no file, so its
    digest is computed from its content. Raise BadValue for a name that no workflow can have."""
    if name is not None:
        definition = msgspec.structs.replace(definition, name=check_workflow_name(name))
    if definition.source_digest is not None:
        return definition
    return msgspec.structs.replace(definition, source_digest=_content_digest(definition))


def _content_digest(definition: Definition) -> str:
    """Return the digest of the templates, jobs and edges. They are encoded a few at a time."""
    from blake3 import blake3

    hasher = blake3(_SORTED.encode(definition.templates))
    jobs = job_texts(definition.jobs, lambda binding: _SORTED.encode(binding).decode())
    for parts in (jobs, iter(definition.edges)):
        while some := list(itertools.islice(parts, _ENCODED)):
            hasher.update(_SORTED.encode(some))
    return str(hasher.hexdigest())


def _known_workflow(archive: Snapshot, definition: Definition, revision_of: int | None) -> Workflow | None:
    """Return the workflow that the definition revises; None: it is a new one."""
    known = archive.workflows.find(revision_of or definition.name)
    if known is None and revision_of is not None:
        raise NotFound(f"no such workflow: {revision_of}")
    return known


def _create_workflow(
    archive: Transaction, definition: Definition, now: float, progress: StoreProgress | None = None
) -> SubmitResult:
    workflow = archive.workflows.add(definition, now, progress=progress)
    archive.events.add(now, "submitted", workflow, {"name": definition.name, "jobs": len(definition.jobs)})
    return SubmitResult(workflow, definition.name, revision=1, jobs=len(definition.jobs), created=True)


def archive_workflow(session: Session, workflow: int, back: bool = False) -> None:
    """Archive a workflow (it is not run, and left out of lists), or bring it `back`. Refused while it runs."""
    now = session.clock()
    with session.store.write() as archive:
        if not back:
            _refuse_while_active(archive, workflow, "archived")
        archive.workflows.archive(workflow, None if back else now)
        archive.events.add(now, "unarchived" if back else "archived", workflow, {})
        registered = archive.runners.alive()
    runners = live_runners(registered, now)
    notify(session.store, runners)


def delete_workflow(session: Session, workflow: int, *, files: bool = False) -> None:
    """Delete a workflow with its history; with `files`, also its attempts' folders and logs, except folders shared with
    other attempts. Refused while it runs. This cannot be undone."""
    with session.store.write() as archive:
        _refuse_while_active(archive, workflow, "deleted")
        attempts = archive.attempts.listing(None, workflow)
        own = {attempt_folder(session.store.folder, attempt.id) for attempt in attempts}
        folders = own | {attempt.folder for attempt in attempts if attempt.folder}
        folders -= {attempt.folder for attempt in attempts if attempt.shared}
        archive.workflows.delete(workflow)
        archive.events.add(session.clock(), "deleted", None, {"workflow": workflow, "attempts": len(attempts)})
    sweep(session)
    if files:
        import shutil

        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        for beside in own:
            shutil.rmtree(subtasks_folder(beside), ignore_errors=True)
            for path in _files_beside(Path(beside)):
                remove_tree(str(path)) if path.is_dir() else path.unlink(missing_ok=True)


def begin_ids_again(session: Session) -> bool:
    """Let the ids of new jobs and attempts follow the highest in the store, after workflows were deleted. What deleted
    attempts left in the store is removed, except for their folders: ids of attempts follow those. Return False, and
    change nothing, while a runner works or its end is not recorded."""
    from rekindle.engine.retention.unfinished_imports import remove_unfinished_imports

    finish_removals(session)  # files of attempts whose ids may begin again
    remove_unfinished_imports(session)
    sweep(session)
    with session.store.write() as archive:
        stored, used = archive.jobs.highest_attempts()
        begins = archive.jobs.begin_ids_again(used)
    if begins and used > stored:
        folders = _remove_remains(Path(session.store.folder), range(stored + 1, used + 1))
        with session.store.write() as archive:
            begins = archive.jobs.begin_ids_again(folders)
    return begins


def _remove_remains(store: Path, attempts: range) -> int:
    """Remove the files beside the folders of deleted attempts. Return the highest of those that have a folder, or 0."""
    highest = 0
    for path in list(store.glob("attempts/*/*/*")):
        number, dot, _ = path.name.partition(".")
        if not number.isdecimal() or int(number) not in attempts:
            continue
        if not dot:
            highest = max(highest, int(number))
        elif path.is_dir() and not path.is_symlink():
            remove_tree(str(path))
        else:
            path.unlink(missing_ok=True)
    return highest


def _refuse_while_active(archive: Snapshot, workflow: int, what: str) -> None:
    found = archive.workflows.find(workflow)
    if found is None:
        raise NotFound(f"no such workflow: {workflow}")
    if any(found.counts.get(state) for state in ACTIVE) or archive.queue.count_archived_active(workflow):
        raise Refused(f"{found.name} runs and cannot be {what}", hint=f"rekindle cancel -w {found.id}")


def _files_beside(folder: Path) -> Iterator[Path]:
    """Return the files beside an attempt's folder that belong to the attempt."""
    return folder.parent.glob(f"{folder.name}.*")
