"""The driver of PostgreSQL: connections, how values are passed, and what its errors mean.

Integers and sets are sent without a type, so that PostgreSQL takes that of the column which they are compared with, as
SQLite does. Booleans are integers in both databases.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import errors
from psycopg.adapt import Dumper, Loader
from psycopg.pq import ExecStatus, TransactionStatus

from rekindle.domain.errors import StoreDamaged, StoreError, StoreUnavailable, StoreUnreachable
from rekindle.store.database import LOCK_TIMEOUT, Access, Cursor, Driver, ReadOnlySnapshot
from rekindle.store.queries import Query, Row, ValueSet, load, written_for_many, written_for_postgres

SQL = load("postgres")

_BEGIN = {Access.READ: "begin_read", Access.TURN: "begin_turn", Access.WRITE: "begin_write"}

_PREPARE_AFTER = 2
"""Executions of a statement after which the server prepares it."""

_TOGETHER = 4
"""From this number on, distinct rows are written by one statement."""

_MANY = 1_000
"""This number of new rows makes the server's statistics of a table wrong, and its plans slow, until it is analyzed."""

_INSERTED = re.compile(r"INSERT\s+INTO\s+(\w+)")

_KINDS = {16: "boolean", 17: "bytea", 20: "bigint", 25: "text", 701: "double precision", 1043: "text"}
"""The types of parameters by their numbers in PostgreSQL."""

_UNAVAILABLE: tuple[tuple[type[psycopg.Error], str, str], ...] = (
    (errors.LockNotAvailable, "has been locked by another process for too long", "try again when it is less busy"),
    (errors.DiskFull, "is on a disk that is full", "nothing was written; make room and try again"),
    (errors.InsufficientPrivilege, "may not be used by this user", "ask the owner of the database for the right"),
    (errors.OutOfMemory, "needs more memory than there is", "try again when there is more"),
)

_UNREACHABLE = (psycopg.OperationalError, psycopg.InterfaceError)
_REACHED = tuple(kind for kind, _, _ in _UNAVAILABLE)
"""Errors of these kinds come from a server that answers."""


def unreachable(name: str, error: psycopg.Error) -> StoreUnreachable:
    """Return the error to raise if the server of a store does not answer."""
    text = " ".join(str(error).split())
    return StoreUnreachable(
        f"the store {name} cannot be reached ({text})", hint="check the URL, and that the server runs"
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
        self._together: dict[str, str] = {}
        self._connection = self._connect()
        self.file = ""

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
        if not self._connection.closed:
            if self._connection.info.transaction_status == TransactionStatus.IDLE:
                return False
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
        text = _written(query.postgres or query.text, query.row)[0]
        rows = list(rows)
        if query.distinct and len(rows) >= _TOGETHER:
            written = self._together.get(text) or self._write_together(text)
            changed = self._connection.execute(written, [_Array(column) for column in zip(*rows, strict=True)]).rowcount
            if changed >= _MANY and (table := _INSERTED.match(text)):
                self.run_text(f"ANALYZE {table[1]}")
            return changed
        cursor = self._connection.cursor()
        cursor.executemany(text, rows)
        return max(0, cursor.rowcount)

    def _write_together(self, text: str) -> str:
        """Return the statement that runs once for many distinct rows: its parameters are arrays, one for each value of
        a row."""
        pgconn = self._connection.pgconn
        for done in (pgconn.prepare(b"described", text.encode()), pgconn.describe_prepared(b"described")):
            if done.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
                raise psycopg.ProgrammingError(done.error_message.decode(errors="replace"))
        kinds = [_KINDS[done.param_type(number)] for number in range(done.nparams)]
        self._connection.execute("DEALLOCATE described")
        written = written_for_many(text, kinds)
        self._together[text] = written
        return written

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
        if isinstance(error, _UNREACHABLE) and not isinstance(error, _REACHED):
            return unreachable(self.name, error)
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
                self._count(found.be_pid, self._connection.info.backend_pid)
        except psycopg.Error as error:
            raise self.translate(error, Access.READ) from error
        return self._commits

    def close(self) -> None:
        self._connection.close()

    def identify(self) -> None:
        """Set `file`, once the schema is there: the numbers of the cluster, the database and the schema."""
        self.file = ":".join(map(str, self.run("place").fetchone() or ()))

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
        for kind, dumper in ((int, _Number), (bool, _Boolean), (str, _Text), (ValueSet, _Set), (_Array, _ArrayDumper)):
            connection.adapters.register_dumper(kind, dumper)
        connection.adapters.register_loader("bool", _BooleanLoader)
        connection.adapters.register_loader("numeric", _NumericLoader)
        own = connection.info.backend_pid
        connection.add_notify_handler(lambda found: self._count(found.pid, own))
        connection.execute(SQL["listen"].text.replace("{schema}", self.schema).encode())
        return connection

    def _count(self, committed: int, own: int) -> None:
        """Count a commit of a server process, unless it is that of the own connection."""
        self._commits += committed != own


_texts: dict[tuple[str, tuple[str, ...]] | str, tuple[str, tuple[str, ...]]] = {}


def _written(text: str, row: tuple[str, ...] = ()) -> tuple[str, tuple[str, ...]]:
    """Return a statement as PostgreSQL takes it, with the names of its parameters. Each is written once."""
    key = (text, row) if row else text
    written = _texts.get(key)
    if written is None:
        written = _texts[key] = written_for_postgres(text, row)
    return written


class _Array:
    """The values of one parameter of many rows."""

    __slots__ = ("values",)

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = values


class _ArrayDumper(Dumper):
    def dump(self, obj: _Array) -> bytes:
        return b"{" + b",".join(map(_element, obj.values)) + b"}"


def _element(value: Any) -> bytes:
    if value is None:
        return b"NULL"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bytes):
        return b'"\\\\x' + value.hex().encode() + b'"'
    return repr(float(value)).encode() if isinstance(value, float) else b"%d" % value


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
