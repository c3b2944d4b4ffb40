"""The content store, as documents and as text: what it holds, what was removed, what is poisoned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rekindle.domain.texts.quantities import format_size
from rekindle.presentation import reasons, words
from rekindle.presentation.documents import iso

if TYPE_CHECKING:
    from rekindle.engine.retention.cache import CacheContents, CachePrunePlan, CachePruneResult, CacheVerification
    from rekindle.store.cached_outputs import CachedAttempt


def contents_document(found: CacheContents) -> dict[str, Any]:
    """Return what the content store holds as JSON, without its attempts."""
    return {"contents": found.contents, "bytes": found.bytes, "limit": found.limit, "attempts": []}


def cached_attempt(one: CachedAttempt) -> dict[str, Any]:
    """Return an attempt whose outputs are kept as JSON."""
    return {
        "id": one.attempt,
        "job": one.job,
        "name": one.name,
        "number": one.number,
        "workflow": one.workflow,
        "workflow_name": one.workflow_name,
        "contents": one.contents,
        "bytes": one.bytes,
        "kept": iso(one.kept),
        "used": iso(one.used),
    }


def contents_line(found: CacheContents) -> str:
    """Return how much the content store holds, and how much it may."""
    held = f"{words.plural(found.contents, 'content')}, {format_size(found.bytes)}"
    return f"{held} of at most {format_size(found.limit)}; equal ones are stored once"


def cache_prune_document(plan: CachePrunePlan, done: CachePruneResult | None = None) -> dict[str, Any]:
    """Return a planned prune of the content store, or one that was done, as JSON."""
    source: CachePrunePlan | CachePruneResult = plan if done is None else done
    return {
        "pruned": done is not None,
        "attempts": [cached_attempt(one) for one in source.attempts],
        "held": [] if done is None else [one.attempt for one in done.held],
        "contents": source.contents,
        "bytes": source.bytes,
    }


def cache_prune_line(plan: CachePrunePlan) -> str:
    """Return what a planned prune of the content store removes."""
    if not plan.attempts:
        return "nothing to remove"
    attempts, contents = words.plural(len(plan.attempts), "attempt"), words.plural(plan.contents, "content")
    sizes = f"{format_size(plan.bytes)}; {format_size(plan.left)} stay"
    return f"the outputs of {attempts}: {contents}, {sizes}"


def cache_pruned_lines(done: CachePruneResult) -> Iterator[str]:
    """Yield what a prune of the content store has done."""
    attempts = words.plural(len(done.attempts), "attempt")
    yield f"removed the outputs of {attempts} from the cache: {format_size(done.bytes)}"
    if done.held:
        yield f"{words.plural(len(done.held), 'attempt')} left alone, because their outputs are being restored"


def verification_document(found: CacheVerification) -> dict[str, Any]:
    """Return what a reading of the content store found as JSON."""
    return {
        "sound": found.sound,
        "contents": found.contents,
        "bytes": found.bytes,
        "poisoned": [{"digest": one.digest, "attempts": [*one.attempts]} for one in found.poisoned],
        "incomplete": [*found.incomplete],
    }


def verification_lines(found: CacheVerification) -> Iterator[str]:
    """Yield what a reading of the content store found."""
    for one in found.poisoned:
        yield f"{reasons.short_digest(one.digest)} has changed on the disk, and was set aside{_of(one.attempts)}"
    if found.incomplete:
        yield f"not in the cache any more, because contents are missing{_of(found.incomplete)}"
    read = f"{words.plural(found.contents, 'content')}, {format_size(found.bytes)}"
    yield f"the cache is sound: {read}" if found.sound else f"the cache was damaged: {read} were read"


def _of(attempts: Sequence[int]) -> str:
    if not attempts:
        return ""
    return f": attempt{'' if len(attempts) == 1 else 's'} {words.cut(', '.join(map(str, attempts)), 60)}"
