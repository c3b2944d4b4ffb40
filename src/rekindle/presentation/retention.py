"""What a prune removes, and what was compacted, as documents and as text."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from rekindle.domain.texts.quantities import format_size
from rekindle.presentation import words
from rekindle.presentation.documents import iso

if TYPE_CHECKING:
    from rekindle.domain.retention import ArchivedAttempt, Kept
    from rekindle.engine.retention.prune import PrunePlan, PruneResult

_WHY_KEPT: dict[Kept, str] = {
    "newest": "the newest of their jobs",
    "young": "not old enough",
    "last": "among the last of their jobs",
    "needed": "needed by others",
}


def prune_document(plan: PrunePlan, done: PruneResult | None = None) -> dict[str, Any]:
    """Return a planned prune, or one that was done, as JSON."""
    attempts = plan.attempts if done is None else done.attempts
    workflows = plan.workflows if done is None else done.workflows
    return {
        "prune": None if done is None else done.prune,
        "attempts": [_attempt(one, plan.bytes.get(one.id, 0)) for one in attempts],
        "kept": dict(plan.kept),
        "left": [] if done is None else [one.id for one in done.left],
        "workflows": [
            {
                "id": one.id,
                "name": one.name,
                "archived": iso(one.archived),
                "attempts": one.attempts,
                "bytes": plan.workflow_bytes.get(one.id, 0),
            }
            for one in workflows
        ],
        "events": plan.events if done is None else done.events,
        "bytes": plan.total if done is None else done.bytes,
        "logs": plan.request.rules.logs,
        "log_bytes": plan.log_bytes,
    }


def _attempt(one: ArchivedAttempt, size: int) -> dict[str, Any]:
    return {
        "id": one.id,
        "job": one.job,
        "name": one.name,
        "workflow": one.workflow,
        "number": one.number,
        "state": one.state.label,
        "cause": one.cause,
        "ended": iso(one.ended),
        "bytes": size,
    }


def prune_lines(plan: PrunePlan) -> Iterator[str]:
    """Yield what a planned prune removes and keeps."""
    if plan.attempts:
        size = format_size(sum(plan.bytes.values()))
        yield f"{words.plural(len(plan.attempts), 'archived attempt')}: {size} of files; their rows stay in the history"
    if plan.log_bytes:
        yield f"{format_size(plan.log_bytes)} of logs are compressed"
    for one in plan.workflows:
        size = format_size(plan.workflow_bytes.get(one.id, 0))
        attempts = words.plural(one.attempts, "attempt")
        yield f"workflow {one.id} {words.one_line(one.name)}: all of it, {attempts}, {size} of files"
    if plan.events:
        yield f"{words.plural(plan.events, 'event')}"
    if plan.empty:
        yield "nothing to prune"
    if plan.kept:
        yield f"kept: {', '.join(f'{n:,} {_WHY_KEPT[why]}' for why, n in sorted(plan.kept.items()))}"


def pruned_line(done: PruneResult) -> str:
    """Return what a prune has done."""
    parts = [words.plural(len(done.attempts), "attempt")] if done.attempts else []
    parts += [words.plural(len(done.workflows), "workflow")] if done.workflows else []
    parts += [words.plural(done.events, "event")] if done.events else []
    return f"prune {done.prune}: {' and '.join(parts) or 'nothing'} removed, {format_size(done.bytes)} of files"


def left_line(left: Collection[ArchivedAttempt]) -> str:
    """Return which attempts a prune has left, because their jobs have moved."""
    names = words.cut(", ".join(dict.fromkeys(one.name for one in left)), 60)
    return f"left alone, because their jobs have moved meanwhile: {words.plural(len(left), 'attempt')} of {names}"
