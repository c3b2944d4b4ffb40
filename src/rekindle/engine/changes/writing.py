"""Which files the jobs of workflows write: changes of these do not make a job stale that only names them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

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
