"""What measuring attempts reads, of many at once: see rekindle.engine.changes.measuring."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rekindle.domain.changes.prints import NeededJob, Subject
from rekindle.domain.definition import JobTemplate
from rekindle.domain.models import ReadyClass
from rekindle.journal.encoding import from_json
from rekindle.store.database import Database, Row
from rekindle.store.finishing import given_up_among
from rekindle.store.jobs import known_resources
from rekindle.store.paths import with_checked
from rekindle.store.queries import as_set, load
from rekindle.store.rowshape import STATES
from rekindle.store.templates import decode_template

SQL = load("measures")


class Measures:
    """See rekindle.store.port_attempts.Measures."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def subjects(self, attempts: Iterable[int]) -> list[Subject]:
        rows = self._db.rows(SQL["subjects"], attempts=as_set(attempts))
        return [self._subject(row) for row in rows]

    def _subject(self, row: Row) -> Subject:
        values = [row[0], STATES[row[1]], *row[2:7], self._db.paths.decode(row[7]), *row[8:]]
        return Subject(*values)

    def needs(self, jobs: Iterable[int]) -> list[tuple[int, int]]:
        return [(child, parent) for child, parent in self._db.rows(SQL["needs"], jobs=as_set(jobs))]

    def needed_jobs(self, jobs: Iterable[int]) -> list[NeededJob]:
        rows = self._db.rows(SQL["needed_jobs"], jobs=as_set(jobs))
        return [NeededJob(row[0], row[1], STATES[row[2]], row[3], row[4], row[5] != 0) for row in rows]

    def results(self, attempts: Iterable[int]) -> dict[int, tuple[int, str | None]]:
        rows = self._db.rows(SQL["results"], attempts=as_set(attempts))
        return {attempt: (template, result) for attempt, template, result in rows}

    def origins(self, attempts: Iterable[int]) -> dict[int, tuple[int, int, str]]:
        rows = self._db.rows(SQL["origins"], attempts=as_set(attempts))
        return {attempt: (template, revision, binding) for attempt, template, revision, binding in rows}

    def accepted_at(self, reruns: Iterable[int]) -> dict[int, float]:
        return dict(self._db.rows(SQL["accepted_at"], reruns=as_set(reruns)))

    def bodies(self, templates: Iterable[int]) -> dict[int, JobTemplate]:
        rows = self._db.rows(SQL["bodies"], templates=as_set(templates))
        return {number: decode_template(body) for number, body in rows}

    def pending(self) -> list[ReadyClass]:
        rows = self._db.rows(SQL["pending"])
        resources = known_resources(self._db, {row[1] for row in rows})
        return [ReadyClass(owner, number, resources[number], pending) for owner, number, pending in rows]

    def ended(self, jobs: Iterable[int]) -> dict[int, int]:
        return dict(self._db.rows(SQL["ended"], jobs=as_set(jobs)))

    def above(self, jobs: Iterable[int]) -> set[int]:
        return {row[0] for row in self._db.rows(SQL["above"], jobs=as_set(jobs))}

    def given_up(self, jobs: Iterable[int]) -> set[int]:
        wanted = set(jobs)
        return given_up_among(self._db, wanted) if wanted else set()

    def checked(self, jobs: Iterable[int]) -> dict[int, tuple[int, int | None, dict[str, Any]]]:
        rows = self._db.rows(SQL["checked"], jobs=as_set(jobs))
        decode = self._db.paths.decode
        return {job: (rerun, reserve, with_checked(from_json(text), decode)) for job, rerun, reserve, text in rows}

    def written(self, workflows: Iterable[int]) -> set[tuple[int, str]]:
        rows = self._db.rows(SQL["written"], workflows=as_set(workflows))
        return {(workflow, self._db.paths.decode(path)) for workflow, path in rows}

    def spans(self, workflows: Iterable[int]) -> list[tuple[int, float, float]]:
        return [(row[0], row[1], row[2]) for row in self._db.rows(SQL["spans"], workflows=as_set(workflows))]
