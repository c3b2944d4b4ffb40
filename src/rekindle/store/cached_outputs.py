"""Attempts whose outputs are in the content store. What they have left is in their documents there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import msgspec

from rekindle.store.queries import as_set, load

if TYPE_CHECKING:
    from rekindle.journal.records import CachedOutputs
    from rekindle.store.database import Database

SQL = load("cached_outputs")


class CachedAttempt(msgspec.Struct, frozen=True):
    """An attempt whose outputs are kept."""

    attempt: int
    job: int
    name: str  # the job's
    number: int  # from 1, within the job
    workflow: int
    workflow_name: str
    contents: int  # different ones that it has left
    bytes: int  # of these; other attempts may have left the same
    kept: float  # seconds since the epoch
    used: float  # when they were kept or restored last


class CachedOutputRows:
    """The attempts whose outputs are kept, and when they were used."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def put(self, kept: Mapping[int, tuple[CachedOutputs, float]]) -> None:
        """Record, by attempt, what is kept, and since when."""
        rows = [(attempt, one.contents, one.bytes, at) for attempt, (one, at) in sorted(kept.items())]
        if rows:
            self._db.change_each(SQL["put"], rows)

    def use(self, attempts: Collection[int], now: float) -> None:
        """Record that the outputs of attempts were restored."""
        self._db.change(SQL["use"], attempts=as_set(attempts), at=now)

    def forget(self, attempts: Collection[int]) -> set[int]:
        """Record that the outputs of attempts are not kept any more; return those that were."""
        return {row[0] for row in self._db.rows(SQL["forget"], attempts=as_set(attempts))}

    def kept(self, attempts: Collection[int]) -> set[int]:
        """Return those of these attempts whose outputs are kept."""
        return {row[0] for row in self._db.rows(SQL["kept"], attempts=as_set(attempts))}

    def total(self) -> int:
        """Return the bytes of all kept outputs; contents that several attempts have left count for each."""
        return int(self._db.value(SQL["total"]))

    def listing(self, only: int | None = None) -> list[CachedAttempt]:
        """Return the attempts whose outputs are kept, of all workflows or `only` one, the least recently used first."""
        return [CachedAttempt(**row._asdict()) for row in self._db.named_rows(SQL["listing"], only=only)]

    def unlisted(self, attempts: Collection[int]) -> set[int]:
        """Return those of these attempts that have ended, or do not exist, and whose outputs are not kept."""
        wanted = as_set(attempts)
        running = {row[0] for row in self._db.rows(SQL["running"], attempts=wanted)}
        return set(attempts) - running - self.kept(attempts)

    def workflows(self, attempts: Collection[int]) -> dict[int, int]:
        """Return the workflows of attempts."""
        return dict(self._db.rows(SQL["workflow_of"], attempts=as_set(attempts)))
