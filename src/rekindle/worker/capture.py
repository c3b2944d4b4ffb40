"""What steps print: one reusable pair of files a worker, moved beside the attempt's folder when it holds something."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Protocol

from rekindle.domain.errors import BadValue
from rekindle.files.leaves import found_at, open_own, set_aside
from rekindle.files.modes import make_folder
from rekindle.journal.places import STREAMS, log_path
from rekindle.worker.patience import Storage

TAIL = 8 * 1024
"""Bytes of stderr that are kept with a failure."""

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_TRUNC
_PIECE = 1 << 20


class BadLog(BadValue):
    """A step has put something else in the place of its log."""


class Prints(Protocol):
    """Where a step's stdout and stderr go while it runs, and stay when it has ended."""

    @property
    def out(self) -> int: ...

    @property
    def err(self) -> int: ...

    def tail(self) -> str: ...

    def keep(self, folder: str, position: int, quiet: bool = True) -> None: ...


class Capture:
    """A pair of open files for stdout and stderr. While a step runs they are `<prefix>out` and `<prefix>err`; when it
    has ended and printed they are at `log_path(…)`."""

    def __init__(self, prefix: str, storage: Storage, flags: int = _FLAGS) -> None:
        self._paths = (f"{prefix}out", f"{prefix}err")
        self._storage = storage
        self._fds = [self._open(path, flags) for path in self._paths]

    @classmethod
    def found(cls, prefix: str, storage: Storage) -> Capture:
        """The pair that a process left behind, with what is in it."""
        return cls(prefix, storage, _FLAGS & ~os.O_TRUNC)

    def close(self) -> None:
        """Close both files."""
        for fd in self._fds:
            os.close(fd)

    @property
    def out(self) -> int:
        """The descriptor for stdout; it may be another after `keep`."""
        return self._fds[0]

    @property
    def err(self) -> int:
        """The descriptor for stderr; it may be another after `keep`."""
        return self._fds[1]

    def keep(self, folder: str, position: int, quiet: bool = True) -> None:
        """A step has ended: move what it printed to where it stays. `quiet`: no process that has these files open is
        left, so that empty ones can serve again. BadLog, once that is done, when the step has put something else in the
        place of a file."""
        wrong = ""
        for stream in (0, 1):
            path, fd = self._paths[stream], self._fds[stream]
            if os.fstat(fd).st_size or not quiet or not is_at(fd, path):
                wrong = self._replace(stream, folder, position) or wrong
        if wrong:
            raise BadLog(wrong)

    def tail(self) -> str:
        """The end of stderr; to be taken before `keep`."""
        fd = self._fds[1]
        size = os.fstat(fd).st_size
        return os.pread(fd, TAIL, max(0, size - TAIL)).decode(errors="backslashreplace") if size else ""

    def _replace(self, stream: int, own: str, position: int) -> str:
        """Put a file in its place and open another; returns what is wrong with it."""
        path, fd = self._paths[stream], self._fds[stream]
        kept, wrong = log_path(own, position, STREAMS[stream]), ""
        if os.fstat(fd).st_size:
            try:
                wrong = self._storage.insist(lambda: put_in_place(fd, path, kept))
            except OSError as error:
                if self._storage.gone:  # nothing of a store that was removed is made anew
                    raise
                wrong = f"the log {kept} cannot be written: {error.strerror}"
        elif not is_at(fd, path):
            wrong = _of_log(path)
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            os.unlink(path)
        os.close(fd)
        self._fds[stream] = self._open(path, _FLAGS)
        return wrong

    def _open(self, path: str, flags: int) -> int:
        try:
            return self._storage.insist(lambda: open_own(path, flags))
        except FileNotFoundError:
            if self._storage.gone:
                raise
            make_folder(os.path.dirname(path))  # a step has removed it
            return open_own(path, flags)


def is_at(fd: int, path: str) -> bool:
    """Whether an open file is at this path."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except OSError:
        return False


def put_in_place(fd: int, path: str, kept: str) -> str:
    """Move the open file of `path`, which holds what a step printed, to `kept`. Returns what the step has put in the
    place of either; "" for nothing. OSError when that is not possible."""
    intact = is_at(fd, path)
    wrong = "" if intact else _of_log(path)
    if path != kept and found_at(kept) not in (None, "a file"):
        wrong = _of_log(kept)
        set_aside(kept)
    if not intact or (path != kept and not _renamed(path, kept)):
        _copy(fd, kept)
    return wrong


def _renamed(path: str, kept: str) -> bool:
    """Rename a file; False: its new place is on another file system."""
    try:
        os.rename(path, kept)
    except FileNotFoundError:
        make_folder(os.path.dirname(kept))  # the step may have removed it
        os.rename(path, kept)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def _copy(fd: int, kept: str) -> None:
    os.makedirs(os.path.dirname(kept), exist_ok=True)
    copy = open_own(kept, os.O_WRONLY | os.O_TRUNC)
    try:
        at = 0
        while piece := os.pread(fd, _PIECE, at):
            at += os.write(copy, piece)
    finally:
        os.close(copy)


def _of_log(path: str) -> str:
    """What is wrong with a log that is not where it was; "" when nothing is there."""
    found = found_at(path)
    return f"{found} is in the place of the log {path}" if found else ""
