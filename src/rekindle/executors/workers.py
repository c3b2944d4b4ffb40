"""One worker process as the local executor has it: its pipe for orders, its journal, what it has been given."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from rekindle.domain.errors import ExecutorError
from rekindle.executors.port import WorkerInfo
from rekindle.files.modes import make_folder, open_file
from rekindle.journal.encoding import to_json
from rekindle.journal.ledger import read_past_damage
from rekindle.journal.orders import Assign, Assignment, Order, Recipe
from rekindle.journal.places import journal_path, scratch_path
from rekindle.journal.processes import start_of
from rekindle.journal.records import Ended, Opened, Returned, Started, StepStarted

_WAKE = 3  # the descriptor that a worker is started with
_TAIL = 2048  # bytes of what a worker wrote to its own stderr
_PRUNE = 8192  # so many attempts given before those that are told are forgotten


class WorkerProcess:
    """A worker, from its start until it is reaped."""

    def __init__(self, name: str, store: str, wake: int, python: str) -> None:
        """Start it with its journal and scratch in the folder `store`. ExecutorError when it cannot be started."""
        journal = journal_path(store, name)
        self.scratch = scratch_path(store, name)
        try:
            make_folder(Path(journal).parent)
            make_folder(self.scratch)
        except OSError as error:
            raise ExecutorError(
                f"no worker can be started in {store}: {error.strerror}", hint="check its disk, and who may write there"
            ) from error
        self.errors = Path(self.scratch, "worker.err")
        argv = [python, "-P", "-m", "rekindle.worker", name, journal, self.scratch, str(_WAKE)]
        self._orders, pid = _start(argv, str(self.errors), wake)
        self.handle = os.pidfd_open(pid)
        self.info = WorkerInfo(name, journal, pid, start_of(pid) or 0)
        self._backlog: deque[memoryview] = deque()
        self.recipes: dict[int, Recipe] = {}
        self.given: dict[str, Assignment] = {}  # by token: not told yet, as far as the journal has been read
        self.begun: dict[str, tuple[int, float]] = {}  # of those, the step that was begun last, and when
        self.started: dict[str, Started] = {}  # and how the attempt was begun
        self.kills = 0  # of the kernel, for want of memory, before it was given work last
        self.opened = False
        self.damaged: list[str] = []  # what of its journal cannot be read
        self._position = 0
        self._prune_at = _PRUNE

    @property
    def writing(self) -> int | None:
        """The descriptor to wait for before more orders can be written; None: all are."""
        return self._orders if self._backlog else None

    def assign(self, recipes: Sequence[Recipe], work: Sequence[Assignment]) -> None:
        """Give it work, with the recipes that it does not know."""
        news = [recipe for recipe in recipes if recipe.id not in self.recipes]
        self.recipes.update((recipe.id, recipe) for recipe in news)
        if len(self.given) >= self._prune_at:
            self.catch_up()
            self._prune_at = 2 * len(self.given) + _PRUNE
        self.given.update((one.token, one) for one in work)
        self.order(*news, Assign(tuple(work)))

    def order(self, *orders: Order) -> None:
        """Send orders, as far as its pipe takes them; `push` sends the rest."""
        self._backlog.append(memoryview(b"".join(to_json(order) + b"\n" for order in orders)))
        self.push()

    def push(self) -> None:
        """Write what is waiting, as far as the pipe takes it."""
        while self._backlog:
            try:
                written = os.write(self._orders, self._backlog[0])
            except BlockingIOError:
                return
            except BrokenPipeError:  # it is dead: its handle tells
                self._backlog.clear()
                return
            rest = self._backlog[0][written:]
            if rest:
                self._backlog[0] = rest
            else:
                self._backlog.popleft()

    def close_orders(self) -> None:
        """Send no more orders: the worker stops as soon as it has read those that were sent."""
        os.close(self._orders)
        self._orders = -1
        self._backlog.clear()

    def leave(self) -> None:
        """Let it finish what runs and go, with nobody who waits for that here."""
        self.close_orders()
        os.close(self.handle)

    def kill(self) -> None:
        """End it at once; the executor tells what it can tell no more."""
        signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def reap(self) -> int:
        """After its end: its exit code (negative: the signal)."""
        _, status = os.waitpid(self.info.pid, 0)
        os.close(self.handle)
        if self._orders >= 0:
            os.close(self._orders)
        return os.waitstatus_to_exitcode(status)

    def catch_up(self) -> None:
        """Read on in its journal and forget what is told. A damaged line tells nothing: its attempt stays untold."""
        records, self._position, damaged = read_past_damage(self.info.journal, self._position)
        self.damaged += [one.told(self.info.journal) for one in damaged]
        for record in records:
            if isinstance(record, Started):
                self.started[record.token] = record
                self.begun[record.token] = self._first_step(record.token), record.at
            elif isinstance(record, StepStarted):
                self.begun[record.token] = record.step, record.at
            elif isinstance(record, Ended):
                self._forget(record.token)
            elif isinstance(record, Returned):
                for token in record.tokens:
                    self._forget(token)
            elif isinstance(record, Opened):
                self.opened = True

    def last_words(self) -> str:
        """The last line that it wrote to its stderr."""
        lines = self.said().strip().splitlines()
        return lines[-1] if lines else ""

    def said(self) -> str:
        """The end of what it wrote to its stderr."""
        try:
            return self.errors.read_bytes()[-_TAIL:].decode(errors="replace")
        except OSError:
            return ""

    def _first_step(self, token: str) -> int:
        assignment = self.given.get(token)
        return assignment.start_step if assignment else 0

    def _forget(self, token: str) -> None:
        self.given.pop(token, None)
        self.begun.pop(token, None)
        self.started.pop(token, None)


def _start(argv: list[str], errors: str, wake: int) -> tuple[int, int]:
    """(the descriptor to write orders to, pid): a process in a session of its own."""
    orders_out, orders = os.pipe()
    said = open_file(errors, os.O_WRONLY | os.O_TRUNC | os.O_APPEND)
    actions = [
        (os.POSIX_SPAWN_DUP2, orders_out, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, said, 2),
        (os.POSIX_SPAWN_DUP2, wake, _WAKE),
    ]
    try:
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setsid=True, setsigmask=())
    except OSError as error:
        os.close(orders)
        raise ExecutorError(f"cannot start a worker with {argv[0]}: {error.strerror}") from error
    finally:
        os.close(orders_out)
        os.close(said)
    os.set_blocking(orders, False)
    return orders, pid
