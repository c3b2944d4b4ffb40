"""Attempts that were over before the archive knew of them."""

from __future__ import annotations

from collections.abc import Sequence

from rekindle.store.database import Database, Row
from rekindle.store.deriving import derive_afresh
from rekindle.store.port_histories import PastPointers, PastRow
from rekindle.store.queries import as_set, load
from rekindle.store.queue import Queue, expect

SQL = load("histories")


class Histories:
    """See rekindle.store.port_histories.Histories."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def write(self, attempts: Sequence[PastRow], pointers: Sequence[PastPointers], jobs: Sequence[int]) -> None:
        runners = self._runners(attempts)
        encode = self._db.paths.encode
        rows = [_past(one, encode(one.folder), runners.get((one.runner, one.ending.host))) for one in attempts]
        expect(self._db.change_each(SQL["insert_past"], rows), len(attempts), "written")
        Queue(self._db).end([one.ending for one in attempts])
        changes = [_pointers(one, encode(one.folder)) for one in pointers]
        expect(self._db.change_each(SQL["point"], changes), len(pointers), "changed")
        derive_afresh(self._db, jobs)

    def archive(self, attempts: Sequence[int], rerun: int) -> None:
        archived = self._db.change(SQL["archive_past"], rerun=rerun, attempts=as_set(attempts))
        expect(archived, len(attempts), "archived")

    def _runners(self, attempts: Sequence[PastRow]) -> dict[tuple[str, str | None], int]:
        """Rows of runners that have ended, by what they were called and where they were."""
        ran: dict[tuple[str, str | None], list[PastRow]] = {}
        for one in attempts:
            if one.runner:
                ran.setdefault((one.runner, one.ending.host), []).append(one)
        found = {}
        for (label, host), every in ran.items():
            ended = max(one.ending.ended for one in every)
            started = min(one.ending.started or one.ending.ended for one in every)
            times = {"started": started, "ended": ended}
            found[label, host] = self._db.insert(SQL["insert_past_runner"], host=host or "", label=label, **times)
        return found


def _past(one: PastRow, folder: str | None, runner: int | None) -> Row:
    place = (folder, one.queued, one.builds_on, one.start_step, runner)
    return (one.ending.attempt, one.job, one.number, one.token, *place)


def _pointers(one: PastPointers, folder: str | None) -> Row:
    return (one.job, one.attempts, one.attempt, one.resume_attempt, one.resume_step, one.take, folder)
