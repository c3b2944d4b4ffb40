"""Events: one row for each batch or operation."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rekindle.domain.models import LoggedEvent
from rekindle.journal.encoding import from_json, to_json
from rekindle.store.queries import as_set, load

if TYPE_CHECKING:
    from rekindle.store.database import Database

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
        """Return events as `page` yields them."""
        return list(self.page(workflow, after, limit, at))

    def page(
        self, workflow: int | None, after: int = 0, limit: int | None = None, at: int = 0
    ) -> Iterator[LoggedEvent]:
        """Yield events with ids above `after`, oldest first: of the newest ones, `limit` after skipping `at`."""
        last = self._newest(workflow, at)
        first = None if limit is None else self._newest(workflow, at + limit - 1)
        if last is None or limit == 0:
            return
        ids = {"first": max(after + 1, first or 0), "last": last}
        if workflow is None:
            rows = self._db.stream(SQL["events"].text, ids)
        else:
            rows = self._db.stream(SQL["events_of_workflow"].text, {"workflow": workflow, **ids})
        for number, seconds, kind, owner, detail in rows:
            yield LoggedEvent(number, seconds, kind, owner, from_json(detail))

    def _newest(self, workflow: int | None, newer: int) -> int | None:
        """Return the id of the event with this number of newer ones."""
        if workflow is None:
            found: int | None = self._db.value(SQL["newest_event"], newer=newer)
        else:
            found = self._db.value(SQL["newest_event_of_workflow"], workflow=workflow, newer=newer)
        return found

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
