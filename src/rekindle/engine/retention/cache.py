"""The content store of a store: what is kept in it, its bound, and what is removed from it.

An attempt whose outputs are kept has a row, and a document in the content store that names contents. The row goes
first, in a transaction; then the document; then the contents that no document names any more. A process that dies in
between leaves documents without rows, which the next removal takes. The document of an attempt whose outputs are being
restored is locked, and stays."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.errors import UsageError
from rekindle.files.store_files import cache_limit
from rekindle.journal.content_store import ContentStore
from rekindle.journal.kept_outputs import documents, read_document, remove_document
from rekindle.store.cached_outputs import CachedAttempt

if TYPE_CHECKING:
    from rekindle.engine.session import Session
    from rekindle.journal.restored_outputs import RestoreProblem
    from rekindle.store.archive import Transaction

UNNAMED_SECONDS = 86_400.0
"""How long a content stays that no document names: an attempt may be about to name it."""

ShowProgress = Callable[[str], None]
"""Called with a text that says what is read next."""


class CacheContents(msgspec.Struct, frozen=True):
    """What the content store holds: attempts, the least recently used first; `bytes` and `contents` on the disk; the
    most bytes that it may hold."""

    attempts: tuple[CachedAttempt, ...]
    contents: int
    bytes: int
    limit: int


class CachePrunePlan(msgspec.Struct, frozen=True):
    """The attempts whose outputs go, the contents that only these have left, and their bytes; the bytes that stay."""

    attempts: tuple[CachedAttempt, ...]
    contents: int
    bytes: int
    left: int


class CachePruneResult(msgspec.Struct, frozen=True):
    """What was removed. `held`: attempts that stay, because their outputs were being restored."""

    attempts: tuple[CachedAttempt, ...]
    contents: int
    bytes: int
    held: tuple[CachedAttempt, ...] = ()


class PoisonedEntry(msgspec.Struct, frozen=True):
    """A content that differs from its name, and the attempts whose outputs are not complete without it."""

    digest: str
    attempts: tuple[int, ...]


class CacheVerification(msgspec.Struct, frozen=True):
    """What was read. `incomplete`: attempts with a document that is damaged, or that names contents that are gone."""

    contents: int
    bytes: int
    poisoned: tuple[PoisonedEntry, ...]
    incomplete: tuple[int, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.poisoned or self.incomplete)


def look(session: Session, only: int | None = None) -> CacheContents:
    """Return what the content store holds, of all workflows or `only` one."""
    with session.store.read() as archive:
        attempts = tuple(archive.cached_outputs.listing(only))
    sizes = [one.size for one in ContentStore(session.store.folder).contents()]
    return CacheContents(attempts, len(sizes), sum(sizes), cache_limit(os.environ))


def plan_prune(
    session: Session, *, only: int | None = None, older_than: float | None = None, max_size: int | None = None
) -> CachePrunePlan:
    """Plan to remove the outputs that were not used for `older_than` seconds, and then the least recently used ones
    until at most `max_size` bytes are left. Nothing is written. Raise UsageError without either."""
    if older_than is None and max_size is None:
        raise UsageError("say what to remove from the cache", hint="--older-than 30d, --max-size 20G, or both")
    store = ContentStore(session.store.folder)
    with session.store.read() as archive:
        listed = archive.cached_outputs.listing(only)
    named = {one.attempt: _contents_of(store, one.attempt) for one in listed}
    uses = Counter(digest for found in named.values() for digest in found)
    if only is not None:
        uses.update(digest for one in documents(store) if one not in named for digest in _contents_of(store, one))
    on_disk = {one.digest: one.size for one in store.contents()}
    total = left = sum(on_disk.values())
    before, chosen, gone = session.clock() - (older_than or 0.0), [], 0
    for one in listed:
        too_old = older_than is not None and one.used <= before
        if not too_old and (max_size is None or left <= max_size):
            continue
        chosen.append(one)
        for digest in named[one.attempt]:
            uses[digest] -= 1
            if not uses[digest] and digest in on_disk:
                gone += 1
                left -= on_disk[digest]
    return CachePrunePlan(tuple(chosen), gone, total - left, left)


def prune(session: Session, plan: CachePrunePlan) -> CachePruneResult:
    """Do what was planned. Outputs that were used since the plan was made stay, as do those that are being restored."""
    wanted = {one.attempt: one for one in plan.attempts}
    with session.store.write() as archive:
        now = {one.attempt: one for one in archive.cached_outputs.listing() if one.attempt in wanted}
        same = [attempt for attempt, one in now.items() if one.used <= wanted[attempt].used]
        archive.cached_outputs.forget(same)
        if same:
            archive.events.add(session.clock(), "cache_pruned", None, {"attempts": len(same), "bytes": plan.bytes})
    contents, size, held = sweep(session)
    return CachePruneResult(
        tuple(now[attempt] for attempt in same if attempt not in held),
        contents,
        size,
        tuple(now[attempt] for attempt in same if attempt in held),
    )


def sweep(session: Session) -> tuple[int, int, set[int]]:
    """Remove the documents of attempts whose outputs are not kept any more, and the contents that no document names.
    Return the number of contents, their bytes, and the attempts whose outputs are being restored: these stay until the
    next sweep."""
    store, began = ContentStore(session.store.folder), time.time()
    if not Path(store.folder).is_dir():
        return 0, 0, set()
    with session.store.read() as archive:
        gone = archive.cached_outputs.unlisted(list(documents(store)))
    removed: dict[str, int] = {}
    with store.locked(exclusive=True):
        for attempt in sorted(gone):
            if (document := remove_document(store, attempt)) is not None:
                removed |= document.contents
        left = list(documents(store))
        named = {digest for attempt in left for digest in _contents_of(store, attempt)}
        sizes = [store.remove(digest, began) for digest in sorted(removed.keys() - named)]
        unnamed = [one for one in store.contents() if one.digest not in named]
        sizes += [store.remove(one.digest, began) for one in unnamed if one.touched < began - UNNAMED_SECONDS]
    store.remove_drafts(began - UNNAMED_SECONDS)
    return sum(size > 0 for size in sizes), sum(sizes), gone.intersection(left)


def verify(session: Session, progress: ShowProgress) -> CacheVerification:
    """Read every content. Set poisoned ones aside, and forget the attempts whose outputs are not complete any more."""
    store = ContentStore(session.store.folder)
    poisoned, there, size = list[str](), set[str](), 0
    for one in store.contents():
        progress(f"content {len(there) + len(poisoned) + 1:,}")
        if store.is_sound(one.digest):
            there.add(one.digest)
            size += one.size
        else:
            store.set_aside(one.digest)
            poisoned.append(one.digest)
    incomplete, by_digest = set(), {digest: list[int]() for digest in poisoned}
    with session.store.read() as archive:
        listed = [one.attempt for one in archive.cached_outputs.listing()]
    for attempt in listed:
        document = read_document(store, attempt)
        named = {} if document is None else document.contents
        if document is None or not named.keys() <= there:
            incomplete.add(attempt)
        for digest in named.keys() & by_digest.keys():
            by_digest[digest].append(attempt)
    if incomplete or poisoned:
        with session.store.write() as archive:
            forgotten = archive.cached_outputs.forget(sorted(incomplete))
            detail = {"contents": len(poisoned), "attempts": sorted(forgotten)}
            archive.events.add(session.clock(), "cache_poisoned", None, detail)
    entries = tuple(PoisonedEntry(digest, tuple(sorted(found))) for digest, found in by_digest.items())
    return CacheVerification(len(there) + len(poisoned), size, entries, tuple(sorted(incomplete)))


def record_restores(archive: Transaction, results: Mapping[int, RestoreProblem | None], now: float) -> None:
    """Record what came of restores, by attempt: None for one that succeeded. Attempts whose outputs are not complete
    any more are forgotten, so that they are not tried again."""
    archive.cached_outputs.use([attempt for attempt, problem in results.items() if problem is None], now)
    broken = [attempt for attempt, one in results.items() if one is not None and one.kind in ("absent", "poisoned")]
    if not broken:
        return
    workflows = archive.cached_outputs.workflows(broken)
    for attempt in sorted(archive.cached_outputs.forget(broken)):
        problem = results[attempt]
        if problem is not None and problem.kind == "poisoned":
            detail = {"contents": 1, "attempts": [attempt], "digest": problem.digest}
            archive.events.add(now, "cache_poisoned", workflows.get(attempt), detail)


def _contents_of(store: ContentStore, attempt: int) -> Mapping[str, int]:
    document = read_document(store, attempt)
    return {} if document is None else document.contents
