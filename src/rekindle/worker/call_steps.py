"""The worker's side of its call host: start it, send it work, and classify a call that ended its process."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.models import Failure
from rekindle.domain.states import Cause, state_after
from rekindle.journal.processes import descendants_of, start_of
from rekindle.worker.attempt_folders import BadFolder, check_folder
from rekindle.worker.call_protocol import (
    REPLIES_FD,
    STATUS_FD,
    TASKS_FD,
    WAKE_FD,
    BatchTask,
    LineReader,
    Reply,
    SharedStatus,
    StepReply,
    StepTask,
    SubtaskRun,
    send,
)
from rekindle.worker.command_steps import kill_children, kill_group, signal_each, signal_trees, wait_for_exit
from rekindle.worker.logs import BadLog, StepLogs
from rekindle.worker.steps import LEFTOVER_INTERVAL, StepEnd, signal_name, wall_time

if TYPE_CHECKING:
    from rekindle.journal.orders import Assignment, TaskTemplate
    from rekindle.worker.reporter import DiskRetry

EXIT_TIMEOUT = 1.0
"""Seconds that a retired host has to exit by itself."""


class CallHost:
    """A host process for one project directory, from its start to its end."""

    def __init__(
        self, project: str, journal: str, scratch: str, storage: DiskRetry, wake: int, *, leave_running: bool
    ) -> None:
        """Start the process. Raise OSError on failure. `wake`: a descriptor that wakes the runner. `leave_running`:
        processes that its calls leave may outlive it and its worker; it then runs in its own session."""
        self.project, self.leave_running = project, leave_running
        self._storage = storage
        self._scratch = scratch
        self._known: set[int] = set()
        status = SharedStatus.make()
        orders_out, self._orders = os.pipe()
        self.replies, replies_in = os.pipe()
        argv = [sys.executable, "-P", "-m", "rekindle.worker.call_host", journal, scratch, str(os.getpid()), project]
        try:
            self.status = SharedStatus(status)
            descriptors = {TASKS_FD: orders_out, REPLIES_FD: replies_in, STATUS_FD: status, WAKE_FD: wake}
            self.pid = _start(argv, descriptors, apart=leave_running)
        finally:
            for fd in (orders_out, replies_in, status):
                os.close(fd)
        os.set_blocking(self.replies, False)
        self.handle = os.pidfd_open(self.pid)
        self._lines = LineReader(self.replies, Reply)

    def give(self, template: TaskTemplate, task: BatchTask | StepTask) -> None:
        """Send a task, preceded by its template if the host does not know it. The handle reports a dead host."""
        unknown = () if template.id in self._known else (template,)
        self._known.add(template.id)
        with contextlib.suppress(BrokenPipeError):
            send(self._orders, *unknown, task)

    def answers(self) -> list[Reply]:
        """Return the replies since the last call."""
        return self._lines.take()

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return not wait_for_exit(self.handle, 0)

    def pause(self) -> bool:
        """Stop the process until `resume`; return False if it has ended instead."""
        os.kill(self.pid, signal.SIGSTOP)
        found = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return found is not None and found.si_code == os.CLD_STOPPED

    def resume(self) -> None:
        """Continue a stopped process."""
        os.kill(self.pid, signal.SIGCONT)

    def terminate_started(self) -> bool:
        """Stop the host for good and send SIGTERM to the processes that its call has started. Return whether there
        are any."""
        if not self.pause():
            return False
        started = self.started()
        signal_each(started, signal.SIGTERM)
        signal_each(started, signal.SIGCONT)  # a stopped process does not see SIGTERM
        return bool(started)

    def started(self) -> list[int]:
        """Return the living processes that its call has started."""
        return [pid for pid in descendants_of([self.pid]) if pid != self.pid and start_of(pid) is not None]

    def kill(self) -> None:
        """Kill the host and everything that it has started."""
        signal_trees(self.pid, (), signal.SIGKILL)

    def reap(self, timeout: float = 0.0, keep: Collection[int] = ()) -> tuple[int, int]:
        """End the host and everything that it started, except this process's children in `keep`. It has `timeout`
        seconds to exit by itself. With `leave_running`, started processes are left alone. Return the exit code
        (negative: the signal) and the peak memory in bytes."""
        os.close(self._orders)
        if timeout:
            wait_for_exit(self.handle, timeout)
        if self.leave_running:
            signal_each([self.pid], signal.SIGKILL)
        else:
            kill_group(self.pid)
        _, status, usage = os.wait4(self.pid, 0)
        if not self.leave_running:
            kill_children([pid for pid in keep if pid != self.pid])
        os.close(self.replies)
        os.close(self.handle)
        self.status.close()
        return os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024

    def rescue_logs(self, pids: str, position: int) -> str:
        """After its end: move its last call's logs to their final place; return the tail of stderr. The call has
        failed whatever else is wrong."""
        with contextlib.suppress(BadFolder):
            check_folder(pids)
        capture = StepLogs.found(f"{self._scratch}/call.", self._storage)
        tail = capture.tail()
        with contextlib.suppress(BadLog):
            capture.keep(pids, position)
        capture.close()
        return tail


def host_death(
    started: float, ended: float, code: int, peak: int, stopped: tuple[Cause, str] | None, stderr: str
) -> StepEnd:
    """Return the end of a step whose call ended its host."""
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


class CallHosts:
    """The current call host: started on demand, replaced when necessary."""

    def __init__(
        self,
        journal: str,
        scratch: str,
        storage: DiskRetry,
        wake: int,
        others: Callable[[], Collection[int]] = tuple,
        *,
        leave_running: bool = False,
    ) -> None:
        """`others`: other processes that outlive the host. `wake`, `leave_running`: see CallHost."""
        self._journal, self._scratch, self._storage, self._wake = journal, scratch, storage, wake
        self.others = others
        self._leave_running = leave_running
        self._host: CallHost | None = None

    def set_leave_running(self, leave_running: bool) -> None:
        """Before an attempt: replace the host if it differs in `leave_running`."""
        if leave_running != self._leave_running:
            self.retire()
        self._leave_running = leave_running

    def get(self, project: str) -> CallHost:
        """Return a living host for this project."""
        if self._host is not None and (self._host.project != project or not self._host.alive):
            self.retire()
        if self._host is None:
            self._host = CallHost(
                project, self._journal, self._scratch, self._storage, self._wake, leave_running=self._leave_running
            )
        return self._host

    def forget(self) -> None:
        """Drop the host, which has been reaped."""
        self._host = None

    def retire(self) -> None:
        """End the current host."""
        if self._host is not None:
            self._host.reap(EXIT_TIMEOUT, self.others())
            self._host = None

    def pids(self) -> tuple[int, ...]:
        """Return the processes that outlive a step."""
        return () if self._host is None else (self._host.pid,)


class CallGrace:
    """The grace for processes that a terminated call has started. The call itself has none."""

    def __init__(self) -> None:
        self.due: float | None = None
        self._kill_at = 0.0

    def begin(self, host: CallHost, now: float, grace: float) -> None:
        """Send SIGTERM to them; kill all at once if there is no grace or no such process."""
        if grace > 0 and host.terminate_started():
            self.due, self._kill_at = now + LEFTOVER_INTERVAL, now + grace
        else:
            host.kill()

    def end(self, now: float) -> None:
        """End the grace now."""
        if self.due is not None:
            self.due = self._kill_at = now

    def poll(self, host: CallHost, now: float) -> None:
        """Kill the rest if the grace is over or all of them have ended."""
        if self.due is None or now < self.due:
            return
        if now < self._kill_at and host.alive and host.started():
            self.due = min(now + LEFTOVER_INTERVAL, self._kill_at)
        else:
            self.due = None
            host.kill()


class CallStep:
    """A step that is a call. The worker writes its records."""

    def __init__(
        self,
        hosts: CallHosts,
        template: TaskTemplate,
        assignment: Assignment,
        position: int,
        *,
        items: bool = False,
        subtask: SubtaskRun | None = None,
    ) -> None:
        """For a fan-out step: `items` finds its items, `subtask` is one of them."""
        self._hosts, self._template = hosts, template
        self._task = StepTask(assignment, position, items, subtask)
        self._stopped: tuple[Cause, str] | None = None
        self._grace = CallGrace()
        self.left_nothing = True
        self.started = wall_time()
        self._begin()

    def _begin(self) -> None:
        self._host = self._hosts.get(self._template.directory)
        self._host.give(self._template, self._task)

    @property
    def handles(self) -> list[int]:
        """Where the reply or the host's death is seen."""
        return [self._host.replies, self._host.handle]

    @property
    def due(self) -> float | None:
        """When processes that it has started may have ended."""
        return self._grace.due

    def stop(self, cause: Cause, message: str, now: float, grace: float) -> None:
        """Stop the call; processes that it has started have the grace, then all are killed."""
        if self._stopped is None:
            self._stopped = cause, message
            self._grace.begin(self._host, now, grace)

    def cut_grace(self, now: float) -> None:
        """End the grace now."""
        self._grace.end(now)

    def poll(self, now: float) -> StepEnd | None:
        """Return the end from the reply, or from the host's death."""
        gone = not self._host.alive
        self._grace.poll(self._host, now)
        for answer in self._host.answers():
            if self._stopped is not None or not isinstance(answer, StepReply):
                continue
            if not answer.fresh:
                self._hosts.retire()
            if answer.end is None:
                self._begin()
                return None
            self.left_nothing = answer.fresh
            end = _redated(answer.end)
            return msgspec.structs.replace(end, left=None) if self._host.leave_running else end
        if not gone:
            return None
        code, peak = self._host.reap(keep=self._hosts.others())
        self._hosts.forget()
        folder = self._task.subtask.folder if self._task.subtask else self._task.assignment.file_prefix
        stderr = self._host.rescue_logs(folder, self._task.position)
        return host_death(self.started, wall_time(), code, peak, self._stopped, stderr)


def _redated(end: StepEnd) -> StepEnd:
    """Date a step's end by this process's clock: keep the duration, because the host reads the wall clock itself."""
    now = wall_time()
    return msgspec.structs.replace(end, started=now - (end.ended - end.started), ended=now)


def _start(argv: list[str], fds: dict[int, int], *, apart: bool) -> int:
    """Start a process in its own group (with `apart`: its own session) with these descriptors (number there: number
    here)."""
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
