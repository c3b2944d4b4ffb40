"""Refusals: what needs the content of an attempt that was pruned."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rekindle.domain.errors import NotFound, UndoRefused

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt
    from rekindle.store.archive import Snapshot
    from rekindle.store.retention import PrunedAttempt


def refuse_undo_of_pruned(archive: Snapshot, rerun: int) -> None:
    """Raise UndoRefused, naming the job, if undoing a rerun would restore an attempt that was pruned, or a next attempt
    that builds on one."""
    for one in archive.retention.pruned_for_undo(rerun):
        raise UndoRefused(
            f"attempt {one.number} of `{one.name}`, which the undo would bring back, {_was_pruned(one)}",
            hint="nothing was undone; what runs again now: rekindle why",
        )


def refuse_logs_of_pruned(archive: Snapshot, name: str, attempt: Attempt) -> None:
    """Raise NotFound if the logs of an attempt were removed. `name`: its job's."""
    if attempt.pruned_by is None:
        return
    for one in archive.retention.pruned([attempt.id]):
        if one.logs == "removed":
            raise NotFound(
                f"the logs of attempt {one.number} of {name} are gone: the attempt {_was_pruned(one)}",
                hint="`rekindle attempts list` shows what is kept of each attempt",
            )


def _was_pruned(one: PrunedAttempt) -> str:
    day = datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%d")
    return f"was pruned on {day} (prune {one.prune})"
