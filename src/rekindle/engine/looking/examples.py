"""One attempt of each way in which attempts have failed, with the end of what it printed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rekindle.domain.causes import Cause
from rekindle.domain.models import Attempt, FailureGroup, StepOutcome
from rekindle.domain.states import State
from rekindle.domain.subtasks import Subtask
from rekindle.domain.texts.surrogates import shown
from rekindle.engine.folders import log_path
from rekindle.engine.session import Session
from rekindle.files.leaves import open_leaf
from rekindle.journal.places import attempt_folder, subtask_folder

LINES = 20
"""So many lines of a log are an example's tail, at the most."""

_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Example:
    """An attempt that failed: the newest of its kind. `tail` are the last lines of its error or stderr, or of stdout
    where both are empty; of a fan-out's, those of the item that failed first."""

    attempt: Attempt
    name: str  # the job's
    step: str | None  # at which it failed
    tail: tuple[str, ...]
    subtask: int | None = None  # the item of a fan-out step that failed first; None: no item failed


def examples(session: Session, groups: Sequence[FailureGroup]) -> Mapping[str, Example]:
    """The newest attempt of each group, by signature."""
    with session.store.read() as archive:
        attempts = archive.attempts.some([one.newest for one in groups if one.newest is not None])
        names = {job.id: job.name for job in archive.jobs.get(sorted({one.job for one in attempts}))}
    found = {}
    for one in attempts:
        if one.signature is not None:
            step = _failed(one)
            item = _failed_item(session, one, step)
            tail, index = _tail(session, one, step, item), item.index if item else None
            found[one.signature] = Example(one, names[one.job], step.name if step else None, tail, index)
    return found


def _failed(attempt: Attempt) -> StepOutcome | None:
    return next((step for step in attempt.steps if step.state is State.FAILED), None)


def _failed_item(session: Session, attempt: Attempt, step: StepOutcome | None) -> Subtask | None:
    """The item that failed first, of a fan-out step that failed for its items."""
    if step is None or step.cause is not Cause.SUBTASKS:
        return None
    with session.store.read() as archive:
        known = archive.subtasks.of(attempt.id, step.position)
    failed = [one for one in known if one.state is State.FAILED]
    return min(failed, key=lambda one: (one.ended or 0.0, one.index), default=None)


def _tail(session: Session, attempt: Attempt, step: StepOutcome | None, item: Subtask | None) -> tuple[str, ...]:
    told = attempt.failure
    text = (told.traceback if told else "").strip("\n") or (told.stderr if told else "").strip("\n")
    if not text.strip() and step is not None:
        folder = attempt_folder(session.store.folder, item.attempt if item else attempt.id)
        place = subtask_folder(folder, step.position, item.index) if item else folder
        text = _end_of(log_path(place, step.position, "stdout"))
    return tuple(text.splitlines()[-LINES:])


def _end_of(path: str) -> str:
    """The end of a file; nothing where it is not there, or cannot be read."""
    try:
        with open_leaf(path) as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _BYTES))
            return shown(log.read(_BYTES).decode(errors="surrogateescape")).strip("\n")
    except OSError:
        return ""
