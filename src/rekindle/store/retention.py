"""What may be pruned, what was, and the files that are still to be removed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.retention import ArchivedAttempt, PrunedLogs
from rekindle.journal.encoding import to_json
from rekindle.store.queries import as_set, load
from rekindle.store.rows import STATES

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("retention")

_CLEAR = (
    "clear_steps",
    "delete_subtasks",
    "delete_fan_outs",
    "delete_fingerprints",
    "delete_accepted",
    "delete_cached",
    "forget_saved",
    "bump_versions",
)


class PrunedAttempt(msgspec.Struct, frozen=True):
    """An attempt that was pruned, `number` of its job, and by which prune and when."""

    attempt: int
    job: int
    name: str  # the job's
    number: int
    prune: int
    at: float
    logs: PrunedLogs


class ArchivedWorkflow(msgspec.Struct, frozen=True):
    """A workflow that was archived at a time, with the number of its attempts."""

    id: int
    name: str
    archived: float
    attempts: int


class Retention:
    """Prunes, and what they may remove."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def archived_attempts(self, jobs: Collection[int]) -> list[ArchivedAttempt]:
        """Return the archived attempts of jobs that have ended and have something to remove, by id."""
        rows = (row._asdict() for row in self._db.named_rows(SQL["archived_attempts"], jobs=as_set(jobs)))
        return [ArchivedAttempt(**{**row, "state": STATES[row["state"]]}) for row in rows]

    def links(self, attempts: Collection[int]) -> list[tuple[int, int]]:
        """Return (an attempt, one of these that it builds on) for all attempts that were not pruned."""
        return [(later, earlier) for later, earlier in self._db.rows(SQL["links"], attempts=as_set(attempts))]

    def held(self, attempts: Collection[int]) -> set[int]:
        """Return those of these attempts that must stay, whichever others do."""
        wanted = as_set(attempts)
        found = {row[0] for row in self._db.rows(SQL["held"], attempts=wanted)}
        return found | {row[0] for row in self._db.rows(SQL["used"], attempts=wanted)}

    def shared_folders(self) -> Iterator[tuple[int, str]]:
        """Yield (an attempt, or 0 for a job's next one, the folder of an earlier attempt that it runs in)."""
        decode = self._db.paths.decode
        return ((later, decode(folder)) for later, folder in self._db.stream(SQL["shared_folders"].text, {}))

    def add(self, request: Mapping[str, Any], note: str | None, logs: PrunedLogs, size: int, now: float) -> int:
        """Record a prune; return its id. `mark` and `remove_files` say of what."""
        text = to_json({**request, **self._db.who}).decode()
        values = {"at": now, "request": text, "note": note, "logs": logs, "attempts": 0, "bytes": size}
        return self._db.insert(SQL["insert_prune"], **values)

    def mark(self, prune: int, attempts: Collection[int]) -> None:
        """Mark attempts as pruned: their results, tracebacks, subtasks and fingerprints are removed, and the versions
        of their jobs increase, so that plans made before are outdated."""
        wanted = as_set(attempts)
        for name in _CLEAR:
            self._db.change(SQL[name], attempts=wanted)
        self._db.change(SQL["mark_pruned"], prune=prune, attempts=wanted)
        self.remove_files(prune, attempts)

    def remove_files(self, prune: int, attempts: Collection[int]) -> None:
        """Record that the files of attempts are to be removed."""
        self._db.change(SQL["count_attempts"], prune=prune, n=len(attempts))
        self._db.change_each(SQL["insert_removal"], [(attempt, prune) for attempt in attempts])

    def removals(self, limit: int) -> dict[int, PrunedLogs]:
        """Return the first attempts whose files are still to be removed, with what happens to their logs."""
        return dict(self._db.rows(SQL["removals"], limit=limit))

    def removed(self, attempts: Collection[int]) -> None:
        """Record that the files of these attempts are removed."""
        self._db.change(SQL["delete_removals"], attempts=as_set(attempts))

    def pruned(self, attempts: Collection[int]) -> list[PrunedAttempt]:
        """Return which of these attempts were pruned, by id."""
        rows = self._db.named_rows(SQL["pruned"], attempts=as_set(attempts))
        return [PrunedAttempt(**row._asdict()) for row in rows]

    def pruned_for_undo(self, rerun: int) -> list[PrunedAttempt]:
        """Return the pruned attempts that undoing a rerun would bring back, or that the next attempts which it would
        restore build on."""
        return [PrunedAttempt(**row._asdict()) for row in self._db.named_rows(SQL["pruned_for_undo"], rerun=rerun)]

    def archived_workflows(self, before: float, only: int | None = None) -> list[ArchivedWorkflow]:
        """Return the workflows, or `only` this one, that were archived before a time and have no running attempt."""
        rows = self._db.named_rows(SQL["archived_workflows"], before=before, only=only)
        return [ArchivedWorkflow(**row._asdict()) for row in rows]

    def attempts_of(self, workflows: Sequence[int]) -> list[int]:
        """Return the attempts of workflows."""
        return [row[0] for row in self._db.rows(SQL["attempts_of_workflows"], workflows=as_set(workflows))]

    def count_events(self, before: float, only: int | None = None) -> int:
        """Return the number of events before a time, of all workflows or `only` one."""
        return int(self._db.value(SQL["count_events"], before=before, only=only))

    def delete_events(self, before: float, only: int | None = None) -> int:
        """Remove events before a time; return their number."""
        return self._db.change(SQL["delete_events"], before=before, only=only)
