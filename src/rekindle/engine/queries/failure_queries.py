"""Query failures: groups by signature, one example of each group, and flaky jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.models import (
    Attempt,
    FailureGroup,
    PartialOfFailure,
    StepOutcome,
)
from rekindle.domain.states import Cause, State
from rekindle.domain.texts.display import show_bytes
from rekindle.engine.queries.logs import log_path
from rekindle.engine.queries.selections import find_workflow_in
from rekindle.engine.queries.workflow_queries import quarantined_jobs
from rekindle.files.kept_logs import content_size, open_log_file
from rekindle.journal.paths import attempt_folder, subtask_folder

if TYPE_CHECKING:
    from rekindle.domain.batches.quarantine import QuarantinedJobs
    from rekindle.domain.subtasks import Subtask
    from rekindle.engine.session import Session


def failures(session: Session, workflow: str | None = None, archived: bool = False) -> list[FailureGroup]:
    """Return live failed attempts grouped by signature, largest group first; with `archived`, all that ever failed."""
    with session.store.read() as archive:
        return archive.attempts.failures(find_workflow_in(archive, workflow).id if workflow else None, archived)


def undecided(session: Session, groups: Sequence[FailureGroup]) -> dict[int, str]:
    """Return, by job, what failures of these groups wait for: a person or a judge."""
    with session.store.read() as archive:
        if not archive.overviews.undecided():
            return {}
        found = archive.judgements.undecided({job for group in groups for job in group.jobs})
    return {job: why for job, (_, why) in found.items()}


def quarantined(session: Session, workflow: str | None = None) -> list[QuarantinedJobs]:
    """Return the failed jobs of a workflow, or of all, that have a quarantine, also one that has ended."""
    with session.store.read() as archive:
        chosen = [find_workflow_in(archive, workflow)] if workflow else archive.workflows.listing()
        now = session.clock()
        return [one for known in chosen for one in quarantined_jobs(archive, known.id, now)]


def partial_outputs_of_failures(
    session: Session, groups: Sequence[FailureGroup], archived: bool = False
) -> dict[str, list[PartialOfFailure]]:
    """Return, by signature, the declared outputs that the failed attempts of these groups have left."""
    found: dict[str, list[PartialOfFailure]] = {}
    with session.store.read() as archive:
        jobs = {job for group in groups for job in group.jobs}
        for one in archive.fingerprints.partial_of_failures(jobs, archived):
            found.setdefault(one.signature, []).append(one)
    return found


TAIL_LINES = 20
"""The most lines of a log that an example shows."""

_TAIL_BYTES = 8192


class FailureExample(msgspec.Struct, frozen=True):
    """The newest failed attempt of a group. `tail` is the end of its error or stderr, or of stdout if both are empty;
    for a fan-out, of the item that failed first."""

    attempt: Attempt
    name: str  # the job's
    step: str | None  # that failed
    tail: tuple[str, ...]
    subtask: int | None = None  # index of the item that failed first; None: no item failed


def failure_examples(session: Session, groups: Sequence[FailureGroup]) -> Mapping[str, FailureExample]:
    """Return the newest attempt of each group, by signature."""
    with session.store.read() as archive:
        attempts = archive.attempts.by_id([one.newest for one in groups if one.newest is not None])
        names = {job.id: job.name for job in archive.jobs.get(sorted({one.job for one in attempts}))}
    found = {}
    for one in attempts:
        if one.signature is not None:
            step = _failed_step(one)
            item = _failed_item(session, one, step)
            tail, index = _log_tail(session, one, step, item), item.index if item else None
            found[one.signature] = FailureExample(one, names[one.job], step.name if step else None, tail, index)
    return found


def log_tail(session: Session, attempt: Attempt) -> tuple[str, ...]:
    """Return the end of a failed attempt's error or stderr, or of stdout if both are empty, as an example has it."""
    step = _failed_step(attempt)
    return _log_tail(session, attempt, step, _failed_item(session, attempt, step))


def _failed_step(attempt: Attempt) -> StepOutcome | None:
    return next((step for step in attempt.steps if step.state is State.FAILED), None)


def _failed_item(session: Session, attempt: Attempt, step: StepOutcome | None) -> Subtask | None:
    """Return the item that failed first, if the step is a fan-out that failed because of its items."""
    if step is None or step.cause is not Cause.SUBTASKS:
        return None
    with session.store.read() as archive:
        known = archive.subtasks.of(attempt.id, step.position)
    failed = [one for one in known if one.state is State.FAILED]
    return min(failed, key=lambda one: (one.ended or 0.0, one.index), default=None)


def _log_tail(session: Session, attempt: Attempt, step: StepOutcome | None, item: Subtask | None) -> tuple[str, ...]:
    failure = attempt.failure
    text = (failure.traceback if failure else "").strip("\n") or (failure.stderr if failure else "").strip("\n")
    if not text.strip() and step is not None:
        folder = attempt_folder(session.store.folder, item.attempt if item else attempt.id)
        place = subtask_folder(folder, step.position, item.index) if item else folder
        text = _read_end(log_path(place, step.position, "stdout"))
    return tuple(text.splitlines()[-TAIL_LINES:])


def _read_end(path: str) -> str:
    """Return the end of a file; "" if the file is missing or unreadable."""
    try:
        with open_log_file(path) as log:
            log.seek(max(0, content_size(log) - _TAIL_BYTES))
            return show_bytes(log.read(_TAIL_BYTES).decode(errors="surrogateescape")).strip("\n")
    except OSError:
        return ""
