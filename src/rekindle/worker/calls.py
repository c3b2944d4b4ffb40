"""The worker's side of its call host: starting it, giving it work, and telling what became of a call that killed it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from rekindle.domain.causes import Cause, state_after
from rekindle.domain.models import Failure
from rekindle.journal.orders import Assignment, Recipe
from rekindle.journal.processes import descendants_of, start_of
from rekindle.worker.activity import LINGER
from rekindle.worker.capture import BadLog, Capture
from rekindle.worker.clock import date
from rekindle.worker.findings import StepEnd, signal_name
from rekindle.worker.folders import BadFolder, check_folder
from rekindle.worker.patience import Storage
from rekindle.worker.reaping import end_leftovers, kill_group, signal_each, signal_trees, wait_for
from rekindle.worker.wire import BOARD, ORDERS, REPLIES, Answer, Batch, Board, Lines, One, Reply, Subtask, send

FAREWELL = 1.0
"""Seconds that a host is given to leave by itself when it is of no more use."""


class CallHost:
    """A host process for one project directory, from its start to its end."""

    def __init__(self, project: str, journal: str, scratch: str, storage: Storage, *, spares: bool) -> None:
        """Start it. OSError when that is not possible. `spares`: what its calls leave running may outlive it and its
        worker, whose session it is not in then."""
        self.project, self.spares = project, spares
        self._storage = storage
        self._scratch = scratch
        self._known: set[int] = set()
        board = Board.make()
        orders_out, self._orders = os.pipe()
        self.replies, replies_in = os.pipe()
        argv = [sys.executable, "-P", "-m", "rekindle.worker.host", journal, scratch, str(os.getpid()), project]
        try:
            self.board = Board(board)
            self.pid = _start(argv, {ORDERS: orders_out, REPLIES: replies_in, BOARD: board}, apart=spares)
        finally:
            for fd in (orders_out, replies_in, board):
                os.close(fd)
        os.set_blocking(self.replies, False)
        self.handle = os.pidfd_open(self.pid)
        self._lines = Lines(self.replies, Reply)

    def give(self, recipe: Recipe, task: Batch | One) -> None:
        """Send a task, with its recipe when that is new to this host. One that has died is told by its handle."""
        try:
            if recipe.id not in self._known:
                self._known.add(recipe.id)
                send(self._orders, recipe)
            send(self._orders, task)
        except BrokenPipeError:
            return

    def answers(self) -> list[Reply]:
        """What it has answered since."""
        return self._lines.take()

    @property
    def alive(self) -> bool:
        """Its process has not ended."""
        return not wait_for(self.handle, 0)

    def stand_still(self) -> bool:
        """Stop the process where it is, until `go_on`; False: it has ended instead."""
        os.kill(self.pid, signal.SIGSTOP)
        found = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return found is not None and found.si_code == os.CLD_STOPPED

    def go_on(self) -> None:
        """Let a stopped process continue."""
        os.kill(self.pid, signal.SIGCONT)

    def ask(self) -> bool:
        """Make it stand still for good, and ask what its call has started to end; whether that is anything."""
        if not self.stand_still():
            return False
        started = self.started()
        signal_each(started, signal.SIGTERM)
        signal_each(started, signal.SIGCONT)  # one that is stopped would not see it
        return bool(started)

    def started(self) -> list[int]:
        """What its call has started and still runs."""
        return [pid for pid in descendants_of([self.pid]) if pid != self.pid and start_of(pid) is not None]

    def kill(self) -> None:
        """Kill it and all that it has started."""
        signal_trees(self.pid, (), signal.SIGKILL)

    def bury(self, patience: float = 0.0, keep: Collection[int] = ()) -> tuple[int, int]:
        """End it and all that it started (not the children of this process in `keep`): it is asked to leave, and killed
        after `patience` seconds. One that spares what it started leaves that to this process. Returns its exit code
        (negative: the signal) and its peak memory in bytes."""
        os.close(self._orders)
        if patience:
            wait_for(self.handle, patience)
        if self.spares:
            signal_each([self.pid], signal.SIGKILL)
        else:
            kill_group(self.pid)
        _, status, usage = os.wait4(self.pid, 0)
        if not self.spares:
            end_leftovers([pid for pid in keep if pid != self.pid])
        os.close(self.replies)
        os.close(self.handle)
        self.board.close()
        return os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024

    def salvage(self, own: str, position: int) -> str:
        """After its end: move what its last call printed to where it stays; returns the tail of stderr. The call has
        failed by itself, whatever else it left."""
        with contextlib.suppress(BadFolder):
            check_folder(own)
        capture = Capture.found(f"{self._scratch}/call.", self._storage)
        tail = capture.tail()
        with contextlib.suppress(BadLog):
            capture.keep(own, position)
        capture.close()
        return tail


def death(
    started: float, ended: float, code: int, peak: int, stopped: tuple[Cause, str] | None, stderr: str
) -> StepEnd:
    """How a step ended whose call took its host down."""
    number = -code if code < 0 else None
    exit_code = code if code >= 0 else None
    if stopped is not None:
        cause, message = stopped
    elif number is not None:
        cause, message = Cause.SIGNAL, f"the call's process was killed by {signal_name(number)}"
    else:
        cause, message = Cause.EXIT, f"the call ended its process with exit code {code}"
    return StepEnd(
        state_after(cause),
        started,
        ended,
        cause,
        exit_code,
        number,
        failure=Failure(message=message, stderr=stderr),
        max_rss_bytes=peak,
    )


class Hosts:
    """The host at hand, if any: made when it is needed, replaced when it has to be."""

    def __init__(
        self,
        journal: str,
        scratch: str,
        storage: Storage,
        others: Callable[[], Collection[int]] = tuple,
        *,
        spares: bool = False,
    ) -> None:
        """`others`: processes beside it that outlive it. `spares`: see CallHost."""
        self._journal, self._scratch, self._storage = journal, scratch, storage
        self.others = others
        self._spares = spares
        self._host: CallHost | None = None

    def spare(self, spares: bool) -> None:
        """Before an attempt: have a host that spares what calls leave running, or one that does not."""
        if spares != self._spares:
            self.retire()
        self._spares = spares

    def get(self, project: str) -> CallHost:
        """A living host for this project."""
        if self._host is not None and (self._host.project != project or not self._host.alive):
            self.retire()
        if self._host is None:
            self._host = CallHost(project, self._journal, self._scratch, self._storage, spares=self._spares)
        return self._host

    def forget(self) -> None:
        """The host at hand has been buried."""
        self._host = None

    def retire(self) -> None:
        """Let the host at hand go."""
        if self._host is not None:
            self._host.bury(FAREWELL, self.others())
            self._host = None

    def own(self) -> tuple[int, ...]:
        """The processes that outlive a step."""
        return () if self._host is None else (self._host.pid,)


class CallGrace:
    """The time that what a call has started is given to end, once the call must. The call itself has none."""

    def __init__(self) -> None:
        self.due: float | None = None
        self._kill_at = 0.0

    def begin(self, host: CallHost, now: float, grace: float) -> None:
        """Ask all of it to end; kill it at once where there is no grace, or nobody to have it."""
        if grace > 0 and host.ask():
            self.due, self._kill_at = now + LINGER, now + grace
        else:
            host.kill()

    def end(self, now: float) -> None:
        """Give no more time."""
        if self.due is not None:
            self.due = self._kill_at = now

    def turn(self, host: CallHost, now: float) -> None:
        """Kill the rest when the grace is over or nobody needs it."""
        if self.due is None or now < self.due:
            return
        if now < self._kill_at and host.alive and host.started():
            self.due = min(now + LINGER, self._kill_at)
        else:
            self.due = None
            host.kill()


class CallStep:
    """One step of an attempt that is a call, as the loop sees it. The records are the worker's."""

    def __init__(
        self,
        hosts: Hosts,
        recipe: Recipe,
        assignment: Assignment,
        position: int,
        *,
        items: bool = False,
        subtask: Subtask | None = None,
    ) -> None:
        """Of a fan-out step: `items` finds its items, `subtask` is one of them."""
        self._hosts, self._recipe = hosts, recipe
        self._task = One(assignment, position, items, subtask)
        self._stopped: tuple[Cause, str] | None = None
        self._grace = CallGrace()
        self.quiet = True
        self.started = date()
        self._begin()

    def _begin(self) -> None:
        self._host = self._hosts.get(self._recipe.directory)
        self._host.give(self._recipe, self._task)

    @property
    def handles(self) -> list[int]:
        """Where the answer or the host's death is seen."""
        return [self._host.replies, self._host.handle]

    @property
    def due(self) -> float | None:
        """When what it has started may have ended, of its grace."""
        return self._grace.due

    def stop(self, cause: Cause, message: str, now: float, grace: float) -> None:
        """Let the call go no further; what it has started has the grace, and then all of it is killed."""
        if self._stopped is None:
            self._stopped = cause, message
            self._grace.begin(self._host, now, grace)

    def hurry(self, now: float) -> None:
        """Its grace is over."""
        self._grace.end(now)

    def turn(self, now: float) -> StepEnd | None:
        """The answer, or what the host's death means."""
        gone = not self._host.alive
        self._grace.turn(self._host, now)
        for answer in self._host.answers():
            if self._stopped is not None or not isinstance(answer, Answer):
                continue
            if not answer.fresh:
                self._hosts.retire()
            if answer.end is None:
                self._begin()
                return None
            self.quiet = answer.fresh
            end = _dated_here(answer.end)
            return msgspec.structs.replace(end, left=None) if self._host.spares else end
        if not gone:
            return None
        code, peak = self._host.bury(keep=self._hosts.others())
        self._hosts.forget()
        folder = self._task.subtask.folder if self._task.subtask else self._task.assignment.beside
        stderr = self._host.salvage(folder, self._task.position)
        return death(self.started, date(), code, peak, self._stopped, stderr)


def _dated_here(end: StepEnd) -> StepEnd:
    """The host reads the wall clock for itself: what counts is how long the step took, to now."""
    now = date()
    return msgspec.structs.replace(end, started=now - (end.ended - end.started), ended=now)


def _start(argv: list[str], fds: dict[int, int], *, apart: bool) -> int:
    """Start a process with these descriptors (its number: ours), in a process group of its own, and with `apart` in a
    session of its own."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    # First out of the way of the numbers that they shall have, then into place.
    lifted = {target: _above(fd, max(fds) + 1) for target, fd in fds.items()}
    actions = [(os.POSIX_SPAWN_DUP2, null, 0)]
    actions += [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in lifted.items()]
    ignored = [number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]
    group: dict[str, Any] = {"setsid": True} if apart else {"setpgroup": 0}
    try:
        return os.posix_spawn(
            argv[0], argv, os.environ, file_actions=actions, setsigmask=(), setsigdef=ignored, **group
        )
    finally:
        for fd in (null, *lifted.values()):
            os.close(fd)


def _above(fd: int, lowest: int) -> int:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)
