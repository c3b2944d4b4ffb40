"""What a glance at workflows shows, by workflow. Imports no other repository: `status` starts quickly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekindle.domain.verdicts import VerdictLevel
from rekindle.store.queries import load

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("overviews")


class Overviews:
    """Counts by workflow. Workflows without any are absent."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def delayed(self, now: float) -> dict[int, int]:
        """Return the number of delayed ready jobs."""
        return dict(self._db.rows(SQL["delayed"], now=now))

    def leaving(self) -> dict[int, int]:
        """Return the number of attempts that reruns have archived and that have not ended."""
        return dict(self._db.rows(SQL["leaving"]))

    def overtaken(self) -> dict[int, int]:
        """Return the number of completed jobs that need a job that is not done: they are stale."""
        return dict(self._db.rows(SQL["overtaken"]))

    def verdicts(self) -> dict[int, dict[VerdictLevel, int]]:
        """Return how many jobs have each verdict but PASSED, by their live attempts; retired jobs are left out."""
        found: dict[int, dict[VerdictLevel, int]] = {}
        for workflow, word, number in self._db.rows(SQL["verdicts"]):
            found.setdefault(workflow, {})[VerdictLevel(word)] = number
        return found

    def with_canaries(self) -> set[int]:
        """Return the workflows with a group of canaries that is undecided or stopped."""
        return {workflow for (workflow,) in self._db.rows(SQL["with_canaries"])}
