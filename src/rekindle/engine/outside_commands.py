"""Run a command of a person beside the jobs (a hook, a judge): bounded in time, and killed with its process group."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO

import msgspec

_POLL_SECONDS = 0.2

_NOT_EXECUTABLE = 126
"""The exit code of a shell that may not execute a file."""

_OF_JOBS = "REKINDLE_"
_KEPT = ("REKINDLE_STORE", "REKINDLE_DURABILITY", "REKINDLE_SHARED")


class Stopped(Exception):
    """The caller has stopped a command, which was killed."""


class OutsideCommand(msgspec.Struct, frozen=True):
    """A command: a line for a shell, or words; where it runs, its variables, and how many seconds it may take."""

    command: str | tuple[str, ...]
    directory: str
    environment: Mapping[str, str]
    seconds: float

    def run(
        self, document: bytes, stdout: IO[bytes], stderr: IO[bytes] | int, stopped: Callable[[], bool] = lambda: False
    ) -> int | None:
        """Run it with the document on stdin, and return its exit code (negative: the signal), or None if it was killed
        because it took too long. Raise OSError or ValueError if it cannot start, and Stopped once `stopped` is true."""
        argv = ["/bin/sh", "-c", self.command] if isinstance(self.command, str) else list(self.command)
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            cwd=self.directory,
            env=dict(self.environment),
            start_new_session=True,
        )
        try:
            return _wait(process, document, time.monotonic() + self.seconds, stopped)
        except BaseException:  # this process ends, and another one runs the command again
            _kill(process)
            raise


def _wait(process: subprocess.Popen[bytes], document: bytes, limit: float, stopped: Callable[[], bool]) -> int | None:
    rest: bytes | None = document
    while True:
        left = max(0.0, min(_POLL_SECONDS, limit - time.monotonic()))
        try:
            with suppress(BrokenPipeError):  # a command need not read the document
                process.communicate(rest, timeout=left)
            return process.wait(timeout=left)
        except subprocess.TimeoutExpired:
            rest = None  # `communicate` goes on where it was
        if time.monotonic() >= limit:
            _kill(process)
            return None
        if stopped():
            raise Stopped


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a command and the processes in its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def end_text(code: int) -> str:
    """Return how a command ended that did not succeed: `exit 3`, `SIGKILL`."""
    text = f"exit {code}" if code > 0 else signal.Signals(-code).name
    return f"{text}: not executable (`chmod +x FILE` makes it so)" if code == _NOT_EXECUTABLE else text


def own_environment(*kept: str) -> dict[str, str]:
    """Return this process's variables, without those of a job that it may belong to, but for `kept`."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OF_JOBS) or name in _KEPT or name in kept
    }
