"""Log files of steps: a reusable pair of files for each worker, moved beside the attempt's folder if they are not
empty."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Protocol

from rekindle.domain.errors import BadValue
from rekindle.files.store_files import kind_at, make_folder, move_out_of_way, open_store_file
from rekindle.journal.paths import STREAMS, log_path

if TYPE_CHECKING:
    from rekindle.worker.reporter import DiskRetry

TAIL = 8 * 1024
"""Bytes of stderr that are kept with a failure."""

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_TRUNC
_PIECE = 1 << 20


class BadLog(BadValue):
    """A step has replaced its log with another file."""


class LogFiles(Protocol):
    """Where a step's stdout and stderr go while it runs and after it has ended."""

    @property
    def out(self) -> int: ...

    @property
    def err(self) -> int: ...

    def tail(self) -> str: ...

    def keep(self, folder: str, position: int, left_nothing: bool = True) -> None: ...


class StepLogs:
    """Open files for stdout and stderr. While a step runs they are `<prefix>out` and `<prefix>err`; after its end,
    non-empty ones are at `log_path(…)`."""

    def __init__(self, prefix: str, storage: DiskRetry, flags: int = _FLAGS) -> None:
        self._paths = (f"{prefix}out", f"{prefix}err")
        self._storage = storage
        self.replaced = 0  # how often another file was opened in the place of one
        self._fds = [self._open(path, flags) for path in self._paths]
        self._inodes = list(map(_inode, self._fds))

    @classmethod
    def found(cls, prefix: str, storage: DiskRetry) -> StepLogs:
        """Open the pair that another process left behind, with its content."""
        return cls(prefix, storage, _FLAGS & ~os.O_TRUNC)

    def close(self) -> None:
        """Close both files."""
        for fd in self._fds:
            os.close(fd)

    @property
    def out(self) -> int:
        """The descriptor for stdout; it may change in `keep`."""
        return self._fds[0]

    @property
    def err(self) -> int:
        """The descriptor for stderr; it may change in `keep`."""
        return self._fds[1]

    def keep(self, folder: str, position: int, left_nothing: bool = True) -> None:
        """Move the logs of an ended step to their final place. `left_nothing`: no process has these files open, so
        that empty ones can be reused. Raise BadLog afterwards if the step has replaced a file."""
        wrong = ""
        for stream in (0, 1):
            if not left_nothing or not self._is_empty(stream):
                wrong = self._replace(stream, folder, position) or wrong
        if wrong:
            raise BadLog(wrong)

    def _is_empty(self, stream: int) -> bool:
        """Return whether a file is in its place and empty."""
        try:
            found = os.lstat(self._paths[stream])
        except OSError:
            return False
        return not found.st_size and (found.st_dev, found.st_ino) == self._inodes[stream]

    def tail(self) -> str:
        """Return the end of stderr; call it before `keep`."""
        fd = self._fds[1]
        size = os.fstat(fd).st_size
        return os.pread(fd, TAIL, max(0, size - TAIL)).decode(errors="backslashreplace") if size else ""

    def _replace(self, stream: int, own: str, position: int) -> str:
        """Move a file to its final place and open another; return the error, if any."""
        path, fd = self._paths[stream], self._fds[stream]
        kept, wrong = log_path(own, position, STREAMS[stream]), ""
        if os.fstat(fd).st_size:
            try:
                wrong = self._storage.retry(lambda: put_in_place(fd, path, kept))
            except OSError as error:
                if self._storage.gone:  # nothing of a store that was removed is made again
                    raise
                wrong = f"the log {kept} cannot be written: {error.strerror}"
        elif not is_file_at(fd, path):
            wrong = _of_log(path)
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            os.unlink(path)
        os.close(fd)
        self._fds[stream] = self._open(path, _FLAGS)
        self._inodes[stream] = _inode(self._fds[stream])
        self.replaced += 1
        return wrong

    def _open(self, path: str, flags: int) -> int:
        try:
            return self._storage.retry(lambda: open_store_file(path, flags))
        except FileNotFoundError:
            if self._storage.gone:
                raise
            make_folder(os.path.dirname(path))  # removed by a step
            return open_store_file(path, flags)


class SubtaskLogs:
    """The logs of one subtask, appended to the final files behind the output of its earlier runs."""

    def __init__(self, folder: str, position: int) -> None:
        self._paths = [log_path(folder, position, stream) for stream in STREAMS]
        self._fds = [open_store_file(path, os.O_RDWR | os.O_APPEND) for path in self._paths]
        self._before = os.fstat(self.err).st_size

    @property
    def out(self) -> int:
        """The descriptor for stdout."""
        return self._fds[0]

    @property
    def err(self) -> int:
        """The descriptor for stderr."""
        return self._fds[1]

    def tail(self) -> str:
        """Return the end of this run's stderr."""
        size = os.fstat(self.err).st_size
        begin = max(self._before, size - TAIL)
        return os.pread(self.err, TAIL, begin).decode(errors="backslashreplace") if size > begin else ""

    def keep(self, folder: str, position: int, left_nothing: bool = True) -> None:  # noqa: ARG002 - they are in place
        """Close the files and remove empty ones. Raise BadLog afterwards if the subtask has replaced a file."""
        wrong = ""
        for path, fd in zip(self._paths, self._fds, strict=True):
            try:
                if not is_file_at(fd, path):
                    wrong = put_in_place(fd, path, path) or wrong
                if not os.fstat(fd).st_size:
                    os.unlink(path)
            except OSError as error:
                if os.fstat(fd).st_size:  # an empty log is no loss
                    wrong = f"the log {path} cannot be written: {error.strerror}"
            os.close(fd)
        if wrong:
            raise BadLog(wrong)


def _inode(fd: int) -> tuple[int, int]:
    """Return (device, inode) of an open file."""
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def is_file_at(fd: int, path: str) -> bool:
    """Return whether an open file is at this path."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except OSError:
        return False


def put_in_place(fd: int, path: str, kept: str) -> str:
    """Move the open log file of `path` to `kept`. Return a message if the step has replaced either, otherwise "".
    Raise OSError if the move fails."""
    intact = is_file_at(fd, path)
    wrong = "" if intact else _of_log(path)
    if path != kept and kind_at(kept) not in (None, "a file"):
        wrong = _of_log(kept)
        move_out_of_way(kept)
    if not intact or (path != kept and not _renamed(path, kept)):
        _copy(fd, kept)
    return wrong


def _renamed(path: str, kept: str) -> bool:
    """Rename a file; return False if the new place is on another file system."""
    try:
        os.rename(path, kept)
    except FileNotFoundError:
        make_folder(os.path.dirname(kept))  # the step may have removed the folder
        os.rename(path, kept)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def _copy(fd: int, kept: str) -> None:
    os.makedirs(os.path.dirname(kept), exist_ok=True)
    copy = open_store_file(kept, os.O_WRONLY | os.O_TRUNC)
    try:
        at = 0
        while piece := os.pread(fd, _PIECE, at):
            at += os.write(copy, piece)
    finally:
        os.close(copy)


def _of_log(path: str) -> str:
    """Return the message for a log that is not where it was; "" if nothing is there."""
    found = kind_at(path)
    return f"{found} is in the place of the log {path}" if found else ""
