"""Detached attempts: claimed for a process that is no runner of this store, such as a batch job on a node without it.

An attempt of this kind belongs to a runner row with the executor `detached`. No lease ends it, no process takes it
over, and no runner waits for it. It ends in one of these ways:

- The process writes a journal where it runs (`detached_run`), and `collect` ingests it whenever a user asks for that.
- A script that claimed the attempt reports its start and end by `record`.
- `release` gives it up: an unstarted attempt is given back, and a started one is canceled. What its process reports
  afterwards is ignored, as for any attempt that has ended.

Architecture invariant: an attempt that may still start keeps its journal's place free. `release` seals the journal
first, so that the process then starts nothing.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rekindle.domain.errors import JournalError, Refused
from rekindle.domain.models import Attempt, Failure
from rekindle.domain.packing import Capacity
from rekindle.domain.states import ACTIVE, Cause, State
from rekindle.engine.automatic_reruns import RetryErrorSearch
from rekindle.engine.notify import notify
from rekindle.engine.plan_inputs import KnownPaths, write_with_paths
from rekindle.engine.presence import live_runners, this_process
from rekindle.engine.running.assignments import TaskTemplates
from rekindle.engine.running.claims import ClaimScope, claim, give_back, without_patterns
from rekindle.engine.running.dispatch import DurationAverages, WorkerHandle
from rekindle.engine.running.ingest import JournalBatch, JournalReader, failures_of, ingest
from rekindle.engine.running.lost_attempts import rerun_lost
from rekindle.executors.pool import WorkerInfo
from rekindle.files.store_files import make_folder
from rekindle.journal.log import seal_journal
from rekindle.journal.orders import Assignment, TaskTemplate
from rekindle.journal.paths import attempt_folder, journal_path
from rekindle.journal.processes import host_name, start_of
from rekindle.journal.records import Ended, Record, Sealed, Started

if TYPE_CHECKING:
    from rekindle.domain.models import GivenFolder, ReadyJob, Runner
    from rekindle.domain.selection import Predicate
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot, Transaction

EXECUTOR = "detached"
"""The executor of runner rows that stand for detached attempts; `store/sql/runners.sql` names it too."""

_UNLIMITED = Capacity(math.inf, sys.maxsize, sys.maxsize)


class DetachedOrder(msgspec.Struct, frozen=True):
    """What a process needs to run an attempt without the store."""

    task: TaskTemplate
    assignment: Assignment


def reserve(
    session: Session, only: Predicate, place: Callable[[ReadyJob, int, float], GivenFolder], label: str
) -> DetachedOrder | None:
    """Claim the first ready job that meets a condition, without running it. Return None if there is none.

    `place` chooses its folder, as in WorkOptions. `label` names the runner."""
    worker = WorkerHandle(WorkerInfo(EXECUTOR, "", 0, 0), JournalReader(EXECUTOR, Path()))
    tasks, now = TaskTemplates(session.store.folder), session.clock()
    scope = ClaimScope(None, _UNLIMITED, 0, session.store.folder, host_name(), only, place, owner="a detached process")
    scope = without_patterns(session, scope, 1)
    with session.store.read() as archive:
        if not archive.queue.ready(None, 1, scope.host, scope.only):
            return None
    with session.store.write() as archive:
        runner = archive.runners.register(this_process(), EXECUTOR, 1, now, 0.0, label)
        scope = replace(scope, runner=runner.id)
        found = claim(archive, scope, [worker], DurationAverages(), tasks, now, _UNLIMITED, most=1)
        if not found.work:
            archive.runners.end(runner.id, now)
            return None
    (one,) = found.work[EXECUTOR]
    return DetachedOrder(tasks[one.assignment.template], one.assignment)


def detached_attempts(session: Session, ids: Collection[int] | None = None) -> list[Attempt]:
    """Return the detached attempts that have not ended, oldest first; with `ids`, those of them."""
    with session.store.read() as archive:
        every = [attempt for _, attempt in _active(archive)]
    return [one for one in every if ids is None or one.id in ids]


def _active(archive: Snapshot) -> list[tuple[Runner, Attempt]]:
    runners = {runner.id: runner for runner in archive.runners.detached()}
    every = archive.attempts.active() if runners else []
    return [(runners[one.runner], one) for one in every if one.runner in runners]


def journal_folders(session: Session) -> dict[int, Path]:
    """Return, by attempt, the folder of `expect_journal` of the detached attempts that have not ended."""
    with session.store.read() as archive:
        journals = _journals(archive, _active(archive))
    paths = {number: journal[0] for number, journal in journals.items() if journal is not None}
    return {
        number: Path(os.path.normpath(Path(session.store.folder, path))).parents[1] for number, path in paths.items()
    }


def expect_journal(session: Session, attempt: Attempt, folder: str) -> None:
    """Record that the process of a detached attempt writes its journal into `folder` (see `detached_run.run`)."""
    path = os.path.relpath(journal_path(folder, attempt.token), session.store.folder)
    with session.store.write() as archive:
        known = _journals(archive, [(runner, one) for runner, one in _active(archive) if one.id == attempt.id])
        if not known or attempt.runner is None:
            raise Refused(f"attempt {attempt.id} is not reserved", hint="it has ended, or a runner has it")
        journal = known[attempt.id]
        if journal is None:
            archive.runners.open_journal(attempt.runner, attempt.token, path, 0, 0)
        elif journal[0] != path:
            raise Refused(f"attempt {attempt.id} has its journal elsewhere: {journal[0]}", hint="release it first")


def _journals(archive: Snapshot, active: Iterable[tuple[Runner, Attempt]]) -> dict[int, tuple[str, int] | None]:
    """Return, by attempt, the path and position of its journal; None: a script reports for it."""
    found: dict[int, tuple[str, int] | None] = {}
    for runner, attempt in active:
        opened = {worker: (path, position) for worker, path, _, _, position in archive.runners.journals(runner.id)}
        found[attempt.id] = opened.get(attempt.token)
    return found


class Collected(msgspec.Struct, frozen=True):
    """What `collect` found: the attempts that have ended since, those that run, those that have not started, and why
    the journals of some cannot be read."""

    ended: tuple[int, ...]
    running: tuple[int, ...]
    unstarted: tuple[int, ...]
    unreadable: Mapping[int, str]


def collect(session: Session, ids: Collection[int] | None = None) -> Collected:
    """Ingest the journals of detached attempts: of all, or of those with these ids."""
    with session.store.read() as archive:
        active = [(runner, one) for runner, one in _active(archive) if ids is None or one.id in ids]
        journals = _journals(archive, active)
    batches, unreadable = [], {}
    for _, attempt in active:
        journal = journals[attempt.id]
        try:
            batch = None if journal is None else _read(session, attempt, *journal)
        except (JournalError, OSError) as error:
            unreadable[attempt.id] = str(error)
        else:
            batches += [] if batch is None else [batch]
    if batches:
        _ingest(session, batches)
    with session.store.read() as archive:
        now = archive.attempts.by_id([attempt.id for _, attempt in active])
    return Collected(
        tuple(one.id for one in now if one.state not in ACTIVE),
        tuple(one.id for one in now if one.state is State.RUNNING),
        tuple(one.id for one in now if one.state is State.QUEUED),
        unreadable,
    )


def _read(session: Session, attempt: Attempt, journal: str, position: int) -> JournalBatch | None:
    """Return the new content of a journal. If the attempt has ended, take its files."""
    path = Path(session.store.folder, journal)
    batch = JournalReader(attempt.token, path, position).read()
    if batch is not None and any(isinstance(record, Ended) for record in batch.records):
        _take_files(path, attempt, session.store.folder)
    return batch


def _take_files(journal: Path, attempt: Attempt, store_folder: str) -> None:
    """Copy the logs and other files of an attempt from beside its journal into the store."""
    import shutil

    own = attempt_folder(store_folder, attempt.id)
    for path in journal.parent.parent.glob(f"{attempt.token}.*"):
        target = own + path.name.removeprefix(attempt.token)
        make_folder(Path(own).parent)
        if path.is_dir():
            shutil.copytree(path, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, target)


def started(attempt: Attempt) -> Started:
    """Return the record that this process starts a detached attempt now."""
    pid = os.getpid()
    return Started(attempt.id, attempt.token, time.time(), pid, start_of(pid), time.monotonic())


def record(session: Session, attempt: Attempt, records: Sequence[Record]) -> None:
    """Ingest what this process reports of a detached attempt that has no journal."""
    _ingest(session, [JournalBatch(attempt.token, records, 0, host=host_name())])


def release(session: Session, ids: Collection[int], message: str, *, running: bool = True) -> None:
    """Give up detached attempts: give back those that have not started and, with `running`, cancel the others.
    `message` says why. What has been journaled is ingested before."""
    collect(session, ids)
    with session.store.read() as archive:
        active = [(runner, one) for runner, one in _active(archive) if one.id in ids]
        journals = _journals(archive, active)
    unstarted, ends, now = [], [], session.clock()
    for _, attempt in active:
        if attempt.state is State.QUEUED and _cannot_start(journals[attempt.id], session.store.folder):
            unstarted.append(attempt.id)
        elif running:
            end = _end(attempt, State.CANCELED, Cause.CANCELED, message, now)
            ends.append(JournalBatch(attempt.token, [end], _position(journals, attempt)))
    if unstarted or ends:
        _ingest(session, ends, unstarted)


def _position(journals: dict[int, tuple[str, int] | None], attempt: Attempt) -> int:
    journal = journals[attempt.id]
    return 0 if journal is None else journal[1]


def fail(session: Session, ids: Collection[int], message: str) -> None:
    """End detached attempts as failed: they cannot start, and `message` says why. What has been journaled is ingested
    before."""
    collect(session, ids)
    with session.store.read() as archive:
        active = [(runner, one) for runner, one in _active(archive) if one.id in ids]
        journals = _journals(archive, active)
    now = session.clock()
    ends = [
        JournalBatch(one.token, [_end(one, State.FAILED, Cause.START, message, now)], _position(journals, one))
        for _, one in active
    ]
    if ends:
        _ingest(session, ends)


def _cannot_start(journal: tuple[str, int] | None, store_folder: str) -> bool:
    """Keep an unstarted attempt from starting. Return whether that succeeds: not if its process has begun meanwhile."""
    if journal is None:
        return True
    path = Path(store_folder, journal[0])
    try:
        make_folder(path.parent)
        return seal_journal(path, Sealed(f"pid {os.getpid()} on {host_name()}", time.time()))
    except OSError:
        return not path.parent.parent.parent.exists()  # without its folder the process cannot start


def _end(attempt: Attempt, state: State, cause: Cause, message: str, now: float) -> Ended:
    return Ended(
        attempt=attempt.id,
        token=attempt.token,
        state=state,
        ended=max(now, attempt.started or now),
        started=attempt.started or attempt.queued,
        cause=cause,
        failure=Failure(message=message),
    )


def release_canceled(session: Session) -> None:
    """Give back the unstarted detached attempts whose cancellation was requested. Started ones run on: only their
    journals, or a user, can tell when they have ended."""
    with session.store.read() as archive:
        wanted = {
            number for runner in archive.runners.detached() for number, _ in archive.attempts.wanted_cancel(runner.id)
        }
        active = [(runner, one) for runner, one in _active(archive) if one.id in wanted and one.state is State.QUEUED]
        journals = _journals(archive, active)
    unstarted = [one.id for _, one in active if _cannot_start(journals[one.id], session.store.folder)]
    if unstarted:
        _ingest(session, (), unstarted)


def step_names(session: Session, attempt: Attempt) -> list[str]:
    """Return the names of an attempt's steps, kept ones too."""
    with session.store.read() as archive:
        return [step.name for step in archive.workflows.template(attempt.template).steps]


_RESERVED = "reserved"  # the kind of event that names a queue's job


def note_reservation(session: Session, attempt: Attempt, name: str) -> None:
    """Record the name that a queue has given to the job which will run a detached attempt."""
    with session.store.write() as archive:
        detail = {"job": attempt.job, "attempt": attempt.id, "reservation": name}
        archive.events.add(session.clock(), _RESERVED, attempt.workflow, detail)


def reservations(session: Session) -> dict[int, tuple[int, str]]:
    """Return, by attempt, its job and the name that `note_reservation` has recorded last."""
    with session.store.read() as archive:
        details = [one.detail for one in archive.events.of_kind(_RESERVED)]
    return {one["attempt"]: (one["job"], one["reservation"]) for one in details}


def _ingest(session: Session, batches: Sequence[JournalBatch], unstarted: Sequence[int] = ()) -> None:
    """Ingest batches, give back attempts that cannot start, and end the rows of runners without attempts."""
    errors = RetryErrorSearch(session).search(failures_of(batches))
    now = session.clock()

    def write(archive: Transaction, paths: KnownPaths) -> list[Runner]:
        result = ingest(archive, batches, now, paths.exists, errors)
        rerun_lost(archive, result, now, paths.exists)
        paths.check()
        active = _active(archive)
        back = [one.id for _, one in active if one.state is State.QUEUED and one.token in result.returned]
        back += [one.id for _, one in active if one.state is State.QUEUED and one.id in unstarted]
        if back:
            give_back(archive, back, now)
        left = {runner.id for runner, _ in _active(archive)}
        for runner in archive.runners.detached():
            if runner.id not in left:
                for worker, *_ in archive.runners.journals(runner.id):
                    archive.runners.close_journal(worker)
                archive.runners.end(runner.id, now)
        return archive.runners.alive()

    registered = write_with_paths(session.store.write, write)
    notify(session.store, live_runners(registered, now))


def last_sign(session: Session, attempt: Attempt) -> float:
    """Return when something was last heard of a detached attempt that runs: a record, or the start of a script."""
    with session.store.read() as archive:
        (now,) = archive.attempts.by_id([attempt.id])
        journal = _journals(archive, [(runner, one) for runner, one in _active(archive) if one.id == attempt.id])
    signs = [at for step in now.steps for at in (step.started, step.ended) if at is not None]
    path = journal.get(attempt.id)
    if path is not None:
        with contextlib.suppress(OSError):
            signs.append(Path(session.store.folder, path[0]).stat().st_mtime)
    return max((*signs, now.started or now.queued or 0.0))
