"""Temporary outputs: which can be removed, which were, and who needs them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rekindle.store.queries import as_set, load

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("temporary_outputs")


class RemovedOutput(NamedTuple):
    """A temporary output that an attempt wrote, and that was removed, or is to be, since a time."""

    attempt: int
    name: str  # as declared
    path: str  # absolute
    since: float


class RemovedInput(NamedTuple):
    """A removed temporary output of the live attempt of `producer`, which `job` needs."""

    job: int
    producer: int
    name: str  # as the producer declares it
    path: str  # absolute
    since: float


class TemporaryOutputs:
    """Temporary outputs of attempts. Those without a row are where their attempt has written them."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def newest_template(self) -> int:
        """Return the newest template of the store."""
        return int(self._db.value(SQL["newest_template"]))

    def declared_above(self, template: int) -> bool:
        """Return whether a newer template than this one has temporary outputs."""
        return self._db.row(SQL["declared_above"], template=template) is not None

    def unneeded(self, above: Collection[int] | None = None) -> list[tuple[int, int, int]]:
        """Return (job, live attempt, template) of the jobs with temporary outputs that are done, as are all jobs that
        need them. `above`: only of those that these jobs need."""
        if above is None:
            rows = self._db.rows(SQL["unneeded"])
        else:
            rows = self._db.rows(SQL["unneeded_above"], children=as_set(above))
        return [(job, attempt, template) for job, attempt, template in rows]

    def consumers(self, jobs: Collection[int]) -> list[tuple[int, int, int]]:
        """Return (job, a job that needs it, the live attempt of that) for jobs."""
        found = self._db.rows(SQL["consumers"], jobs=as_set(jobs))
        return [(parent, child, attempt) for parent, child, attempt in found]

    def decide(self, outputs: Sequence[tuple[int, str, str]], now: float) -> None:
        """Record that temporary outputs are to be removed: (attempt, name, path)."""
        encode = self._db.paths.encode
        self._db.change_each(SQL["decide"], [(attempt, name, encode(path), now) for attempt, name, path in outputs])

    def pending(self) -> list[tuple[int, str, str, bool]]:
        """Return (attempt, name, path, whether the attempt is live) of the temporary outputs that are to be removed."""
        decode = self._db.paths.decode
        rows = self._db.named_rows(SQL["pending"])
        return [(row.attempt, row.name, decode(row.path), row.live != 0) for row in rows]

    def mark_removed(self, outputs: Sequence[tuple[int, str]], now: float) -> None:
        """Record that temporary outputs, by attempt and name, are removed."""
        self._db.change_each(SQL["mark_removed"], [(now, attempt, name) for attempt, name in outputs])

    def put_back(self, attempts: Collection[int]) -> None:
        """Record that the temporary outputs of attempts are in their places again."""
        if attempts:
            self._db.change(SQL["put_back"], attempts=as_set(attempts))

    def removed_of(self, attempts: Collection[int]) -> list[RemovedOutput]:
        """Return the temporary outputs of attempts that were removed, or are to be."""
        decode = self._db.paths.decode
        rows = self._db.named_rows(SQL["removed_of"], attempts=as_set(attempts))
        return [RemovedOutput(row.attempt, row.name, decode(row.path), row.decided) for row in rows]

    def removed_for(self, jobs: Collection[int]) -> list[RemovedInput]:
        """Return the removed temporary outputs of the live attempts of the jobs that these jobs need."""
        return self._inputs(self._db.named_rows(SQL["removed_for"], jobs=as_set(jobs)))

    def needed_by_waiting(self, workflow: int) -> list[RemovedInput]:
        """Return those that jobs of a workflow need that have not started."""
        return self._inputs(self._db.named_rows(SQL["needed_by_waiting"], workflow=workflow))

    def _inputs(self, rows: Iterable[Any]) -> list[RemovedInput]:
        decode = self._db.paths.decode
        return [RemovedInput(row.child, row.parent, row.name, decode(row.path), row.decided) for row in rows]
