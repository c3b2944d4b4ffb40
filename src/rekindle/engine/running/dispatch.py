"""Dispatch: the workers of a runner, the attempts in flight on each, and how many to queue on a worker."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rekindle.domain.definition import Resources
from rekindle.engine.running.ingest import JournalBatch, JournalReader
from rekindle.executors.pool import POOL_SUPPLY, Executor, Supply, WorkerInfo
from rekindle.journal.orders import Assignment
from rekindle.journal.paths import absent_journals

if TYPE_CHECKING:
    from rekindle.domain.packing import Capacity
    from rekindle.engine.running.assignments import TaskTemplates

RECALL_SECONDS = 0.1
"""Time without progress after which a worker's queued attempts are recalled, if a slot is free or their durations are
not known."""

BATCH_SECONDS, UNNEEDED_SECONDS = 0.004, 0.05
"""How long outcomes are collected before they are ingested together, while every worker has work queued; the second, if
no job needs those that have ended last, so that nothing waits for them."""

NEEDED_SECONDS, NEEDED_MOST = 0.02, 24
"""The work to queue on a worker while jobs need those that end. Where workers are faster than the runner, all that is
queued ends before the runner's next iteration, which takes the longer the more has ended."""

NO_RESOURCES = Resources(cpus=0.0)


class InFlightAttempt(msgspec.Struct, frozen=True):
    """An attempt that a worker has, and that has not ended. Beside the order: what it takes, and `template`, the job
    template by which durations are averaged."""

    assignment: Assignment
    template: int
    resource_class: int
    resources: Resources


class WorkerHandle(msgspec.Struct):
    """A worker as its runner sees it. All its attempts have the same resource class, and run one after the other."""

    info: WorkerInfo
    journal: JournalReader
    resource_class: int | None = None
    resources: Resources = NO_RESOURCES
    in_flight: dict[int, InFlightAttempt] = msgspec.field(default_factory=dict)  # by attempt, in the order assigned
    progressed: float = 0.0  # monotonic: when its journal last grew, or it was assigned work while idle
    recalled: bool = False  # it gets no more work until its running attempt has ended
    retired: bool = False  # it gets no more work: its journal is damaged, or it cannot be given more

    @property
    def idle(self) -> bool:
        """Return whether it has no attempts."""
        return not self.in_flight

    @property
    def running(self) -> str | None:
        """Return the name of the job that it runs."""
        return next((one.assignment.name for one in self.in_flight.values()), None)


class DurationAverages:
    """Moving averages of attempts' durations in seconds, by job template."""

    def __init__(self, supply: Supply = POOL_SUPPLY) -> None:
        self.supply, self._whole_supply = supply, supply
        self.batch_seconds = BATCH_SECONDS
        self._averages: dict[int, float] = {}
        self._recent = math.inf  # of all templates
        self.classes = 0  # resource classes of the ready jobs that were read last

    def adapt(self, *, needed: bool) -> None:
        """Queue and collect less while other jobs need those that have ended last, so that they start sooner."""
        self.batch_seconds = BATCH_SECONDS if needed else UNNEEDED_SECONDS
        whole = self.supply = self._whole_supply
        if needed and whole.refills:
            least = min(NEEDED_SECONDS, whole.seconds), min(NEEDED_MOST, whole.most)
            self.supply = replace(whole, seconds=least[0], most=least[1])

    def add(self, template: int, seconds: float) -> None:
        """Add the duration of one attempt."""
        seconds = max(seconds, 1e-5)  # the least cost of starting an attempt
        known = self._averages.get(template)
        self._averages[template] = seconds if known is None else known + 0.2 * (seconds - known)
        self._recent = seconds if self._recent == math.inf else self._recent + 0.2 * (seconds - self._recent)

    def average(self, template: int) -> float:
        """Return the average, or infinity if no attempt has ended."""
        return self._averages.get(template, math.inf)

    def estimate(self, template: int) -> float:
        """Return the average; if no attempt of the template has ended, that of the run's latest attempts of others."""
        return self._averages.get(template, self._recent)

    def batch_size(self, template: int) -> int:
        """Return how many attempts to queue on a worker: 1 if they are long, or nothing is known."""
        return min(self.supply.most, max(1, math.ceil(self.supply.seconds / self.estimate(template))))

    def backlog(self, worker: WorkerHandle) -> float:
        """Return the seconds of work queued on a worker. An attempt that runs may be of any duration until one of its
        template has ended."""
        if not worker.in_flight:
            return 0.0
        templates = Counter([one.template for one in worker.in_flight.values()])
        return sum(count * self.average(template) for template, count in templates.items())

    def room(self, worker: WorkerHandle, seconds: float | None = None) -> int:
        """Return how many attempts to queue on a worker behind its own, if each takes `seconds` (None: as long as those
        that ended last)."""
        seconds = self._recent if seconds is None else seconds
        left = self.supply.seconds - self.backlog(worker)
        if left <= 0 or seconds == math.inf:
            return 0
        return max(0, min(self.supply.most - len(worker.in_flight), int(left / seconds)))


class Dispatcher:
    """Hands attempts to the executor's workers, recalls and cancels them, and reads the workers' journals."""

    def __init__(self, executor: Executor, tasks: TaskTemplates, capacity: Capacity, slots: int) -> None:
        """`slots`: the most workers that there may be."""
        self._executor, self._tasks, self._capacity, self.slots = executor, tasks, capacity, slots
        self._cancel_sent: set[int] = set()  # attempts
        self.workers: dict[str, WorkerHandle] = {}  # by name
        self.returned: list[InFlightAttempt] = []
        """Attempts that workers gave back, or that a dead worker had not started."""
        self.durations = DurationAverages(executor.supply)

    # --- workers

    def add(self, info: WorkerInfo, moment: float = 0.0) -> None:
        """Add a worker. `moment` is monotonic."""
        self.workers[info.name] = WorkerHandle(info, JournalReader(info.name, Path(info.journal)), progressed=moment)

    def remove(self, name: str) -> None:
        """Remove a worker that has ended. Attempts whose ends its journal does not hold count as returned."""
        worker = self.workers.pop(name)
        self.returned += worker.in_flight.values()

    @property
    def absent(self) -> int:
        """Return the number of slots without a worker."""
        return max(0, self.slots - len(self.workers))

    @property
    def _has_free_slot(self) -> bool:
        """Return whether a worker is idle or could be started."""
        return self.absent > 0 or any(worker.idle for worker in self.workers.values())

    @property
    def busy(self) -> bool:
        """Return whether any worker has attempts."""
        return any(not worker.idle for worker in self.workers.values())

    @property
    def has_queued(self) -> bool:
        """Return whether any worker has attempts behind the running one, and will give them back."""
        return self.durations.supply.refills and any(len(worker.in_flight) > 1 for worker in self.workers.values())

    @property
    def can_recall(self) -> bool:
        """Return whether queued attempts are to be recalled if their worker makes no progress."""
        return bool(self._recallable())

    def _recallable(self) -> list[WorkerHandle]:
        """Return the workers with queued attempts that another worker could take, or whose durations are only assumed
        to be short: a job is not claimed long before it starts."""
        if not self.durations.supply.refills:
            return []
        queuing = [one for one in self.workers.values() if len(one.in_flight) > 1 and not one.recalled]
        return queuing if not queuing or self._has_free_slot else [one for one in queuing if self._has_unknown(one)]

    def _has_unknown(self, worker: WorkerHandle) -> bool:
        templates = {one.template for one in islice(worker.in_flight.values(), 1, None)}
        return any(self.durations.average(template) == math.inf for template in templates)

    @property
    def has_retired(self) -> bool:
        """Return whether a worker has been retired and has not ended."""
        return any(worker.retired for worker in self.workers.values())

    @property
    def well_supplied(self) -> bool:
        """Return whether every worker has attempts queued behind the running one, and at least half of its backlog."""
        half, estimate = self.durations.supply.seconds / 2, self.durations.estimate
        for worker in self.workers.values():
            if len(worker.in_flight) < 2:
                return False
            templates = Counter([one.template for one in worker.in_flight.values()])
            if sum(n * estimate(one) for one, n in templates.items()) < half:
                return False
        return True

    def open_workers(self) -> list[WorkerHandle]:
        """Return the workers that may be given work."""
        return [worker for worker in self.workers.values() if not worker.retired]

    def free(self) -> Capacity:
        """Return the capacity that no running attempt takes."""
        free = self._capacity
        for worker in self.workers.values():
            if not worker.idle:
                free = free.take(worker.resources)
        return free

    # --- journals

    def read_journals(self) -> list[JournalBatch]:
        """Return the new content of the workers' journals. Retire a worker whose journal is damaged."""
        found = []
        absent = absent_journals([one.info.journal for one in self.workers.values() if one.journal.opened is None])
        for worker in self.workers.values():
            batch = None if worker.info.journal in absent else worker.journal.read()
            if batch is None:
                continue
            found.append(batch)
            if batch.damaged and not worker.retired:  # its end will show which of its attempts are lost
                worker.retired = True
                self._executor.retire(worker.info.name)
        return found

    def advance(self, batches: Iterable[JournalBatch], moment: float) -> None:
        """Note that these batches have been committed; the next read starts after them. `moment` is monotonic."""
        for batch in batches:
            worker = self.workers.get(batch.worker)
            if worker is not None:
                if not batch.damaged:
                    self._executor.take_records(batch.worker, batch.records, worker.journal.position, batch.position)
                worker.journal.position, worker.progressed = batch.position, moment

    def pop_ended(self, attempt: int, seconds: float) -> InFlightAttempt | None:
        """Remove an attempt that ended after `seconds`. Return None if no worker had it."""
        for worker in self.workers.values():
            one = worker.in_flight.pop(attempt, None)
            if one is not None:
                worker.recalled = False
                self.durations.add(one.template, seconds)
                return one
        return None

    def take_back(self, tokens: Collection[str]) -> None:
        """Move the attempts that workers gave back to `returned`."""
        for worker in self.workers.values() if tokens else ():
            back = [one for one, attempt in worker.in_flight.items() if attempt.assignment.token in tokens]
            self.returned += [worker.in_flight.pop(attempt) for attempt in back]

    # --- orders

    def assign(self, name: str, attempts: Sequence[InFlightAttempt], moment: float) -> None:
        """Give attempts of one resource class to a worker. `moment` is monotonic."""
        worker = self.workers[name]
        if worker.idle:
            worker.progressed, worker.recalled = moment, False
            worker.resource_class = attempts[0].resource_class
        for one in attempts:
            worker.in_flight[one.assignment.attempt] = one
        worker.resources = attempts[0].resources
        tasks = {one.assignment.template: self._tasks[one.assignment.template] for one in attempts}
        worker.retired |= not self.durations.supply.refills
        self._executor.assign(name, list(tasks.values()), [one.assignment for one in attempts])

    def assign_returned(self, moment: float) -> bool:
        """Give returned attempts to idle workers, in order, as far as they fit, and short ones several at a time.

        Return whether any was assigned."""
        assigned = False
        idle = [worker for worker in self.open_workers() if worker.idle]
        while self.returned and idle:
            first = self.returned[0]
            if not self.free().fits(first.resources):
                break
            kind = (first.template, first.resource_class)
            alike = [one for one in self.returned if (one.template, one.resource_class) == kind]
            share = min(self.durations.batch_size(first.template), -(-len(alike) // len(idle)))
            self.assign(idle.pop().info.name, alike[:share], moment)
            given = {one.assignment.attempt for one in alike[:share]}
            self.returned = [one for one in self.returned if one.assignment.attempt not in given]
            assigned = True
        return assigned

    def cancel(self, wanted: Iterable[tuple[int, str]]) -> None:
        """Cancel attempts (id, token) once each: a second cancel would skip the grace period."""
        for attempt, token in wanted:
            for worker in self.workers.values():
                if attempt in worker.in_flight and attempt not in self._cancel_sent:
                    self._cancel_sent.add(attempt)
                    self._executor.cancel(worker.info.name, [token])

    def cancel_all(self, allocation: str = "") -> float:
        """Cancel all attempts in flight, and return the longest of their grace periods in seconds. `allocation`: the
        one that ends, if that is why.

        A second call skips the grace periods."""
        longest = 0.0
        for worker in self.workers.values():
            assignments = [one.assignment for one in worker.in_flight.values()]
            self._executor.cancel(worker.info.name, [one.token for one in assignments], allocation)
            longest = max([longest, *(self._tasks[one.template].grace for one in assignments)])
        return longest

    def recall_all(self) -> None:
        """Recall all attempts that have not started."""
        for worker in self.workers.values():
            if worker.in_flight:
                worker.recalled = True
                self._executor.recall(worker.info.name)

    def recall_stalled(self) -> None:
        """Recall the queued attempts of workers that make no progress."""
        now = time.monotonic()
        for worker in [] if self.returned else self._recallable():
            if now - worker.progressed > RECALL_SECONDS:
                worker.recalled = True
                self._executor.recall(worker.info.name)
