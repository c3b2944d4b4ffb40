"""What a picture of a workflow shows: jobs by template or one by one, their edges, states and progress."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.states import State
from rekindle.journal.encoding import from_json
from rekindle.store.queries import as_set, load
from rekindle.store.rows import STATES

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("graphs")


class TemplateCount(msgspec.Struct, frozen=True, gc=False):
    """The jobs of a template in one state."""

    template: int
    state: State
    n: int
    held: int
    first: int  # the first job


class ShownJob(msgspec.Struct, frozen=True, gc=False):
    """A job that is shown by itself."""

    id: int
    name: str
    template: int
    state: State
    held: str | None


class Part(msgspec.Struct, frozen=True, gc=False):
    """One shown job, or with None the jobs of a template that are not shown."""

    template: int
    job: int | None


class Graphs:
    """Jobs of workflows by template. Of the jobs in `shown`, each is apart from the others of its template. Each query
    reads the workflow once: 100,000 jobs take about a tenth of a second."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def names(self, workflow: int) -> dict[int, str]:
        """Return the names of templates by id; templates without jobs are included."""
        return dict(self._db.rows(SQL["names"], workflow=workflow))

    def names_beside(self, jobs: Iterable[int], most: int) -> list[str]:
        """Return the names of all jobs of the workflows of these jobs; none if there are more than `most`."""
        beside = as_set(jobs)
        if self._db.value(SQL["count_beside"], jobs=beside) > most:
            return []
        return [name for (name,) in self._db.rows(SQL["names_beside"], jobs=beside)]

    def counts(self, workflow: int) -> list[TemplateCount]:
        """Return the jobs that are not retired, by template and state."""
        rows = self._db.rows(SQL["counts"], workflow=workflow)
        return [TemplateCount(template, STATES[state], *rest) for template, state, *rest in rows]

    def jobs(self, workflow: int, templates: Collection[int], limit: int) -> list[int]:
        """Return up to `limit` jobs of each template: failed ones, then active, canceled, ready, waiting and completed
        ones."""
        rows = self._db.rows(SQL["jobs"], workflow=workflow, templates=as_set(templates), limit=limit)
        return [number for (number,) in rows]

    def shown(self, jobs: Collection[int]) -> list[ShownJob]:
        """Return jobs by id."""
        rows = self._db.rows(SQL["shown"], jobs=as_set(jobs))
        return [ShownJob(number, name, template, STATES[state], held) for number, name, template, state, held in rows]

    def edges(self, workflow: int, shown: Collection[int]) -> list[tuple[Part, Part, int]]:
        """Return the number of edges from one part to another."""
        rows = self._db.rows(SQL["edges"], workflow=workflow, shown=as_set(shown))
        return [(Part(*row[:2]), Part(*row[2:4]), row[4]) for row in rows]

    def blocked(self, workflow: int, shown: Collection[int]) -> dict[Part, int]:
        """Return the number of waiting jobs below a failed or canceled one."""
        rows = self._db.rows(SQL["blocked"], workflow=workflow, shown=as_set(shown))
        return {Part(*row[:2]): row[2] for row in rows}

    def subtasks(self, workflow: int, shown: Collection[int]) -> dict[Part, tuple[int, int]]:
        """Return (completed, all) subtasks of the live attempts that have fan-outs."""
        rows = self._db.rows(SQL["subtasks"], workflow=workflow, shown=as_set(shown))
        return {Part(*row[:2]): (int(row[3]), int(row[2])) for row in rows}

    def first_needs(self, workflow: int) -> dict[int, int]:
        """Return, by waiting job, the first job that it needs and that has not completed."""
        return dict(self._db.rows(SQL["first_needs"], workflow=workflow))

    def labels(self, workflows: Collection[int]) -> dict[int, dict[str, set[str]]]:
        """Return, by workflow, the values of each label of its jobs. Workflows without labels are absent."""
        rows = self._db.rows(SQL["labelled"], workflows=as_set(workflows), pattern='%"labels":{"%')
        newest = {(workflow, name): body for workflow, name, body in rows}
        found: dict[int, dict[str, set[str]]] = {}
        for (workflow, _), body in newest.items():
            for label, value in from_json(body).get("labels", {}).items():
                found.setdefault(workflow, {}).setdefault(label, set()).add(value)
        return found
