"""Starting a program: found as execvp finds it, with nothing inherited but what a job should see."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from rekindle.worker.findings import StartError

_NULL = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
_DEFAULT_PATH = "/bin:/usr/bin"


@cache
def _ignored() -> list[int]:
    """The signals that this process ignores: Python does so with some, and whoever started it may have with others."""
    return [number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]


def spawn(
    argv: list[str], environment: Mapping[str, str], directory: str, out: int, err: int, *, apart: bool = False
) -> int:
    """Start `argv` in `directory` as the leader of a process group of its own, with stdin empty and stdout and stderr
    at these descriptors; returns the pid. This process's working directory becomes `directory`. `apart`: in a session
    of its own too, so that it may outlive this worker's.

    StartError names the program and says why it cannot be started."""
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
            # A script without a first line that names its interpreter is /bin/sh's, as execvp has it.
            return _spawn("/bin/sh", ["sh", path, *argv[1:]], environment, actions, apart)
    except OSError as error:
        raise StartError(f"cannot start {program}: {_why(error, path, argv, environment)}") from error
    except ValueError as error:  # a zero byte in a word or a variable, a `=` in a variable's name
        raise StartError(f"cannot start {program}: {error}") from error


def _spawn(
    path: str, argv: list[str], environment: Mapping[str, str], actions: Sequence[tuple[int, int, int]], apart: bool
) -> int:
    more: dict[str, Any] = {"setsid": True} if apart else {"setpgroup": 0}
    return os.posix_spawn(path, argv, environment, file_actions=actions, setsigmask=(), setsigdef=_ignored(), **more)


def find_program(program: str, path: str) -> str:
    """Where a program is: its own path when it has a slash, else the first executable of that name in `path`."""
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
    raise StartError(f"cannot start {program}: no such program in PATH ({path})")


def _why(error: OSError, path: str, argv: Sequence[str], environment: Mapping[str, str]) -> str:
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
