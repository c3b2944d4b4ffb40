"""A task's commands: their output goes to the attempt's log as it comes, and can be read back from there."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import IO

TAIL = 4 * 1024
"""Bytes of each stream that are told with a command that failed."""

_LINE = 300  # characters of the last line that are told in a message


class Printed:
    """What commands print to stdout (1) or stderr (2) while this is open. It goes to where this process prints to;
    where that is no file of its own, it is kept aside and goes there at the end."""

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._aside: IO[bytes] | None = None

    def __enter__(self) -> Printed:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if _is_own_file(self._stream):
            self.fd, self._start = self._stream, os.fstat(self._stream).st_size
        else:
            self._aside = tempfile.TemporaryFile()
            self.fd, self._start = self._aside.fileno(), 0
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._aside is not None:
            self._aside.seek(0)
            with os.fdopen(os.dup(self._stream), "wb") as out:
                shutil.copyfileobj(self._aside, out)
            self._aside.close()

    def text(self) -> str:
        """All of it."""
        return self._read(self._start)

    def tail(self) -> str:
        """The end of it."""
        return self._read(max(self._start, os.fstat(self.fd).st_size - TAIL))

    def _read(self, start: int) -> str:
        found = b""
        while chunk := os.pread(self.fd, 1 << 20, start + len(found)):
            found += chunk
        return found.decode("utf-8", "replace")


def failed(message: str, command: str | Sequence[str], out: Printed, err: Printed) -> RuntimeError:
    """The failure of a command: the last line that it wrote to stderr follows the message; its own line and the ends of
    what it printed stand below, where a traceback shows them."""
    tails = {"stderr": err.tail(), "stdout": out.tail()}
    last = next((line.strip() for line in reversed(tails["stderr"].splitlines()) if line.strip()), "")
    error = RuntimeError(f"{message}: {last[:_LINE]}" if last else message)
    error.add_note(f"command: {command if isinstance(command, str) else subprocess.list2cmdline(command)}")
    for stream, tail in tails.items():
        if tail.strip():
            error.add_note(f"{stream}: {tail.rstrip()}")
    return error


def _is_own_file(fd: int) -> bool:
    """A regular file that can be read back, and that nothing else of this process prints to."""
    found, other = os.fstat(fd), os.fstat(3 - fd)
    if not stat.S_ISREG(found.st_mode) or (found.st_dev, found.st_ino) == (other.st_dev, other.st_ino):
        return False
    try:
        os.pread(fd, 1, 0)
    except OSError:  # opened for writing only
        return False
    return True
