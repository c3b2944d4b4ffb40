"""What attempts printed: where it is, and reading on while they still print."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from rekindle.domain.errors import NotFound
from rekindle.domain.models import Attempt, Job
from rekindle.domain.states import ACTIVE, ENDED, State
from rekindle.domain.subtasks import ranges
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.engine.folders import live_log_path, log_path
from rekindle.engine.results import LogFile
from rekindle.engine.session import Session
from rekindle.files.leaves import NotAFile, open_leaf
from rekindle.journal import places
from rekindle.journal.places import attempt_folder

Stream = Literal["stdout", "stderr"]

FOLLOW_SECONDS = 0.1
"""How often a log that is followed is looked at."""

CHUNK = 1 << 16


def subtask_log_files(session: Session, job: int, attempt: int | None, step: str, subtask: int) -> list[LogFile]:
    """The logs of one subtask, as it ran last by that attempt of a job or one that this builds on. NotFound when there
    is no such attempt, step or subtask."""
    first = log_files(session, job, attempt, step)[0]
    with session.store.read() as archive:
        chosen = archive.attempts.get(first.attempt)
        template = archive.workflows.template(chosen.template) if chosen else None
        position = next(at for at, one in enumerate(template.steps if template else ()) if one.name == step)
        known = archive.subtasks.of(first.attempt, position)
        found = next((one for one in known if one.index == subtask), None)
        owner = archive.attempts.get(found.attempt) if found else None
    if found is None or owner is None:
        there = f"it has {ranges(one.index for one in known)}" if known else "it is no fan-out, or has not begun"
        raise NotFound(f"step {step} has no subtask {subtask}", hint=there)
    folder = places.subtask_folder(places.attempt_folder(session.store.folder, owner.id), position, subtask)
    name, final = f"{step} {subtask}", found.state is not State.RUNNING
    return [
        LogFile(owner.id, name, stream, log_path(folder, position, stream), final) for stream in ("stdout", "stderr")
    ]


def log_files(session: Session, job: int, attempt: int | None = None, step: str | None = None) -> list[LogFile]:
    """The logs of an attempt of a job (by its number; default: the newest), in the order of steps, stdout before
    stderr. NotFound when there is no such attempt or step."""
    with session.store.read() as archive:
        row = archive.jobs.get([job])[0]
        chosen = _attempt(row, archive.attempts.listing([job], None), attempt)
        template = archive.workflows.template(chosen.template)
    names = [one.name for one in template.steps]
    if step is not None and step not in names:
        raise NotFound(f"{row.name} has no step {step!r}", hint=did_you_mean(step, names))
    running = _running_step(chosen)
    return [
        _file(session, chosen, at, name, stream, running)
        for at, name in enumerate(names)
        if step in (None, name)
        for stream in ("stdout", "stderr")
    ]


def _attempt(job: Job, attempts: Sequence[Attempt], number: int | None) -> Attempt:
    if not attempts:
        raise NotFound(f"{job.name} has not run yet: it is {job.state.label}")
    if number is None:
        return attempts[-1]
    for one in attempts:
        if one.number == number:
            return one
    known = ", ".join(str(one.number) for one in attempts)
    raise NotFound(f"{job.name} has no attempt {number}", hint=f"it has {known}")


def _running_step(attempt: Attempt) -> int | None:
    """The position of the step that runs now: the one behind those that have ended."""
    if attempt.state not in ACTIVE:
        return None
    return max((one.position + 1 for one in attempt.steps if one.state in ENDED), default=attempt.start_step)


def _file(session: Session, attempt: Attempt, at: int, step: str, stream: Stream, running: int | None) -> LogFile:
    path = log_path(attempt_folder(session.store.folder, attempt.id), at, stream)
    if running == at and attempt.worker:
        return LogFile(attempt.id, step, stream, live_log_path(session.store.folder, attempt.worker, stream), False)
    return LogFile(attempt.id, step, stream, path, final=running is None or at < running)


def follow(session: Session, job: int, attempt: int | None, step: str | None, stream: Stream) -> Iterator[bytes]:
    """What a stream holds and goes on to hold, in pieces, until the attempt has ended. Steps follow each other."""
    number = log_files(session, job, attempt, step)[0].attempt
    done: set[int] = set()
    while True:
        with session.store.read() as archive:
            current = archive.attempts.get(number)
        if current is None:
            return
        for at, file in enumerate(log_files(session, job, current.number, step)[(stream == "stderr") :: 2]):
            if at in done or (not file.final and current.state in ACTIVE and not Path(file.path).exists()):
                continue
            if file.final:
                yield from _whole(file.path)
                done.add(at)
            elif current.state in ACTIVE and file.path.endswith(("/out", "/err")):
                yield from _growing(session, number, at, file.path)
                done.add(at)
        if current.state in ENDED:
            return
        time.sleep(FOLLOW_SECONDS)


def _whole(path: str) -> Iterator[bytes]:
    try:
        with open_leaf(path) as log:
            while piece := log.read(CHUNK):
                yield piece
    except (FileNotFoundError, NotAFile):
        return  # nothing was printed


def _growing(session: Session, attempt: int, step: int, path: str) -> Iterator[bytes]:
    """A running step's log. The open file stays the step's own when it is moved to its place at the end."""
    with open_leaf(path) as log:
        while True:
            with session.store.read() as archive:
                current = archive.attempts.get(attempt)
            over = current is None or current.state in ENDED or (_running_step(current) or 0) > step
            while piece := log.read(CHUNK):
                yield piece
            if over:
                return
            time.sleep(FOLLOW_SECONDS)
