"""An open store, and the two ways to use it: a snapshot, which only reads, and a transaction, which also writes.

Every read and write happens inside one block:

    with store.read() as archive:
        jobs = archive.jobs.get([1, 2])
    with store.write() as archive:
        archive.jobs.hold([1, 2], "checking")

SQLite refuses the writes of a snapshot. Neither a snapshot nor a transaction, nor any of their repositories, can be
used after the block.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rekindle.domain.errors import StoreError, StoreUnavailable
from rekindle.store.database import (
    FILE,
    UNREADABLE,
    Database,
    ReadOnlySnapshot,
    RowCache,
    begin,
    is_write_refused,
    translate,
)
from rekindle.store.queries import load
from rekindle.store.stored_paths import StoredPaths

if TYPE_CHECKING:
    from rekindle.store.attempts import Attempts, Subtasks
    from rekindle.store.canaries import Canaries
    from rekindle.store.documents import Documents
    from rekindle.store.dynamic_actions import DynamicActions
    from rekindle.store.events import Events
    from rekindle.store.fingerprints import Fingerprints, StalenessInputs
    from rekindle.store.imports import Imports
    from rekindle.store.jobs import Jobs
    from rekindle.store.queue import Queue, ReuseCandidates
    from rekindle.store.reruns import Reruns
    from rekindle.store.runners import Runners
    from rekindle.store.statistics import Statistics
    from rekindle.store.supervisions import Supervisions
    from rekindle.store.workflows import Workflows

SQL = load("connection")

REPOSITORIES = {
    "workflows": "workflows:Workflows",
    "jobs": "jobs:Jobs",
    "documents": "documents:Documents",
    "queue": "queue:Queue",
    "attempts": "attempts:Attempts",
    "reruns": "reruns:Reruns",
    "canaries": "canaries:Canaries",
    "dynamic_actions": "dynamic_actions:DynamicActions",
    "subtasks": "attempts:Subtasks",
    "fingerprints": "fingerprints:Fingerprints",
    "staleness": "fingerprints:StalenessInputs",
    "reuse_candidates": "queue:ReuseCandidates",
    "statistics": "statistics:Statistics",
    "imports": "imports:Imports",
    "runners": "runners:Runners",
    "supervisions": "supervisions:Supervisions",
    "events": "events:Events",
}
"""The module in `rekindle.store` and the class of each repository. A snapshot imports only those that are used."""


class Snapshot:
    """A consistent view of the store during one block. A method that writes changes nothing and makes the block raise
    ReadOnlySnapshot. After the block, every query raises BlockEnded."""

    workflows: Workflows
    jobs: Jobs
    documents: Documents
    queue: Queue
    attempts: Attempts
    reruns: Reruns
    canaries: Canaries
    dynamic_actions: DynamicActions
    subtasks: Subtasks
    fingerprints: Fingerprints
    staleness: StalenessInputs
    reuse_candidates: ReuseCandidates
    statistics: Statistics
    imports: Imports
    runners: Runners
    supervisions: Supervisions
    events: Events

    def __init__(self, database: Database) -> None:
        self._db = database

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Make a repository when it is first used."""
            if name not in REPOSITORIES:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            repository = self.__dict__[name] = _repository(name)(self._db)
            return repository

    def check(self) -> list[str]:
        """Return a line for each state, unmet count or count that differs from what attempts and edges imply, and for
        each job with two live attempts. An empty list means that the store is consistent."""
        from rekindle.store.integrity import contradictions

        return contradictions(self._db)


class Transaction(Snapshot):
    """One transaction that may write, exclusive among all processes. Committed at the end of the block; rolled back if
    the block raises."""


class Store:
    """An open store. Not for use by several threads at once.

    `identity` is the store's UUID. `folder` is absolute and holds the journals and the attempts' folders. `notice` is a
    message for the user about what opening the store has changed, or empty.
    """

    def __init__(self, connection: sqlite3.Connection, folder: Path, identity: str) -> None:
        self.identity = identity
        self.folder = str(folder)
        self.notice = ""
        self._connection = connection
        self._path = folder / FILE
        self._file = _file_identity(self._path)
        self._paths = StoredPaths(self.folder)
        self._cache = RowCache()

    @contextmanager
    def read(self) -> Iterator[Snapshot]:
        """Yield a snapshot."""
        with self._block(write=False) as database:
            yield Snapshot(database)

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Yield a transaction."""
        _import_all()  # and nothing while other processes wait for the transaction
        with self._block(write=True) as database:
            yield Transaction(database)

    def data_version(self) -> int:
        """Return a number that changes when another connection commits. Raise StoreUnavailable if the store has been
        removed or replaced."""
        if _file_identity(self._path) != self._file:
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
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def _block(self, *, write: bool) -> Iterator[Database]:
        """Run a block in a transaction, and translate the errors of SQLite and of damaged rows."""
        file = "" if self._file is None else "{}:{}".format(*self._file)
        database = Database(self._connection, self._paths, file, self._cache)
        try:
            begin(self._connection, write=write)
            try:
                yield database
                self._connection.execute("COMMIT")
            finally:
                database.end()
                if self._connection.in_transaction:  # the block raised, or the commit failed
                    self._cache.clear()
                    self._connection.execute("ROLLBACK")
        except sqlite3.DatabaseError as error:
            if not write and is_write_refused(error):
                raise ReadOnlySnapshot("a snapshot cannot write: use `with store.write()`") from error
            found = translate(error, self.folder)
            if type(found) is StoreError:  # SQLite itself found nothing wrong
                self._refuse_damaged(error)
            raise found from error
        except UNREADABLE as error:
            self._refuse_damaged(error)
            raise

    def _refuse_damaged(self, error: Exception) -> None:
        from rekindle.store.integrity import refuse_damaged

        refuse_damaged(self._connection, self.folder, error)


@cache
def _import_all() -> None:
    """Import all repositories, and what only their writes use."""
    for name in REPOSITORIES:
        _repository(name)
    import_module("rekindle.store.revisions")


@cache
def _repository(name: str) -> type[Any]:
    """Import the class of a repository."""
    module, _, kind = REPOSITORIES[name].partition(":")
    found: type[Any] = getattr(import_module(f"rekindle.store.{module}"), kind)
    return found


def _file_identity(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file; None if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
