"""The files that commands name, compared; and which files the jobs of workflows write: a change of one of these does
not make a job stale that only names it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from posixpath import join
from typing import Any

from rekindle.domain.changes.prints import Content, Matched
from rekindle.domain.changes.staleness import other_file, other_files
from rekindle.domain.rerunning.rerun import Reason, ReasonKind
from rekindle.domain.texts.globs import base, split
from rekindle.engine.changes.reading import Contents, Wanted
from rekindle.files.digests import digest_of_set
from rekindle.store.port import Archive

_COARSE = 0.005
"""Seconds by which the time of a change may lie before the start of the attempt that made it: kernels date files by a
clock of their own."""

_Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Written:
    """What the attempts of some workflows have written, and when they ran."""

    _paths: Collection[tuple[int, str]] = ()  # (workflow, absolute path)
    _spans: Mapping[int, tuple[_Span, ...]] = field(default_factory=dict)  # disjoint and in order

    def by_a_job(self, workflow: int, path: str) -> bool:
        """Return whether a job writes this file, or a folder that the file is in."""
        if not self._paths:
            return False
        return any((workflow, str(one)) in self._paths for one in (path, *PurePath(path).parents))

    def leaves(self, workflow: int, was: Content) -> bool:
        """Return whether a file that a command names, or one of those that a pattern in it matches, is compared."""
        if was.matched is not None:
            return any(not self.by_a_job(workflow, path) for _, path in _files(was, was.matched.files or ()))
        return was.compared and not (was.named == "other" and self.by_a_job(workflow, was.path))

    def during_an_attempt(self, workflow: int, path: str) -> bool:
        """Return whether the file has last changed while an attempt ran."""
        try:
            found = Path(path).stat()
        except OSError:
            return False
        spans = self._spans.get(workflow, ())
        return all(_within(spans, at) for at in (found.st_mtime, found.st_ctime))


def written_by(archive: Archive, workflows: Collection[int]) -> Written:
    """Return what the attempts of these workflows have written."""
    if not workflows:
        return Written()
    spans: dict[int, list[_Span]] = {}
    for workflow, started, ended in archive.measures.spans(workflows):
        known = spans.setdefault(workflow, [])
        if known and started - _COARSE <= known[-1][1]:
            known[-1] = known[-1][0], max(ended, known[-1][1])
        else:
            known.append((started - _COARSE, ended))
    return Written(archive.measures.written(workflows), {one: tuple(found) for one, found in spans.items()})


def _within(spans: tuple[_Span, ...], at: float) -> bool:
    before = bisect_right(spans, (at, float("inf"))) - 1
    return before >= 0 and at <= spans[before][1]


def matching_now(was: Content) -> Wanted:
    """What a pattern in a command matches."""
    return Wanted(was.path, pattern=was.matched.pattern if was.matched else None, items=True, shallow=True)


def named_reasons(
    named: Sequence[Content], workflow: int, written: Written, contents: Contents, redefined: bool
) -> Iterator[Reason]:
    """INPUT reasons for the files that the commands of an attempt named. A command that was `redefined` since may not
    name a file any more that is missing."""
    for was in named:
        if not was.compared:
            continue
        if was.matched is not None:
            yield from _matched(was, was.matched, workflow, written, contents)
            continue
        reason = other_file(ReasonKind.INPUT, was, was.path, contents.content[was.path])
        if reason is None or (redefined and reason.detail["after"] is None):
            continue
        made = was.named == "other" and written.during_an_attempt(workflow, was.path)
        if written.leaves(workflow, was) and not made:
            yield reason


def _matched(was: Content, matched: Matched, workflow: int, written: Written, contents: Contents) -> Iterator[Reason]:
    """What differs of the files that a pattern matches, without those that jobs write."""
    seen = contents.sets[matching_now(was)].matched
    if matched.files is None or seen is None or seen.files is None:  # too many to tell those that jobs write
        return
    before, after = dict(matched.files), dict(seen.files)
    differing = [name for name in {*before, *after} if before.get(name) != after.get(name)]
    for name, path in _files(was, differing):
        if written.by_a_job(workflow, path) or written.during_an_attempt(workflow, path):
            before.pop(name, None)
            after.pop(name, None)
    if before != after:
        detail: dict[str, Any] = {"name": was.name, "path": was.path, "implicit": True, "pattern": matched.pattern}
        detail |= {"before": digest_of_set(before) or None, "after": digest_of_set(after) or None}
        yield Reason(ReasonKind.INPUT, detail | other_files(before, after))


def _files(was: Content, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """(name, absolute path) of files that a pattern matches; names are relative as the pattern is."""
    pattern = was.matched.pattern if was.matched else ""
    folder, below = base(was.path, pattern), len(split(pattern)[0])
    return ((name, join(folder, name[below:])) for name in names)
