"""Workflows as they are submitted, looked at, set aside and removed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from rekindle.domain.changes.revisions import Outline
from rekindle.domain.definition import Definition, JobTemplate
from rekindle.domain.models import Revision, Workflow
from rekindle.domain.states import State
from rekindle.store import revisions
from rekindle.store.database import Database, Row
from rekindle.store.port import Revised
from rekindle.store.queries import load
from rekindle.store.rowshape import STATES
from rekindle.store.submitting import add, revise
from rekindle.store.templates import decode_template, template_by_id

SQL = load("workflows")
DELETING = [query for name, query in load("deleting").items() if name != "own_attempts"]


class Workflows:
    """See rekindle.store.port.Workflows."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, definition: Definition, now: float, ids: Sequence[int] = ()) -> int:
        return add(self._db, definition, now, ids)

    def revise(self, workflow: int, definition: Definition, now: float) -> Revised:
        return revise(self._db, workflow, definition, now)

    def set_source(self, workflow: int, source: str | None) -> None:
        self._db.change(SQL["set_source"], id=workflow, source=self._db.paths.encode(source))

    def find(self, key: int | str) -> Workflow | None:
        if isinstance(key, int):
            row = self._db.row(SQL["workflow_by_id"], id=key)
        else:
            row = self._db.row(SQL["workflow_by_name"], name=key)
        if row is None:
            return None
        counts = self._db.rows(SQL["counts_of_one"], workflow=row[0])
        return self._workflow(row, {STATES[state]: n for state, n in counts})

    def listing(self, archived: bool = False) -> list[Workflow]:
        counts: dict[int, dict[State, int]] = {}
        for workflow, state, n in self._db.rows(SQL["counts_of_all"]):
            counts.setdefault(workflow, {})[STATES[state]] = n
        rows = self._db.rows(SQL["workflow_listing"], archived=archived)
        return [self._workflow(row, counts.get(row[0], {})) for row in rows]

    def template(self, template: int) -> JobTemplate:
        return template_by_id(self._db, template)

    def templates(self, workflow: int) -> list[tuple[int, JobTemplate]]:
        rows = self._db.rows(SQL["templates_in_use"], workflow=workflow)
        return [(number, decode_template(body)) for number, body in rows]

    def params(self, workflow: int, revision: int) -> dict[str, Any]:
        text = self._db.value(SQL["params"], workflow=workflow, revision=revision)
        return msgspec.json.decode(text, type=dict[str, Any])

    def revisions(self, workflow: int) -> list[Revision]:
        return revisions.listing(self._db, workflow)

    def outline(self, workflow: int, revision: int) -> Outline:
        return revisions.outline_of(self._db, workflow, revision)

    def standing(self, jobs: Collection[int]) -> dict[int, tuple[str, State, int]]:
        return revisions.standing(self._db, jobs)

    def recorded(self, workflow: int, revision: int, rerun: int) -> None:
        self._db.change(SQL["set_rerun"], workflow=workflow, number=revision, rerun=rerun)

    def archive(self, workflow: int, at: float | None) -> None:
        self._db.change(SQL["set_archived"], id=workflow, at=at)

    def delete(self, workflow: int) -> None:
        for query in DELETING:
            self._db.change(query, workflow=workflow)

    def span(self, workflow: int) -> tuple[float | None, float | None]:
        row = self._db.row(SQL["span"], id=workflow)
        return (None, None) if row is None else (row[0], row[1])

    def overtaken(self, workflow: int) -> int:
        return int(self._db.value(SQL["overtaken"], workflow=workflow))

    def edges(self, workflow: int) -> list[tuple[int, int]]:
        return [(parent, child) for parent, child in self._db.rows(SQL["edges"], workflow=workflow)]

    def _workflow(self, row: Row, counts: dict[State, int]) -> Workflow:
        number, name, directory, revision, submitted, project, source, *rest = row
        decode = self._db.paths.decode
        values = [number, name, decode(directory), revision, submitted, project, decode(source), *rest, counts]
        return Workflow(*values)
