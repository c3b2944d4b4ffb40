"""Locate and follow the logs of attempts, steps and subtasks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rekindle.domain.errors import NotFound
from rekindle.domain.states import ACTIVE, ENDED, State
from rekindle.domain.subtasks import Subtask, SubtaskChoice, format_ranges
from rekindle.domain.texts.display import did_you_mean
from rekindle.engine.results import LogFile
from rekindle.engine.retention.pruned import refuse_logs_of_pruned
from rekindle.files.kept_logs import open_log_file
from rekindle.files.store_files import NotARegularFile, open_regular_file
from rekindle.journal import paths
from rekindle.journal.paths import attempt_folder

if TYPE_CHECKING:
    from rekindle.domain.definition import JobTemplate
    from rekindle.domain.models import Attempt, Job
    from rekindle.engine.session import Session

Stream = Literal["stdout", "stderr"]

FOLLOW_SECONDS = 0.1
"""The polling interval while following a log."""

CHUNK = 1 << 16


def subtask_log_files(session: Session, job: int, attempt: int | None, step: str, subtask: int) -> list[LogFile]:
    """Return the logs of one subtask, as last run by that attempt of a job or an attempt that it builds on. NotFound if
    there is no such attempt, step or subtask."""
    return item_log_files(session, job, attempt, step, (subtask,))


def item_log_files(
    session: Session, job: int, attempt: int | None = None, step: str | None = None, which: SubtaskChoice = "all"
) -> list[LogFile]:
    """Return the logs of the items of an attempt's fan-outs, stdout before stderr, as last run by that attempt or one
    that it builds on. `step` None: of all steps. `which`: all items that have begun, the failed ones, or these indices.
    NotFound if there is no such attempt, step or item."""
    _, chosen, template = _find_attempt(session, job, attempt, step)
    found: list[LogFile] = []
    for position, one in enumerate(template.steps):
        if step in (None, one.name):
            with session.store.read() as archive:
                known = archive.subtasks.of(chosen.id, position)
            if isinstance(which, tuple) and (step is not None or one.each is not None):
                _check_indices(one.name, known, which)
            for item in known:
                if _is_selected(item, which):
                    found += _item_files(session, one.name, position, item)
    return found


def fan_outs(session: Session, job: int, attempt: int | None = None) -> list[str]:
    """Return the names of the fan-out steps of an attempt (by number; default: the newest)."""
    return [step.name for step in _find_attempt(session, job, attempt)[2].steps if step.each is not None]


def log_files(session: Session, job: int, attempt: int | None = None, step: str | None = None) -> list[LogFile]:
    """Return the logs of an attempt (by number; default: the newest) in the order of steps, stdout before stderr.
    NotFound if there is no such attempt or step."""
    _, chosen, template = _find_attempt(session, job, attempt, step)
    running = _running_step(chosen)
    return [
        _log_file(session, chosen, at, one.name, stream, running)
        for at, one in enumerate(template.steps)
        if step in (None, one.name)
        for stream in ("stdout", "stderr")
    ]


def attempt_log(session: Session, attempt: int, step: int, stream: Stream, item: int | None = None) -> LogFile:
    """Return a log by the attempt's id, the step's position, and the index of an item of a fan-out. A kept step's, and
    a kept item's, is that of the attempt that ran it. NotFound if there is no such attempt, step or item."""
    with session.store.read() as archive:
        chosen = archive.attempts.get(attempt)
        if chosen is None:
            raise NotFound(f"no such attempt: {attempt}", hint="`rekindle attempts list` names them")
        steps = archive.workflows.template(chosen.template).steps
        refuse_logs_of_pruned(archive, f"job {chosen.job}", chosen)
        if step >= len(steps):
            raise NotFound(f"attempt {attempt} has no step {step + 1}", hint=f"its last one is {len(steps)}")
        name = steps[step].name
        found = None if item is None else archive.subtasks.find(attempt, step, item)
    if item is not None:
        if found is None:
            raise NotFound(f"step {name} of attempt {attempt} has no subtask {item}")
        return _item_files(session, name, step, found)[stream == "stderr"]
    kept = next((one.kept_from for one in chosen.steps if one.position == step), None)
    if kept is not None:
        return LogFile(kept, name, stream, log_path(attempt_folder(session.store.folder, kept), step, stream), True)
    return _log_file(session, chosen, step, name, stream, _running_step(chosen))


def attempt_of(session: Session, job: int, attempt: int | None = None) -> Attempt:
    """Return an attempt of a job by number; default: the newest."""
    with session.store.read() as archive:
        return _attempt_by_number(archive.jobs.get([job])[0], archive.attempts.listing([job], None), attempt)


def _find_attempt(
    session: Session, job: int, attempt: int | None, step: str | None = None
) -> tuple[Job, Attempt, JobTemplate]:
    """Return an attempt of a job by number, with its job and definition; of a reused one, the attempt that it stands
    for, if that was not deleted: it has the logs."""
    with session.store.read() as archive:
        row = archive.jobs.get([job])[0]
        chosen = _attempt_by_number(row, archive.attempts.listing([job], None), attempt)
        source = archive.attempts.get(chosen.reused_from) if chosen.reused_from else None
        if source is not None:
            row, chosen = archive.jobs.get([source.job])[0], source
        template = archive.workflows.template(chosen.template)
        refuse_logs_of_pruned(archive, row.name, chosen)
    names = [one.name for one in template.steps]
    if step is not None and step not in names:
        raise NotFound(f"{row.name} has no step {step!r}", hint=did_you_mean(step, names))
    return row, chosen, template


def _attempt_by_number(job: Job, attempts: Sequence[Attempt], number: int | None) -> Attempt:
    if not attempts:
        raise NotFound(f"{job.name} has not run yet: it is {job.state.label}")
    if number is None:
        return attempts[-1]
    for one in attempts:
        if one.number == number:
            return one
    known = ", ".join(str(one.number) for one in attempts)
    raise NotFound(f"{job.name} has no attempt {number}", hint=f"it has {known}")


def _check_indices(step: str, known: Sequence[Subtask], wanted: Sequence[int]) -> None:
    """Raise NotFound if an index is not a subtask of the step."""
    there = {one.index for one in known}
    unknown = [index for index in wanted if index not in there]
    if unknown:
        hint = f"it has {format_ranges(sorted(there))}" if known else "it is no fan-out, or has not begun"
        raise NotFound(f"step {step} has no subtask {format_ranges(unknown)}", hint=hint)


def _is_selected(item: Subtask, which: SubtaskChoice) -> bool:
    if isinstance(which, tuple):
        return item.index in which
    return item.state is not State.WAITING and (which == "all" or item.cause is not None)


def _item_files(session: Session, step: str, position: int, item: Subtask) -> list[LogFile]:
    folder = paths.subtask_folder(attempt_folder(session.store.folder, item.attempt), position, item.index)
    final = item.state is not State.RUNNING
    return [
        LogFile(item.attempt, step, stream, log_path(folder, position, stream), final, item)
        for stream in ("stdout", "stderr")
    ]


def _running_step(attempt: Attempt) -> int | None:
    """Return the position of the running step: the one after those that have ended."""
    if attempt.state not in ACTIVE:
        return None
    return max((one.position + 1 for one in attempt.steps if one.state in ENDED), default=attempt.start_step)


def _log_file(session: Session, attempt: Attempt, at: int, step: str, stream: Stream, running: int | None) -> LogFile:
    path = log_path(attempt_folder(session.store.folder, attempt.id), at, stream)
    if running == at and attempt.worker and not os.path.lexists(path):  # there: the step's end is not ingested yet
        return LogFile(attempt.id, step, stream, live_log_path(session.store.folder, attempt.worker, stream), False)
    return LogFile(attempt.id, step, stream, path, final=running is None or at < running)


def follow(
    session: Session,
    job: int,
    attempt: int | None,
    step: str | None,
    stream: Stream,
    which: SubtaskChoice | None = None,
    reconcile: Callable[[], object] = lambda: None,
) -> Iterator[bytes | LogFile]:
    """Yield the content of a stream, and what is appended, until the attempt has ended. Steps follow each other. Pieces
    of a fan-out item are preceded by its LogFile. `which`: only these items of the step. `reconcile` is called between
    polls, so that an attempt of a dead runner ends."""
    _, chosen, template = _find_attempt(session, job, attempt, step)
    number, names = chosen.id, [one.name for one in template.steps]
    done: set[int] = set()
    while True:
        with session.store.read() as archive:
            current = archive.attempts.get(number)
        if current is None:
            return
        for file in log_files(session, current.job, current.number, step)[(stream == "stderr") :: 2]:
            at = names.index(file.step)
            if at in done or (not file.final and current.state in ACTIVE and not Path(file.path).exists()):
                continue
            if template.steps[at].each is not None:
                if file.final or _running_step(current) == at:
                    yield from _follow_items(session, current, at, stream, which or "all", names[at], reconcile)
                    if which is None:
                        yield from _read_from(log_path(attempt_folder(session.store.folder, number), at, stream))
                    done.add(at)
            elif file.final:
                yield from _read_from(file.path)
                done.add(at)
            elif current.state in ACTIVE and file.path.endswith(("/out", "/err")):
                yield from _follow_step(session, number, at, file.path, reconcile)
                done.add(at)
        if current.state in ENDED:
            return
        time.sleep(FOLLOW_SECONDS)
        reconcile()


def _follow_step(
    session: Session, attempt: int, step: int, path: str, reconcile: Callable[[], object]
) -> Iterator[bytes]:
    """Yield a running step's log. The file stays open while it is moved to its final path."""
    with open_regular_file(path) as log:
        while True:
            over = _has_ended(session, attempt, step)
            while piece := log.read(CHUNK):
                yield piece
            if over:
                return
            time.sleep(FOLLOW_SECONDS)
            reconcile()


def _has_ended(session: Session, attempt: int, step: int) -> bool:
    with session.store.read() as archive:
        current = archive.attempts.get(attempt)
    return current is None or current.state in ENDED or (_running_step(current) or 0) > step


def _follow_items(
    session: Session,
    attempt: Attempt,
    step: int,
    stream: Stream,
    which: SubtaskChoice,
    name: str,
    reconcile: Callable[[], object],
) -> Iterator[bytes | LogFile]:
    """Yield what the items of a step print until the step has ended, with the file first whenever it changes. Files of
    ended items are read once."""
    shown: dict[int, int] = {}  # bytes of each item's file
    ended: set[int] = set()
    last: int | None = None
    while True:
        over = _has_ended(session, attempt.id, step)
        with session.store.read() as archive:
            known = archive.subtasks.of(attempt.id, step)
        for item in known:
            if item.index in ended or not _is_selected(item, which):
                continue
            if item.state is not State.RUNNING:
                ended.add(item.index)
            file = _item_files(session, name, step, item)[stream == "stderr"]
            for piece in _read_from(file.path, shown.get(item.index, 0)):
                if item.index != last:
                    last = item.index
                    yield file
                shown[item.index] = shown.get(item.index, 0) + len(piece)
                yield piece
        if over:
            return
        time.sleep(FOLLOW_SECONDS)
        reconcile()


def _read_from(path: str, start: int = 0) -> Iterator[bytes]:
    try:
        with open_log_file(path) as log:
            log.seek(start)
            while piece := log.read(CHUNK):
                yield piece
    except (FileNotFoundError, NotARegularFile):
        return  # nothing has been printed yet


def log_path(own: str, step: int, stream: str) -> str:
    """Return the path of an ended step's stdout or stderr. The file exists only if something was printed."""
    return paths.log_path(own, step, "out" if stream == "stdout" else "err")


def live_log_path(store_folder: str, worker: str, stream: str) -> str:
    """Return the path of a running step's stdout or stderr, in its worker's scratch folder."""
    return paths.live_log(paths.scratch_path(store_folder, worker), "out" if stream == "stdout" else "err")
