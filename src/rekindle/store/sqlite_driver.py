"""The driver of SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rekindle.domain.errors import StoreError, StoreUnavailable
from rekindle.store.database import Access, Driver, ReadOnlySnapshot
from rekindle.store.queries import Query, Row, load, written_for_sqlite
from rekindle.store.sqlite_connection import FILE, execute_rows, is_write_refused, translate

SQL = load("connection")


class SqliteDriver(Driver):
    """A connection to a store's file, in the store's folder."""

    dialect = "sqlite"
    errors = (sqlite3.DatabaseError,)

    def __init__(self, connection: sqlite3.Connection, folder: str) -> None:
        self.name = folder
        self.connection = connection
        self._path = Path(folder) / FILE
        self._identity = _file_identity(self._path)
        self._refuses_writes: bool | None = None
        self.file = "" if self._identity is None else "{}:{}".format(*self._identity)

    def begin(self, access: Access) -> None:
        reads = access is Access.READ
        if self._refuses_writes is not reads:  # each such setting makes SQLite compile every statement again
            self.connection.execute(SQL["refuse_writes" if reads else "allow_writes"].text)
            self._refuses_writes = reads
        self.connection.execute("BEGIN DEFERRED" if reads else "BEGIN IMMEDIATE")

    def commit(self, *, notify: bool) -> None:  # noqa: ARG002 (SQLite counts all commits)
        self.connection.execute("COMMIT")

    def roll_back(self) -> bool:
        if not self.connection.in_transaction:
            return False
        self.connection.execute("ROLLBACK")
        return True

    def execute(self, text: str, values: Mapping[str, Any]) -> sqlite3.Cursor:
        return self.connection.execute(_written(text), values)

    stream = execute

    def execute_each(self, query: Query, rows: Iterable[Row], check: Callable[[int], None] | None) -> None:
        changed = execute_rows(self.connection, query, rows)
        if check is not None:
            check(changed)

    def defer_references(self) -> None:
        self.connection.execute(SQL["defer_references"].text)

    def continue_ids(self, tables: Sequence[str]) -> None:
        """SQLite gives each row the id after the highest."""

    def translate(self, error: Exception, access: Access) -> Exception:
        found: Exception = error
        if isinstance(error, sqlite3.Error):
            if access is Access.READ and is_write_refused(error):
                return ReadOnlySnapshot("a snapshot cannot write: use `with store.write()`")
            found = translate(error, self.name)
        if found is error or type(found) is StoreError:  # SQLite itself found nothing wrong
            from rekindle.store.integrity import find_damage

            found = find_damage(self.connection, self.name) or found
        return found

    def data_version(self) -> int:
        if _file_identity(self._path) != self._identity:
            raise StoreUnavailable(
                f"the store {self.name} has been removed, or another one put in its place",
                hint="what was under way there is lost with it; start again",
            )
        try:
            version: int = self.connection.execute(SQL["data_version"].text).fetchone()[0]
        except sqlite3.Error as error:
            raise translate(error, self.name) from error
        return version

    def notify(self, runners: Iterable[int]) -> None:
        """Do nothing: all runners are on this host."""

    def listen(self, runner: int) -> None:
        """Return None: all runners are on this host."""

    def compact(self) -> tuple[int, int]:
        before = self._size()
        for name in ("allow_writes", "temporary_on_disk", "vacuum", "temporary", "truncate_log"):
            self.connection.execute(SQL[name].text).fetchall()
        return before, self._size()

    def _size(self) -> int:
        """Return the bytes of the file and its log."""
        files = (self._path, self._path.with_name(f"{FILE}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        self.connection.close()


_texts: dict[str, str] = {}


def _written(text: str) -> str:
    """Return a statement as SQLite takes it. Each is written once."""
    written = _texts.get(text)
    if written is None:
        written = _texts[text] = written_for_sqlite(text)
    return written


def _file_identity(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file; None if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
