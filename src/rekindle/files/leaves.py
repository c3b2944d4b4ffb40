"""Files at places that jobs can write to: only a regular file is opened, and opening it never waits.

A job may have put anything there: a FIFO, on which a plain open waits for ever, a device without an end, a link to a
file of somebody else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import BinaryIO

from rekindle.files.modes import open_file

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFREG: "a file",
}


class NotAFile(OSError):
    """Something other than a regular file; `strerror` names it: "is a FIFO, not a file"."""


def open_leaf(path: str) -> BinaryIO:
    """Open a regular file for reading. FileNotFoundError when nothing is there, NotAFile or another OSError when it
    cannot be read."""
    _check(os.lstat(path), path)  # before it is opened: opening a device may do something
    fd = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        _check(os.fstat(fd), path)
    except OSError:
        os.close(fd)
        raise
    return open(fd, "rb")


def open_own(path: str, flags: int) -> int:
    """Open or create a file of rekindle's own, in a store, with `flags`; what else stands at its place is removed."""
    if found_at(path) not in (None, "a file"):
        set_aside(path)
    return open_file(path, flags | _FLAGS)


def found_at(path: str) -> str | None:
    """Return what is at a path, symbolic links not followed: "a FIFO"; None: nothing is."""
    try:
        return kind_of(os.lstat(path).st_mode)
    except OSError:
        return None


def kind_of(mode: int) -> str:
    """Return the kind of a file: "a FIFO"."""
    return _KINDS.get(stat.S_IFMT(mode), "of an unknown kind")


def set_aside(path: str) -> None:
    """Make a place free, as far as that is possible. A folder and a file are renamed, to `PATH.aside`, and anything
    else is removed."""
    with contextlib.suppress(OSError):
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            number, place = 1, f"{path}.aside"
            while os.path.lexists(place):
                number, place = number + 1, f"{path}.aside{number + 1}"
            os.rename(path, place)
        else:
            os.unlink(path)


def _check(found: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NotAFile(errno.EINVAL, f"is {kind_of(found.st_mode)}, not a file", path)
