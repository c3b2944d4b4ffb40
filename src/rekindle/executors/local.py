"""Attempts on this machine: one worker process a slot, each with a journal of its own."""

from __future__ import annotations

import math
import os
import select
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack

from rekindle.domain.errors import ExecutorError, JournalError
from rekindle.executors.aftermath import settle
from rekindle.executors.port import WorkerGone, WorkerInfo
from rekindle.executors.workers import WorkerProcess
from rekindle.journal.oomkills import OomKills
from rekindle.journal.orders import Assignment, Cancel, Order, Recall, Recipe, Stop
from rekindle.journal.troubles import trouble_heard

_KILLS_AGE = 5.0
"""Seconds for which a worker that has just died may have been killed before it was given its last work."""


class LocalExecutor:
    """Runs attempts in worker processes of this machine; see `executors.port.Executor` for what each call means."""

    name = "local"

    def __init__(self, store_folder: str, python: str = sys.executable) -> None:
        """`store_folder`: absolute; journals are made in its `journal`, workers' own files in its `run`."""
        self._store, self._python = store_folder, python
        self._workers: dict[str, WorkerProcess] = {}
        self._stillborn: dict[str, str] = {}  # those that ended before they began to work, and what they said
        self._gone: list[WorkerGone] = []
        self._kills = OomKills()
        # One pipe for all: a byte in it says that some journal has grown.
        self._wake, self._bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def open(self, slots: int) -> Sequence[WorkerInfo]:
        """Start `slots` workers."""
        return [self._start() for _ in range(slots)]

    def assign(self, worker: str, recipes: Sequence[Recipe], work: Sequence[Assignment]) -> None:
        """Give work to a worker. One that has died meanwhile gives it back when `gone` sees that."""
        told = self._worker(worker)
        told.kills = self._kills.count(time.monotonic(), _KILLS_AGE)
        told.assign(recipes, work)

    def cancel(self, worker: str, tokens: Sequence[str]) -> None:
        """End these."""
        self._order(worker, Cancel(tuple(tokens)))

    def recall(self, worker: str) -> None:
        """Ask for what has not started."""
        self._order(worker, Recall())

    def retire(self, worker: str) -> None:
        """Let it finish what runs, and end."""
        self._order(worker, Stop())

    def wait(self, timeout: float | None, also: Sequence[int] = ()) -> Sequence[int]:
        """Wait for news; the readable ones of `also`. Once closed, there is nothing to wait for. JournalError when a
        worker says that it cannot write its journal."""
        if self._wake < 0:
            return []
        limit = None if timeout is None else time.monotonic() + timeout
        said = b""
        while True:
            readable = self._poll(limit, also)
            if readable or self._gone or (limit is not None and time.monotonic() >= limit):
                break
        if self._wake in readable:
            said = self._hush()
        _raise_trouble(said)
        return [fd for fd in also if fd in readable]

    def gone(self) -> Sequence[WorkerGone]:
        """Workers that have ended; their journals are complete."""
        for worker in self._dead():
            self._settle(worker)
        found, self._gone = self._gone, []
        return found

    def replace(self, worker: str) -> WorkerInfo:
        """Another worker. ExecutorError when the one that is gone never began: the next would not either."""
        if worker in self._stillborn:
            said = self._stillborn[worker]
            raise ExecutorError(
                f"worker {worker} ended before it began to work{': ' if said else ''}{said}",
                hint=f"try `{self._python} -P -m rekindle.worker`: it must start and complain of missing arguments",
            )
        return self._start()

    def leave(self) -> None:
        """Close the workers' orders, which makes them go when they have finished."""
        for worker in self._workers.values():
            worker.leave()
        self._workers.clear()
        self._close_wake()

    def close(self, grace: float) -> None:
        """Stop all workers: in order if they end within `grace` seconds, else by force."""
        for worker in self._workers.values():
            worker.order(Stop())
        limit = time.monotonic() + grace
        while self._workers and time.monotonic() < limit:
            self._poll(limit, ())
            self._hush()
            for worker in self._dead():
                self._settle(worker)
        try:
            with ExitStack() as left:  # one whose journal cannot be completed does not keep the others alive
                for worker in self._workers.values():
                    left.callback(self._end, worker)
        finally:
            self._close_wake()

    def _close_wake(self) -> None:
        if self._wake >= 0:
            os.close(self._wake)
            os.close(self._bell)
            self._wake = self._bell = -1

    def _start(self) -> WorkerInfo:
        worker = WorkerProcess(uuid.uuid4().hex[:12], self._store, self._bell, self._python)
        self._workers[worker.info.name] = worker
        return worker.info

    def _worker(self, name: str) -> WorkerProcess:
        try:
            return self._workers[name]
        except KeyError:
            raise ExecutorError(f"there is no worker {name}", hint="it is gone, or another executor's") from None

    def _order(self, name: str, order: Order) -> None:
        """Send an order; to one that is gone it means nothing any more."""
        if name in self._workers:
            self._workers[name].order(order)

    def _poll(self, limit: float | None, also: Sequence[int]) -> set[int]:
        """Wait until `limit` (monotonic) for news, sending orders that wait to be sent; what is readable."""
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

    def _hush(self) -> bytes:
        """Empty the wake pipe; what was in it."""
        said = b""
        try:
            while True:
                said += os.read(self._wake, 65536)
                if len(said) % 65536:
                    return said
        except BlockingIOError:
            return said

    def _end(self, worker: WorkerProcess) -> None:
        worker.kill()
        _await(worker.handle)
        self._settle(worker)

    def _settle(self, worker: WorkerProcess) -> None:
        """Whatever its end brings to light, it is gone."""
        name = worker.info.name
        del self._workers[name]
        self._gone.append(WorkerGone(name))
        said = worker.last_words()
        settle(worker, self._kills)
        if not worker.opened:
            self._stillborn[name] = said

    def _dead(self) -> list[WorkerProcess]:
        """Those whose process has ended."""
        poll = select.poll()
        for worker in self._workers.values():
            poll.register(worker.handle, select.POLLIN)
        ended = {fd for fd, _ in poll.poll(0)} if self._workers else set()
        return [worker for worker in self._workers.values() if worker.handle in ended]


def _raise_trouble(said: bytes) -> None:
    """JournalError when a worker has said that its disk fails."""
    trouble = trouble_heard(said)
    if trouble is not None:
        journal, number = trouble
        raise JournalError(
            f"a worker cannot write its journal {journal}: {os.strerror(number)}",
            hint="it keeps what it has to tell and tries again: make room there, or see who may write; then `rekindle "
            "work` goes on",
        )


def _await(handle: int) -> None:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.poll()
