"""Pages of sorted lists of jobs, found by the position where they begin: none is slower than the first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekindle.store.predicates import compile_page

if TYPE_CHECKING:
    from rekindle.domain.selection import JobFilter, JobPage, Position
    from rekindle.store.database import Database


class JobPages:
    """Pages of sorted lists of jobs."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def page(self, chosen: JobFilter, page: JobPage) -> list[Position]:
        """Return the values and ids of a page of jobs, in the order of the list."""
        compiled = compile_page(chosen, page, self._db)
        rows = [(value, number) for number, value in self._db.select(compiled.text, compiled.values)]
        return rows[::-1] if page.backwards else rows
