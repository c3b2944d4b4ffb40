"""Events: one row for each batch or operation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from rekindle.domain.models import LoggedEvent
from rekindle.journal.encoding import from_json, to_json
from rekindle.store.database import NO_LIMIT, Database
from rekindle.store.queries import as_set, load

SQL = load("events")


class Events:
    """The log of what happened."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, at: float, kind: str, workflow: int | None, detail: Mapping[str, Any]) -> None:
        """Add an event, with who writes it if that is known."""
        text = to_json({**detail, **self._db.who}).decode()
        self._db.change(SQL["insert_event"], at=at, kind=kind, workflow=workflow, detail=text)

    def listing(self, workflow: int | None, after: int = 0, limit: int | None = None, at: int = 0) -> list[LoggedEvent]:
        """Return events with ids above `after`, oldest first: of the newest ones, `limit` after skipping `at`."""
        page = {"after": after, "limit": NO_LIMIT if limit is None else limit, "offset": at}
        if workflow is None:
            rows = self._db.named_rows(SQL["events"], **page)
        else:
            rows = self._db.named_rows(SQL["events_of_workflow"], workflow=workflow, **page)
        return [LoggedEvent(row.id, row.at, row.kind, row.workflow, from_json(row.detail)) for row in reversed(rows)]

    def of_kind(self, kind: str) -> list[LoggedEvent]:
        """Return the events of a kind, oldest first."""
        rows = self._db.named_rows(SQL["events_of_kind"], kind=kind)
        return [LoggedEvent(row.id, row.at, row.kind, row.workflow, from_json(row.detail)) for row in rows]

    def count(self, workflow: int | None) -> int:
        """Return the number of events."""
        if workflow is None:
            return int(self._db.value(SQL["count_events"]))
        return int(self._db.value(SQL["count_events_of_workflow"], workflow=workflow))

    def cancel_notes(self, jobs: Collection[int]) -> dict[int, str]:
        """Return the note of each job's last cancellation, for jobs that have one."""
        notes: dict[int, str | None] = dict(self._db.rows(SQL["cancels"], jobs=as_set(jobs)) if jobs else ())
        return {job: note for job, note in notes.items() if note is not None}
