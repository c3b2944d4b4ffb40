"""The embedded archive: one SQLite file in the store's folder, in WAL mode."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from rekindle.domain.errors import SlowPattern, StoreError, StoreUnavailable
from rekindle.store import (
    port,
    port_attempts,
    port_canaries,
    port_documents,
    port_histories,
    port_runners,
    port_supervisions,
    port_tries,
)
from rekindle.store.acts import Acts
from rekindle.store.attempts import Attempts
from rekindle.store.canaries import Canaries
from rekindle.store.check import check
from rekindle.store.damage import UNREADABLE, refuse_damaged
from rekindle.store.database import Database
from rekindle.store.documents import Documents
from rekindle.store.events import Events
from rekindle.store.fingerprints import Fingerprints
from rekindle.store.histories import Histories
from rekindle.store.jobs import Jobs
from rekindle.store.making import FUNCTIONS, Gathered
from rekindle.store.measures import Measures
from rekindle.store.paths import StoredPaths
from rekindle.store.queries import load
from rekindle.store.queue import Queue
from rekindle.store.reruns import Reruns
from rekindle.store.reserves import Reserves
from rekindle.store.runners import Runners
from rekindle.store.subtasks import Subtasks
from rekindle.store.supervisions import Supervisions
from rekindle.store.translating import translate
from rekindle.store.tries import Tries
from rekindle.store.workflows import Workflows

SQL = load("connection")

FILE = "store.db"

PATIENCE = 30.0
"""Seconds to wait for another process's transaction."""


SLOW_SECONDS = 0.1
"""A call from SQL that takes longer counts as slow."""

SCAN_SECONDS = 10.0
"""Time limit of the slow calls of one transaction together."""


class Connection(sqlite3.Connection):
    """A connection that keeps what a Python function raised that SQL called: SQLite reports only that it raised."""

    raised: BaseException | None = None
    _slow = 0.0

    def begin(self, statement: str) -> None:
        """Begin a transaction."""
        self.raised, self._slow = None, 0.0
        self.execute(statement)

    def add_functions(self) -> None:
        """Define the functions that SQL calls."""
        for name, function in FUNCTIONS.items():
            self.create_function(name, -1, self._guarded(function), deterministic=True)
        self.create_aggregate("gathered", -1, Gathered)  # type: ignore[arg-type]  # it thinks all of one column

    def _guarded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any) -> Any:
            began = time.monotonic()
            try:
                found = function(*values)
                took = time.monotonic() - began
                if took > SLOW_SECONDS:
                    self._slow += took
                    if self._slow > SCAN_SECONDS:
                        raise SlowPattern(values[0], SCAN_SECONDS, "searching all texts")
            except BaseException as error:
                self.raised = error
                raise
            return found

        return call


def connect(path: Path, patience: float = PATIENCE, *, durable: bool = False, unchanging: bool = False) -> Connection:
    """A connection as every store has it. Raises sqlite3.Error. `durable`: what is committed survives a power cut.
    `unchanging`: nobody can write to the file, which is read without its log and locks."""
    name = f"{path.as_uri()}?immutable=1" if unchanging else path.as_uri()
    connection = sqlite3.connect(
        name, uri=True, timeout=patience, isolation_level=None, cached_statements=256, factory=Connection
    )
    for setting in ("durable" if durable else "synchronous", "foreign_keys", "cache", "temporary", "checkpoint"):
        connection.execute(SQL[setting].text)
    connection.add_functions()
    return connection


def _which(path: Path) -> tuple[int, int] | None:
    """What tells a file from every other; None: it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class SqliteArchive:
    """One transaction's view of everything; see rekindle.store.port.Archive."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self.workflows: port.Workflows = Workflows(database)
        self.jobs: port.Jobs = Jobs(database)
        self.documents: port_documents.Documents = Documents(database)
        self.queue: port.Queue = Queue(database)
        self.attempts: port_attempts.Attempts = Attempts(database)
        self.reruns: port.Reruns = Reruns(database)
        self.canaries: port_canaries.Canaries = Canaries(database)
        self.acts: port_attempts.Acts = Acts(database)
        self.subtasks: port_attempts.Subtasks = Subtasks(database)
        self.fingerprints: port_attempts.Fingerprints = Fingerprints(database)
        self.measures: port_attempts.Measures = Measures(database)
        self.reserves: port_attempts.Reserves = Reserves(database)
        self.tries: port_tries.Tries = Tries(database)
        self.histories: port_histories.Histories = Histories(database)
        self.runners: port_runners.Runners = Runners(database)
        self.supervisions: port_supervisions.Supervisions = Supervisions(database)
        self.events: port_runners.Events = Events(database)

    def check(self) -> list[str]:
        return check(self._db)


class SqliteStore:
    """An open store; see rekindle.store.port.Store. Not for several threads at once."""

    def __init__(self, connection: Connection, folder: Path, identity: str) -> None:
        self.identity = identity
        self.folder = str(folder)
        self.notice = ""
        self._connection = connection
        self._file = _which(self._path)
        file = "" if self._file is None else "{}:{}".format(*self._file)
        self._database = Database(connection, StoredPaths(self.folder), file)
        self._archive = SqliteArchive(self._database)

    def read(self) -> AbstractContextManager[port.Archive]:
        return self._transaction("BEGIN DEFERRED")

    def write(self) -> AbstractContextManager[port.Archive]:
        return self._transaction("BEGIN IMMEDIATE")

    @property
    def _path(self) -> Path:
        return Path(self.folder, FILE)

    def data_version(self) -> int:
        if _which(self._path) != self._file:
            raise StoreUnavailable(
                f"the store {self.folder} has been removed, or another one put in its place",
                hint="what was under way there is lost with it; start again",
            )
        try:
            version: int = self._connection.execute(SQL["data_version"].text).fetchone()[0]
        except sqlite3.Error as error:
            raise translate(error, self.folder) from error
        return version

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[port.Archive]:
        try:
            self._connection.begin(begin)
            try:
                yield self._archive
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:  # an error, or a reader's interruption, came before the commit
                    self._database.forget()
                    self._connection.execute("ROLLBACK")
        except sqlite3.DatabaseError as error:
            if self._connection.raised is not None:
                raise self._connection.raised from None
            found = translate(error, self.folder)
            if type(found) is StoreError:  # SQLite found nothing wrong itself
                refuse_damaged(self._connection, self.folder, error)
            raise found from error
        except UNREADABLE as error:
            refuse_damaged(self._connection, self.folder, error)
            raise
