"""The driver of PostgreSQL: connections, how values are passed, and what its errors mean.

Integers and sets are sent without a type, so that PostgreSQL takes that of the column which they are compared with, as
SQLite does. Booleans are integers in both databases.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import errors
from psycopg.adapt import Dumper, Loader
from psycopg.pq import TransactionStatus

from rekindle.domain.errors import StoreDamaged, StoreError, StoreUnavailable
from rekindle.store.database import LOCK_TIMEOUT, Access, Cursor, Driver, ReadOnlySnapshot
from rekindle.store.queries import Query, Row, ValueSet, load, written_for_postgres

SQL = load("postgres")

_BEGIN = {Access.READ: "begin_read", Access.TURN: "begin_turn", Access.WRITE: "begin_write"}

_PREPARE_AFTER = 2
"""Executions of a statement after which the server prepares it."""

_UNAVAILABLE: tuple[tuple[type[psycopg.Error], str, str], ...] = (
    (errors.LockNotAvailable, "has been locked by another process for too long", "try again when it is less busy"),
    (errors.DiskFull, "is on a disk that is full", "nothing was written; make room and try again"),
    (errors.InsufficientPrivilege, "may not be used by this user", "ask the owner of the database for the right"),
    (errors.OutOfMemory, "needs more memory than there is", "try again when there is more"),
    (psycopg.OperationalError, "cannot be reached", "check that the server runs and is the one that you mean"),
    (psycopg.InterfaceError, "cannot be reached", "check that the server runs and is the one that you mean"),
)


class PostgresDriver(Driver):
    """A connection to a schema of a PostgreSQL database. It is opened again when a block begins and it has broken."""

    dialect = "postgres"
    errors = (psycopg.Error,)

    def __init__(self, conninfo: str, schema: str, name: str) -> None:
        """`conninfo` has no password: libpq takes it from the environment or from a password file. `name` names the
        store in messages. Raise psycopg.Error."""
        self.name = name
        self.schema = schema
        self._conninfo = conninfo
        self._commits = 0
        self._streams: list[psycopg.RawServerCursor[Row]] = []
        self._writing = False
        self._connection = self._connect()
        self.file = ":".join(map(str, self.run("place").fetchone() or ()))

    def begin(self, access: Access) -> None:
        if self._connection.closed:
            self._connection = self._connect()
            self._commits += 1  # commits of others may have been missed
        self._writing = access is not Access.READ
        self.run(_BEGIN[access])

    def commit(self) -> None:
        if self._writing:
            self.run("commit_write")
        else:
            self._connection.execute("COMMIT")
        self._close_streams()

    def roll_back(self) -> bool:
        if self._connection.closed or self._connection.info.transaction_status == TransactionStatus.IDLE:
            return self._connection.closed
        try:
            self._connection.execute("ROLLBACK")
        except psycopg.Error:
            self._connection.close()
        self._close_streams()
        return True

    def execute(self, text: str, values: Mapping[str, Any]) -> Cursor:
        written, names = _written(text)
        return self._connection.execute(written, [values[name] for name in names])

    def execute_each(self, query: Query, rows: Iterable[Row]) -> int:
        cursor = self._connection.cursor()
        cursor.executemany(_written(query.postgres or query.text, query.row)[0], rows)
        return max(0, cursor.rowcount)

    def stream(self, text: str, values: Mapping[str, Any]) -> Cursor:
        written, names = _written(text)
        cursor = psycopg.RawServerCursor(self._connection, f"rows_{len(self._streams)}")
        self._streams.append(cursor)
        return cursor.execute(written, [values[name] for name in names])

    def defer_references(self) -> None:
        self.run("defer_references")

    def continue_ids(self, tables: Sequence[str]) -> None:
        for table in tables:
            self.run_text(SQL["continue_ids"].text.replace("{schema}", self.schema).replace("{table}", table))
        self.run("continue_attempt_ids")

    def translate(self, error: Exception, access: Access) -> Exception:
        if not isinstance(error, psycopg.Error):
            return error
        if access is Access.READ and isinstance(error, errors.ReadOnlySqlTransaction):
            return ReadOnlySnapshot("a snapshot cannot write: use `with store.write()`")
        text = " ".join(str(error).split())
        for kind, what, hint in _UNAVAILABLE:
            if isinstance(error, kind):
                return StoreUnavailable(f"the store {self.name} {what} ({text})", hint=hint)
        if isinstance(error, psycopg.IntegrityError):
            return StoreDamaged(f"the store {self.name} contradicts itself ({text})", hint="go back to a copy of it")
        return StoreError(f"the store {self.name}: {text}")

    def data_version(self) -> int:
        try:
            if self._connection.closed:
                self._connection = self._connect()
                self._commits += 1
            self._connection.pgconn.consume_input()
            while (found := self._connection.pgconn.notifies()) is not None:
                self._commits += found.be_pid != self._connection.info.backend_pid
        except psycopg.Error as error:
            raise self.translate(error, Access.READ) from error
        return self._commits

    def close(self) -> None:
        self._connection.close()

    def is_store(self) -> bool:
        """Return whether the schema has a store."""
        return self.run("is_store").fetchone() == (1,)

    def _close_streams(self) -> None:
        """Close the cursors that the end of the transaction has closed on the server."""
        for cursor in self._streams:
            cursor.close()
        self._streams.clear()

    def run(self, name: str) -> psycopg.Cursor[Row]:
        """Run statements of sql/postgres.sql, which have no parameters, in one message."""
        return self.run_text(SQL[name].text.replace("{schema}", self.schema))

    def run_text(self, statements: str) -> psycopg.Cursor[Row]:
        """Run statements without parameters in one message."""
        return self._connection.execute(statements.encode(), prepare=False)

    def _connect(self) -> psycopg.Connection[Row]:
        connection: psycopg.Connection[Row] = psycopg.connect(
            self._conninfo,
            autocommit=True,
            cursor_factory=psycopg.RawCursor,
            prepare_threshold=_PREPARE_AFTER,
            application_name="rekindle",
            options=f"-c search_path={self.schema} -c lock_timeout={int(LOCK_TIMEOUT * 1000)} -c jit=off "
            "-c client_encoding=UTF8",
        )
        for kind, dumper in ((int, _Number), (bool, _Boolean), (str, _Text), (ValueSet, _Set)):
            connection.adapters.register_dumper(kind, dumper)
        connection.adapters.register_loader("bool", _BooleanLoader)
        connection.adapters.register_loader("numeric", _NumericLoader)
        connection.add_notify_handler(self._count)
        connection.execute(SQL["listen"].text.replace("{schema}", self.schema).encode())
        return connection

    def _count(self, found: psycopg.Notify) -> None:
        self._commits += found.pid != self._connection.info.backend_pid


_texts: dict[tuple[str, tuple[str, ...]] | str, tuple[str, tuple[str, ...]]] = {}


def _written(text: str, row: tuple[str, ...] = ()) -> tuple[str, tuple[str, ...]]:
    """Return a statement as PostgreSQL takes it, with the names of its parameters. Each is written once."""
    key = (text, row) if row else text
    written = _texts.get(key)
    if written is None:
        written = _texts[key] = written_for_postgres(text, row)
    return written


class _Number(Dumper):
    def dump(self, obj: int) -> bytes:
        return b"%d" % obj

    def quote(self, obj: int) -> bytes:
        return b" %d" % obj


class _Boolean(Dumper):
    def dump(self, obj: bool) -> bytes:
        return b"1" if obj else b"0"


class _Text(Dumper):
    def dump(self, obj: str) -> bytes:
        return _stored(obj).encode()


class _Set(Dumper):
    def dump(self, obj: ValueSet) -> bytes:
        items = (_quoted(one) if isinstance(one, str) else b"%d" % one for one in obj.values)
        return b"{" + b",".join(items) + b"}"


def _quoted(text: str) -> bytes:
    return b'"' + _stored(text).replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'


def _stored(text: str) -> str:
    """Return a text as PostgreSQL can store it: with the sign for NUL instead of NUL."""
    return text.replace("\0", "\u2400")


class _BooleanLoader(Loader):
    def load(self, data: Any) -> int:
        return int(bytes(data) == b"t")


class _NumericLoader(Loader):
    def load(self, data: Any) -> int | float:
        text = bytes(data).decode()
        return float(text) if "." in text else int(text)
