"""The pool of a pilot, on the server's side: its workers run on the pilot's host, which carries out commands."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from rekindle.domain.errors import ExecutorError, JournalError
from rekindle.executors.local import new_worker_name
from rekindle.executors.pilot_messages import (
    AssignWork,
    CancelWork,
    CloseWorkers,
    Command,
    Commands,
    Done,
    LeaveWorkers,
    OpenWorker,
    RecallWork,
    Report,
    RetireWorker,
)
from rekindle.executors.pool import POOL_SUPPLY, WorkerGone, WorkerInfo
from rekindle.journal.paths import journal_path
from rekindle.journal.processes import wait_readable

if TYPE_CHECKING:
    from rekindle.journal.orders import Assignment, TaskTemplate
    from rekindle.journal.records import Record

SILENCE_SECONDS = 120.0
"""How long a pilot may be silent before its runner leaves its attempts to others."""


class PilotLost(ExecutorError):
    """The pilot has been silent for too long, or its server ends."""


class RemotePool:
    """An executor (see `executors.pool.Executor`) whose workers are those of a pilot.

    The runner's thread calls the executor's methods; the server's threads call `receive` and `commands_after`."""

    name = "pilot"
    supply = POOL_SUPPLY

    def __init__(self, store_folder: str, host: str, silence: float = SILENCE_SECONDS) -> None:
        self._store, self._host, self._silence = store_folder, host, silence
        self._lock = threading.Lock()
        self._commands: list[Command] = []  # not acknowledged
        self._first = 1  # the number of the first of them
        self._workers: dict[str, set[int]] = {}  # by name: the task templates that each has
        self._gone: list[WorkerGone] = []
        self._heard = time.monotonic()
        self._lost = ""  # why the pilot is lost
        self._trouble = ""
        self._wakes: list[Callable[[], None]] = []  # of exchanges that wait for commands
        self._wake, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.terminated = False

    # --- the server's side

    @property
    def silent(self) -> bool:
        """Return whether nothing was heard of the pilot for too long."""
        return time.monotonic() - self._heard > self._silence

    @property
    def finished(self) -> bool:
        """Return whether the pilot has acknowledged all commands."""
        with self._lock:
            return not self._commands

    def receive(self, report: Report) -> None:
        """Take a report, and wake the runner."""
        with self._lock:
            self._heard = time.monotonic()
            done = report.acknowledged - self._first + 1
            if done > 0:
                del self._commands[:done]
                self._first = report.acknowledged + 1
            for name in report.gone:
                if self._workers.pop(name, None) is not None:
                    self._gone.append(WorkerGone(name))
            self._trouble = report.trouble or self._trouble
            self.terminated |= report.terminated
        self._notify()

    def commands(self) -> Commands:
        """Return the commands that the pilot has not acknowledged."""
        with self._lock:
            return Commands(self._first, tuple(self._commands))

    def when_commanded(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` for each new command, until the function that is returned is called."""
        with self._lock:
            self._wakes.append(wake)
            if self._commands:
                wake()
        return lambda: self._wakes.remove(wake)

    def finish(self, exit_code: int, summary: str) -> None:
        """Let the pilot exit."""
        self._send(Done(exit_code, summary))

    def lose(self, why: str) -> None:
        """Let the runner leave the pilot's attempts to others."""
        self._lost = why
        self._notify()

    # --- the runner's side

    def open(self) -> WorkerInfo:
        """Start a worker. Its process is not known before its journal names it."""
        name = new_worker_name()
        with self._lock:
            self._workers[name] = set()
        self._send(OpenWorker(name))
        return WorkerInfo(name, journal_path(self._store, name), 0, 0)

    def assign(self, worker: str, tasks: Sequence[TaskTemplate], work: Sequence[Assignment]) -> None:
        """Give work to a worker."""
        with self._lock:
            known = self._workers.get(worker, set())
            new = tuple(task for task in tasks if task.id not in known)
            known.update(task.id for task in new)
        self._send(AssignWork(worker, new, tuple(work)))

    def cancel(self, worker: str, tokens: Sequence[str], allocation: str = "") -> None:
        """Cancel these attempts."""
        self._send(CancelWork(worker, tuple(tokens), allocation))

    def recall(self, worker: str) -> None:
        """Ask for the attempts that have not started."""
        self._send(RecallWork(worker))

    def retire(self, worker: str) -> None:
        """Ask a worker to finish its running attempt and exit."""
        self._send(RetireWorker(worker))

    def take_records(self, worker: str, records: Sequence[Record], start: int, end: int) -> None:
        """Do nothing: the pilot reads the journals on its host."""

    def wait(self, timeout: float | None, also: Sequence[int] = ()) -> Sequence[int]:
        """Block until the pilot reports; return the readable descriptors of `also`. Raise PilotLost if it is lost, and
        ExecutorError or JournalError if it reports trouble with a worker."""
        self._raise_trouble()
        readable = wait_readable((self._wake, *also), timeout)
        if self._wake in readable:
            with suppress(BlockingIOError):
                os.read(self._wake, 65536)
        self._raise_trouble()
        return [fd for fd in also if fd in readable]

    def gone(self) -> Sequence[WorkerGone]:
        """Return the workers that have ended since the last call; their journals are complete."""
        with self._lock:
            found, self._gone = self._gone, []
        return found

    def leave(self) -> None:
        """Retire all workers, and send no more orders."""
        self._send(LeaveWorkers())

    def close(self, grace: float) -> None:
        """Stop all workers. `gone` returns each once the pilot has seen its end."""
        self._send(CloseWorkers(grace))

    def dispose(self) -> None:
        """Close the pipe, once neither side uses the pool any more."""
        os.close(self._wake)
        os.close(self._wake_writer)

    def _send(self, command: Command) -> None:
        with self._lock:
            if self._commands and self._commands[-1] == command:
                return  # closed again while the first order is on its way
            self._commands.append(command)
            for wake in self._wakes:
                wake()

    def _notify(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._wake_writer, b"!")

    def _raise_trouble(self) -> None:
        if self._lost or self.silent:
            why = self._lost or f"nothing was heard for {self._silence:g} s"
            raise PilotLost(f"the pilot on {self._host} is lost: {why}", hint="what it runs goes on to its end")
        if self._trouble:
            trouble, self._trouble = self._trouble, ""
            raise JournalError(f"on {self._host}: {trouble}")
