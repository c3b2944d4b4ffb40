"""The seam to a database: a `Driver` for each kind (rekindle.store.sqlite_driver, rekindle.store.postgres_driver), and
the `Database` through which repositories run named queries during one block.

Every read and write happens inside a block (see rekindle.store.archive). The database refuses the writes of a block
that only reads, and a `Database` runs nothing after its block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from rekindle.domain.definition import Resources

if TYPE_CHECKING:
    from rekindle.store.queries import Query, Row
    from rekindle.store.stored_paths import StoredPaths

UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
)
"""What code raises when it meets a value that it did not expect."""

NO_LIMIT = 2**62
"""As the LIMIT of a query: every row."""

_FIRST_BATCH, _BATCH = 16, 1_000
"""Rows that are read together."""

LOCK_TIMEOUT = 30.0
"""Seconds to wait for another process's transaction."""


class BlockEnded(RuntimeError):
    """A snapshot or transaction was used after its block. This is a bug in the caller."""


class ReadOnlySnapshot(RuntimeError):
    """A write was attempted in a snapshot. This is a bug in the caller."""


class Cursor(Protocol):
    """What a driver returns for a statement: the part of the DB-API that is used."""

    @property
    def description(self) -> Any: ...
    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def fetchmany(self, size: int, /) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Access(Enum):
    """What a transaction may do, and beside which others it runs."""

    READ = "read"  # the database refuses to write
    TURN = "turn"  # writes beside other turns, and beside no other writer: see rekindle.store.archive.Store.turn
    WRITE = "write"  # alone among all that write


class Driver(ABC):
    """A connection to a database of one kind. `name` names the database in messages; `file` identifies it, and differs
    in a copy of it; `dialect` is its form of SQL; `errors` is what its methods raise."""

    name: str
    file: str
    dialect: Literal["sqlite", "postgres"]
    errors: tuple[type[Exception], ...]

    @abstractmethod
    def begin(self, access: Access) -> None:
        """Begin a transaction."""

    @abstractmethod
    def commit(self, *, notify: bool) -> None:
        """Commit the transaction. `notify`: the data version of other connections changes."""

    @abstractmethod
    def roll_back(self) -> bool:
        """Roll the transaction back. Return False if there is none."""

    @abstractmethod
    def execute(self, text: str, values: Mapping[str, Any]) -> Cursor:
        """Run a statement whose parameters have names."""

    @abstractmethod
    def execute_each(self, query: Query, rows: Iterable[Row], check: Callable[[int], None] | None) -> None:
        """Run a statement that writes once for each row, and call `check` with the total number of rows changed: at
        once, or when a later statement runs or the transaction commits. A check of distinct rows accepts no other
        number than that of `rows`."""

    @abstractmethod
    def stream(self, text: str, values: Mapping[str, Any]) -> Cursor:
        """Run a query whose rows are read a few at a time."""

    @abstractmethod
    def defer_references(self) -> None:
        """Check references between rows when this transaction commits, not before."""

    @abstractmethod
    def continue_ids(self, tables: Sequence[str]) -> None:
        """After rows with ids were inserted: let the next ids of attempts, and of these tables, follow them."""

    @abstractmethod
    def translate(self, error: Exception, access: Access) -> Exception:
        """Return the error to raise instead of one of `errors`, or of UNREADABLE."""

    @abstractmethod
    def data_version(self) -> int:
        """Return a number that changes when another connection commits. Raise StoreUnavailable if the database is
        gone."""

    @abstractmethod
    def notify(self, runners: Iterable[int]) -> None:
        """Notify runners that listen, outside of a transaction."""

    @abstractmethod
    def listen(self, runner: int) -> Listener | None:
        """Return what hears the notifications for a runner; None if the database has none."""

    @abstractmethod
    def compact(self) -> tuple[int, int]:
        """Give free pages back to the file system, outside of a transaction. Return the bytes of the database before
        and after."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""


class Listener(Protocol):
    """Hears the notifications for one runner. `fd` becomes readable when there are any."""

    fd: int

    def drain(self) -> None:
        """Discard the notifications that have arrived. Raise StoreUnreachable if the server is gone."""
        ...

    def close(self) -> None:
        """Hear no more."""
        ...


class RowCache(msgspec.Struct):
    """Rows that never change once written. Cleared when a transaction is rolled back, which may have written them. Free
    ids stay."""

    resources: dict[int, Resources] = msgspec.field(default_factory=dict)
    signatures: dict[str, int] = msgspec.field(default_factory=dict)  # row ids by digest
    attempt_ids: list[int] = msgspec.field(default_factory=list)  # free ones, which are never given to anybody else
    attempts: int = 0  # that got ids

    def clear(self) -> None:
        """Forget every row that was read or written."""
        self.resources.clear()
        self.signatures.clear()


class Database:
    """Runs named queries during one block.

    `paths` encodes and decodes stored paths. `file` identifies the database, and differs in a copy of it.
    """

    def __init__(
        self,
        driver: Driver,
        paths: StoredPaths,
        cache: RowCache | None = None,
        *,
        shared: bool = False,
        is_turn: bool = False,
        part: int = 0,
    ) -> None:
        """`shared`: other transactions write meanwhile. `is_turn`: counts and spans, which turns share, are written
        last and in the order of their keys (see rekindle.store.derived.write_shared_rows), so that no two turns wait
        for each other. `part` is the part of them that this one changes."""
        self.shared, self.is_turn, self.part = shared, is_turn, part
        self.counts: dict[tuple[int, int, int], int] = {}  # to add, by workflow, resource class and state
        self.spans: dict[int, tuple[float | None, float | None]] = {}  # first start and last end, by workflow
        self.concerns_others = not is_turn  # an attempt has ended, or a job has become ready
        self.paths = paths
        self.file = driver.file
        self.by: str | None = None  # who writes: recorded with events and reruns
        self.cache = cache or RowCache()
        self._driver: Driver | None = driver

    @property
    def who(self) -> dict[str, str]:
        """Who writes, as a part of events and requests; empty if that is not known."""
        return {} if self.by is None else {"by": self.by}

    @property
    def driver(self) -> Driver:
        """The driver. Raise BlockEnded after the block."""
        if self._driver is None:
            raise BlockEnded("this snapshot or transaction was used after its block ended")
        return self._driver

    def end(self) -> None:
        """Refuse every use from now on."""
        self._driver = None

    def text(self, query: Query) -> str:
        """Return the statement of this database."""
        return query.postgres or query.text if self.driver.dialect == "postgres" else query.text

    def rows(self, query: Query, **values: Any) -> list[Row]:
        """Return every row, as tuples in the order of the statement's columns."""
        return self.driver.execute(self.text(query), values).fetchall()

    def named_rows(self, query: Query, **values: Any) -> list[Any]:
        """Return every row, as named tuples with the statement's column names."""
        cursor = self.driver.execute(self.text(query), values)
        return list(map(_named(self.text(query), cursor), cursor))

    def row(self, query: Query, **values: Any) -> Row | None:
        """Return the first row, if any."""
        found: Row | None = self.driver.execute(self.text(query), values).fetchone()
        return found

    def named_row(self, query: Query, **values: Any) -> Any | None:
        """Return the first row as a named tuple, if any."""
        cursor = self.driver.execute(self.text(query), values)
        found = cursor.fetchone()
        return None if found is None else _named(self.text(query), cursor)(found)

    def value(self, query: Query, **values: Any) -> Any:
        """Return the first value of the first row; None if there is no row."""
        found = self.row(query, **values)
        return None if found is None else found[0]

    def change(self, query: Query, **values: Any) -> int:
        """Run a statement that writes. Return the number of rows changed."""
        return self.driver.execute(self.text(query), values).rowcount

    def insert(self, query: Query, **values: Any) -> int:
        """Run an INSERT of one row that returns its id. Return the id."""
        found: int = self.driver.execute(self.text(query), values).fetchone()[0]
        return found

    def change_each(self, query: Query, rows: Iterable[Row], check: Callable[[int], None] | None = None) -> None:
        """Run a statement that writes once for each of `rows`. `check` gets the total number of rows changed, and
        raises if that is wrong: if `rows` are distinct, if it is not their number. An error, or that of `check`, may be
        raised by a later statement, or at the end of the block."""
        self.driver.execute_each(query, rows, check)

    def select(self, text: str, values: Mapping[str, Any]) -> list[Row]:
        """Return every row of a query composed of named fragments (see rekindle.store.predicates)."""
        return self.driver.execute(text, values).fetchall()

    def stream(self, text: str, values: Mapping[str, Any]) -> Iterator[Row]:
        """Run a query and return its rows one by one. Reading them after the block raises BlockEnded."""
        return self._during_block(iter(self.driver.stream(text, values)))

    def batches(self, text: str, values: Mapping[str, Any]) -> Iterator[list[Row]]:
        """Run a query and yield its rows many at a time; few at first, for callers that need only the first rows.
        Reading them after the block raises BlockEnded."""
        cursor, size = self.driver.stream(text, values), _FIRST_BATCH
        while self.driver and (rows := cursor.fetchmany(size)):
            yield rows
            size = min(2 * size, _BATCH)

    def _during_block(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            if self._driver is None:
                raise BlockEnded("rows were read after the snapshot or transaction ended")
            yield row


_named_by_text: dict[str, Callable[[Row], Any]] = {}


def _named(text: str, cursor: Cursor) -> Callable[[Row], Any]:
    """Return the constructor of a statement's named rows; columns are looked up once a statement."""
    make = _named_by_text.get(text)
    if make is None:
        names = [column[0] for column in cursor.description]
        # `_make` is a Python function that also counts the values.
        make = _named_by_text[text] = partial(tuple.__new__, namedtuple("NamedRow", names, rename=True))
    return make
