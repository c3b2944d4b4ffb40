"""Simulated workers, and the executor through which their runner sees them.

A worker is an entry of the table of processes. It takes steps of its own, outlives its runner as a real worker does,
and keeps what it could not journal until the disk takes it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.errors import JournalError
from rekindle.domain.states import Cause, State
from rekindle.executors.assigned_work import AssignedWork
from rekindle.executors.pool import WorkerGone, WorkerInfo
from rekindle.files.store_files import make_folder
from rekindle.journal.encoding import to_json
from rekindle.journal.log import FENCE, JournalWriter, create_journal, encode_line, repair_end
from rekindle.journal.paths import journal_path
from rekindle.journal.processes import host_name
from rekindle.journal.records import Closed, Ended, FannedOut, Leaving, Opened, Returned, Started, Subtasks
from rekindle.journal.requests import TOUCH_SECONDS, Request, read_requests
from rekindle.testing.fakes import Crash
from rekindle.testing.scripted import ScriptedExecutor, ScriptedOutcome
from rekindle.testing.simulation.world import Process, World, ready

if TYPE_CHECKING:
    from rekindle.journal.orders import Assignment, TaskTemplate
    from rekindle.journal.records import Record


class Execution(msgspec.Struct):
    """What really happened to an attempt, whoever knows of it."""

    token: str
    job: int
    worker: str
    process: Process
    end: Ended | None = None  # as journaled by the worker


class BufferedJournal:
    """The journal of a simulated worker. Records wait here until they are written, one at a time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.waiting: list[Record] = []
        self.writer: JournalWriter | None = None

    def append(self, *records: Record) -> None:
        """Keep records for the next write, without the inodes and times of files, which no seed decides."""
        ends = (msgspec.structs.replace(one, seen=()) if isinstance(one, Ended) else one for one in records)
        self.waiting += ends

    def close(self) -> None:
        """Close the file."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None


class Worker:
    """One simulated worker."""

    def __init__(self, executor: SimulatedExecutor, info: WorkerInfo, process: Process) -> None:
        self.executor, self.info, self.process = executor, info, process
        self.journal = BufferedJournal(info.journal)
        self.orders: list[Callable[[], None]] = []
        self.left = False  # its runner is gone: it takes no more orders
        self.retired = False
        self.work = AssignedWork(info.journal)
        self.failed = 0  # writes in a row
        self.opened = False
        self._is_leaving = self._closing = False
        self._touched = executor.world.monotonic()
        self._obeyed = 0  # requests
        self._noted: Record | None = None  # the newest record in its journal

    @property
    def is_ready(self) -> bool:
        """Return whether it has something to do."""
        if not self.process.alive:
            return False
        name = self.info.name
        busy = name in self.executor.running_workers or self.executor.has_queue(name)
        ends = self.left or self.retired or self.process.canceled
        return not self.opened or bool(self.orders or self.journal.waiting) or busy or ends or self._is_due

    @property
    def _is_due(self) -> bool:
        return self.executor.world.monotonic() >= self.due

    @property
    def due(self) -> float:
        """Return when it touches its journal next (monotonic)."""
        return self._touched + TOUCH_SECONDS

    def step(self) -> None:
        """Do one thing. Crash: it was killed."""
        try:
            self._step()
        except OSError as error:
            self.failed += 1
            self.executor.trouble = error
        except Crash:
            return
        finally:
            self.executor.news = True

    def _step(self) -> None:
        if not self.opened:
            self._open()
        elif self._is_due:
            self._touch()
        elif self.journal.waiting:
            self._write_one()
        elif self._closing:
            self._exit()
        elif self.orders:
            self.orders.pop(0)()
        elif (self.left or self.retired or self.process.canceled) and not self._is_leaving:
            self._leave()
        elif self._is_leaving and self.info.name not in self.executor.running_workers:
            self.journal.append(Closed(at=self.executor.world.clock()))
            self._closing = True
        else:
            self.executor.run(self.info.name)

    def _open(self) -> None:
        world, info = self.executor.world, self.info
        opened = Opened(
            info.name,
            host_name(),
            self.process.boot,
            info.pid,
            info.pid_start,
            at=world.clock(),
            pid_space=self.process.space,
        )
        self.opened = True
        try:
            writer = create_journal(info.journal, opened, durable=world.durable)
        except JournalError:
            writer = None
        if writer is None:
            self._exit()
            return
        world.note("has opened its journal")
        self.journal.writer = writer

    def _touch(self) -> None:
        """Touch the journal and obey requests, as worker.heartbeat does. The date is the simulated one."""
        world = self.executor.world
        self._touched = world.monotonic()
        os.utime(self.info.journal, (world.clock(), world.clock()))
        requests = read_requests(self.info.journal)
        new, self._obeyed = requests[self._obeyed :], len(requests)
        if Request.REVOKE in requests:
            world.kill(world.current, "finds that its attempts are revoked")
            raise Crash
        self.process.canceled |= Request.CANCEL in new
        self.left |= bool(new)

    def _write_one(self) -> None:
        assert self.journal.writer is not None
        record = self.journal.waiting[0]
        line = encode_line(record)
        try:
            self.journal.writer.write(line)
        except (OSError, Crash):
            if _holds(self.info.journal, line):  # readers find it, though it was not synced
                self._note(record)
            raise
        self._note(record)
        self.journal.waiting.pop(0)
        self.failed = 0

    def _note(self, record: Record) -> None:
        """Note that a record has arrived. One that could not be synced is written again, and noted once."""
        if record is self._noted:
            return
        self._noted = record
        self.executor.world.note(f"journals {to_json(record).decode()}")
        self.executor.record(self, record)

    def _leave(self) -> None:
        """Give back what has not started, and finish what runs; a canceled worker cancels that."""
        self._is_leaving = True
        self.executor.give_back(self.info.name)
        running = self.executor.running_token(self.info.name)
        self.journal.append(Leaving(() if running is None else (running,)))
        if self.process.canceled and running is not None:
            self.executor.cancel_now(self.info.name, [running])

    def _exit(self) -> None:
        self.journal.close()
        self.executor.world.kill(self.process, "exits")


class SimulatedExecutor(ScriptedExecutor):
    """The executor of one simulated runner. Workers act in steps of their own, and orders reach them there."""

    def __init__(
        self, world: World, folder: str, script: Callable[[Assignment], ScriptedOutcome], runner: Process
    ) -> None:
        super().__init__(folder, script, world.clock)
        self.world, self.runner = world, runner
        self.workers: dict[str, Worker] = {}  # not reaped
        self.made: list[Worker] = []
        self.executions: dict[str, Execution] = {}  # by token
        self.news = False
        self.trouble: OSError | None = None
        self.due = 0.0  # monotonic: when the runner's wait ends
        self._also: Sequence[int] = ()
        runner.on_death.append(self._lose_runner)

    # --- what the runner calls

    def open(self) -> WorkerInfo:
        self._made += 1
        name = f"worker-{self.runner.pid - (1 << 24)}-{self._made}"
        process = self.world.start(name, self.runner.space)
        path = journal_path(self._store, name)
        make_folder(Path(path).parent)
        info = WorkerInfo(name, path, process.pid, process.started)
        worker = self.workers[name] = Worker(self, info, process)
        self.made.append(worker)
        self._queues[name] = deque()
        self._writers[name] = worker.journal  # type: ignore[assignment]
        process.on_death.append(worker.journal.close)
        return info

    def assign(self, worker: str, tasks: Sequence[TaskTemplate], work: Sequence[Assignment]) -> None:
        found = self.workers.get(worker)
        if found is not None:
            found.work.add(tasks, work)
            found.orders.append(lambda: ScriptedExecutor.assign(self, worker, tasks, work))

    def cancel(self, worker: str, tokens: Sequence[str], allocation: str = "") -> None:  # noqa: ARG002 (interface)
        self._order(worker, lambda: self.cancel_now(worker, tokens))

    def recall(self, worker: str) -> None:
        self._order(worker, lambda: self.give_back(worker))

    def retire(self, worker: str) -> None:
        if worker in self.workers:
            self.workers[worker].retired = True

    def wait(self, timeout: float | None, also: Sequence[int] = ()) -> Sequence[int]:
        if self.trouble is not None:
            error, self.trouble = self.trouble, None
            raise JournalError(f"a worker cannot write its journal: {error.strerror}")
        self.due = self.world.monotonic() + (timeout or 0.0)
        self._also = also
        readable = ready(also)
        return [fd for fd in also if fd in readable]

    def gone(self) -> Sequence[WorkerGone]:
        for name, worker in list(self.workers.items()):
            if not worker.process.alive:
                del self.workers[name]
                self._gone.append(WorkerGone(name))
                _reap(worker, self.world)
        found, self._gone = self._gone, []
        self.news = False
        return found

    def leave(self) -> None:
        self._lose_runner()

    def close(self, grace: float) -> None:  # noqa: ARG002 (interface)
        if self.runner.alive:
            for worker in self.workers.values():
                self.world.kill(worker.process)
            self.gone()

    # --- what its workers call

    @property
    def wakes(self) -> bool:
        """Return whether the runner's wait is over."""
        return self.news or self.world.monotonic() >= self.due or bool(ready(self._also))

    @property
    def running_workers(self) -> dict[str, object]:
        """Return the workers that run an attempt."""
        return self._running  # type: ignore[return-value]

    def has_queue(self, worker: str) -> bool:
        """Return whether a worker has attempts that it has not started."""
        return bool(self._queues[worker])

    def running_token(self, worker: str) -> str | None:
        """Return the token of the attempt that a worker runs."""
        found = self._running.get(worker)
        return None if found is None else found.assignment.token

    def cancel_now(self, worker: str, tokens: Sequence[str]) -> None:
        """Journal the ends of these attempts, queued or running."""
        super().cancel(worker, tokens)

    def give_back(self, worker: str) -> None:
        """Give back all queued attempts."""
        super().recall(worker)

    def run(self, worker: str) -> None:
        """Start the next attempt of a worker, or continue the running one."""
        queue = self._queues[worker]
        running = self._running.get(worker)
        if running is None:
            if queue:
                one = queue.popleft()
                make_folder(one.folder)
                self._running[worker] = self._begin(worker, one)
            return
        running.waits -= 1
        if running.waits < 0:
            self._write_output(running.assignment, running.outcome)
            self._perform(worker, self._running.pop(worker))

    def _write_output(self, one: Assignment, outcome: ScriptedOutcome) -> None:
        """Write the output that a job declares. It differs with the result."""
        if self._tasks[one.template].outputs:
            Path(self._store).parent.joinpath(f"{one.name}.txt").write_text(outcome.result or "")

    def record(self, worker: Worker, record: Record) -> None:
        """Note what a worker has journaled of an attempt."""
        if isinstance(record, Started):
            assert record.token not in self.executions, f"attempt {record.attempt} started twice"
            job = next(one.job for one in worker.work.unfinished.values() if one.token == record.token)
            self.executions[record.token] = Execution(record.token, job, worker.info.name, worker.process)
        elif isinstance(record, Ended) and record.token in self.executions:
            self.executions[record.token].end = record
        elif isinstance(record, FannedOut):
            earlier = self.world.good.get((record.base or 0, record.step), set())
            again = earlier & {index for index, *_ in record.run}
            assert not again, f"subtasks {again} of attempt {record.attempt} had succeeded, and run again"
            self.world.good[record.attempt, record.step] = set(earlier)
        elif isinstance(record, Subtasks):
            good = self.world.good[record.attempt, record.step]
            good |= {one.index for one in record.ended if one.state is State.COMPLETED}

    def _order(self, worker: str, order: Callable[[], None]) -> None:
        if worker in self.workers:
            self.workers[worker].orders.append(order)

    def _lose_runner(self) -> None:
        for worker in self.workers.values():
            worker.left = True
            worker.orders.clear()
        self.workers.clear()


def _holds(journal: str, line: bytes) -> bool:
    """Return whether a line has arrived whole in a journal. A fence can end it instead of its newline."""
    content = Path(journal).read_bytes()
    return line in content or line[:-1] + FENCE in content


def _reap(worker: Worker, world: World) -> None:
    """Complete the journal of a worker that has ended, as executors.worker_process.reap does."""
    work = worker.work
    work.read_journal()
    repair_end(worker.info.journal)
    work.read_journal()
    ends, unstarted = work.unreported(Cause.LOST, "its worker was killed", {"worker": worker.info.name})
    if not work.unfinished and work.closed:
        return
    records: list[Record] = list(ends)
    if unstarted:
        records.append(Returned(tuple(one.token for one in unstarted), tuple(one.attempt for one in unstarted)))
    journal = JournalWriter(worker.info.journal)
    try:
        journal.append(*records, Closed(at=world.clock()))
    finally:
        journal.close()
