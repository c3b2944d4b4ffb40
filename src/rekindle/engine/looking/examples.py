"""One attempt of each way in which attempts have failed, with the end of what it said."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rekindle.domain.models import Attempt, FailureGroup, StepOutcome
from rekindle.domain.states import State
from rekindle.engine.folders import log_path
from rekindle.engine.session import Session
from rekindle.files.leaves import open_leaf
from rekindle.journal.places import attempt_folder

LINES = 20
"""So many lines of a log are an example's tail, at the most."""

_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Example:
    """An attempt that failed: the newest of its kind. `tail` are the last lines of its error or stderr; of a step that
    said nothing there, of what that printed."""

    attempt: Attempt
    name: str  # the job's
    step: str | None  # at which it failed
    tail: tuple[str, ...]


def examples(session: Session, groups: Sequence[FailureGroup]) -> Mapping[str, Example]:
    """The newest attempt of each group, by signature."""
    with session.store.read() as archive:
        attempts = archive.attempts.some([one.newest for one in groups if one.newest is not None])
        names = {job.id: job.name for job in archive.jobs.get(sorted({one.job for one in attempts}))}
    found = {}
    for one in attempts:
        if one.signature is not None:
            step = _failed(one)
            found[one.signature] = Example(one, names[one.job], step.name if step else None, _tail(session, one, step))
    return found


def _failed(attempt: Attempt) -> StepOutcome | None:
    return next((step for step in attempt.steps if step.state is State.FAILED), None)


def _tail(session: Session, attempt: Attempt, step: StepOutcome | None) -> tuple[str, ...]:
    told = attempt.failure
    text = (told.traceback if told else "").strip("\n") or (told.stderr if told else "").strip("\n")
    if not text.strip() and step is not None:
        text = _end_of(log_path(attempt_folder(session.store.folder, attempt.id), step.position, "stdout"))
    return tuple(text.splitlines()[-LINES:])


def _end_of(path: str) -> str:
    """The end of a file; nothing where it is not there, or cannot be read."""
    try:
        with open_leaf(path) as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _BYTES))
            return log.read(_BYTES).decode(errors="replace").strip("\n")
    except OSError:
        return ""
