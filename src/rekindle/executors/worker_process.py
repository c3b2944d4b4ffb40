"""A worker process of the local executor: started, given orders, and reaped after its end."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rekindle.domain.errors import ExecutorError
from rekindle.domain.models import Failure, StepOutcome
from rekindle.domain.states import Cause, State
from rekindle.executors.dead_workers import clear_up, kill, kill_with_tokens
from rekindle.executors.pool import WorkerInfo
from rekindle.files.store_files import make_folder, open_file
from rekindle.journal.encoding import to_json
from rekindle.journal.log import JournalWriter, read_past_damage, repair_end
from rekindle.journal.orders import Assign, Assignment, Order, TaskTemplate
from rekindle.journal.paths import clear_scratch, journal_path, scratch_path
from rekindle.journal.processes import OomKillCounter, session_members, start_of
from rekindle.journal.records import Closed, Ended, Opened, Record, Returned, Started, StepStarted

_WAKE = 3  # the descriptor of the wake pipe in a worker
_TAIL = 2048  # bytes kept of a worker's own stderr
_PRUNE = 8192  # assignments after which those that have ended are forgotten
_KILL_SECONDS = 5.0  # the longest wait for a killed process to end


class WorkerProcess:
    """A worker, from its start until it is reaped."""

    def __init__(self, name: str, store: str, wake: int, python: str) -> None:
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
        self._orders, pid = _spawn(argv, str(self._stderr), wake)
        self.handle = os.pidfd_open(pid)
        self.info = WorkerInfo(name, journal, pid, start_of(pid) or 0)
        self._backlog: deque[memoryview] = deque()
        self.tasks: dict[int, TaskTemplate] = {}  # task templates that the worker has, by number
        self.unfinished: dict[str, Assignment] = {}  # by token: not ended, as far as the journal has been read
        self.current_step: dict[str, tuple[int, float]] = {}  # by token: the step begun last, and when
        self.started: dict[str, Started] = {}  # by token: how the attempt started
        self.oom_kills = 0  # kills by the kernel for lack of memory, counted when it was last given work
        self.opened = False
        self.damaged: list[str] = []  # unreadable parts of its journal
        self._position = 0
        self._prune_at = _PRUNE

    @property
    def writing(self) -> int | None:
        """Return the descriptor that must become writable before more orders can be sent, or None."""
        return self._orders if self._backlog else None

    def assign(self, tasks: Sequence[TaskTemplate], work: Sequence[Assignment]) -> None:
        """Send the worker assignments, with the task templates that it does not have."""
        unknown = [task for task in tasks if task.id not in self.tasks]
        self.tasks.update((task.id, task) for task in unknown)
        if len(self.unfinished) >= self._prune_at:
            self.read_journal()
            self._prune_at = 2 * len(self.unfinished) + _PRUNE
        self.unfinished.update((one.token, one) for one in work)
        self.order(*unknown, Assign(tuple(work)))

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

    def read_journal(self) -> None:
        """Read new records of the journal, and forget assignments that have ended.

        An attempt whose end stands in a damaged line stays unfinished."""
        records, self._position, damaged = read_past_damage(self.info.journal, self._position)
        self.damaged += [one.describe(self.info.journal) for one in damaged]
        for record in records:
            if isinstance(record, Started):
                self.started[record.token] = record
                self.current_step[record.token] = self._first_step(record.token), record.at
            elif isinstance(record, StepStarted):
                self.current_step[record.token] = record.step, record.at
            elif isinstance(record, Ended):
                self._forget(record.token)
            elif isinstance(record, Returned):
                for token in record.tokens:
                    self._forget(token)
            elif isinstance(record, Opened):
                self.opened = True

    def stderr_tail(self) -> str:
        """Return the end of the worker's own stderr."""
        try:
            return self._stderr.read_bytes()[-_TAIL:].decode(errors="replace")
        except OSError:
            return ""

    def _first_step(self, token: str) -> int:
        assignment = self.unfinished.get(token)
        return assignment.start_step if assignment else 0

    def _forget(self, token: str) -> None:
        self.unfinished.pop(token, None)
        self.current_step.pop(token, None)
        self.started.pop(token, None)


def reap(worker: WorkerProcess, kills: OomKillCounter) -> None:
    """Kill the processes that an ended worker has left, complete its journal and reap it.

    Raise JournalError when the journal cannot be completed: the next runner then resolves the attempts as orphans. The
    worker is reaped last, because until then its pid, and so its session, is not given to another process."""
    worker.read_journal()
    limit = time.monotonic() + _KILL_SECONDS
    while (members := session_members(worker.info.pid)) and time.monotonic() < limit:
        kill(members, limit)
    while kill_with_tokens(worker.unfinished, limit) and time.monotonic() < limit:
        pass  # others may have been started meanwhile
    repair_end(worker.info.journal)
    worker.read_journal()
    code = worker.wait_for_exit()
    try:
        if worker.unfinished or code != 0:
            _complete_journal(worker, code, kills.since(worker.oom_kills) if code == -signal.SIGKILL else None)
        clear_scratch(worker.scratch)
    except OSError as error:
        raise ExecutorError(
            f"what worker {worker.info.name} has left in {worker.scratch} cannot be put away: {error.strerror}",
            hint="check its disk, and who may write there; then `rekindle work` goes on",
        ) from error


def _complete_journal(worker: WorkerProcess, code: int, oom: Mapping[str, Any] | None) -> None:
    """Journal the outcome of each unfinished assignment: lost if it had started, else returned.

    With a damaged journal each may have started, and so counts as lost."""
    now = time.monotonic()
    started = worker.unfinished if worker.damaged else worker.started
    lost = [one for token, one in worker.unfinished.items() if token in started]
    unstarted = [one for token, one in worker.unfinished.items() if token not in started]
    records: list[Record] = [_lost(worker, one, code, oom, now) for one in lost]
    if unstarted:
        records.append(Returned(tuple(one.token for one in unstarted), tuple(one.attempt for one in unstarted)))
    for one in lost:
        position = worker.current_step[one.token][0] if one.token in worker.current_step else None
        clear_up(None if position is None else worker.scratch, one.file_prefix, one.folder, one.token, position or 0)
        if not one.own and not worker.tasks[one.template].keeps_folder:
            _remove_if_empty(one.folder)
    journal = JournalWriter(worker.info.journal)
    journal.append(*records, Closed(at=time.time()))
    journal.close()


def _lost(worker: WorkerProcess, assignment: Assignment, code: int, oom: Mapping[str, Any] | None, now: float) -> Ended:
    """Return the end of an attempt that ran when its worker died. `oom`: the evidence of a kill for lack of memory, or
    None; `now` is monotonic."""
    cause = Cause.LOST if oom is None else Cause.OOM
    start = worker.started.get(assignment.token) or Started(assignment.attempt, assignment.token, time.time())
    position, begun = worker.current_step.get(assignment.token, (assignment.start_step, start.at))
    ended = max(begun, start.now(now))
    steps = worker.tasks[assignment.template].steps
    outcomes = tuple(  # empty for an attempt that starts after the last step
        StepOutcome(position, step.name, State.FAILED, cause, started=begun, ended=ended)
        for step in steps[position : position + 1]
    )
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
    if worker.damaged:
        evidence["damaged"] = worker.damaged
        message += "; its journal is damaged, and may have held the end"
    return Ended(
        attempt=assignment.attempt,
        token=assignment.token,
        state=State.FAILED,
        ended=ended,
        started=start.at,
        cause=cause,
        failure=Failure(message=message),
        evidence=json.dumps(evidence),
        steps=outcomes,
    )


def _remove_if_empty(folder: str) -> None:
    try:
        Path(folder).rmdir()
    except OSError:
        return  # not empty, or never made


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _spawn(argv: list[str], stderr: str, wake: int) -> tuple[int, int]:
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
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setsid=True, setsigmask=())
    except OSError as error:
        os.close(orders)
        raise ExecutorError(f"cannot start a worker with {argv[0]}: {error.strerror}") from error
    finally:
        os.close(orders_read)
        os.close(errors)
    os.set_blocking(orders, False)
    return orders, pid
