"""Orphans: the workers and unfinished attempts of a dead runner, resolved one by one as soon as each can be.

A worker whose runner has died finishes its running attempt, journals it and exits. A worker that has not started yet is
kept from starting (see journal.opening). When a worker has ended, the processes that it had started are killed, and
only then has its journal been read to the end. Attempts are resolved as follows:

- An attempt that a worker gives back is ready again.
- An attempt that had started and not ended is lost once its worker and all its processes have ended.
- An attempt that no worker has mentioned is given back once no worker can start it any more.

The row of the dead runner stays open until all are resolved. If the runner that took over dies too, the next one starts
from the same rows.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rekindle.domain.models import Attempt, Runner
from rekindle.domain.states import State
from rekindle.engine.running.claims import give_back
from rekindle.engine.running.ingest import JournalBatch, read_batch
from rekindle.engine.running.lost_attempts import LostAttempts, end_lost
from rekindle.journal.log import read_past_damage, repair_end, seal_journal
from rekindle.journal.paths import (
    attempt_folder,
    clear_scratch,
    remove_progress,
    rescue_logs,
    scratch_path,
    token_entry,
    unfinished_copy,
)
from rekindle.journal.processes import CANCEL_SIGNAL, boot_id, host_name, processes_with, session_members, start_of
from rekindle.journal.records import Ended, Leaving, Record, Sealed
from rekindle.journal.trees import remove_tree
from rekindle.store.paths import with_partial, with_prints
from rekindle.store.stored_paths import Convert, moved

if TYPE_CHECKING:
    from rekindle.store.archive import Snapshot, Transaction

STUCK_SECONDS = 5.0
"""Time after which a killed process that is still alive counts as stuck, and its job is reported."""


class SurvivingProcesses(msgspec.Struct):
    """Processes that were killed and have not ended."""

    pids: tuple[int, ...]
    since: float = msgspec.field(default_factory=time.monotonic)

    @property
    def stuck(self) -> bool:
        """Return whether they have survived for so long that they may never end."""
        return time.monotonic() - self.since > STUCK_SECONDS


class OrphanedWorker(msgspec.Struct):
    """A worker whose runner is dead."""

    worker: str
    path: Path  # of its journal
    pid: int
    pid_start: int
    boot_id: str
    position: int  # bytes of its journal that have been ingested
    convert: Convert | None = None  # converts paths in its journal; None: the store has not been moved
    drained: bool = False  # it and its processes have ended, and its journal has been read to the end
    survivors: SurvivingProcesses | None = None  # processes of its session, after its end
    handle: int = -1  # pidfd; -1: none
    _may_start: frozenset[str] | None = None  # tokens; None: it has not said
    _cancel_sent: bool = False

    def __post_init__(self) -> None:
        with suppress(ProcessLookupError):
            self.handle = os.pidfd_open(self.pid)
        if self.gone:  # the pidfd is of another process with the same pid
            self.close_handle()

    @property
    def gone(self) -> bool:
        """Return whether its process has ended."""
        return self.boot_id != boot_id() or start_of(self.pid) != self.pid_start

    @property
    def is_stuck(self) -> bool:
        """Return whether processes of its session cannot be killed."""
        return self.survivors is not None and self.survivors.stuck

    def close_handle(self) -> None:
        """Close the pidfd."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def may_start(self, token: str) -> bool:
        """Return whether the worker may have this attempt, and can still start it."""
        if self.drained or self.is_stuck:
            return False
        return self._may_start is None or token in self._may_start

    def read_journal(self) -> JournalBatch | None:
        """Return the new content of its journal.

        Seal a journal that does not exist yet. Kill the remaining processes of a worker that has ended."""
        if self.position == 0 and seal_journal(self.path, Sealed(f"pid {os.getpid()} on {host_name()}", time.time())):
            self.drained = True
            return None
        over = self.gone and not self._kill_session()
        if over:
            repair_end(self.path)
        batch = self._converted(read_batch(self.worker, self.path, self.position))
        self.drained = over
        return batch

    def peek_journal(self) -> JournalBatch | None:
        """Return the new content of its journal, and change nothing."""
        records, position, damaged = read_past_damage(self.path, self.position)
        return self._converted(JournalBatch(self.worker, records, position, damaged) if records or damaged else None)

    def _converted(self, batch: JournalBatch | None) -> JournalBatch | None:
        for record in batch.records if batch is not None else ():
            if isinstance(record, Leaving):
                self._may_start = frozenset(record.tokens)
        if batch is None or self.convert is None:
            return batch
        return replace(batch, records=[_with_converted_paths(record, self.convert) for record in batch.records])

    def cancel(self) -> None:
        """Cancel its attempts, once. By signal, because it no longer reads orders."""
        if not self._cancel_sent and self.handle >= 0:
            self._cancel_sent = True
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.handle, CANCEL_SIGNAL)

    def _kill_session(self) -> bool:
        """Kill the processes left in the session that it led. Return whether there were any.

        If another process has its pid now, the session is empty: a pid is not reused while a session has that id."""
        self.close_handle()
        if self.boot_id != boot_id() or start_of(self.pid) is not None:
            return False
        members = session_members(self.pid)
        if not members:
            self.survivors = None
            return False
        kill(members)
        since = self.survivors.since if self.survivors else time.monotonic()
        self.survivors = SurvivingProcesses(tuple(members), since)
        return True


def _with_converted_paths(record: Record, convert: Convert) -> Record:
    """Return a record whose paths are those of the store's present folder."""
    if not isinstance(record, Ended) or not (record.prints or record.seen or record.left):
        return record
    seen = tuple(replace(one, path=convert(one.path)) for one in record.seen)
    prints = None if record.prints is None else with_prints(record.prints, convert)
    return msgspec.structs.replace(record, prints=prints, seen=seen, left=with_partial(record.left, convert))


def kill(pids: Iterable[int]) -> None:
    """Send SIGKILL to these processes, which need not be children, and do not wait for their ends.

    Skip those that this user may not kill."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
        finally:
            os.close(handle)


class OrphanGroup(msgspec.Struct):
    """The workers and unfinished attempts of one dead runner."""

    runner: Runner  # with the epoch that it has since it was taken over
    workers: list[OrphanedWorker]
    active: dict[int, Attempt]  # attempts that had not ended when the group was taken over, or resolved last
    store_folder: str
    survivors: dict[int, SurvivingProcesses] = msgspec.field(default_factory=dict)  # by attempt, after its worker's end
    ran: set[int] = msgspec.field(
        default_factory=set
    )  # attempts that had processes, although no record says they started
    lost: int = 0
    unstarted: int = 0

    @property
    def resolvable(self) -> bool:
        """Return whether a worker has been drained, so that its attempts can be resolved."""
        return any(worker.drained for worker in self.workers)

    def stuck(self) -> dict[int, tuple[int, ...]]:
        """Return the attempts whose processes cannot be killed, with the pids."""
        found = {number: one.pids for number, one in self.survivors.items() if one.stuck}
        left = {one.worker: one.survivors.pids for one in self.workers if one.survivors is not None and one.is_stuck}
        return found | {number: left[one.worker] for number, one in self.active.items() if one.worker in left}


class Resolution(msgspec.Struct):
    """The attempts of an orphan group that were resolved, and those that still run."""

    unstarted: tuple[int, ...]  # given back
    lost: LostAttempts
    adopted: tuple[int, ...]  # still running
    over: bool  # the group is empty


def take_over_dead(
    archive: Transaction, dead: Iterable[Runner], keeper: int | None, store_folder: str
) -> list[OrphanGroup]:
    """Take over from dead runners on behalf of the runner `keeper` (None: a command).

    Return the orphans of those that no other process has taken over."""
    groups = []
    for runner in dead:
        if not archive.runners.take_over(runner.id, runner.epoch, keeper):
            continue
        found = archive.runners.find(runner.id)
        assert found is not None
        groups.append(orphans_of(archive, found, store_folder))
    return groups


def orphans_of(archive: Snapshot, runner: Runner, store_folder: str) -> OrphanGroup:
    """Return the workers and unfinished attempts of a runner.

    Workers of a runner that works on the original of a copied store get another boot id: they count as ended here, and
    are not signaled."""
    boot_id = "" if runner.elsewhere else runner.boot_id
    convert = moved(runner.store or store_folder, store_folder)
    workers = [
        OrphanedWorker(worker, Path(store_folder, path), pid, pid_start, boot_id, position, convert)
        for worker, path, pid, pid_start, position in archive.runners.journals(runner.id)
    ]
    active = {attempt.id: attempt for attempt in archive.attempts.active(runner.id)}
    return OrphanGroup(runner, workers, active, store_folder)


def is_held(archive: Snapshot, group: OrphanGroup) -> bool:
    """Return whether no other process has taken the group over since."""
    found = archive.runners.find(group.runner.id)
    return found is not None and found.ended is None and found.epoch == group.runner.epoch


def resolve(archive: Transaction, group: OrphanGroup, returned: Collection[str], now: float) -> Resolution:
    """Resolve the attempts that can be. The journals must have been ingested as far as they were read.

    `returned`: tokens that the workers have given back since the last call. An unreadable part of a journal may hold
    the start of any attempt, so then all attempts that were not given back count as started."""
    left = archive.attempts.active(group.runner.id)
    wanted = {number for number, _ in archive.attempts.wanted_cancel(group.runner.id)}
    damages = archive.runners.damages(group.runner.id)
    lost, unstarted = _partition(group, left, returned, damaged=bool(damages))
    for attempt in (*lost, *unstarted):
        _clean_up(archive, group, attempt)
    give_back(archive, sorted(one.id for one in unstarted), now)
    ended = end_lost(archive, lost, wanted, group.runner, damages, now, group.store_folder)
    resolved = {one.id for one in (*lost, *unstarted)}
    group.active = {one.id: one for one in left if one.id not in resolved}
    group.lost, group.unstarted = group.lost + len(lost), group.unstarted + len(unstarted)
    _close_drained(archive, group, now)
    living = {worker.worker for worker in group.workers if not worker.gone}
    adopted = tuple(one.id for one in group.active.values() if one.worker in living)
    return Resolution(tuple(one.id for one in unstarted), ended, adopted, over=not group.active)


def _partition(
    group: OrphanGroup, left: Sequence[Attempt], returned: Collection[str], *, damaged: bool
) -> tuple[list[Attempt], list[Attempt]]:
    """Return the attempts that are lost, and those that have not started and cannot start.

    An attempt with a living process is in neither list."""
    workers = [worker for worker in group.workers if not worker.drained]
    names = {worker.worker for worker in workers}
    started = [one for one in left if one.state is State.RUNNING and one.worker not in names]
    queued = [one for one in left if one.state is State.QUEUED]
    given_back = [one for one in queued if one.token in returned]
    unmentioned = [
        one
        for one in queued
        if one.token not in returned and not any(worker.may_start(one.token) for worker in workers)
    ]
    free = _without_processes(group, [*started, *unmentioned])
    ran = {one.id for one in (left if damaged else started)} | group.ran
    lost = [one for one in [*started, *unmentioned] if one.id in free and one.id in ran]
    return lost, [*given_back, *(one for one in unmentioned if one.id in free and one.id not in ran)]


def _without_processes(group: OrphanGroup, attempts: Sequence[Attempt]) -> set[int]:
    """Kill every process with the token of one of these attempts in its environment. Return the attempts without any.

    Processes of a runner that works on the original of a copied store are not touched."""
    if group.runner.elsewhere:
        return {one.id for one in attempts}
    tokens = {one.token: one.id for one in attempts}
    wanted = {token_entry(token).encode(): token for token in tokens}
    found: dict[int, list[int]] = {}
    for pid, token in processes_with(wanted) if wanted else ():
        found.setdefault(tokens[token], []).append(pid)
    for number, pids in found.items():
        kill(pids)
        known = group.survivors.get(number)
        since = time.monotonic() if known is None else known.since
        group.survivors[number] = SurvivingProcesses(tuple(pids), since)
    for number in [number for number in group.survivors if number not in found]:
        del group.survivors[number]
    group.ran |= found.keys()
    return {one.id for one in attempts} - found.keys()


def _clean_up(archive: Snapshot, group: OrphanGroup, attempt: Attempt) -> None:
    """Keep the logs of its last step, and remove a partial copy of its folder."""
    own = attempt_folder(group.store_folder, attempt.id)
    known = archive.attempts.get(attempt.id)
    if attempt.worker is not None and known is not None:
        position = max([attempt.start_step, *(step.position + 1 for step in known.steps)])
        rescue_logs(scratch_path(group.store_folder, attempt.worker), own, position)
    remove_progress(own)
    remove_tree(unfinished_copy(own, attempt.folder or own, attempt.token))


def _close_drained(archive: Transaction, group: OrphanGroup, now: float) -> None:
    """Close the journals of drained workers. If no attempt is left, close all journals and the runner."""
    over = not group.active
    for worker in [worker for worker in group.workers if over or worker.drained]:
        archive.runners.close_journal(worker.worker)
        worker.close_handle()
        group.workers.remove(worker)
        if worker.gone:
            clear_scratch(scratch_path(group.store_folder, worker.worker))
    if over:
        archive.runners.end(group.runner.id, now)
        detail = {"runner": group.runner.id, "lost": group.lost, "never_started": group.unstarted}
        archive.events.add(now, "recovered", None, detail)
