"""What SQLite says, in rekindle's words: the one place that knows its codes."""

from __future__ import annotations

import os
import resource
import sqlite3

from rekindle.domain.errors import StoreDamaged, StoreError, StoreUnavailable
from rekindle.domain.texts.quantities import format_size

_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: ("has been locked by another process for too long", "try again when it is less busy"),
    sqlite3.SQLITE_LOCKED: ("has been locked by another process for too long", "try again when it is less busy"),
    sqlite3.SQLITE_READONLY: ("cannot be written", "check who owns it and whether its disk is mounted read-only"),
    sqlite3.SQLITE_PERM: ("may not be opened by this user", "check who owns it"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "check that the folder is there, and who owns it"),
    sqlite3.SQLITE_FULL: ("is on a disk that is full", "nothing was written; make room and try again"),
    sqlite3.SQLITE_IOERR: ("cannot be read or written: its disk reports an error", "check the disk"),
    sqlite3.SQLITE_NOMEM: ("needs more memory than there is", "try again when there is more"),
}

_DAMAGED = {
    sqlite3.SQLITE_CORRUPT: "is corrupt",
    sqlite3.SQLITE_NOTADB: "is not a database",
    sqlite3.SQLITE_FORMAT: "is not a database",
    sqlite3.SQLITE_CONSTRAINT: "contradicts itself",
}


def cannot_open(error: sqlite3.Error) -> bool:
    """It was not possible to open, or to make, one of the store's files."""
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY in _HINDERED


def is_full(path: str) -> bool:
    """There is no room on the disk for the files that SQLite has beside the store while it is open."""
    try:
        found = os.statvfs(path)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < _LEAST


_HINDERED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR)
"""What it says when it cannot make one of its files, for whatever reason."""

_WRITES = (
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMMAP,
    sqlite3.SQLITE_IOERR_SHMSIZE,
)
"""Errors of SQLite when a file cannot grow."""

HINT = "`rekindle store check --deep` lists what is damaged; go back to a copy of the folder, or start a new store"
"""What to do about a damaged store."""

_NOT_TEXT = "Could not decode to UTF-8"
"""How Python's sqlite3 begins its error about a text that is none; that error has no code."""

_LEAST = 1 << 16
"""Bytes: 32 KiB of shared memory, and the beginning of a log."""

_PRIMARY = 0xFF
"""An extended code has its primary code in the lowest byte."""


def translate(error: sqlite3.Error, path: str) -> StoreError:
    """The error to raise instead; the caller raises it from the original."""
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if code in _HINDERED and is_full(path):
        code = sqlite3.SQLITE_FULL
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if getattr(error, "sqlite_errorcode", 0) in _WRITES and limit != resource.RLIM_INFINITY:
        return StoreUnavailable(
            f"the store {path} cannot be written: no file may be larger than {format_size(limit)} here ({error})",
            hint="raise the limit, which `ulimit -f` prints: `ulimit -f unlimited`",
        )
    if _NOT_TEXT in str(error):
        code = sqlite3.SQLITE_CORRUPT
    if code in _UNAVAILABLE:
        what, hint = _UNAVAILABLE[code]
        return StoreUnavailable(f"the store {path} {what} ({error})", hint=hint)
    if code in _DAMAGED:
        return StoreDamaged(f"the store {path} {_DAMAGED[code]} ({error})", hint=HINT)
    return StoreError(f"the store {path}: {error}")
