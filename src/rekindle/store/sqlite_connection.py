"""Connections to SQLite, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from itertools import chain, islice
from pathlib import Path

import msgspec

from rekindle.domain.errors import StoreDamaged, StoreError, StoreUnavailable
from rekindle.domain.texts.quantities import format_size
from rekindle.store.database import LOCK_TIMEOUT
from rekindle.store.queries import Query, Row, load, written_for_sqlite_many, written_for_sqlite_rows

SQL = load("connection")

FILE = "store.db"

DAMAGE_HINT = (
    "`rekindle store check --deep` lists what is damaged; go back to a copy of the folder, or start a new store"
)


def connect(
    path: Path, timeout: float = LOCK_TIMEOUT, *, durable: bool = False, unchanging: bool = False
) -> sqlite3.Connection:
    """Open a connection with the settings that every store uses. Raise sqlite3.Error.

    `durable`: a commit survives a power cut. `unchanging`: no process can write to the file, so read it without its
    log and locks.
    """
    name = f"{path.as_uri()}?immutable=1" if unchanging else path
    connection = sqlite3.connect(name, uri=unchanging, timeout=timeout, isolation_level=None, cached_statements=256)
    try:
        for setting in ("durable" if durable else "synchronous", "foreign_keys", "cache", "temporary", "checkpoint"):
            connection.execute(SQL[setting].text)
    except BaseException:
        connection.close()
        raise
    return connection


class _RowStatement(msgspec.Struct, frozen=True):
    """A block that takes rows, as SQLite takes it: `text` for one row, `many` for _AT_ONCE rows (None: one by one
    only), and how to order each row for both (None: as it is)."""

    text: str
    many: str | None
    ordered: Callable[[Row], Row] | None


_AT_ONCE = 64
"""Rows that one INSERT takes: a statement for each row takes twice the time, and one for more rows saves little."""

_statements: dict[tuple[str, tuple[str, ...]], _RowStatement] = {}


def execute_rows(connection: sqlite3.Connection, query: Query, rows: Iterable[Row]) -> int:
    """Run a block once for each row. Return how many rows of the table it has changed. Raise sqlite3.Error."""
    written = _statements.get((query.text, query.row))
    if written is None:
        text, ordered = written_for_sqlite_rows(query)
        many = written_for_sqlite_many(text, _AT_ONCE) if query.distinct else None
        written = _statements[query.text, query.row] = _RowStatement(text, many, ordered)
    if written.ordered is not None:
        rows = map(written.ordered, rows)
    changed = 0
    if written.many is not None:
        following = iter(rows)
        while len(part := list(islice(following, _AT_ONCE))) == _AT_ONCE:
            changed += connection.execute(written.many, list(chain.from_iterable(part))).rowcount
        rows = part
    return changed + max(0, connection.executemany(written.text, rows).rowcount)


# What SQLite's error codes mean.

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

_CANNOT_MAKE_FILE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR)
"""Reported when SQLite cannot make one of its files, whatever the reason."""

_CANNOT_GROW_FILE = (
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMMAP,
    sqlite3.SQLITE_IOERR_SHMSIZE,
)

_NOT_UTF8 = "Could not decode to UTF-8"
"""How Python's sqlite3 begins its error for a text that is not UTF-8; that error has no code."""

_FREE_BYTES_NEEDED = 1 << 16
"""32 KiB of shared memory, and the beginning of a log."""

_PRIMARY = 0xFF
"""The lowest byte of an extended code is its primary code."""


def cannot_open(error: sqlite3.Error) -> bool:
    """Return whether SQLite could not open or make one of the store's files."""
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY in _CANNOT_MAKE_FILE


def is_write_refused(error: sqlite3.Error) -> bool:
    """Return whether SQLite refused a statement because it writes. Extended codes of SQLITE_READONLY mean that reading
    failed too."""
    return getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY


def is_disk_full(path: str) -> bool:
    """Return whether the disk has no room for the files that SQLite keeps beside an open store."""
    try:
        found = os.statvfs(path)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < _FREE_BYTES_NEEDED


def translate(error: sqlite3.Error, path: str) -> StoreError:
    """Return the error to raise instead of an error of SQLite's; the caller raises it from the original."""
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if code in _CANNOT_MAKE_FILE and is_disk_full(path):
        code = sqlite3.SQLITE_FULL
    import resource

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if getattr(error, "sqlite_errorcode", 0) in _CANNOT_GROW_FILE and limit != resource.RLIM_INFINITY:
        return StoreUnavailable(
            f"the store {path} cannot be written: no file may be larger than {format_size(limit)} here ({error})",
            hint="raise the limit, which `ulimit -f` prints: `ulimit -f unlimited`",
        )
    if _NOT_UTF8 in str(error):
        code = sqlite3.SQLITE_CORRUPT
    if code in _UNAVAILABLE:
        what, hint = _UNAVAILABLE[code]
        return StoreUnavailable(f"the store {path} {what} ({error})", hint=hint)
    if code in _DAMAGED:
        return StoreDamaged(f"the store {path} {_DAMAGED[code]} ({error})", hint=DAMAGE_HINT)
    return StoreError(f"the store {path}: {error}")
