"""Find which attempts made a file and which used it, by the files that attempts recorded."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

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

_MOST_READ = 500
_MOST_FOLDERS = 4


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


def file_uses(session: Session, path: str) -> FileUses:
    """Return which attempts made a file and which used it. If none recorded the file as an output, attempts with a
    folder around it as an output count."""
    with session.store.read() as archive:
        found = archive.fingerprints.with_path(path, _MOST_READ)
        made = _uses(archive, found, path, "outputs")
        used = _uses(archive, archive.fingerprints.using(path, archived=True), path, "inputs")
        folder = path
        for _ in range(_MOST_FOLDERS):
            folder = posixpath.dirname(folder)
            if made or folder in ("", "/"):
                break
            made = _uses(archive, archive.fingerprints.with_path(folder, _MOST_READ), folder, "outputs")
    more = len(found) == _MOST_READ or len(made) > MOST or len(used) > MOST
    return FileUses(made[:MOST], used[:MOST], more)


def _uses(archive: Snapshot, found: Mapping[int, FileFingerprints], path: str, side: str) -> list[FileUse]:
    contents = {
        attempt: content
        for attempt, one in found.items()
        for content in getattr(one, side)
        if content.compared and (content.path == path or (side == "inputs" and content.covers(path)))
    }
    attempts = archive.attempts.by_id(contents)
    jobs = {job.id: job for job in archive.jobs.get(sorted({one.job for one in attempts}))}
    return [FileUse(one, jobs[one.job], contents[one.id]) for one in sorted(attempts, key=lambda one: -one.id)]
