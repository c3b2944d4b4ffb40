"""One connection and what is remembered of it: how the archive's modules run their queries."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rekindle.domain.definition import Resources
from rekindle.store.paths import StoredPaths
from rekindle.store.queries import Query

Row = tuple[Any, ...]

NO_LIMIT = 2**62
"""As a query's LIMIT: every row."""


class Database:
    """Runs named queries. What it remembers (rows that never change) is forgotten when a transaction fails.

    `paths` encodes and decodes stored paths; `file` identifies the database's file, which a copy does not share."""

    def __init__(self, connection: sqlite3.Connection, paths: StoredPaths, file: str) -> None:
        self.connection = connection
        self.paths = paths
        self.file = file
        self.resources: dict[int, Resources] = {}
        self.signatures: dict[str, int] = {}

    def rows(self, query: Query, **values: Any) -> list[Row]:
        """Every row of the answer."""
        return self.connection.execute(query.text, values).fetchall()

    def row(self, query: Query, **values: Any) -> Row | None:
        """The first row of the answer."""
        found: Row | None = self.connection.execute(query.text, values).fetchone()
        return found

    def value(self, query: Query, **values: Any) -> Any:
        """The first value of the answer; None when there is none."""
        found = self.row(query, **values)
        return None if found is None else found[0]

    def change(self, query: Query, **values: Any) -> int:
        """Run a statement that writes; returns how many rows it changed."""
        return self.connection.execute(query.text, values).rowcount

    def insert(self, query: Query, **values: Any) -> int:
        """Run an INSERT of one row; returns its id."""
        return self.connection.execute(query.text, values).lastrowid or 0

    def change_each(self, query: Query, rows: Iterable[Row]) -> int:
        """Run a statement that writes once for each of `rows`; returns how many rows it changed altogether."""
        return max(0, self.connection.executemany(query.text, rows).rowcount)

    def select(self, text: str, values: Mapping[str, Any]) -> list[Row]:
        """Every row of a query that was composed of named fragments (see store.predicates)."""
        return self.connection.execute(text, values).fetchall()

    def stream(self, text: str, values: Mapping[str, Any]) -> Iterator[Row]:
        """Return the rows of a query one by one, without keeping them; valid until the transaction ends."""
        return self.connection.execute(text, values)

    def forget(self) -> None:
        """A transaction was rolled back: what it had written, and is remembered, is not there."""
        self.resources.clear()
        self.signatures.clear()
