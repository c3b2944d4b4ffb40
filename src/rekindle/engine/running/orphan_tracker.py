"""Tracks the attempts of dead runners until each has ended, been given back or been marked lost."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from rekindle.engine.results import OrphanCounts
from rekindle.engine.running.orphans import (
    Findings,
    OrphanedWorker,
    OrphanGroup,
    ThreadOf,
    drop_workers,
    is_current,
    resolve,
    survey,
    take_over_dead,
)
from rekindle.journal.records import Returned
from rekindle.journal.requests import TOUCH_SECONDS

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt, Runner
    from rekindle.domain.states import State
    from rekindle.engine.running.ingest import IngestResult, JournalBatch
    from rekindle.engine.session import Session
    from rekindle.journal.records import Ended
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
    """The orphan groups that this process has taken over.

    Each round of a caller surveys the groups, reads their journals, writes in one transaction (`current`, an ingest,
    `resolve`), and calls `committed`. Only the transaction locks the store, and it looks at no process and no file."""

    def __init__(self, session: Session, thread_of: ThreadOf = lambda _: None) -> None:
        self._session, self._thread_of = session, thread_of
        self._groups: list[OrphanGroup] = []
        self._returned: set[str] = set()  # tokens given back since the last survey
        self._unsurveyed = False  # a group was taken over, or a journal read, since the last survey
        self._read_at = self._surveyed_at = 0.0  # monotonic
        self._findings: list[Findings] = []  # of the last survey
        self._resolved: list[tuple[Findings, bool]] = []  # in the present transaction; True: nothing is left
        self._canceled: list[tuple[OrphanedWorker, tuple[str, ...]]] = []  # tokens of attempts to be canceled
        self.found = FoundOrphans()

    def __bool__(self) -> bool:
        return bool(self._groups)

    @property
    def resolvable(self) -> bool:
        """Return whether a survey may find something."""
        if self._unsurveyed or any(group.resolvable for group in self._groups):
            return True
        surviving = any(group.survivors for group in self._groups)
        return surviving and time.monotonic() >= self._surveyed_at + self._interval

    @property
    def awaits_killed(self) -> bool:
        """Return whether processes that are being killed are expected to end within moments."""
        stuck = self.stuck()
        surviving = any(number not in stuck for group in self._groups for number in group.survivors)
        return surviving or any(one.process.gone and not one.process.is_stuck for one in self.workers())

    @property
    def due(self) -> float:
        """Return the time of the next survey or read (monotonic)."""
        return self._surveyed_at if self.resolvable else self._read_at + self._interval

    @property
    def handles(self) -> tuple[int, ...]:
        """Return descriptors that become readable when a worker ends."""
        return tuple(one.process.handle for one in self.workers() if one.process.handle >= 0)

    @property
    def has_progress(self) -> bool:
        """Return whether any attempt is left that is not stuck."""
        stuck = self.stuck()
        return self._unsurveyed or any(group.active.keys() - stuck.keys() for group in self._groups)

    def stuck(self) -> dict[int, tuple[Attempt, tuple[int, ...]]]:
        """Return, by id, the attempts whose processes cannot be killed, with the pids."""
        return {
            number: (group.active[number], pids)
            for group in self._groups
            for number, pids in group.stuck().items()
            if number in group.active
        }

    @property
    def request_seconds(self) -> float:
        """Return how long a request to a worker on another host may take to be read; 0: there is no such worker."""
        return 0.0 if all(one.process.is_visible for one in self.workers()) else 2 * TOUCH_SECONDS

    def workers(self) -> Sequence[OrphanedWorker]:
        """Return the workers whose attempts are not all resolved."""
        return [worker for group in self._groups for worker in group.workers]

    # --- outside of transactions

    def survey(self) -> bool:
        """Find the attempts that can be resolved, if there may be any. Return whether there is anything to write."""
        if not self.resolvable:
            return False
        returned, self._returned, self._unsurveyed = self._returned, set(), False
        for group in list(self._groups):
            found = survey(self._session, group, returned)
            if found is None:
                self._drop(group)
            else:
                self._findings.append(found)
        self._surveyed_at = time.monotonic()
        return bool(self._findings)

    def read_journals(self) -> list[JournalBatch]:
        """Return the new content of the workers' journals."""
        self._read_at = time.monotonic()
        unread = [worker for worker in self.workers() if not worker.drained]
        found = [batch for worker in unread if (batch := worker.read_journal()) is not None]
        for batch in found:
            self._unsurveyed = True
            self._returned.update(t for one in batch.records if isinstance(one, Returned) for t in one.tokens)
        return found

    def committed(self, batches: Iterable[JournalBatch]) -> None:
        """Note that the transaction with these batches was committed: the next read starts after them. Cancel the
        attempts that it found to be canceled."""
        workers = {worker.worker: worker for worker in self.workers()}
        for batch in batches:
            if batch.worker in workers:
                workers[batch.worker].journal.position = batch.position
        for found, over in self._resolved:
            drop_workers(found.group, found.group.workers if over else found.drained)
            if over:
                self._drop(found.group)
        for worker, tokens in self._canceled:
            worker.process.cancel(tokens)
        self._resolved, self._canceled = [], []

    def close(self) -> None:
        """Stop tracking. The next process that takes over continues from the store."""
        for group in list(self._groups):
            self._drop(group)

    # --- within a transaction

    def take_over(self, archive: Transaction, dead: Iterable[Runner], keeper: int | None) -> None:
        """Take over from dead runners, except those that other processes have taken over from. `keeper`: the id of
        this runner; None: this process is no runner."""
        held = {group.runner.id for group in self._groups}
        new = [one for one in dead if one.id not in held]
        more = take_over_dead(archive, new, keeper, self._session.store.folder, self._thread_of)
        self._groups += more
        self._unsurveyed = self._unsurveyed or bool(more)

    def current(self, archive: Snapshot) -> list[Ended]:
        """Return the ends that the survey found. What has changed since is left to the next survey."""
        valid = [found for found in self._findings if is_current(archive, found)]
        self._unsurveyed = self._unsurveyed or len(valid) < len(self._findings)
        self._findings = valid
        return [end for found in self._findings for end in found.ended]

    def resolve(self, archive: Transaction, result: IngestResult, now: float) -> list[tuple[int, State]]:
        """Record what the survey found, after the batches and the ends of `current` were ingested with `result`.

        Return (job, state) of the attempts that ended, without jobs that run again automatically."""
        ends = self._count_ended(result)
        for found in self._findings:
            over = resolve(archive, found, now)
            self._resolved.append((found, over))
            active = found.group.active.values()
            self.found.adopted.update(one.id for one in active if one.worker in found.living)
            self.found.unstarted.update(found.unstarted)
        self._findings = []
        return ends

    def find_canceled(self, archive: Snapshot) -> list[Attempt]:
        """Return the attempts whose cancellation was requested. `committed` asks their workers to cancel them."""
        found = []
        for group in self._groups:
            wanted = {number for number, _ in archive.attempts.wanted_cancel(group.runner.id)}
            mine = [group.active[number] for number in wanted & group.active.keys()]
            names, tokens = {one.worker for one in mine}, tuple(one.token for one in mine)
            asked = [one for one in group.workers if one.worker in names or one.process.has_queued]
            self._canceled += [(worker, tokens) for worker in asked if tokens]
            found += mine
        return found

    def _count_ended(self, result: IngestResult) -> list[tuple[int, State]]:
        active = {number: one for group in self._groups for number, one in group.active.items()}
        lost = {end.attempt for found in self._findings for end in found.ended}
        ends = []
        for number, state, _ in result.ended:
            one = active.get(number)
            if one is None:
                continue
            if number in lost:
                self.found.lost.add(number)
                self.found.again |= {one.job} & result.requeued
            elif number not in self.found.adopted:
                self.found.finished.add(number)
            if one.job not in result.requeued:
                ends.append((one.job, state))
        self.found.reruns += [] if result.recovery is None else [result.recovery]
        return ends

    def _drop(self, group: OrphanGroup) -> None:
        self._groups.remove(group)
        for worker in group.workers:
            worker.process.close()

    @property
    def _interval(self) -> float:
        return KILL_POLL_SECONDS if self.awaits_killed else READ_SECONDS
