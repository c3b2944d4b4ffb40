"""A step that is a command: a process group, watched until it ends and all that it started with it."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Collection

import msgspec

from rekindle.domain.causes import Cause, state_after
from rekindle.domain.definition import Step
from rekindle.domain.models import Failure
from rekindle.domain.states import State
from rekindle.domain.texts.commandline import CommandLine, compile_command
from rekindle.journal.orders import Assignment
from rekindle.worker.activity import LINGER
from rekindle.worker.capture import BadLog, Prints
from rekindle.worker.clock import date
from rekindle.worker.findings import StartError, StepEnd, signal_name
from rekindle.worker.frame import ACTION_NAME, RESULT_NAME, VERDICT_NAME, Frame
from rekindle.worker.reaping import end_leftovers, kill_group, left_running, orphans, signal_trees
from rekindle.worker.spawn import spawn
from rekindle.worker.staging import spoiled, take_leaves

_SHELLS_SIGNAL = 128  # a shell ends with 128 + n when its last command was killed by signal n


class Command:
    """A command that runs. `own` tells which children of this worker are its own and outlive the command."""

    def __init__(
        self,
        step: Step,
        position: int,
        frame: Frame,
        assignment: Assignment,
        capture: Prints,
        own: Callable[[], Collection[int]],
    ) -> None:
        """Start it. BadValue or UnknownWord for a value that cannot stand in it, StartError when it does not start."""
        self._line, argv = _argument_vector(step, frame)
        self._position, self._capture, self._own = position, capture, own
        self._leaves, self._beside = assignment.leaves, assignment.beside
        frame.variables["REKINDLE_STEP"] = step.name
        frame.variables["REKINDLE_RESULT"] = f"{self._leaves}{RESULT_NAME}"
        frame.variables["REKINDLE_ACTION"] = f"{self._leaves}{ACTION_NAME}"
        frame.variables["REKINDLE_VERDICT"] = f"{self._leaves}{VERDICT_NAME}"
        self._leave_running = frame.leave_running
        self._stopped: tuple[Cause, str] | None = None
        self._kill_at: float | None = None
        self._look_at: float | None = None  # it has ended, what it has left has not
        self.quiet = True
        self.started = date()
        self._pid = spawn(argv, frame.environment, frame.directory, capture.out, capture.err, apart=frame.leave_running)
        self._handle = os.pidfd_open(self._pid)

    @property
    def pid(self) -> int:
        """The process that leads its group."""
        return self._pid

    @property
    def handles(self) -> list[int]:
        """The process's pidfd, while it runs."""
        return [self._handle] if self._look_at is None else []

    @property
    def due(self) -> float | None:
        """When its grace ends, or what it has left behind may have ended."""
        return min((at for at in (self._kill_at, self._look_at) if at is not None), default=None)

    def stop(self, cause: Cause, message: str, now: float, grace: float) -> None:
        """Ask it to end, and all that it has started, wherever that went; after the grace it is killed."""
        if self._stopped is None:
            self._stopped = cause, message
            self._kill_at = now + grace
            if grace > 0:
                self._signal(signal.SIGTERM)
                self._signal(signal.SIGCONT)  # one that is stopped would not see it

    def hurry(self, now: float) -> None:
        """Its grace is over."""
        if self._kill_at is not None:
            self._kill_at = now

    def turn(self, now: float) -> StepEnd | None:
        """Reap it when it has ended; kill it when its grace is over."""
        if self._kill_at is not None and now >= self._kill_at:
            self._signal(signal.SIGKILL)
            self._kill_at = None
        if not ended(self._handle):
            return None
        if self._kill_at is not None and orphans(self._own(), self._pid):
            self._look_at = min(now + LINGER, self._kill_at)
            return None
        os.close(self._handle)
        left, cpu = left_running(self._own(), self._pid), 0.0
        spared = self._leave_running and self._stopped is None and _succeeded(self._pid)
        if not spared:  # the leader is not reaped yet, so that its number still means this group
            kill_group(self._pid)
        _, status, usage = os.wait4(self._pid, 0)
        if spared:
            self.quiet = left is None
        else:
            found, cpu = end_leftovers(self._own())
            self.quiet = not found
        end = self._conclude(os.waitstatus_to_exitcode(status))
        try:
            self._capture.keep(self._beside, self._position, self.quiet)
        except BadLog as error:
            end = spoiled(end, error)
        # The kernel hands a process's peak down to what it starts: no command shows less than this worker has itself.
        return msgspec.structs.replace(
            end,
            cpu_seconds=usage.ru_utime + usage.ru_stime + cpu,
            max_rss_bytes=usage.ru_maxrss * 1024,
            left=None if spared or self._stopped is not None else left,
        )

    def _signal(self, number: int) -> None:
        signal_trees(self._pid, orphans(self._own(), self._pid), number)

    def _conclude(self, code: int) -> StepEnd:
        """What an exit code (negative: the signal that killed it) means."""
        now = date()
        left = take_leaves(self._leaves)
        cause, message, number = self._cause(code)
        exit_code = code if code >= 0 else None
        if cause is None:
            end = StepEnd(State.COMPLETED, self.started, now, None, exit_code, result=left.result)
            if left.trouble is not None:
                return spoiled(end, left.trouble, self._capture.tail())
            return msgspec.structs.replace(end, action=left.action, verdict=left.verdict)
        failure = Failure(message=message, stderr=self._capture.tail())
        return StepEnd(
            state_after(cause),
            self.started,
            now,
            cause,
            exit_code,
            number,
            failure=failure,
            result=left.result,
        )

    def _cause(self, code: int) -> tuple[Cause | None, str, int | None]:
        """(cause, what to say, signal)."""
        number = -code if code < 0 else None
        if self._stopped is not None:
            return *self._stopped, number
        if number is None and self._line.needs_shell and 0 < code - _SHELLS_SIGNAL <= signal.SIGRTMAX:
            number = code - _SHELLS_SIGNAL
        if number is not None:
            return Cause.SIGNAL, f"killed by {signal_name(number)}", number
        return (Cause.EXIT, f"exit code {code}", None) if code else (None, "", None)


def _argument_vector(step: Step, frame: Frame) -> tuple[CommandLine, list[str]]:
    if step.run is None:
        raise StartError(f"step {step.name} has neither a command nor a function")
    line = compile_command(step.run, step.shell)
    return line, line.argv(frame.scope)


def ended(handle: int) -> bool:
    """Whether the process of a pidfd has."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(0))


def _succeeded(pid: int) -> bool:
    """Whether a process that has ended, and is not reaped yet, ended with exit code 0."""
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return found is not None and (found.si_code, found.si_status) == (os.CLD_EXITED, 0)
