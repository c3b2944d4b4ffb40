"""Where a file comes from, whether it is current, what used it, and what is wrong if it is.

The answers come from what attempts recorded: the paths and contents of their inputs and outputs, and the attempts whose
results they used. A file is known by its content, also under another name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from rekindle.domain.changes.fingerprints import ABSENT, FileContent, FileFingerprints
from rekindle.domain.errors import NotFound
from rekindle.engine.queries.dependents import tainted_jobs
from rekindle.engine.queries.file_uses import FileUse, FileUses, file_uses
from rekindle.engine.staleness import stale_jobs
from rekindle.engine.staleness.contents import ContentRequests, ReadProgress, read_contents
from rekindle.files.digests import file_stat, mtime_digest

if TYPE_CHECKING:
    from rekindle.domain.models import Job
    from rekindle.engine.session import Session
    from rekindle.engine.staleness.stale_jobs import Explanation
    from rekindle.store.archive import Snapshot

MOST_SOURCES = 1_000
"""The most files that are followed upstream."""

FileOrigin = Literal["made", "copied", "changed", "gone", "source"]
"""`made`: an attempt left it so; `copied`: an attempt left this content at another path; `changed`: an attempt made it,
and it differs since; `gone`: an attempt made or used it, and it does not exist; `source`: no job made it."""


class SourceFile(msgspec.Struct, frozen=True):
    """A file that went into another one, directly (depth 1) or through other jobs. `maker`: the attempt that left it;
    None: no job made it."""

    content: FileContent
    user: int  # the attempt that read it
    maker: int | None
    depth: int


class Lineage(msgspec.Struct, frozen=True):
    """What is known of a file."""

    path: str
    digest: str  # ABSENT if it does not exist
    origin: FileOrigin
    maker: FileUse | None  # the newest attempt that left this content, else this path
    maker_state: Explanation | None  # whether the maker's job is current; None if another attempt is its live one
    sources: tuple[SourceFile, ...]
    uses: FileUses
    tainted: tuple[Job, ...]  # completed jobs that depend on its present content, the nearest first


def lineage(session: Session, path: str, progress: ReadProgress | None = None) -> Lineage:
    """Return what is known of a file or folder, by its absolute path. `progress` is called while files are read. Raise
    NotFound if it does not exist and no attempt recorded it."""
    with session.store.read() as archive:
        known = archive.fingerprints.known_files([path])
    digest = read_contents(ContentRequests(content=[path]), known, progress).content[path]
    seen = file_stat(path)
    contents = {digest, mtime_digest(seen)} if seen is not None else set()
    uses = file_uses(session, path, contents)
    if seen is None and not (uses.made or uses.used):
        raise NotFound(f"{path} does not exist, and no attempt has recorded it", hint="check the path")
    maker = _maker(path, contents, uses.made)
    origin = _origin(path, contents, maker, exists=seen is not None)
    with session.store.read() as archive:
        sources = tuple(_sources(archive, maker.attempt.id)) if maker is not None else ()
        start = _users(uses, path, contents) if maker is None or origin == "changed" else {maker.attempt.id}
        tainted = archive.jobs.get(tainted_jobs(archive, start))
        tainted = [job for job in tainted if maker is None or job.id != maker.job.id]
    live = maker is not None and maker.job.attempt == maker.attempt.id
    state = stale_jobs.explain(session, [maker.job.id], progress)[0] if maker is not None and live else None
    return Lineage(path, digest if seen is not None else ABSENT, origin, maker, state, sources, uses, tuple(tainted))


def _maker(path: str, contents: Collection[str], made: Sequence[FileUse]) -> FileUse | None:
    """Return the attempt that left a file: this content at this path, else this content anywhere, else this path; of
    several a live one, else the newest."""
    same = [one for one in made if one.content.digest in contents]
    at_path = [one for one in same if one.content.path == path]
    return _best(at_path or same or made) if made else None


def _best(several: Sequence[FileUse]) -> FileUse:
    return max(several, key=lambda one: (one.job.attempt == one.attempt.id, one.attempt.id))


def _origin(path: str, contents: Collection[str], maker: FileUse | None, *, exists: bool) -> FileOrigin:
    if not exists:
        return "gone"
    if maker is None:
        return "source"
    if maker.content.digest not in contents:
        return "made" if maker.content.path != path else "changed"  # within a folder that is an output
    return "made" if maker.content.path == path else "copied"


def _users(uses: FileUses, path: str, contents: Collection[str]) -> set[int]:
    """Return the attempts that used the present content, as far as they recorded it; of a file that is gone, any."""
    return {one.attempt.id for one in uses.used if not contents or one.digest_of(path) in {None, *contents}}


def _sources(archive: Snapshot, attempt: int) -> Iterator[SourceFile]:
    """Yield the files that went into an attempt, level by level, each once for each content."""
    level, seen, depth = [attempt], {attempt}, 1
    listed: set[tuple[str, str]] = set()
    while level and len(listed) < MOST_SOURCES:
        prints = archive.fingerprints.files(level)
        needed = {user: set(one.values()) for user, one in archive.fingerprints.needed(level).items()}
        makers = archive.fingerprints.files({one for several in needed.values() for one in several})
        following: list[int] = []
        for user in level:
            for content in _read_by(prints.get(user)):
                if (content.path, content.digest) in listed:
                    continue
                listed.add((content.path, content.digest))
                maker = _left_by(content, needed.get(user, ()), makers)
                yield SourceFile(content, user, maker, depth)
            following += (one for one in sorted(needed.get(user, ())) if one not in seen)
            seen.update(following)
        level, depth = following, depth + 1


def _read_by(prints: FileFingerprints | None) -> Iterable[FileContent]:
    return (one for one in (prints.inputs if prints else ()) if one.compared and one.digest != ABSENT)


def _left_by(content: FileContent, among: Iterable[int], prints: Mapping[int, FileFingerprints]) -> int | None:
    """Return which attempt left a file, or an output around it."""
    for attempt in among:
        for output in prints[attempt].outputs if attempt in prints else ():
            if output.covers(content.path) or content.covers(output.path):
                return attempt
    return None
