"""Attempts in reserve: of ready jobs that are looked at before they run."""

from __future__ import annotations

from collections.abc import Sequence

from rekindle.domain.models import Reserved
from rekindle.store.database import Database
from rekindle.store.queries import as_set, load
from rekindle.store.queue import expect

SQL = load("reserves")


class Reserves:
    """See rekindle.store.port_attempts.Reserves."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def listing(self, workflow: int | None, limit: int) -> list[Reserved]:
        if workflow is None:
            rows = self._db.rows(SQL["reserved"], limit=limit)
        else:
            rows = self._db.rows(SQL["reserved_of_one"], workflow=workflow, limit=limit)
        return [Reserved(*row) for row in rows]

    def standing(self, jobs: Sequence[Reserved]) -> set[int]:
        rows = self._db.rows(SQL["still_reserved"], jobs=as_set(job.id for job in jobs))
        standing = {row[0]: Reserved(*row) for row in rows}
        return {job.id for job in jobs if standing.get(job.id) == job}

    def reinstate(self, reserves: Sequence[tuple[int, int]]) -> None:
        if not reserves:
            return
        rows = [(attempt, job) for job, attempt in reserves]
        expect(self._db.change_each(SQL["reinstate_job"], rows), len(rows), "reinstated")
        attempts = as_set(attempt for _, attempt in reserves)
        expect(self._db.change(SQL["unarchive_attempts"], attempts=attempts), len(rows), "live again")

    def drop(self, jobs: Sequence[int]) -> None:
        if jobs:
            expect(self._db.change(SQL["drop_reserves"], jobs=as_set(jobs)), len(jobs), "to run")
