"""A command step: start a process group, watch it until it ends, and end everything that it started."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.models import Failure, LeftProcess, LeftRunning
from rekindle.domain.states import Cause, State, state_after
from rekindle.domain.texts.commandline import CommandLine, compile_command
from rekindle.journal.processes import children_of, command_of, descendants_of, own_children, start_of
from rekindle.worker.attempt_environment import ACTION_NAME, RESULT_NAME, VERDICT_NAME, AttemptEnvironment
from rekindle.worker.attempt_folders import AttemptFolders, StepReports, reject_end, take_reports
from rekindle.worker.logs import BadLog, LogFiles
from rekindle.worker.steps import LEFTOVER_INTERVAL, MAX_NAMED_PROCESSES, StartError, StepEnd, signal_name, wall_time

if TYPE_CHECKING:
    import resource

    from rekindle.domain.definition import Step
    from rekindle.journal.orders import Assignment

_SHELLS_SIGNAL = 128  # a shell ends with 128 + n when its last command was killed by signal n


class CommandStep:
    """A running command. `own` returns the children of this worker that outlive the command."""

    def __init__(
        self,
        step: Step,
        position: int,
        env: AttemptEnvironment,
        assignment: Assignment,
        capture: LogFiles,
        own: Callable[[], Collection[int]],
        folders: AttemptFolders,
    ) -> None:
        """Start the command. Raise BadValue or UnknownWord for an unusable value, StartError if it does not start."""
        self._line, argv = argument_vector(step, env)
        self._position, self._capture, self._own, self._folders = position, capture, own, folders
        self._folder = "" if assignment.own else assignment.folder  # in which it reports, if that is its own
        self._report_prefix, self._file_prefix = assignment.report_prefix, assignment.file_prefix
        set_step_variables(env, step.name, self._report_prefix)
        self._leave_running = env.leave_running
        self._stopped: tuple[Cause, str] | None = None
        self._kill_at: float | None = None
        self._check_at: float | None = None  # set once the command has ended and left processes have not
        self.left_nothing = True
        self.started = wall_time()
        self._pid = spawn(argv, env.environment, env.directory, capture.out, capture.err, apart=env.leave_running)
        self._handle = os.pidfd_open(self._pid)

    @property
    def pid(self) -> int:
        """The process that leads the group."""
        return self._pid

    @property
    def handles(self) -> list[int]:
        """The process's pidfd, while it runs."""
        return [self._handle] if self._check_at is None else []

    @property
    def due(self) -> float | None:
        """When the grace ends, or when left processes may have ended."""
        if self._kill_at is None:
            return self._check_at
        return min((at for at in (self._kill_at, self._check_at) if at is not None), default=None)

    def stop(self, cause: Cause, message: str, now: float, grace: float) -> None:
        """Send SIGTERM to the command and to everything that it has started, in any group; SIGKILL after the grace."""
        if self._stopped is None:
            self._stopped = cause, message
            self._kill_at = now + grace
            if grace > 0:
                self._signal(signal.SIGTERM)
                self._signal(signal.SIGCONT)  # a stopped process does not see SIGTERM

    def cut_grace(self, now: float) -> None:
        """End the grace now."""
        if self._kill_at is not None:
            self._kill_at = now

    def poll(self, now: float) -> StepEnd | None:
        """Reap the command if it has ended; kill it if its grace is over."""
        if self._kill_at is not None and now >= self._kill_at:
            self._signal(signal.SIGKILL)
            self._kill_at = None
        if not has_ended(self._handle):
            return None
        if self._kill_at is not None and stray_children(self._own(), self._pid):
            self._check_at = min(now + LEFTOVER_INTERVAL, self._kill_at)
            return None
        os.close(self._handle)
        left, cpu = None, 0.0
        if own_children() == [self._pid]:  # its descendants would be children of this process by now
            _, status, usage = os.wait4(self._pid, 0)
            return self._ended(status, usage, left, cpu)
        left = left_running(self._own(), self._pid)
        spared = self._leave_running and self._stopped is None and _exited_with_0(self._pid)
        if not spared:  # the leader is not reaped yet, so that its number still means this group
            kill_group(self._pid)
        _, status, usage = os.wait4(self._pid, 0)
        if spared:
            self.left_nothing = left is None
        else:
            found, cpu = kill_children(self._own())
            self.left_nothing = not found
        return self._ended(status, usage, None if spared or self._stopped is not None else left, cpu)

    def _ended(self, status: int, usage: resource.struct_rusage, left: LeftRunning | None, cpu: float) -> StepEnd:
        """Return the step's end, with its logs in place. `cpu`: the processor time of what it has left, in seconds."""
        end = self._conclude(os.waitstatus_to_exitcode(status))
        try:
            self._capture.keep(self._file_prefix, self._position, self.left_nothing)
        except BadLog as error:
            end = reject_end(end, error)
        # A started process inherits its parent's peak, so that no command shows less than this worker's own.
        return msgspec.structs.replace(
            end,
            cpu_seconds=usage.ru_utime + usage.ru_stime + cpu,
            max_rss_bytes=usage.ru_maxrss * 1024,
            left=left,
        )

    def _signal(self, number: int) -> None:
        signal_trees(self._pid, stray_children(self._own(), self._pid), number)

    def _conclude(self, code: int) -> StepEnd:
        """Return the step's end for an exit code (negative: the signal that killed it)."""
        now = wall_time()
        unused = self._folder and self._folders.is_unused(self._folder)
        left = StepReports() if unused else take_reports(self._report_prefix)
        cause, message, number = self._cause(code)
        exit_code = code if code >= 0 else None
        if cause is None:
            end = StepEnd(State.COMPLETED, self.started, now, None, exit_code, result=left.result)
            if left.problem is not None:
                return reject_end(end, left.problem, self._capture.tail())
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
        """Return (cause, message, signal)."""
        number = -code if code < 0 else None
        if self._stopped is not None:
            return *self._stopped, number
        if number is None and self._line.needs_shell and 0 < code - _SHELLS_SIGNAL <= signal.SIGRTMAX:
            number = code - _SHELLS_SIGNAL
        if number is not None:
            return Cause.SIGNAL, f"killed by {signal_name(number)}", number
        return (Cause.EXIT, f"exit code {code}", None) if code else (None, "", None)


def set_step_variables(env: AttemptEnvironment, step: str, report_prefix: str) -> None:
    """Set the variables that a command has beside those of its attempt: its step, and the files for its reports."""
    env.variables["REKINDLE_STEP"] = step
    env.variables["REKINDLE_RESULT"] = f"{report_prefix}{RESULT_NAME}"
    env.variables["REKINDLE_ACTION"] = f"{report_prefix}{ACTION_NAME}"
    env.variables["REKINDLE_VERDICT"] = f"{report_prefix}{VERDICT_NAME}"


def argument_vector(step: Step, env: AttemptEnvironment) -> tuple[CommandLine, list[str]]:
    """Return the command of a step, compiled, and its arguments. Raise BadValue or UnknownWord for an unusable value,
    StartError for a step that is a call."""
    if step.run is None:
        raise StartError(f"step {step.name} has neither a command nor a function")
    line = compile_command(step.run, step.shell)
    return line, line.argv(env.scope)


def has_ended(handle: int) -> bool:
    """Return whether the process of a pidfd has ended."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(0))


def _exited_with_0(pid: int) -> bool:
    """Return whether an ended, unreaped process exited with code 0."""
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return found is not None and (found.si_code, found.si_status) == (os.CLD_EXITED, 0)


_NULL = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
_DEFAULT_PATH = "/bin:/usr/bin"


@cache
def _ignored() -> list[int]:
    """Return the signals that this process ignores: Python ignores some, and a parent may have made it ignore
    others."""
    return [number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]


def spawn(
    argv: list[str], environment: Mapping[str, str], directory: str, out: int, err: int, *, apart: bool = False
) -> int:
    """Start `argv` in `directory` as the leader of its own process group, with empty stdin and the given stdout and
    stderr; return the pid. This process's working directory becomes `directory`. `apart`: also in its own session,
    so that it can outlive the worker's.

    Raise StartError, which names the program and the reason."""
    program = argv[0]
    try:
        os.chdir(directory)
    except OSError as error:
        raise StartError(f"cannot start {program}: the directory {directory}: {error.strerror}") from error
    path = find_program(program, environment.get("PATH", _DEFAULT_PATH))
    actions = [
        (os.POSIX_SPAWN_DUP2, _NULL, 0),
        (os.POSIX_SPAWN_DUP2, out, 1),
        (os.POSIX_SPAWN_DUP2, err, 2),
    ]
    try:
        try:
            return _spawn(path, argv, environment, actions, apart)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            # Like execvp, run a script without an interpreter line with /bin/sh.
            return _spawn("/bin/sh", ["sh", path, *argv[1:]], environment, actions, apart)
    except OSError as error:
        raise StartError(f"cannot start {program}: {_start_error(error, path, argv, environment)}") from error
    except ValueError as error:  # a zero byte in a word or a variable, a `=` in a variable's name
        raise StartError(f"cannot start {program}: {error}") from error


def _spawn(
    path: str, argv: list[str], environment: Mapping[str, str], actions: Sequence[tuple[int, int, int]], apart: bool
) -> int:
    more: dict[str, Any] = {"setsid": True} if apart else {"setpgroup": 0}
    return os.posix_spawn(path, argv, environment, file_actions=actions, setsigmask=(), setsigdef=_ignored(), **more)


def find_program(program: str, path: str) -> str:
    """Return the path of a program: itself if it contains a slash, otherwise the first executable of that name in
    `path`."""
    if not program:
        raise StartError("cannot start a program whose name is empty")
    if "/" in program:
        return program
    denied = ""
    for directory in path.split(":"):
        candidate = f"{directory or '.'}/{program}"
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
        if not denied and os.path.isfile(candidate):
            denied = candidate
    if denied:
        raise StartError(f"cannot start {program}: {denied} is not executable", hint=f"chmod +x {denied}")
    raise StartError(f"cannot start {program}: no such program in PATH\n(PATH is {path})")


def _start_error(error: OSError, path: str, argv: Sequence[str], environment: Mapping[str, str]) -> str:
    if error.errno == errno.ENOENT and os.path.exists(path):
        return "it is there, but the interpreter that its first line names is not"
    if error.errno == errno.ENOENT:
        return "no such file"
    if error.errno == errno.EACCES and os.path.isdir(path):
        return "it is a directory"
    if error.errno == errno.EACCES:
        return "it is not executable"
    if error.errno == errno.E2BIG:
        size = sum(len(word) + 1 for word in argv) + sum(len(k) + len(v) + 2 for k, v in environment.items())
        return f"its arguments and environment are too long ({size} characters); pass large values in a file"
    return error.strerror or str(error)


KILL_TIMEOUT = 5.0
"""Seconds to wait for a killed process; one that hangs in the kernel is then left behind."""


def kill_group(leader: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process group, if it exists."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):  # none left, or only some with another user's rights
        return


def signal_trees(leader: int, stray_children: Collection[int], number: int) -> None:
    """Send a signal once to each process of a group (0: none), of its leader's descendants outside the group and of
    the trees of `orphans`."""
    trees = descendants_of([leader, *stray_children] if leader else stray_children)
    outside = [pid for pid in trees if not in_group(pid, leader)]
    if leader:
        kill_group(leader, number)
    signal_each(outside, number)


def signal_each(pids: Collection[int], number: int) -> None:
    """Send a signal to processes, if they exist and are ours."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def in_group(pid: int, leader: int) -> bool:
    """Return whether a process belongs to a group. A process that is gone does not."""
    try:
        return os.getpgid(pid) == leader
    except ProcessLookupError:
        return False


def stray_children(keep: Collection[int], leader: int = 0) -> list[int]:
    """Return the living children of this process except those of `keep`; of `keep`, only the members of the group of
    `leader` count."""
    return [
        pid
        for pid in children_of(os.getpid())
        if pid != leader and (pid not in keep or in_group(pid, leader)) and start_of(pid) is not None
    ]


def left_running(keep: Collection[int], leader: int = 0, *, killed: bool = True) -> LeftRunning | None:
    """Return the living processes that a step has left: `stray_children` and their descendants. None if there are
    none."""
    roots = stray_children(keep, leader)
    if not roots:
        return None
    living = [pid for pid in descendants_of(roots) if start_of(pid) is not None]
    return LeftRunning(
        killed, len(living), tuple(LeftProcess(pid, command_of(pid)) for pid in living[:MAX_NAMED_PROCESSES])
    )


def kill_children(keep: Collection[int] = ()) -> tuple[bool, float]:
    """Kill and reap every child except those of `keep`. This process is the nearest subreaper, so that all processes
    left by a dead step are its children, in any group or session. Return whether there were any, and their processor
    time."""
    if not keep and has_no_children():
        return False, 0.0
    found, cpu = False, 0.0
    limit = time.monotonic() + KILL_TIMEOUT
    while left := [pid for pid in children_of(os.getpid()) if pid not in keep]:
        found = True
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        for pid in left:
            cpu += _reap(pid, limit)
        if time.monotonic() >= limit:
            break
    return found, cpu


def has_no_children() -> bool:
    """Return whether this process has no children, not even dead ones."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def _reap(pid: int, limit: float) -> float:
    handle = os.pidfd_open(pid)
    try:
        wait_for_exit(handle, limit - time.monotonic())
    finally:
        os.close(handle)
    _, _, usage = os.wait4(pid, os.WNOHANG)
    return usage.ru_utime + usage.ru_stime


def wait_for_exit(handle: int, seconds: float) -> bool:
    """Wait at most `seconds` for the process of a pidfd to end; return whether it has."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(max(0, seconds) * 1000))


def become_subreaper() -> None:
    """Become the parent of orphaned descendants: prctl(PR_SET_CHILD_SUBREAPER), see prctl(2)."""
    _prctl(36, 1)


def die_with_parent(parent: int) -> None:
    """Have this process killed when its parent dies: prctl(PR_SET_PDEATHSIG). Exit at once if the parent is dead."""
    _prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _prctl(option: int, value: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
