"""The driver of PostgreSQL: connections, transactions, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import errors
from psycopg.adapt import Loader
from psycopg.pq import ExecStatus, TransactionStatus

from rekindle.domain.errors import StoreDamaged, StoreError, StoreUnavailable, StoreUnreachable
from rekindle.store.database import LOCK_TIMEOUT, Access, Cursor, Driver, ReadOnlySnapshot
from rekindle.store.postgres_pipeline import Array, Check, Pipeline
from rekindle.store.queries import Query, Row, load, written_for_many, written_for_postgres

SQL = load("postgres")

_MANY = 1_000
"""This number of new rows makes the server's statistics of a table wrong, and its plans slow, until it is analyzed."""

_FETCHED = 100
"""Rows of a stream that are read together."""

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
        self._listens = False
        self._streams = self._begun = 0
        self._access = Access.READ
        self._together: dict[str, str] = {}
        self._connect()
        self.file = ""

    def begin(self, access: Access) -> None:
        if self._connection.closed:
            self._connect()
            self._commits += 1  # commits of others may have been missed
        self._access = access
        self._pipeline.repeats = access is Access.TURN
        if access is Access.READ:
            self._pipeline.add(SQL["begin_read"].text, ())
        elif access is Access.TURN:
            self._pipeline.add("BEGIN", ())
            self._pipeline.add(self._text("lock_turn"), ())
        else:
            self.run("begin_write")
        self._begun = len(self._pipeline)

    def commit(self, *, notify: bool) -> None:
        if self._is_idle() and len(self._pipeline) == self._begun:
            self._pipeline.drop()  # nothing was read or written
        elif self._access is Access.READ:
            self._pipeline.execute("COMMIT", ())
        elif self._access is Access.TURN:
            self._pipeline.end(SQL["each_changed"].text, ["COMMIT", *([self._text("notify")] if notify else [])])
        else:
            self.run("commit_write")
        self._streams = 0

    def roll_back(self) -> bool:
        self._streams = 0
        dropped = self._pipeline.drop() > 0
        if not self._connection.closed:
            if self._is_idle():
                return dropped
            try:
                self.run_text("ROLLBACK")
            except psycopg.Error:
                self._connection.close()
        return True

    def execute(self, text: str, values: Mapping[str, Any]) -> Cursor:
        written, names = _written(text)
        return self._pipeline.execute(written, [values[name] for name in names])

    def execute_each(self, query: Query, rows: Iterable[Row], check: Check | None) -> None:
        text = _written(query.postgres or query.text, query.row)[0]
        rows = list(rows)
        if query.distinct and len(rows) > 1:
            written = self._together.get(text) or self._write_together(text)
            self._pipeline.add(written, list(map(_array, zip(*rows, strict=True))), check, len(rows))
        elif check is None or (query.distinct and rows):
            for row in rows:
                self._pipeline.add(text, row, check, 1)
        elif rows:
            changed: list[int] = []
            for row in rows[:-1]:
                self._pipeline.add(text, row, changed.append)
            self._pipeline.add(text, rows[-1], lambda last: check(sum(changed, last)))
        else:
            check(0)
        if len(rows) >= _MANY:
            self._pipeline.flush()
            if table := _INSERTED.match(text):
                self.run_text(f"ANALYZE {table[1]}")

    def _write_together(self, text: str) -> str:
        """Return the statement that runs once for many distinct rows: its parameters are arrays, one for each value of
        a row."""
        pgconn = self._connection.pgconn
        for done in (pgconn.prepare(b"", text.encode()), pgconn.describe_prepared(b"")):
            if done.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
                raise psycopg.ProgrammingError(done.error_message.decode(errors="replace"))
        kinds = [_KINDS[done.param_type(number)] for number in range(done.nparams)]
        written = written_for_many(text, kinds)
        self._together[text] = written
        return written

    def stream(self, text: str, values: Mapping[str, Any]) -> Cursor:
        written, names = _written(text)
        self._streams += 1
        name = f"rows_{self._streams}"
        declared = SQL["declare"].text.replace("{cursor}", name).replace("{query}", written)
        self._pipeline.add(declared, [values[name] for name in names])
        return _Streamed(self, name)

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
                self._connect()
                self._commits += 1
            if not self._listens:
                self.run("listen")
                self._listens = True
            self._connection.pgconn.consume_input()
            own = self._connection.info.backend_pid
            while (found := self._connection.pgconn.notifies()) is not None:
                self._commits += found.be_pid != own
        except psycopg.Error as error:
            raise self.translate(error, Access.READ) from error
        return self._commits

    def notify(self, runners: Iterable[int]) -> None:
        try:
            for runner in runners:
                self.run_text(self._of_runner("notify_runner", runner))
        except psycopg.Error as error:
            raise self.translate(error, Access.WRITE) from error

    def listen(self, runner: int) -> PostgresListener:
        return PostgresListener(self._conninfo, self._of_runner("listen_as_runner", runner), self.name)

    def _of_runner(self, name: str, runner: int) -> str:
        return SQL[name].text.replace("{schema}", self.schema).replace("{runner}", str(runner))

    def compact(self) -> tuple[int, int]:
        before = self._size()
        for (table,) in self.run("tables").fetchall():
            self.run_text(SQL["vacuum"].text.replace("{schema}", self.schema).replace("{table}", table))
        return before, self._size()

    def _size(self) -> int:
        """Return the bytes of all tables with their indexes."""
        return int((self.run("size").fetchone() or (0,))[0])

    def close(self) -> None:
        self._connection.close()

    def identify(self) -> None:
        """Set `file`, once the schema is there: the numbers of the cluster, the database and the schema."""
        self.file = ":".join(map(str, self.run("place").fetchone() or ()))

    def is_store(self) -> bool:
        """Return whether the schema has a store."""
        return bool(self.run("is_store").fetchone() == (1,))

    def run(self, name: str) -> Cursor:
        """Run statements of sql/postgres.sql, which have no parameters, in one message."""
        return self.run_text(self._text(name))

    def _text(self, name: str) -> str:
        return SQL[name].text.replace("{schema}", self.schema)

    def run_text(self, statements: str) -> Cursor:
        """Run statements without parameters in one message."""
        return self._pipeline.run(statements)

    def _is_idle(self) -> bool:
        return bool(self._connection.info.transaction_status == TransactionStatus.IDLE)

    def _connect(self) -> None:
        self._connection: psycopg.Connection[Row] = psycopg.connect(
            self._conninfo,
            autocommit=True,
            application_name="rekindle",
            options=f"-c search_path={self.schema} -c lock_timeout={int(LOCK_TIMEOUT * 1000)} -c jit=off "
            "-c client_encoding=UTF8",
        )
        self._connection.adapters.register_loader("bool", _BooleanLoader)
        self._connection.adapters.register_loader("numeric", _NumericLoader)
        self._pipeline = Pipeline(self._connection)
        if self._listens:
            self.run("listen")


class _Streamed:
    """The rows of a cursor of the server."""

    def __init__(self, driver: PostgresDriver, name: str) -> None:
        self._driver, self._name = driver, name

    description = None
    rowcount = -1

    def fetchone(self) -> Row | None:
        return next(iter(self.fetchmany(1)), None)

    def fetchall(self) -> list[Row]:
        return list(self)

    def fetchmany(self, size: int) -> list[Row]:
        fetch = SQL["fetch"].text.replace("{cursor}", self._name).replace("{number}", str(size))
        return self._driver.run_text(fetch).fetchall()

    def __iter__(self) -> Iterator[Row]:
        while rows := self.fetchmany(_FETCHED):
            yield from rows


def _array(column: Sequence[Any]) -> Array | None:
    """Return the values of a parameter for many rows. NULL stands for any number of NULLs."""
    return None if column[0] is None and column.count(None) == len(column) else Array(column)


class PostgresListener:
    """A connection that hears the notifications for one runner, and nothing else: whoever waits for them is not woken
    by the commits of all others."""

    def __init__(self, conninfo: str, statement: str, name: str) -> None:
        self._name = name
        try:
            self._connection = psycopg.connect(conninfo, autocommit=True, application_name="rekindle listener")
            self._connection.execute(statement.encode())
        except psycopg.Error as error:
            raise unreachable(name, error) from error
        self.fd = self._connection.fileno()

    def drain(self) -> None:
        try:
            self._connection.pgconn.consume_input()
            while self._connection.pgconn.notifies() is not None:
                pass
        except psycopg.Error as error:
            raise unreachable(self._name, error) from error

    def close(self) -> None:
        self._connection.close()


_texts: dict[tuple[str, tuple[str, ...]] | str, tuple[str, tuple[str, ...]]] = {}


def _written(text: str, row: tuple[str, ...] = ()) -> tuple[str, tuple[str, ...]]:
    """Return a statement as PostgreSQL takes it, with the names of its parameters. Each is written once."""
    key = (text, row) if row else text
    written = _texts.get(key)
    if written is None:
        written = _texts[key] = written_for_postgres(text, row)
    return written


class _BooleanLoader(Loader):
    def load(self, data: Any) -> int:
        return int(bytes(data) == b"t")


class _NumericLoader(Loader):
    def load(self, data: Any) -> int | float:
        text = bytes(data).decode()
        return float(text) if "." in text else int(text)
