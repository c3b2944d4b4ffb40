"""The standard streams of a command, usable even if they were closed or their reader has gone.

stderr drops output that cannot be written: no command ends because its diagnostics are not read. stdout raises OSError,
so that a command that only prints ends with its reader. A command that `outlives_reader` drops this output, too.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO, TypeVar

Command = TypeVar("Command", bound=Callable[..., Any])


class _Output(io.FileIO):
    """Writes to a descriptor. With `drops`, output that cannot be written is dropped. `error` is the first error."""

    def __init__(self, fd: int, *, drops: bool) -> None:
        super().__init__(fd, "w", closefd=False)
        self.drops = drops
        self.error: OSError | None = None
        self._raised = False

    def write(self, data: Any, /) -> int:
        if self._raised:  # the command has failed; flushing at exit must not fail again
            return len(data)
        try:
            while (written := super().write(data)) is None:  # another process made the descriptor non-blocking
                import select

                writable = select.poll()
                writable.register(self.fileno(), select.POLLOUT)
                writable.poll()
        except OSError as error:
            self.error = self.error or error
            if not self.drops:
                self._raised = True
                raise
            return len(data)
        return written


_stdout: _Output | None = None


def set_up_streams() -> None:
    """Open the closed ones of the descriptors 0, 1 and 2, so that no file of the store gets their numbers, and replace
    the streams of `sys`. Must be called once, before any other file is opened."""
    global _stdout
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # A write to a read-only descriptor fails, as it does to a closed stdout.
            os.open(os.devnull, os.O_WRONLY if fd == 2 else os.O_RDONLY)
            os.set_inheritable(fd, True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (open as long as the process)
    _stdout = _Output(1, drops=False)
    sys.stdout = _text(_stdout, sys.stdout)
    sys.stderr = _text(_Output(2, drops=True), sys.stderr)


def _text(output: _Output, earlier: TextIO | None) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(output),
        encoding=earlier.encoding if earlier else "utf-8",
        errors=earlier.errors if earlier else "replace",
        line_buffering=output.isatty(),
    )


def outlives_reader(command: Command) -> Command:
    """Decorate a command that continues to its end, with its exit code, if its output cannot be written. A dry run,
    whose only result is its output, still fails."""

    @functools.wraps(command)
    def call(*args: Any, **kwargs: Any) -> Any:
        if _stdout is not None and not kwargs.get("dry_run"):
            _stdout.drops = True
        return command(*args, **kwargs)

    return call  # type: ignore[return-value]


def stdout_error() -> OSError | None:
    """Return the first error of writing to stdout."""
    return None if _stdout is None else _stdout.error


def describe_stdout_error(error: OSError) -> str:
    """Return the error message for a failed write to stdout."""
    why = "it is closed" if error.errno == errno.EBADF else error.strerror
    return f"cannot write to stdout: {why}"


def terminal_columns() -> int:
    """Return the columns of the terminal, or $COLUMNS; 80 without either. As `shutil.get_terminal_size`, without
    importing the compressions of `shutil`."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80
