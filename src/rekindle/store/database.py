"""The SQLite database: its connections, how queries run on them, and what its errors mean.

Every read and write happens inside a block (see rekindle.store.archive), through the block's `Database`. SQLite
refuses the writes of a block that only reads, and a `Database` runs nothing after its block.
"""

from __future__ import annotations

import os
import resource
import sqlite3
import zlib
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.definition import Resources
from rekindle.domain.errors import StoreDamaged, StoreError, StoreUnavailable
from rekindle.domain.texts.quantities import format_size
from rekindle.store.queries import Query, Row, load

if TYPE_CHECKING:
    from rekindle.store.stored_paths import StoredPaths

SQL = load("connection")

UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
    zlib.error,
)
"""What code raises when it meets a value that it did not expect."""

FILE = "store.db"

NO_LIMIT = 2**62
"""As the LIMIT of a query: every row."""

_FIRST_BATCH, _BATCH = 16, 1_000
"""Rows that are read together."""

LOCK_TIMEOUT = 30.0
"""Seconds to wait for another process's transaction."""

DAMAGE_HINT = (
    "`rekindle store check --deep` lists what is damaged; go back to a copy of the folder, or start a new store"
)


class BlockEnded(RuntimeError):
    """A snapshot or transaction was used after its block. This is a bug in the caller."""


class ReadOnlySnapshot(RuntimeError):
    """A write was attempted in a snapshot. This is a bug in the caller."""


def begin(connection: sqlite3.Connection, *, write: bool) -> None:
    """Begin a transaction. Unless `write`, SQLite refuses every statement that writes."""
    connection.execute(SQL["allow_writes" if write else "refuse_writes"].text)
    connection.execute("BEGIN IMMEDIATE" if write else "BEGIN DEFERRED")


def connect(
    path: Path, timeout: float = LOCK_TIMEOUT, *, durable: bool = False, unchanging: bool = False
) -> sqlite3.Connection:
    """Open a connection with the settings that every store uses. Raise sqlite3.Error.

    `durable`: a commit survives a power cut. `unchanging`: no process can write to the file, so read it without its
    log and locks.
    """
    name = f"{path.as_uri()}?immutable=1" if unchanging else path.as_uri()
    connection = sqlite3.connect(name, uri=True, timeout=timeout, isolation_level=None, cached_statements=256)
    for setting in ("durable" if durable else "synchronous", "foreign_keys", "cache", "temporary", "checkpoint"):
        connection.execute(SQL[setting].text)
    return connection


class RowCache(msgspec.Struct):
    """Rows that never change once written. Cleared when a transaction is rolled back, which may have written them."""

    resources: dict[int, Resources] = msgspec.field(default_factory=dict)
    signatures: dict[str, int] = msgspec.field(default_factory=dict)  # row ids by digest

    def clear(self) -> None:
        """Forget every row."""
        self.resources.clear()
        self.signatures.clear()


class Database:
    """Runs named queries during one block.

    `paths` encodes and decodes stored paths. `file` identifies the database's file, which a copy does not share.
    """

    def __init__(
        self, connection: sqlite3.Connection, paths: StoredPaths, file: str, cache: RowCache | None = None
    ) -> None:
        self.paths = paths
        self.file = file
        self.cache = cache or RowCache()
        self._connection: sqlite3.Connection | None = connection

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection. Raise BlockEnded after the block."""
        if self._connection is None:
            raise BlockEnded("this snapshot or transaction was used after its block ended")
        return self._connection

    def end(self) -> None:
        """Refuse every use from now on."""
        self._connection = None

    def rows(self, query: Query, **values: Any) -> list[Row]:
        """Return every row, as tuples in the order of the statement's columns."""
        return self.connection.execute(query.text, values).fetchall()

    def named_rows(self, query: Query, **values: Any) -> list[Any]:
        """Return every row, as named tuples with the statement's column names."""
        cursor = self.connection.execute(query.text, values)
        return list(map(_named(query.text, cursor), cursor))

    def row(self, query: Query, **values: Any) -> Row | None:
        """Return the first row, if any."""
        found: Row | None = self.connection.execute(query.text, values).fetchone()
        return found

    def named_row(self, query: Query, **values: Any) -> Any | None:
        """Return the first row as a named tuple, if any."""
        cursor = self.connection.execute(query.text, values)
        found = cursor.fetchone()
        return None if found is None else _named(query.text, cursor)(found)

    def value(self, query: Query, **values: Any) -> Any:
        """Return the first value of the first row; None if there is no row."""
        found = self.row(query, **values)
        return None if found is None else found[0]

    def change(self, query: Query, **values: Any) -> int:
        """Run a statement that writes. Return the number of rows changed."""
        return self.connection.execute(query.text, values).rowcount

    def insert(self, query: Query, **values: Any) -> int:
        """Run an INSERT of one row. Return its id."""
        return self.connection.execute(query.text, values).lastrowid or 0

    def change_each(self, query: Query, rows: Iterable[Row]) -> int:
        """Run a statement that writes once for each of `rows`. Return the total number of rows changed."""
        return max(0, self.connection.executemany(query.text, rows).rowcount)

    def select(self, text: str, values: Mapping[str, Any]) -> list[Row]:
        """Return every row of a query composed of named fragments (see rekindle.store.predicates)."""
        return self.connection.execute(text, values).fetchall()

    def stream(self, text: str, values: Mapping[str, Any]) -> Iterator[Row]:
        """Run a query and return its rows one by one. Reading them after the block raises BlockEnded."""
        return self._during_block(self.connection.execute(text, values))

    def batches(self, text: str, values: Mapping[str, Any]) -> Iterator[list[Row]]:
        """Run a query and yield its rows many at a time; few at first, for callers that need only the first rows.
        Reading them after the block raises BlockEnded."""
        cursor, size = self.connection.execute(text, values), _FIRST_BATCH
        while self.connection and (rows := cursor.fetchmany(size)):
            yield rows
            size = min(2 * size, _BATCH)

    def _during_block(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            if self._connection is None:
                raise BlockEnded("rows were read after the snapshot or transaction ended")
            yield row


_named_by_text: dict[str, Callable[[Row], Any]] = {}


def _named(text: str, cursor: sqlite3.Cursor) -> Callable[[Row], Any]:
    """Return the constructor of a statement's named rows; columns are looked up once a statement."""
    make = _named_by_text.get(text)
    if make is None:
        names = [column[0] for column in cursor.description]
        make = _named_by_text[text] = namedtuple("NamedRow", names, rename=True)._make  # type: ignore[attr-defined]
    return make


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
