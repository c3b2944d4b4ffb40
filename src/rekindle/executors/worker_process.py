"""A worker process of the local executor: started, given orders, and reaped after its end."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rekindle.domain.errors import ExecutorError
from rekindle.domain.states import Cause
from rekindle.executors.assigned_work import AssignedWork
from rekindle.executors.dead_workers import kill, kill_with_tokens
from rekindle.executors.pool import WorkerInfo
from rekindle.files.store_files import make_folder, open_file
from rekindle.journal.encoding import to_json
from rekindle.journal.log import JournalWriter, repair_end
from rekindle.journal.orders import Assign, Assignment, Order, TaskTemplate
from rekindle.journal.paths import clear_scratch, journal_path, scratch_path
from rekindle.journal.processes import OomKillCounter, session_members, start_of
from rekindle.journal.records import Closed, Record, Returned

_WAKE = 3  # the descriptor of the wake pipe in a worker
_TAIL = 2048  # bytes kept of a worker's own stderr
_KILL_SECONDS = 5.0  # the longest wait for a killed process to end


class WorkerProcess:
    """A worker, from its start until it is reaped."""

    def __init__(self, name: str, store: str, wake: int, python: str, environment: Mapping[str, str]) -> None:
        """Start the worker, with its journal and scratch folder in the folder `store`.

        Raise ExecutorError if it cannot be started."""
        journal = journal_path(store, name)
        self.scratch = scratch_path(store, name)
        try:
            make_folder(Path(journal).parent)
            make_folder(self.scratch)
        except OSError as error:
            raise ExecutorError(
                f"no worker can be started in {store}: {error.strerror}", hint="check its disk, and who may write there"
            ) from error
        self._stderr = Path(self.scratch, "worker.err")
        argv = [python, "-P", "-m", "rekindle.worker", name, journal, self.scratch, str(_WAKE)]
        self._orders, pid = _spawn(argv, str(self._stderr), wake, environment)
        self.handle = os.pidfd_open(pid)
        self.info = WorkerInfo(name, journal, pid, start_of(pid) or 0)
        self._backlog: deque[memoryview] = deque()
        self.work = AssignedWork(journal)
        self.oom_kills = 0  # kills by the kernel for lack of memory, counted when it was last given work

    @property
    def writing(self) -> int | None:
        """Return the descriptor that must become writable before more orders can be sent, or None."""
        return self._orders if self._backlog else None

    def assign(self, tasks: Sequence[TaskTemplate], work: Sequence[Assignment]) -> None:
        """Send the worker assignments, with the task templates that it does not have."""
        self.order(*self.work.add(tasks, work), Assign(tuple(work)))

    def order(self, *orders: Order) -> None:
        """Send as much of the orders as the pipe takes; `push` sends the rest."""
        self._backlog.append(memoryview(b"".join(to_json(order) + b"\n" for order in orders)))
        self.push()

    def push(self) -> None:
        """Write as much of the waiting orders as the pipe takes."""
        while self._backlog:
            try:
                written = os.write(self._orders, self._backlog[0])
            except BlockingIOError:
                return
            except BrokenPipeError:  # the worker is dead, which its handle shows
                self._backlog.clear()
                return
            rest = self._backlog[0][written:]
            if rest:
                self._backlog[0] = rest
            else:
                self._backlog.popleft()

    def close_orders(self) -> None:
        """Close the worker's stdin: it stops once it has read the orders that were sent."""
        os.close(self._orders)
        self._orders = -1
        self._backlog.clear()

    def leave(self) -> None:
        """Close the orders and the handle: the worker finishes its running attempt and exits."""
        self.close_orders()
        os.close(self.handle)

    def kill(self) -> None:
        """Kill the worker."""
        signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def wait_for_exit(self) -> int:
        """Reap the process and return its exit code (negative: the signal that ended it)."""
        _, status = os.waitpid(self.info.pid, 0)
        os.close(self.handle)
        if self._orders >= 0:
            os.close(self._orders)
        return os.waitstatus_to_exitcode(status)

    def stderr_tail(self) -> str:
        """Return the end of the worker's own stderr."""
        try:
            return self._stderr.read_bytes()[-_TAIL:].decode(errors="replace")
        except OSError:
            return ""


def reap(worker: WorkerProcess, kills: OomKillCounter) -> None:
    """Kill the processes that an ended worker has left, complete its journal and reap it.

    Raise JournalError when the journal cannot be completed: the next runner then resolves the attempts as orphans. The
    worker is reaped last, because until then its pid, and so its session, is not given to another process."""
    work = worker.work
    work.read_journal()
    limit = time.monotonic() + _KILL_SECONDS
    while (members := session_members(worker.info.pid)) and time.monotonic() < limit:
        kill(members, limit)
    while kill_with_tokens(work.unfinished, limit) and time.monotonic() < limit:
        pass  # others may have been started meanwhile
    repair_end(worker.info.journal)
    work.read_journal()
    code = worker.wait_for_exit()
    try:
        if work.unfinished or code != 0:
            _complete_journal(worker, code, kills.since(worker.oom_kills) if code == -signal.SIGKILL else None)
        clear_scratch(worker.scratch)
    except OSError as error:
        raise ExecutorError(
            f"what worker {worker.info.name} has left in {worker.scratch} cannot be put away: {error.strerror}",
            hint="check its disk, and who may write there; then `rekindle work` goes on",
        ) from error


def _complete_journal(worker: WorkerProcess, code: int, oom: Mapping[str, Any] | None) -> None:
    """Journal the outcome of each unfinished assignment: lost if it had started, else returned.

    `oom`: the evidence of a kill for lack of memory, or None. With a damaged journal each may have started, and so
    counts as lost."""
    death = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
    message = f"its worker (pid {worker.info.pid}) {death}"
    if oom is not None:
        message += ": the kernel was out of memory"
    evidence: dict[str, Any] = {
        **(oom or {}),
        "worker": worker.info.name,
        "pid": worker.info.pid,
        "exit_code": code,
        "stderr": worker.stderr_tail(),
    }
    ends, unstarted = worker.work.unreported(Cause.LOST if oom is None else Cause.OOM, message, evidence)
    records: list[Record] = list(ends)
    if unstarted:
        records.append(Returned(tuple(one.token for one in unstarted), tuple(one.attempt for one in unstarted)))
    worker.work.clear_up(worker.scratch)
    journal = JournalWriter(worker.info.journal)
    journal.append(*records, Closed(at=time.time()))
    journal.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _spawn(argv: list[str], stderr: str, wake: int, environment: Mapping[str, str]) -> tuple[int, int]:
    """Start a process in a session of its own. Return (descriptor to write orders to, pid)."""
    orders_read, orders = os.pipe()
    errors = open_file(stderr, os.O_WRONLY | os.O_TRUNC | os.O_APPEND)
    actions = [
        (os.POSIX_SPAWN_DUP2, orders_read, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, errors, 2),
        (os.POSIX_SPAWN_DUP2, wake, _WAKE),
    ]
    try:
        pid = os.posix_spawn(argv[0], argv, environment, file_actions=actions, setsid=True, setsigmask=())
    except OSError as error:
        os.close(orders)
        raise ExecutorError(f"cannot start a worker with {argv[0]}: {error.strerror}") from error
    finally:
        os.close(orders_read)
        os.close(errors)
    os.set_blocking(orders, False)
    return orders, pid
