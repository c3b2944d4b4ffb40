"""Tracks the attempts of dead runners until each has ended, been given back or been marked lost."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from rekindle.engine.results import OrphanCounts
from rekindle.engine.running.orphans import OrphanedWorker, OrphanGroup, is_held, resolve, take_over_dead
from rekindle.journal.records import Returned

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt, Runner
    from rekindle.domain.states import State
    from rekindle.engine.running.ingest import IngestResult, JournalBatch
    from rekindle.store.archive import Snapshot, Transaction

READ_SECONDS = 1.0
"""Time between two reads of the journals of running orphans, for the progress of fan-outs."""

KILL_POLL_SECONDS = 0.02
"""Time between two checks whether killed processes have ended."""


class FoundOrphans(msgspec.Struct):
    """The attempts of dead runners by what was found of them."""

    adopted: set[int] = msgspec.field(default_factory=set)
    finished: set[int] = msgspec.field(default_factory=set)
    lost: set[int] = msgspec.field(default_factory=set)
    again: set[int] = msgspec.field(default_factory=set)  # jobs of lost attempts that run again
    reruns: list[int] = msgspec.field(default_factory=list)
    unstarted: set[int] = msgspec.field(default_factory=set)

    def counts(self) -> OrphanCounts:
        """Return the number of each kind."""
        every = self.adopted | self.finished | self.lost | self.unstarted
        kinds = (self.adopted, self.finished, self.lost, self.again, self.unstarted)
        return OrphanCounts(len(every), *(len(one) for one in kinds))


class OrphanTracker:
    """The orphan groups that this process has taken over."""

    def __init__(self, store_folder: str) -> None:
        self._store_folder = store_folder
        self._groups: list[OrphanGroup] = []
        self._returned: set[str] = set()  # tokens given back since the last `resolve`
        self._taken_over = self._read = False  # since the last `resolve`
        self._read_at = self._resolved_at = 0.0  # monotonic
        self.found = FoundOrphans()

    def __bool__(self) -> bool:
        return bool(self._groups)

    @property
    def resolvable(self) -> bool:
        """Return whether `resolve` may have something to do."""
        if self._taken_over or self._read or any(group.resolvable for group in self._groups):
            return True
        surviving = any(group.survivors for group in self._groups)
        return surviving and time.monotonic() >= self._resolved_at + self._interval

    @property
    def awaits_killed(self) -> bool:
        """Return whether processes that are being killed are expected to end within moments."""
        stuck = self.stuck()
        surviving = any(number not in stuck for group in self._groups for number in group.survivors)
        return surviving or any(worker.gone and not worker.is_stuck for worker in self.workers())

    @property
    def due(self) -> float:
        """Return the time of the next read (monotonic)."""
        return self._read_at + self._interval

    @property
    def handles(self) -> tuple[int, ...]:
        """Return descriptors that become readable when a worker ends."""
        return tuple(worker.handle for worker in self.workers() if worker.handle >= 0)

    @property
    def has_progress(self) -> bool:
        """Return whether any attempt is left that is not stuck."""
        stuck = self.stuck()
        return self._taken_over or any(group.active.keys() - stuck.keys() for group in self._groups)

    def stuck(self) -> dict[int, tuple[Attempt, tuple[int, ...]]]:
        """Return, by id, the attempts whose processes cannot be killed, with the pids."""
        return {
            number: (group.active[number], pids)
            for group in self._groups
            for number, pids in group.stuck().items()
            if number in group.active
        }

    def workers(self) -> Sequence[OrphanedWorker]:
        """Return the workers whose attempts are not all resolved."""
        return [worker for group in self._groups for worker in group.workers]

    def take_over(self, archive: Transaction, dead: Iterable[Runner], keeper: int | None) -> None:
        """Take over from dead runners, except those that other processes have taken over from. `keeper`: the id of
        this runner; None: this process is no runner."""
        held = {group.runner.id for group in self._groups}
        more = take_over_dead(archive, (one for one in dead if one.id not in held), keeper, self._store_folder)
        self._groups += more
        self._taken_over = self._taken_over or bool(more)

    def read_journals(self) -> list[JournalBatch]:
        """Return the new content of the workers' journals."""
        self._read_at = time.monotonic()
        unread = [worker for worker in self.workers() if not worker.drained]
        found = [batch for worker in unread if (batch := worker.read_journal()) is not None]
        for batch in found:
            self._read = True
            self._returned.update(t for one in batch.records if isinstance(one, Returned) for t in one.tokens)
        return found

    def advance(self, batches: Iterable[JournalBatch]) -> None:
        """Note that these batches have been committed; the next read starts after them."""
        workers = {worker.worker: worker for worker in self.workers()}
        for batch in batches:
            if batch.worker in workers:
                workers[batch.worker].position = batch.position

    def resolve(self, archive: Transaction, result: IngestResult, now: float) -> list[tuple[int, State]]:
        """Resolve the attempts that can be, after the batches were ingested with `result`.

        Return (job, state) of the attempts that ended, without jobs that run again automatically."""
        ends = self._count_ended(result)
        for group in list(self._groups) if self.resolvable else []:
            if not is_held(archive, group):
                self._drop(group)
                continue
            done = resolve(archive, group, self._returned, now)
            self.found.adopted.update(done.adopted)
            self.found.unstarted.update(done.unstarted)
            self.found.lost |= done.lost.ended.keys()
            self.found.again |= done.lost.again
            self.found.reruns += [] if done.lost.rerun is None else [done.lost.rerun]
            ends += [end for end in done.lost.ended.values() if end[0] not in done.lost.again]
            if done.over:
                self._drop(group)
        self._taken_over = self._read = False
        self._resolved_at = time.monotonic()
        self._returned.clear()
        return ends

    def cancel_wanted(self, archive: Snapshot) -> list[Attempt]:
        """Ask the workers to cancel the attempts whose cancellation was requested. Return those attempts."""
        found = []
        for group in self._groups:
            wanted = {number for number, _ in archive.attempts.wanted_cancel(group.runner.id)}
            mine = [group.active[number] for number in wanted & group.active.keys()]
            names = {one.worker for one in mine}
            for worker in group.workers:
                if worker.worker in names:
                    worker.cancel()
            found += mine
        return found

    def close(self) -> None:
        """Stop tracking. The next process that takes over continues from the store."""
        for group in list(self._groups):
            self._drop(group)

    def _count_ended(self, result: IngestResult) -> list[tuple[int, State]]:
        active = {number: one for group in self._groups for number, one in group.active.items()}
        ends = []
        for number, state, _ in result.ended:
            one = active.get(number)
            if one is not None:
                if number not in self.found.adopted:
                    self.found.finished.add(number)
                if one.job not in result.requeued:
                    ends.append((one.job, state))
        return ends

    def _drop(self, group: OrphanGroup) -> None:
        self._groups.remove(group)
        for worker in group.workers:
            worker.close_handle()

    @property
    def _interval(self) -> float:
        return KILL_POLL_SECONDS if self.awaits_killed else READ_SECONDS
