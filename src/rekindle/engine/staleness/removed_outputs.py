"""Temporary outputs that were removed: their absence makes no attempt stale. Whether their jobs came out differently
since is decided by the results of these jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rekindle.domain.changes.fingerprints import MeasuredAttempt
    from rekindle.store.archive import Snapshot

NO_PATHS: frozenset[str] = frozenset()


def removed_paths(
    archive: Snapshot, subjects: Sequence[MeasuredAttempt], *, own: bool = True
) -> Mapping[int, frozenset[str]]:
    """Return, by attempt, the paths that are not compared: of temporary outputs that the attempt wrote, or the live
    attempts of the jobs that its job needs, and that were removed. An output that is not temporary any more is
    compared: its job makes it again. Unless `own`, those that the attempts wrote are compared, too."""
    if not archive.statistics.has_removed_outputs():
        return {}
    found: dict[int, set[str]] = {}
    if own and (removed := archive.temporary_outputs.removed_of([one.attempt for one in subjects])):
        templates = archive.staleness.templates({one.template_now for one in subjects})
        declared = {one.attempt: templates[one.template_now].temporary for one in subjects}
        for one in removed:
            if one.name in declared[one.attempt]:
                found.setdefault(one.attempt, set()).add(one.path)
    attempts = {one.job: one.attempt for one in subjects}
    for needed in archive.temporary_outputs.removed_for(attempts):
        found.setdefault(attempts[needed.job], set()).add(needed.path)
    return {attempt: frozenset(paths) for attempt, paths in found.items()}
