"""Documents of jobs, and outlines of workflows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rekindle.domain.documents.shapes import Shape
from rekindle.domain.graph import Edge
from rekindle.domain.selection import Predicate
from rekindle.domain.states import State
from rekindle.journal.encoding import from_json
from rekindle.store.database import Database
from rekindle.store.port_documents import Outlined
from rekindle.store.predicates import compile_documents
from rekindle.store.queries import as_set, load
from rekindle.store.rowshape import STATES
from rekindle.store.shapes import json_path

SQL = load("documents")


class Documents:
    """See rekindle.store.port_documents.Documents."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def of_jobs(self, document: Shape, where: Predicate, jobs: Collection[int] | None = None) -> list[tuple[int, Any]]:
        compiled = compile_documents(document, where, jobs, self._db.paths)
        found = self._db.select(compiled.text, compiled.values)
        return [(job, from_json(text or "null")) for job, text in found]

    def outlines(self, param: str) -> list[Outlined]:
        rows = self._db.rows(SQL["of_workflows"], path=json_path((param,)))
        wanted = as_set(row[0] for row in rows)
        jobs: dict[int, dict[int, tuple[State, str | None]]] = {row[0]: {} for row in rows}
        lenient = set()
        for workflow, job, state, held, when_finished in self._db.rows(SQL["jobs_of_workflows"], workflows=wanted):
            jobs[workflow][job] = (STATES[state], held)
            lenient.update([job] if when_finished else [])
        edges: dict[int, list[Edge]] = {row[0]: [] for row in rows}
        for workflow, *edge in self._db.rows(SQL["edges_of_workflows"], workflows=wanted):
            edges[workflow].append((edge[0], edge[1]))
        return [
            Outlined(
                number,
                submitted,
                updated,
                archived != 0,
                from_json(params),
                jobs[number],
                tuple(edges[number]),
                frozenset(lenient & jobs[number].keys()),
            )
            for number, submitted, updated, archived, params in rows
        ]
