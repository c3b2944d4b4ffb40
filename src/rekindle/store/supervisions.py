"""Supervising in the archive: who does it, what it has run again, and how a batch stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rekindle.domain.batches.supervising import End, Member, Supervision
from rekindle.domain.models import Place
from rekindle.domain.verdicts import Word
from rekindle.journal.encoding import from_json
from rekindle.store.database import Database, Row
from rekindle.store.queries import load
from rekindle.store.rowshape import CAUSES, STATES

SQL = load("supervisions")

_FOUND: dict[str | None, Word | None] = {None: None, **{word.value: word for word in Word}}


class Supervisions:
    """See rekindle.store.port_supervisions.Supervisions."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def standing(self, workflow: int) -> Supervision | None:
        row = self._db.row(SQL["standing"], workflow=workflow)
        return None if row is None else self._supervision(row)

    def get(self, supervision: int) -> Supervision | None:
        row = self._db.row(SQL["supervision"], id=supervision)
        return None if row is None else self._supervision(row)

    def begin(self, workflow: int, asked: str, owner: Place, now: float) -> Supervision:
        place = self._columns(owner)
        number = self._db.insert(SQL["begin"], workflow=workflow, asked=asked, began=now, host=owner.host, **place)
        return Supervision(number, workflow, asked, now, owner)

    def take(self, supervision: int, owner: Place) -> None:
        self._db.change(SQL["take"], id=supervision, host=owner.host, **self._columns(owner))

    def is_of(self, supervision: int, owner: Place) -> bool:
        return bool(self._db.value(SQL["is_of"], id=supervision, **self._columns(owner)))

    def conclude(self, supervision: int, outcome: End, report: str | None) -> None:
        self._db.change(SQL["conclude"], id=supervision, outcome=outcome.value, report=report)

    def close(self, supervision: int, now: float) -> None:
        self._db.change(SQL["close"], id=supervision, now=now)

    def reruns(self, supervision: int) -> list[tuple[int, Mapping[str, Any]]]:
        rows = self._db.rows(SQL["reruns"], id=supervision)
        return [(number, from_json(request)) for number, request in rows]

    def taken(self, workflow: int, first: int) -> tuple[int, float]:
        row = self._db.row(SQL["taken"], workflow=workflow, first=first)
        return (0, 0.0) if row is None else (row[0], row[1])

    def batch(self, workflow: int) -> list[Member]:
        return [_member(row) for row in self._db.rows(SQL["batch"], workflow=workflow)]

    def _columns(self, owner: Place) -> dict[str, Any]:
        """What tells a process from every other, and the file of the store that it works on."""
        process = {"boot_id": owner.boot_id, "pid": owner.pid, "pid_start": owner.pid_start}
        return {**process, "pid_space": owner.pid_space, "store_file": self._db.file}

    def _supervision(self, row: Row) -> Supervision:
        number, workflow, asked, began, *place, file, outcome, report, ended = row
        told = None if outcome is None else End(outcome)
        owner = [*place, file not in (None, self._db.file)]
        return Supervision(number, workflow, asked, began, Place(*owner), told, report, ended)


def _member(row: Row) -> Member:
    number, name, state, template, binding, held, attempts, cause, host, signature, found = row
    facts = (CAUSES[cause], host, signature, _FOUND[found])
    return Member(number, name, STATES[state], template, binding, held != 0, attempts, *facts)
