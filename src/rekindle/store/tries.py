"""How attempts have gone, over the whole history of jobs."""

from __future__ import annotations

from collections.abc import Collection

from rekindle.domain.batches.flakiness import Failing, OnHost
from rekindle.store.attempts import raw_messages
from rekindle.store.database import Database, Row
from rekindle.store.port_tries import Alike, Tally
from rekindle.store.queries import as_set, load

SQL = load("tries")


class Tries:
    """See rekindle.store.port_tries.Tries."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def tallies(self, jobs: Collection[int]) -> dict[int, Tally]:
        return {row[0]: Tally(*row) for row in self._db.rows(SQL["tallies"], jobs=as_set(jobs))}

    def alike(self, jobs: Collection[int]) -> list[Alike]:
        rows = self._db.rows(SQL["alike"], jobs=as_set(jobs))
        return [_alike(row) for row in rows]

    def failing(self, jobs: Collection[int]) -> dict[int, list[Failing]]:
        found: dict[int, list[Failing]] = {}
        rows = self._db.rows(SQL["failing"], jobs=as_set(jobs))
        messages = raw_messages(self._db, [row[-1] for row in rows])
        for job, *rest in rows:
            values = [*rest, messages[rest[-1]][1]]
            found.setdefault(job, []).append(Failing(*values))
        return found

    def hosts(self, jobs: Collection[int]) -> dict[int, list[OnHost]]:
        found: dict[int, list[OnHost]] = {}
        for job, *rest in self._db.rows(SQL["hosts"], jobs=as_set(jobs)):
            found.setdefault(job, []).append(OnHost(*rest))
        return found


def _alike(row: Row) -> Alike:
    values = [*row[:8], row[8] != 0, *row[9:16], row[16] != 0]
    return Alike(*values)
