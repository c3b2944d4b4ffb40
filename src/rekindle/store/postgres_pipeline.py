"""Statements on a connection of PostgreSQL. Those whose results nobody waits for are sent with the next one.

This module uses libpq through `psycopg.pq`: a cursor of psycopg costs the client about five times as much processor
time as the statement, and a runner sends about fifteen in each turn.
"""

from __future__ import annotations

import re
import select
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus

from rekindle.store.queries import Row, ValueSet

if TYPE_CHECKING:
    import psycopg
    from psycopg.pq.abc import PGresult

Check = Callable[[int], None]
"""Called with the number of rows that a statement has changed."""

_MOST = 500
"""Statements that the server keeps prepared for a connection."""

_CHANGED = re.compile(r'"([0-9]+) rows changed"')
"""What the error of a wrong number of rows says."""

_READ, _WRITE = select.POLLIN, select.POLLIN | select.POLLOUT


class Rows:
    """The result of a statement, as a cursor of the DB-API."""

    def __init__(self, result: PGresult | None, rows: list[Row]) -> None:
        self._result, self._rows, self._next = result, rows, 0

    @property
    def description(self) -> list[tuple[str]]:
        """The names of the columns, each in a tuple."""
        found = self._result
        if found is None:
            return []
        return [((found.fname(number) or b"").decode(),) for number in range(found.nfields)]

    @property
    def rowcount(self) -> int:
        """The number of rows that were returned or changed."""
        return (self._result and self._result.command_tuples) or 0

    def fetchone(self) -> Row | None:
        """Return the next row, if any."""
        return next(iter(self.fetchmany(1)), None)

    def fetchmany(self, size: int) -> list[Row]:
        """Return the next rows."""
        start, self._next = self._next, self._next + size
        return self._rows[start : self._next]

    def fetchall(self) -> list[Row]:
        """Return all rows that are left."""
        return self.fetchmany(len(self._rows))

    def __iter__(self) -> Iterator[Row]:
        return iter(self.fetchall())


class Array:
    """The values of one parameter of many rows."""

    __slots__ = ("values",)

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = values


class _Statement(NamedTuple):
    text: str
    values: Sequence[bytes | None]
    check: Check | None = None
    must: int | None = None  # the only number of changed rows that the check accepts, if it is known
    refuse: Check | None = None  # called if the server has found another number


class Pipeline:
    """Sends statements on a connection, together if it can. The server prepares those that are used again.

    Values are sent without a type, so that PostgreSQL takes that of the column which they are compared with, as SQLite
    does. `repeats`: statements will be used again. Interrupted while it waits for the server, it closes the connection.
    """

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection
        self._libpq = connection.pgconn
        self._libpq.nonblocking = 1
        self._poll = select.poll()
        self._transformer = Transformer(connection)
        self._queued: list[_Statement] = []
        self._used: set[str] = set()
        self._prepared: dict[str, bytes] = {}
        self._count = 0
        self.repeats = False

    def add(self, text: str, values: Sequence[Any], check: Check | None = None, must: int | None = None) -> None:
        """Send a statement with the next one whose result is waited for. `check` may raise then. `must`: the only
        number of changed rows that it accepts."""
        self._queued.append(_Statement(text, [_sent(value) for value in values], check, must))

    def execute(self, text: str, values: Sequence[Any]) -> Rows:
        """Run the statements that were added, and this one."""
        self.add(text, values)
        return self._rows(self.flush())

    def flush(self) -> PGresult | None:
        """Run the statements that were added, and check them. Return the result of the last. Raise psycopg.Error."""
        if not self._queued:
            return None
        queued, self._queued = self._queued, []
        try:
            self._libpq.enter_pipeline_mode()
            new = [self._send(one) for one in queued]
            self._libpq.pipeline_sync()
            results = self._results_of_pipeline()
            self._libpq.exit_pipeline_mode()
        except BaseException:
            self._connection.close()
            raise
        sent = [one for one, is_new in zip(queued, new, strict=True) for _ in range(1 + is_new)]
        for one, result in zip(sent, results, strict=False):
            if result.status == ExecStatus.FATAL_ERROR:
                for other, is_new in zip(queued, new, strict=True):
                    if is_new:  # the server may not have come to it
                        self._prepared.pop(other.text, None)
                raise _error(one, result)
        found = iter(results)
        for one, is_new in zip(queued, new, strict=True):
            if is_new:
                next(found)
            result = next(found)
            if one.check is not None:
                one.check(result.command_tuples or 0)
        return result

    def end(self, each_changed: str, statements: Sequence[str]) -> None:
        """Run the statements that were added and then these, which have no parameters and end the transaction, in one
        message: `each_changed` is the statement in which the server checks the number of rows that another one has
        changed, and makes an error of a wrong one. Statements whose checks it cannot make are run before."""
        if any(one.check is not None and one.must is None for one in self._queued):
            self.flush()
        self._queued = [_checked(one, each_changed) for one in self._queued]
        for text in statements:
            self.add(text, ())
        self.flush()

    def run(self, text: str) -> Rows:
        """Run statements without parameters in one message, after those that were added. Return the last result."""
        self.flush()
        try:
            self._libpq.send_query(text.encode())
            self._flush_output()
            results = list(iter(self._next_result, None))
        except BaseException:
            self._connection.close()
            raise
        for one in results:
            if one.status == ExecStatus.FATAL_ERROR:
                raise error_from_result(one)
        return self._rows(results[-1] if results else None)

    def drop(self) -> int:
        """Forget the statements that were added. Return their number."""
        dropped = len(self)
        self._queued.clear()
        return dropped

    def __len__(self) -> int:
        return len(self._queued)

    def _send(self, one: _Statement) -> bool:
        """Send a statement, and before it what prepares it if it is used again. Return whether it was prepared."""
        name, is_new = self._prepared.get(one.text), False
        if name is None and (self.repeats or one.text in self._used) and len(self._prepared) < _MOST:
            self._count += 1
            is_new, name = True, b"s%d" % self._count
            self._prepared[one.text] = name
            self._libpq.send_prepare(name, one.text.encode())
        if name is not None:
            self._libpq.send_query_prepared(name, one.values)
            return is_new
        if len(self._used) >= _MOST:
            self._used.clear()
        self._used.add(one.text)
        self._libpq.send_query_params(one.text.encode(), one.values)
        return False

    def _results_of_pipeline(self) -> list[PGresult]:
        """Return the results of all statements that were sent."""
        libpq = self._libpq
        found: list[PGresult] = []
        ended = False
        self._flush_output()
        while True:
            while libpq.is_busy():
                self._wait(_READ)
            result = libpq.get_result()
            if result is None:  # after each statement; twice if the connection has broken
                if ended:
                    return found
                ended = True
            elif result.status == ExecStatus.PIPELINE_SYNC:
                return found
            else:
                found.append(result)
                ended = False

    def _next_result(self) -> PGresult | None:
        self._flush_output()
        while self._libpq.is_busy():
            self._wait(_READ)
        return self._libpq.get_result()

    def _flush_output(self) -> None:
        while self._libpq.flush():
            self._wait(_WRITE)

    def _wait(self, events: int) -> None:
        self._poll.register(self._libpq.socket, events)
        if self._poll.poll()[0][1] & ~select.POLLOUT:
            self._libpq.consume_input()

    def _rows(self, result: PGresult | None) -> Rows:
        if result is None or result.status != ExecStatus.TUPLES_OK:
            return Rows(result, [])
        self._transformer.set_pgresult(result)
        return Rows(result, self._transformer.load_rows(0, result.ntuples, tuple))


def _checked(one: _Statement, each_changed: str) -> _Statement:
    """Return a statement whose check the server makes."""
    if one.check is None or one.must is None:
        return one
    one.check(one.must)
    number = f"CAST(${len(one.values) + 1} AS BIGINT)"
    text = each_changed.replace("{statement}", one.text).replace("{rows}", number)
    return _Statement(text, [*one.values, b"%d" % one.must], refuse=one.check)


def _error(one: _Statement, result: PGresult) -> Exception:
    """Return the error of a statement that has failed, unless its check raises one."""
    error = error_from_result(result)
    if one.refuse is not None and (found := _CHANGED.search(str(error))):
        one.refuse(int(found[1]))
    return error


def _sent(value: Any) -> bytes | None:
    """Return a value as it is sent. Booleans are integers in both databases."""
    form = _FORMS.get(type(value))
    if form is not None:
        return form(value)
    return _stored(value) if isinstance(value, str) else b"%d" % value


def _array(value: ValueSet | Array) -> bytes:
    return b"{" + _elements(value.values) + b"}"


def _elements(values: Sequence[Any]) -> bytes:
    """Return values as they are sent in an array. Where nothing is escaped, an array is written as in JSON."""
    kinds = set(map(type, values))
    if kinds <= _AS_JSON:
        found = msgspec.json.encode(values)
        # JSON has no infinity
        if b"\\" not in found and (float not in kinds or b"null" not in found):
            return found[1:-1]
    elif all(issubclass(kind, int) for kind in kinds):
        return msgspec.json.encode(list(map(int, values)))[1:-1]
    return b",".join(map(_element, values))


def _element(value: Any) -> bytes:
    if value is None:
        return b"NULL"
    if isinstance(value, str):
        return b'"' + _stored(value).replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    if isinstance(value, bytes):
        return b'"\\\\x' + value.hex().encode() + b'"'
    return repr(float(value)).encode() if isinstance(value, float) else b"%d" % value


def _stored(text: str) -> bytes:
    """Return a text as PostgreSQL can store it: with the sign for NUL instead of NUL."""
    return text.replace("\0", "\u2400").encode()


_FORMS: dict[type[Any], Callable[[Any], bytes | None]] = {
    type(None): lambda _: None,
    str: _stored,
    bytes: lambda value: b"\\x" + value.hex().encode(),
    float: lambda value: repr(value).encode(),
    ValueSet: _array,
    Array: _array,
}
"""How values are sent, by type. Values of other types are texts or integers."""

_AS_JSON = {int, float, str, type(None)}
"""Types whose values may be written by one call."""
