"""Records of jobs and outlines of workflows, for commands that show another system's documents."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.graph import Edge
from rekindle.domain.states import State
from rekindle.journal.encoding import from_json
from rekindle.store.candidates import JobRecord, find_records
from rekindle.store.predicates import compile_records, json_path
from rekindle.store.queries import as_set, load
from rekindle.store.rows import STATES

if TYPE_CHECKING:
    from rekindle.domain.selection import Predicate
    from rekindle.store.database import Database

SQL = load("documents")


class WorkflowOutline(msgspec.Struct, frozen=True):
    """A workflow with the jobs and edges of its latest revision. Times are seconds since the epoch."""

    id: int
    submitted: float
    updated: float  # of the latest known change
    archived: bool
    params: dict[str, Any]
    jobs: dict[int, tuple[State, str | None]]  # by id, with the reason for holding
    edges: tuple[Edge, ...]
    lenient: frozenset[int] = frozenset()  # the jobs that need others only finished


class Documents:
    """Records of jobs and outlines of workflows, in a few queries however many there are."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def records(self, where: Predicate, jobs: Collection[int]) -> Iterator[JobRecord]:
        """Yield those of these jobs that match `where`, by id. Retired jobs and archived workflows are left out as in
        Jobs.select."""
        return find_records(self._db, compile_records(where, jobs, self._db.paths))

    def outlines(self, param: str) -> list[WorkflowOutline]:
        """Return the workflows that have a parameter of this name, archived ones included, oldest first."""
        rows = self._db.named_rows(SQL["of_workflows"], path=json_path((param,)))
        wanted = as_set(row.id for row in rows)
        jobs: dict[int, dict[int, tuple[State, str | None]]] = {row.id: {} for row in rows}
        lenient = set()
        for row in self._db.named_rows(SQL["jobs_of_workflows"], workflows=wanted):
            jobs[row.workflow][row.id] = (STATES[row.state], row.held)
            if row.when_finished:
                lenient.add(row.id)
        edges: dict[int, list[Edge]] = {row.id: [] for row in rows}
        for row in self._db.named_rows(SQL["edges_of_workflows"], workflows=wanted):
            edges[row.workflow].append((row.parent, row.child))
        return [
            WorkflowOutline(
                row.id,
                row.submitted,
                row.updated,
                row.archived != 0,
                from_json(row.params),
                jobs[row.id],
                tuple(edges[row.id]),
                frozenset(lenient & jobs[row.id].keys()),
            )
            for row in rows
        ]
