"""What a glance at workflows shows, by workflow. Imports no other repository: `status` starts quickly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekindle.domain.models import ReadyClass
from rekindle.domain.verdicts import VerdictLevel
from rekindle.store.queries import load
from rekindle.store.templates import class_resources

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("overviews")


class Overviews:
    """Counts by workflow, without reading jobs. Workflows without any are absent."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def delayed(self, now: float) -> dict[int, int]:
        """Return the number of delayed ready jobs."""
        return dict(self._db.rows(SQL["delayed"], now=now))

    def leaving(self) -> dict[int, int]:
        """Return the number of attempts that reruns have archived and that have not ended."""
        return dict(self._db.rows(SQL["leaving"]))

    def by_hand(self) -> dict[int, int]:
        """Return, by workflow, the number of live attempts that a person recorded."""
        return dict(self._db.rows(SQL["by_hand"]))

    def undecided(self) -> dict[int, dict[str, int]]:
        """Return, by workflow, the numbers of failures that wait for a decision, by what they wait for."""
        found: dict[int, dict[str, int]] = {}
        for workflow, why, number in self._db.rows(SQL["undecided"]):
            found.setdefault(workflow, {})[why] = number
        return found

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

    def any_rerun_forbidden(self, workflow: int) -> bool:
        """Return whether a template of a workflow, of any revision, may say that its jobs must not run twice."""
        allowed = '%"rerun_forbidden":""%'
        return self._db.row(SQL["any_rerun_forbidden"], workflow=workflow, allowed=allowed) is not None

    def pending(self) -> list[ReadyClass]:
        """Return the counts of jobs that have not started, by workflow and resource class; archived workflows are left
        out."""
        rows = self._db.named_rows(SQL["pending"])
        resources = class_resources(self._db, {row.resource_class for row in rows})
        return [ReadyClass(row.workflow, row.resource_class, resources[row.resource_class], row.n) for row in rows]
