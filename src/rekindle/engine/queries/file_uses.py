"""Find which attempts made a file and which used it, by the files that attempts recorded."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from rekindle.domain.errors import NotFound
from rekindle.engine.queries import job_queries

if TYPE_CHECKING:
    from rekindle.domain.changes.fingerprints import FileContent, FileFingerprints
    from rekindle.domain.models import Attempt, Job
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot

MOST = 200
"""The most attempts that made a file, or used it, that are returned."""


class FileUse(msgspec.Struct, frozen=True):
    """An attempt that made a file, or used it. `content` is the file, or a folder around it or a pattern that matches
    it, as the attempt recorded it."""

    attempt: Attempt
    job: Job
    content: FileContent

    def digest_of(self, path: str) -> str | None:
        """Return the digest of a file as the attempt recorded it; None where it recorded that of the folder only."""
        if self.content.path == path:
            return self.content.digest
        matched = self.content.matched
        for name, digest in (matched.files or {}).items() if matched is not None else ():
            if path == name or path.endswith(f"/{name}"):
                return digest
        return None


class FileUses(msgspec.Struct, frozen=True):
    """The newest attempts that made a file and those that used it, newest first. `more`: there are older ones."""

    made: Sequence[FileUse]
    used: Sequence[FileUse]
    more: bool


def recorded_file(session: Session, attempt: int, kind: str, name: str) -> FileContent:
    """Return an `input` or `output` of an attempt by its name. Raise NotFound."""
    recorded = job_queries.recorded_files(session, attempt)
    for one in recorded.inputs if kind == "input" else recorded.outputs:
        if one.name == name:
            return one
    raise NotFound(
        f"attempt {attempt} recorded no {kind} {name!r}", hint=f"`rekindle attempts show {attempt}` lists them"
    )


def file_uses(session: Session, path: str, digests: Collection[str] = ()) -> FileUses:
    """Return which attempts made a file, or left one of these contents elsewhere, and which used it. If none recorded
    the file as an output, attempts with a folder around it as an output count."""
    with session.store.read() as archive:
        made = _uses(archive, archive.fingerprints.making(path, digests), path, "outputs", digests)
        used = _uses(archive, archive.fingerprints.reading(path, archived=True), path, "inputs")
    exact = [one for one in made if one.content.path == path or one.content.digest in digests]
    made = exact or made
    return FileUses(made[:MOST], used[:MOST], len(made) > MOST or len(used) > MOST)


def _uses(
    archive: Snapshot,
    found: Mapping[int, FileFingerprints],
    path: str,
    side: Literal["inputs", "outputs"],
    digests: Collection[str] = (),
) -> list[FileUse]:
    contents = {
        attempt: content
        for attempt, one in found.items()
        for content in getattr(one, side)
        if content.compared and (content.covers(path) or content.digest in digests)
    }
    attempts = archive.attempts.by_id(contents)
    jobs = {job.id: job for job in archive.jobs.get(sorted({one.job for one in attempts}))}
    return [FileUse(one, jobs[one.job], contents[one.id]) for one in sorted(attempts, key=lambda one: -one.id)]
