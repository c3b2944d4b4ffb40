"""What steps print: one reusable pair of files a worker, moved beside the attempt's folder when it holds something."""

from __future__ import annotations

import os
from typing import Protocol

from rekindle.files.modes import make_folder, open_file
from rekindle.journal.places import STREAMS, log_path
from rekindle.worker.patience import Storage

TAIL = 8 * 1024
"""Bytes of stderr that are kept with a failure."""

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_TRUNC


class Prints(Protocol):
    """Where a step's stdout and stderr go while it runs, and stay when it has ended."""

    @property
    def out(self) -> int: ...

    @property
    def err(self) -> int: ...

    def tail(self) -> str: ...

    def keep(self, folder: str, position: int, quiet: bool = True) -> bool: ...


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

    def keep(self, own: str, position: int, quiet: bool = True) -> bool:
        """A step has ended: move what it printed to where it stays. `quiet`: no process that has these files open is
        left, so that empty ones can serve again. Returns whether a descriptor has changed."""
        changed = False
        for stream in (0, 1):
            if os.fstat(self._fds[stream]).st_size or not quiet:
                self._replace(stream, own, position)
                changed = True
        return changed

    def tail(self) -> str:
        """The end of stderr; to be taken before `keep`."""
        fd = self._fds[1]
        size = os.fstat(fd).st_size
        return os.pread(fd, TAIL, max(0, size - TAIL)).decode(errors="replace") if size else ""

    def _replace(self, stream: int, own: str, position: int) -> None:
        path, fd = self._paths[stream], self._fds[stream]
        if os.fstat(fd).st_size:
            kept = log_path(own, position, STREAMS[stream])
            self._storage.insist(lambda: _move(path, kept))
        else:
            self._storage.insist(lambda: os.unlink(path))
        os.close(fd)
        self._fds[stream] = self._open(path, _FLAGS)

    def _open(self, path: str, flags: int) -> int:
        return self._storage.insist(lambda: open_file(path, flags))


def _move(path: str, kept: str) -> None:
    try:
        os.rename(path, kept)
    except FileNotFoundError:
        if not os.path.exists(path):  # the store is gone: nothing of it is made anew
            raise
        make_folder(os.path.dirname(kept))  # the step may have removed it
        os.rename(path, kept)
