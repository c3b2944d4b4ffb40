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
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rekindle.domain.models import Attempt, Runner
from rekindle.domain.states import State
from rekindle.engine.running.claims import give_back
from rekindle.engine.running.ingest import JournalBatch, JournalReader
from rekindle.engine.running.lost_attempts import declared_outputs, lost_end
from rekindle.executors.dead_workers import AdoptedWorker, SurvivingProcesses, clear_up, kill_with_tokens
from rekindle.executors.elements import AdoptedElement
from rekindle.journal.log import is_sealed, repair_end, seal_journal
from rekindle.journal.paths import attempt_folder, clear_scratch, scratch_path
from rekindle.journal.processes import host_name
from rekindle.journal.records import Closed, Depended, Ended, Leaving, Record, Sealed
from rekindle.store.paths import with_partial, with_prints
from rekindle.store.stored_paths import Convert, moved

if TYPE_CHECKING:
    from rekindle.engine.session import Session
    from rekindle.executors.placement_thread import PlacementThread
    from rekindle.store.archive import Snapshot, Transaction


class OrphanedWorker(msgspec.Struct):
    """A worker whose runner is dead: its process and its journal."""

    journal: JournalReader
    process: AdoptedWorker
    convert: Convert | None = None  # converts paths in its journal; None: the store has not been moved
    drained: bool = False  # it and its processes have ended, and its journal has been read to the end
    _may_start: frozenset[str] | None = None  # tokens; None: it has not said
    _looked_back: bool = False  # whether the part of its journal was read that was committed before it was taken over

    @property
    def worker(self) -> str:
        """The worker's name."""
        return self.journal.worker

    def may_start(self, token: str) -> bool:
        """Return whether the worker may have this attempt, and can still start it."""
        if self.drained or self.process.is_stuck:
            return False
        self._look_back()
        may_start = self.process.assigned if self._may_start is None else self._may_start
        return may_start is None or token in may_start

    def read_journal(self) -> JournalBatch | None:
        """Return the new content of its journal.

        Seal a journal that does not exist yet. Kill the remaining processes of a worker that has ended."""
        if self.journal.position == 0 and self._seal():
            self.drained = True
            return None
        self._identify()
        self._look_back()
        self.process.watch()
        over = self.process.gone and not self.process.kill_session()
        if not self.process.is_visible:  # nothing is written to its journal
            batch = self.journal.peek(final=over)
            if batch is not None and not over and batch.is_cut_short:
                return None
        else:
            if over:
                repair_end(self.journal.path)
            batch = self.journal.read()
        self.drained = over
        return self._converted(batch)

    def _seal(self) -> bool:
        """Seal the journal if it does not exist and may be sealed. Return whether it is sealed."""
        if not self.process.may_be_sealed:
            return is_sealed(self.journal.path)
        return seal_journal(self.journal.path, Sealed(f"pid {os.getpid()} on {host_name()}", time.time()))

    def peek_journal(self) -> JournalBatch | None:
        """Return the new content of its journal, and change nothing."""
        self._identify()
        return self._converted(self.journal.peek())

    def _identify(self) -> None:
        self.journal.identify()
        if self.journal.opened is not None:
            self.process.identify(self.journal.opened)

    def _look_back(self) -> None:
        """Note what it said before the position, which another process has committed: that is not read again."""
        if not self._looked_back:
            self._looked_back = True
            self._identify()
            for record in self.journal.said_at_leaving():
                self._note(record)

    def _note(self, record: Record) -> None:
        if isinstance(record, Leaving):
            self._may_start = frozenset(record.tokens)
        elif isinstance(record, Closed) and not self.process.is_visible:
            self.process.closed = True

    def _converted(self, batch: JournalBatch | None) -> JournalBatch | None:
        for record in batch.records if batch is not None else ():
            self._note(record)
        if batch is None or self.convert is None:
            return batch
        return replace(batch, records=[_with_converted_paths(record, self.convert) for record in batch.records])


def _with_converted_paths(record: Record, convert: Convert) -> Record:
    """Return a record whose paths are those of the store's present folder."""
    if isinstance(record, Depended) and record.prints is not None:
        return msgspec.structs.replace(record, prints=with_prints(record.prints, convert))
    if not isinstance(record, Ended) or not (record.prints or record.seen or record.left):
        return record
    seen = tuple(replace(one, path=convert(one.path)) for one in record.seen)
    prints = None if record.prints is None else with_prints(record.prints, convert)
    return msgspec.structs.replace(record, prints=prints, seen=seen, left=with_partial(record.left, convert))


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
        processes = {one.worker: one.process for one in self.workers if one.process.is_stuck}
        left = {worker: one.survivors.pids for worker, one in processes.items() if one.survivors is not None}
        return found | {number: left[one.worker] for number, one in self.active.items() if one.worker in left}


class Findings(msgspec.Struct, frozen=True):
    """The attempts of a group that no worker has and none can start: `ended` are lost or canceled, `unstarted` are to
    be given back. `wanted`: the attempts whose cancellation had been requested."""

    group: OrphanGroup
    ended: tuple[Ended, ...]
    unstarted: tuple[int, ...]
    wanted: frozenset[int]
    drained: tuple[OrphanedWorker, ...]  # workers whose journals were ingested to their ends
    living: frozenset[str]  # workers whose processes run


ThreadOf = Callable[[Runner], "PlacementThread | None"]
"""Returns the thread that talks to the engine of a dead runner's elements; None: nobody asks it."""


def take_over_dead(
    archive: Transaction, dead: Iterable[Runner], keeper: int | None, store_folder: str, thread_of: ThreadOf
) -> list[OrphanGroup]:
    """Take over from dead runners on behalf of the runner `keeper` (None: a command).

    Return the orphans of those that have not renewed their lease, and that no other process has taken over, since they
    were found dead."""
    groups = []
    for runner in dead:
        before = archive.runners.find(runner.id)
        if before is None or before.expires != runner.expires:
            continue
        if not archive.runners.take_over(runner.id, runner.epoch, keeper):
            continue
        found = archive.runners.find(runner.id)
        assert found is not None
        groups.append(orphans_of(archive, found, store_folder, thread_of))
    return groups


def orphans_of(archive: Snapshot, runner: Runner, store_folder: str, thread_of: ThreadOf) -> OrphanGroup:
    """Return the workers and unfinished attempts of a runner."""
    convert = moved(runner.store or store_folder, store_folder)
    workers = []
    for worker, path, pid, pid_start, position in archive.runners.journals(runner.id):
        journal = Path(store_folder, path)
        where = (runner.boot_id, runner.elsewhere, runner.host, runner.pid_space, str(journal))
        process = (
            AdoptedWorker(pid, pid_start, *where)
            if runner.offer is None or runner.offer.placement is None
            else AdoptedElement(pid, pid_start, *where, store=store_folder, thread_of=lambda: thread_of(runner))
        )
        workers.append(OrphanedWorker(JournalReader(worker, journal, position), process, convert))
    active = {attempt.id: attempt for attempt in archive.attempts.active(runner.id)}
    return OrphanGroup(runner, workers, active, store_folder)


def is_held(archive: Snapshot, group: OrphanGroup) -> bool:
    """Return whether no other process has taken the group over since."""
    found = archive.runners.find(group.runner.id)
    return found is not None and found.ended is None and found.epoch == group.runner.epoch


def survey(session: Session, group: OrphanGroup, returned: Collection[str]) -> Findings | None:
    """Find the attempts that have no process and never will, kill processes that they have left, and keep their logs
    and partial outputs. Return None if another process has taken the group over.

    The journals must have been ingested as far as they were read. `returned`: tokens that the workers have given back
    since the last call. An unreadable part of a journal may hold the start of any attempt, so then all attempts that
    were not given back count as started."""
    with session.store.read() as archive:
        left = archive.attempts.active(group.runner.id)
        wanted = frozenset(number for number, _ in archive.attempts.wanted_cancel(group.runner.id))
        damages = archive.runners.damages(group.runner.id)
    drained = tuple(worker for worker in group.workers if worker.drained)
    lost, unstarted = _partition(group, left, returned, damaged=bool(damages))
    with session.store.read() as archive:
        if not is_held(archive, group):
            return None
        known = archive.attempts.by_id([one.id for one in (*lost, *unstarted)])
        outputs = {one.id: declared_outputs(archive, one, group.runner, group.store_folder) for one in lost}
    for one in known:
        _clear_up(group, one)
    now, silent = session.clock(), {worker.worker for worker in group.workers if worker.process.is_silent}
    known_ends = {worker.worker: worker.process.end_of_attempts() for worker in group.workers}
    return Findings(
        group,
        tuple(
            lost_end(
                one,
                group.runner,
                damages,
                now,
                canceled=one.id in wanted,
                silent=one.worker in silent,
                known=known_ends.get(one.worker or ""),
                left=() if (declared := outputs[one.id]) is None else declared.find_partial(),
            )
            for one in lost
        ),
        tuple(sorted(one.id for one in unstarted)),
        wanted,
        drained,
        frozenset(worker.worker for worker in group.workers if not worker.process.gone),
    )


def is_current(archive: Snapshot, found: Findings) -> bool:
    """Return whether what was found of a group can be written: no other process has taken the group over, and no
    cancellation was requested since."""
    wanted = frozenset(number for number, _ in archive.attempts.wanted_cancel(found.group.runner.id))
    return is_held(archive, found.group) and wanted == found.wanted


def resolve(archive: Transaction, found: Findings, now: float) -> bool:
    """Give back the attempts that cannot start, and close the journals that have been ingested. Those that ended must
    have been ingested. Return whether nothing is left of the group."""
    group = found.group
    give_back(archive, found.unstarted, now)
    group.active = {one.id: one for one in archive.attempts.active(group.runner.id)}
    group.lost, group.unstarted = group.lost + len(found.ended), group.unstarted + len(found.unstarted)
    over = not group.active
    for worker in group.workers if over else found.drained:
        archive.runners.close_journal(worker.worker)
    if over:
        archive.runners.end(group.runner.id, now)
        detail = {"runner": group.runner.id, "lost": group.lost, "never_started": group.unstarted}
        archive.events.add(now, "recovered", None, detail)
    return over


def drop_workers(group: OrphanGroup, workers: Iterable[OrphanedWorker]) -> None:
    """Forget workers whose journals are closed, and remove the scratch folders of those that have ended."""
    for worker in list(workers):
        worker.process.close()
        group.workers.remove(worker)
        if worker.process.gone:
            clear_scratch(scratch_path(group.store_folder, worker.worker))


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
    found = {tokens[token]: pids for token, pids in kill_with_tokens(tokens).items()}
    for number, pids in found.items():
        known = group.survivors.get(number)
        since = time.monotonic() if known is None else known.since
        group.survivors[number] = SurvivingProcesses(tuple(pids), since)
    for number in [number for number in group.survivors if number not in found]:
        del group.survivors[number]
    group.ran |= found.keys()
    return {one.id for one in attempts} - found.keys()


def _clear_up(group: OrphanGroup, attempt: Attempt) -> None:
    own = attempt_folder(group.store_folder, attempt.id)
    scratch = None if attempt.worker is None else scratch_path(group.store_folder, attempt.worker)
    position = max([attempt.start_step, *(step.position + 1 for step in attempt.steps)])
    clear_up(scratch, own, attempt.folder or own, attempt.token, position)
