"""What happened, one row a batch or operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rekindle.domain.models import Event
from rekindle.store.database import NO_LIMIT, Database
from rekindle.store.queries import load

SQL = load("events")


class Events:
    """See rekindle.store.port.Events."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, at: float, kind: str, workflow: int | None, detail: Mapping[str, Any]) -> None:
        text = msgspec.json.encode(dict(detail)).decode()
        self._db.change(SQL["insert_event"], at=at, kind=kind, workflow=workflow, detail=text)

    def listing(self, workflow: int | None, after: int = 0, limit: int | None = None, at: int = 0) -> list[Event]:
        page = {"after": after, "limit": NO_LIMIT if limit is None else limit, "offset": at}
        if workflow is None:
            rows = self._db.rows(SQL["events"], **page)
        else:
            rows = self._db.rows(SQL["events_of_workflow"], workflow=workflow, **page)
        return [
            Event(number, at, kind, owner, msgspec.json.decode(detail))
            for number, at, kind, owner, detail in reversed(rows)
        ]

    def count(self, workflow: int | None) -> int:
        if workflow is None:
            return int(self._db.value(SQL["count_events"]))
        return int(self._db.value(SQL["count_events_of_workflow"], workflow=workflow))
