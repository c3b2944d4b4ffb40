"""Connections to the store's SQLite file whose statements and commits fail, or kill their process."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rekindle.store.archive import Store
from rekindle.store.database import Access
from rekindle.store.sqlite_connection import FILE, connect
from rekindle.store.sqlite_driver import SqliteDriver
from rekindle.testing.fakes import Crash
from rekindle.testing.simulation.faults import Fault

if TYPE_CHECKING:
    from rekindle.store.queries import Query, Row
    from rekindle.testing.simulation.world import Process, World

_CODES = {Fault.FULL: sqlite3.SQLITE_FULL, Fault.IO: sqlite3.SQLITE_IOERR_WRITE}


class FaultyDriver(SqliteDriver):
    """A connection of one simulated process. Once that has been killed, its open transaction is gone, and every later
    call raises Crash."""

    def __init__(self, world: World, process: Process, folder: str) -> None:
        super().__init__(connect(Path(folder) / FILE, durable=world.durable), folder)
        self.file = "simulated"  # the inode of the file is not decided by the seed
        self._world, self._process = world, process
        self._writes = False
        process.on_death.append(self.connection.close)

    def begin(self, access: Access) -> None:
        self._world.switch()
        self._seam("begin")
        self._writes = access is not Access.READ
        super().begin(access)

    def commit(self, *, notify: bool) -> None:
        if self._writes:
            self._seam("commit")
        super().commit(notify=notify)
        if self._writes:
            self._seam("committed")

    def roll_back(self) -> bool:
        return self._process.alive and super().roll_back()

    def execute(self, text: str, values: Mapping[str, Any]) -> sqlite3.Cursor:
        self._statement()
        return super().execute(text, values)

    stream = execute

    def execute_each(self, query: Query, rows: Iterable[Row], check: Callable[[int], None] | None) -> None:
        self._statement()
        super().execute_each(query, rows, check)

    def data_version(self) -> int:
        self._raise_if_killed()
        return super().data_version()

    def close(self) -> None:
        if self._process.alive:
            super().close()

    def _statement(self) -> None:
        if self._writes:
            self._seam("statement")
        else:
            self._raise_if_killed()

    def _raise_if_killed(self) -> None:
        if not self._process.alive:
            raise Crash

    def _seam(self, seam: str) -> None:
        self._raise_if_killed()
        with self._world.running(self._process):
            found = self._world.fault(seam)
        if found is not None:
            error = sqlite3.OperationalError(f"simulated {found.value}")
            error.sqlite_errorcode = _CODES[found]
            raise error


def connect_store(world: World, process: Process, folder: str, identity: str) -> Store:
    """Open a store for a simulated process."""
    return Store(FaultyDriver(world, process, folder), folder, identity)
