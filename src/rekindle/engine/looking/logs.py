"""What attempts printed: where it is, and reading on while they still print."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from rekindle.domain.definition import JobTemplate
from rekindle.domain.errors import NotFound
from rekindle.domain.models import Attempt, Job
from rekindle.domain.states import ACTIVE, ENDED, State
from rekindle.domain.subtasks import Choice, Subtask, ranges
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
    return item_log_files(session, job, attempt, step, (subtask,))


def item_log_files(
    session: Session, job: int, attempt: int | None = None, step: str | None = None, which: Choice = "all"
) -> list[LogFile]:
    """The logs of the items of an attempt's fan-outs (of one step, or of all), stdout before stderr, as they ran last
    by that attempt or one that it builds on: of all that have begun, of those that have failed, or of these indices.
    NotFound when there is no such attempt, step or item."""
    _, chosen, template = _chosen(session, job, attempt, step)
    found: list[LogFile] = []
    for position, one in enumerate(template.steps):
        if step in (None, one.name):
            with session.store.read() as archive:
                known = archive.subtasks.of(chosen.id, position)
            if isinstance(which, tuple) and (step is not None or one.each is not None):
                _check(one.name, known, which)
            for item in known:
                if _is_meant(item, which):
                    found += _item_files(session, one.name, position, item)
    return found


def fan_outs(session: Session, job: int, attempt: int | None = None) -> list[str]:
    """The names of the fan-out steps of an attempt of a job (by its number; default: the newest)."""
    return [step.name for step in _chosen(session, job, attempt)[2].steps if step.each is not None]


def log_files(session: Session, job: int, attempt: int | None = None, step: str | None = None) -> list[LogFile]:
    """The logs of an attempt of a job (by its number; default: the newest), in the order of steps, stdout before
    stderr. NotFound when there is no such attempt or step."""
    _, chosen, template = _chosen(session, job, attempt, step)
    running = _running_step(chosen)
    return [
        _file(session, chosen, at, one.name, stream, running)
        for at, one in enumerate(template.steps)
        if step in (None, one.name)
        for stream in ("stdout", "stderr")
    ]


def attempt_of(session: Session, job: int, attempt: int | None = None) -> Attempt:
    """An attempt of a job, by its number; default: the newest."""
    return _chosen(session, job, attempt)[1]


def _chosen(
    session: Session, job: int, attempt: int | None, step: str | None = None
) -> tuple[Job, Attempt, JobTemplate]:
    with session.store.read() as archive:
        row = archive.jobs.get([job])[0]
        chosen = _attempt(row, archive.attempts.listing([job], None), attempt)
        template = archive.workflows.template(chosen.template)
    names = [one.name for one in template.steps]
    if step is not None and step not in names:
        raise NotFound(f"{row.name} has no step {step!r}", hint=did_you_mean(step, names))
    return row, chosen, template


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


def _check(step: str, known: Sequence[Subtask], wanted: Sequence[int]) -> None:
    """NotFound where one of these indices is no subtask of the step."""
    there = {one.index for one in known}
    unknown = [index for index in wanted if index not in there]
    if unknown:
        hint = f"it has {ranges(sorted(there))}" if known else "it is no fan-out, or has not begun"
        raise NotFound(f"step {step} has no subtask {ranges(unknown)}", hint=hint)


def _is_meant(item: Subtask, which: Choice) -> bool:
    if isinstance(which, tuple):
        return item.index in which
    return item.state is not State.WAITING and (which == "all" or item.cause is not None)


def _item_files(session: Session, step: str, position: int, item: Subtask) -> list[LogFile]:
    folder = places.subtask_folder(attempt_folder(session.store.folder, item.attempt), position, item.index)
    final = item.state is not State.RUNNING
    return [
        LogFile(item.attempt, step, stream, log_path(folder, position, stream), final, item)
        for stream in ("stdout", "stderr")
    ]


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


def follow(
    session: Session,
    job: int,
    attempt: int | None,
    step: str | None,
    stream: Stream,
    which: Choice | None = None,
    reconcile: Callable[[], object] = lambda: None,
) -> Iterator[bytes | LogFile]:
    """What a stream holds and goes on to hold, in pieces, until the attempt has ended. Steps follow each other; before
    pieces of an item of a fan-out comes its file. `which`: these items of the step, and nothing else. `reconcile` is
    called between two looks: an attempt whose runner is dead ends by it."""
    _, chosen, template = _chosen(session, job, attempt, step)
    number, names = chosen.id, [one.name for one in template.steps]
    done: set[int] = set()
    while True:
        with session.store.read() as archive:
            current = archive.attempts.get(number)
        if current is None:
            return
        for file in log_files(session, job, current.number, step)[(stream == "stderr") :: 2]:
            at = names.index(file.step)
            if at in done or (not file.final and current.state in ACTIVE and not Path(file.path).exists()):
                continue
            if template.steps[at].each is not None:
                if file.final or _running_step(current) == at:
                    yield from _growing_items(session, current, at, stream, which or "all", names[at], reconcile)
                    if which is None:
                        yield from _from(log_path(attempt_folder(session.store.folder, number), at, stream))
                    done.add(at)
            elif file.final:
                yield from _from(file.path)
                done.add(at)
            elif current.state in ACTIVE and file.path.endswith(("/out", "/err")):
                yield from _growing(session, number, at, file.path, reconcile)
                done.add(at)
        if current.state in ENDED:
            return
        time.sleep(FOLLOW_SECONDS)
        reconcile()


def _growing(session: Session, attempt: int, step: int, path: str, reconcile: Callable[[], object]) -> Iterator[bytes]:
    """A running step's log. The open file stays the step's own when it is moved to its place at the end."""
    with open_leaf(path) as log:
        while True:
            over = _is_over(session, attempt, step)
            while piece := log.read(CHUNK):
                yield piece
            if over:
                return
            time.sleep(FOLLOW_SECONDS)
            reconcile()


def _is_over(session: Session, attempt: int, step: int) -> bool:
    with session.store.read() as archive:
        current = archive.attempts.get(attempt)
    return current is None or current.state in ENDED or (_running_step(current) or 0) > step


def _growing_items(
    session: Session,
    attempt: Attempt,
    step: int,
    stream: Stream,
    which: Choice,
    name: str,
    reconcile: Callable[[], object],
) -> Iterator[bytes | LogFile]:
    """What the items of a step print until the step is over; the file comes first where it is another than before.
    Files of items that have ended are read once."""
    shown: dict[int, int] = {}  # bytes of each item's file
    ended: set[int] = set()
    last: int | None = None
    while True:
        over = _is_over(session, attempt.id, step)
        with session.store.read() as archive:
            known = archive.subtasks.of(attempt.id, step)
        for item in known:
            if item.index in ended or not _is_meant(item, which):
                continue
            if item.state is not State.RUNNING:
                ended.add(item.index)
            file = _item_files(session, name, step, item)[stream == "stderr"]
            for piece in _from(file.path, shown.get(item.index, 0)):
                if item.index != last:
                    last = item.index
                    yield file
                shown[item.index] = shown.get(item.index, 0) + len(piece)
                yield piece
        if over:
            return
        time.sleep(FOLLOW_SECONDS)
        reconcile()


def _from(path: str, start: int = 0) -> Iterator[bytes]:
    try:
        with open_leaf(path) as log:
            log.seek(start)
            while piece := log.read(CHUNK):
                yield piece
    except (FileNotFoundError, NotAFile):
        return  # nothing was printed yet
