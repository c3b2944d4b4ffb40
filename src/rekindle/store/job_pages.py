"""Pages of lists of jobs. A page of a sorted list is found by the position where it begins: none is slower than the
first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rekindle.store.predicates import compile_list, compile_page
from rekindle.store.queries import Row, load

if TYPE_CHECKING:
    from rekindle.domain.selection import JobFilter, JobPage, Position
    from rekindle.store.database import Database

SQL = load("jobs")

OWN_COLUMNS = 6
"""The first columns of a row of `JobPages.rows`: id, name, binding, live attempt, and its start and end."""


class JobPages:
    """Pages of lists of jobs."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def page(self, chosen: JobFilter, page: JobPage) -> list[Position]:
        """Return the values and ids of a page of jobs, in the order of a sorted list."""
        compiled = compile_page(chosen, page, self._db)
        rows = [(value, number) for number, value in self._db.select(compiled.text, compiled.values)]
        return rows[::-1] if page.backwards else rows

    def rows(self, chosen: JobFilter, limit: int | None, offset: int) -> Iterator[list[Row]]:
        """Yield a page of jobs by id, many at a time: of each job the OWN_COLUMNS, and then the other values that its
        document depends on. Jobs with equal other values are alike."""
        compiled = compile_list(chosen, SQL["listed_columns"].text, limit, offset, self._db)
        return self._db.batches(compiled.text, compiled.values)
