"""Find the jobs that depend on a file or on what an attempt left, by what attempts recorded."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt
    from rekindle.store.archive import Snapshot


def tainted_jobs(archive: Snapshot, attempts: Collection[int]) -> list[int]:
    """Return the jobs whose live attempt is one of these or used what they left, directly or through other attempts, as
    the attempts recorded it; the nearest first. Jobs of other workflows count if they are below in the same one."""
    known = archive.attempts.by_id(attempts)
    users: dict[int, list[int]] = {}
    for user, used in archive.fingerprints.built_on({one.workflow for one in known}):
        users.setdefault(used, []).append(user)
    reached = dict.fromkeys(one.id for one in known)
    level = list(reached)
    while level:
        level = [user for used in level for user in users.get(used, ()) if user not in reached]
        reached.update(dict.fromkeys(level))
    return _live_jobs(archive, list(reached))


def _live_jobs(archive: Snapshot, attempts: Sequence[int]) -> list[int]:
    """Return the jobs whose live attempt is among attempts, in their order."""
    found: dict[int, Attempt] = {one.id: one for one in archive.attempts.by_id(attempts)}
    return [found[one].job for one in attempts if one in found and found[one].archived_by is None]


def is_recorded(archive: Snapshot, path: str) -> bool:
    """Return whether any attempt, also an archived one, has read or written a file, or the file has a known digest."""
    path = posixpath.normpath(path)
    recorded = archive.fingerprints
    return bool(recorded.known_files([path]) or recorded.reading(path, archived=True) or recorded.making(path))


def consumers(archive: Snapshot, path: str) -> list[int]:
    """Return the jobs whose live attempt read a file: declared, named in a command, in a folder or by a pattern."""
    return _live_jobs(archive, sorted(archive.fingerprints.reading(posixpath.normpath(path), archived=False)))
