"""The local executor: worker processes on this host, each with a journal of its own."""

from __future__ import annotations

import math
import os
import select
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rekindle.domain.errors import ExecutorError, JournalError
from rekindle.executors.pool import POOL_SUPPLY, WorkerGone, WorkerInfo
from rekindle.executors.worker_process import WorkerProcess, reap
from rekindle.journal.orders import Assignment, Cancel, Order, Recall, Stop, TaskTemplate, find_disk_error
from rekindle.journal.processes import OomKillCounter, wait_readable

if TYPE_CHECKING:
    from rekindle.journal.records import Record

_OOM_COUNT_AGE = 5.0
"""Seconds for which a count of the kernel's out-of-memory kills is reused when a worker is given work."""


class LocalExecutor:
    """Runs attempts in worker processes of this host. See `executors.pool.Executor` for the methods."""

    name = "local"
    supply = POOL_SUPPLY

    def __init__(
        self, store_folder: str, python: str = sys.executable, environment: Mapping[str, str] | None = None
    ) -> None:
        """`store_folder` is absolute: journals are in its `journal`, workers' scratch folders in its `run`.
        `environment`: the workers' variables; None: those of this process."""
        self._store, self._python, self._environment = store_folder, python, environment
        self._workers: dict[str, WorkerProcess] = {}
        self._failed_start: str | None = None  # how a worker ended before it opened its journal
        self._gone: list[WorkerGone] = []
        self._kills = OomKillCounter()
        # One pipe for all workers: a byte in it says that a journal has grown.
        self._wake, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def open(self, name: str | None = None) -> WorkerInfo:
        """Start a worker, of this name if one is given. Raise ExecutorError if an earlier one ended before it began to
        work: this one would too."""
        if self._failed_start is not None:
            raise ExecutorError(
                self._failed_start,
                hint=f"try `{self._python} -P -m rekindle.worker`: it must start and complain of missing arguments",
            )
        name, environment = name or new_worker_name(), os.environ if self._environment is None else self._environment
        worker = WorkerProcess(name, self._store, self._wake_writer, self._python, environment)
        self._workers[worker.info.name] = worker
        return worker.info

    def assign(self, worker: str, tasks: Sequence[TaskTemplate], work: Sequence[Assignment]) -> None:
        """Give work to a worker. If it has died, `gone` journals the work as returned."""
        process = self._worker(worker)
        process.oom_kills = self._kills.count(time.monotonic(), _OOM_COUNT_AGE)
        process.assign(tasks, work)

    def cancel(self, worker: str, tokens: Sequence[str], allocation: str = "") -> None:
        """Cancel these attempts."""
        self._order(worker, Cancel(tuple(tokens), allocation))

    def recall(self, worker: str) -> None:
        """Ask for the attempts that have not started."""
        self._order(worker, Recall())

    def retire(self, worker: str) -> None:
        """Ask a worker to finish its running attempt and exit."""
        self._order(worker, Stop())

    def take_records(self, worker: str, records: Sequence[Record], start: int, end: int) -> None:
        """Take the records of a worker's journal that the runner has read."""
        if worker in self._workers:
            self._workers[worker].work.take_records(records, start, end)

    def wait(self, timeout: float | None, also: Sequence[int] = ()) -> Sequence[int]:
        """Block until there is news; return the readable descriptors of `also`, and at once after `close`.

        Raise JournalError when a worker reports that it cannot write its journal."""
        if self._wake < 0:
            return []
        limit = None if timeout is None else time.monotonic() + timeout
        received = b""
        while True:
            readable = self._poll(limit, also)
            if readable or self._gone or (limit is not None and time.monotonic() >= limit):
                break
        if self._wake in readable:
            received = self._drain()
        _raise_trouble(received)
        return [fd for fd in also if fd in readable]

    def gone(self) -> Sequence[WorkerGone]:
        """Return the workers that have ended since the last call; their journals are complete."""
        for worker in self._dead():
            self._reap(worker)
        found, self._gone = self._gone, []
        return found

    def leave(self) -> None:
        """Close the workers' orders: each exits once it has finished its running attempt."""
        for worker in self._workers.values():
            worker.leave()
        self._workers.clear()
        self._close_wake()

    def close(self, grace: float) -> None:
        """Stop all workers: ask them to, and kill those that have not ended after `grace` seconds."""
        for worker in self._workers.values():
            worker.order(Stop())
        limit = time.monotonic() + grace
        while self._workers and time.monotonic() < limit:
            self._poll(limit, ())
            self._drain()
            for worker in self._dead():
                self._reap(worker)
        try:
            with ExitStack() as left:  # kill every worker, also after one whose journal cannot be completed
                for worker in self._workers.values():
                    left.callback(self._kill, worker)
        finally:
            self._close_wake()

    def _close_wake(self) -> None:
        if self._wake >= 0:
            os.close(self._wake)
            os.close(self._wake_writer)
            self._wake = self._wake_writer = -1

    @property
    def workers(self) -> dict[str, WorkerProcess]:
        """Return the workers that have not been reaped, by name."""
        return dict(self._workers)

    def _worker(self, name: str) -> WorkerProcess:
        try:
            return self._workers[name]
        except KeyError:
            raise ExecutorError(f"there is no worker {name}", hint="it is gone, or another executor's") from None

    def _order(self, name: str, order: Order) -> None:
        """Send an order, unless the worker is gone."""
        if name in self._workers:
            self._workers[name].order(order)

    def _poll(self, limit: float | None, also: Sequence[int]) -> set[int]:
        """Wait for news until `limit` (monotonic), and send waiting orders. Return the readable descriptors."""
        poll = select.poll()
        senders = {}
        for fd in (self._wake, *also, *(worker.handle for worker in self._workers.values())):
            poll.register(fd, select.POLLIN)
        for worker in self._workers.values():
            if worker.writing is not None:
                senders[worker.writing] = worker
                poll.register(worker.writing, select.POLLOUT)
        milliseconds = None if limit is None else max(0, math.ceil((limit - time.monotonic()) * 1000))
        readable = set()
        for fd, _ in poll.poll(milliseconds):
            if fd in senders:
                senders[fd].push()
            else:
                readable.add(fd)
        return readable

    def _drain(self) -> bytes:
        """Empty the wake pipe and return its content."""
        received = b""
        try:
            while True:
                received += os.read(self._wake, 65536)
                if len(received) % 65536:
                    return received
        except BlockingIOError:
            return received

    def _kill(self, worker: WorkerProcess) -> None:
        worker.kill()
        wait_readable((worker.handle,))
        self._reap(worker)

    def _reap(self, worker: WorkerProcess) -> None:
        name = worker.info.name
        del self._workers[name]
        self._gone.append(WorkerGone(name))  # also when reaping raises
        lines = worker.stderr_tail().strip().splitlines()
        reap(worker, self._kills)
        if worker.work.opened is None and not worker.work.sealed:
            self._failed_start = (
                f"worker {name} ended before it began to work{': ' if lines else ''}{''.join(lines[-1:])}"
            )

    def _dead(self) -> list[WorkerProcess]:
        """Return the workers whose process has ended."""
        ended = wait_readable([worker.handle for worker in self._workers.values()], 0.0)
        return [worker for worker in self._workers.values() if worker.handle in ended]


def new_worker_name() -> str:
    """Return the name of a new worker."""
    return uuid.uuid4().hex[:12]


def _raise_trouble(received: bytes) -> None:
    """Raise JournalError when a worker has reported that it cannot write its journal."""
    trouble = find_disk_error(received)
    if trouble is not None:
        journal, number = trouble
        raise JournalError(
            f"a worker cannot write its journal {journal}: {os.strerror(number)}",
            hint="it keeps what it has to tell and tries again: make room there, or see who may write; then `rekindle "
            "work` goes on",
        )
