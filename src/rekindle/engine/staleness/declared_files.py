"""One measured attempt, and its declared files: what was recorded of them, and what to read now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from rekindle.domain.changes.fingerprints import (
    FileContent,
    FileFingerprints,
    MeasuredAttempt,
    is_within,
    written_inside,
)
from rekindle.domain.rerun.plan import ReasonKind
from rekindle.engine.staleness.contents import EnvironmentLookup, FileContents, FileRequest, FunctionSet
from rekindle.engine.staleness.definitions import DefinitionComparison
from rekindle.engine.staleness.implicit_inputs import FanOutItems
from rekindle.engine.staleness.kept_measures import KeptMeasure
from rekindle.engine.staleness.removed_outputs import NO_PATHS


class AttemptMeasure(msgspec.Struct):
    """One attempt, with everything it is compared by."""

    subject: MeasuredAttempt
    made: DefinitionComparison
    binding: str  # JSON text: the matrix values now
    prints: FileFingerprints
    recorded: bool  # its worker recorded its dependencies
    paths: tuple[Mapping[str, str], Mapping[str, str]] | None  # paths of inputs and outputs now; None: as recorded
    code: Mapping[str, str] | None = None  # then: see domain.changes.fingerprints
    functions: FunctionSet | None = None  # now
    own: frozenset[str] = frozenset()  # paths of its outputs, if it has inputs too
    environment: Mapping[EnvironmentLookup, str] = msgspec.field(default_factory=dict)  # then
    overrides: str | None = None  # JSON text: for the job's next attempt
    written: tuple[str, ...] = ()  # paths of its outputs, if one lies inside a folder that it reads
    implicit: tuple[FileContent, ...] = ()  # files that its commands named (those declared are in `prints`)
    implicit_now: tuple[FileContent, ...] | None = None  # named by its commands now, without digests; None: the same
    patterns: Mapping[str, str] = msgspec.field(default_factory=dict)  # inputs that are patterns, if `paths` is set
    fan_outs: tuple[FanOutItems, ...] = ()  # fan-outs over patterns
    removed: frozenset[str] = NO_PATHS  # paths of temporary outputs that are not compared
    kept: tuple[KeptMeasure, ...] = ()  # steps that it keeps of earlier attempts
    alike: int = 0  # measures of the same number differ in their subjects only; 0: in more

    @property
    def is_recorded(self) -> bool:
        """Whether its dependencies were recorded, and those of the steps that it keeps."""
        return self.recorded and all(part.recorded for part in self.kept)

    @property
    def implicit_files(self) -> tuple[FileContent, ...]:
        """All files that are compared because commands named them: those of kept steps too."""
        return (*self.implicit, *(each for part in self.kept for each in part.implicit))

    @property
    def declares(self) -> bool:
        """Return whether the job declares files now."""
        return bool(self.made.now.body.inputs or self.made.now.body.outputs)

    def inside(self, path: str) -> tuple[str, ...]:
        """Return its outputs inside a folder that it reads."""
        return written_inside(path, self.written) if self.written else ()


class DeclaredFile(NamedTuple):
    """A declared file of an attempt: its kind (INPUT or OUTPUT), name, current request and recorded content."""

    kind: ReasonKind
    name: str
    wanted: FileRequest
    was: FileContent | None
    removed: bool = False  # a temporary output, or within one, that was removed

    def seen(self, contents: FileContents) -> FileContent:
        """Return the current content; of a removed file, the recorded one."""
        wanted = self.wanted
        if self.removed and self.was is not None:
            return self.was
        if wanted.pattern is not None or wanted.excluded:
            return replace(contents.sets[wanted], name=self.name)
        if wanted.mtime_size is None:
            return FileContent(self.name, wanted.path, contents.content[wanted.path])
        return FileContent(self.name, wanted.path, *contents.mtime_paths[wanted.path, wanted.mtime_size])


def declared_files(one: AttemptMeasure) -> Iterator[DeclaredFile]:
    """Yield the declared files of an attempt; with their current paths if these may differ from the recorded ones."""
    recorded = {ReasonKind.INPUT: one.prints.inputs, ReasonKind.OUTPUT: one.prints.outputs}
    removed = one.removed
    for kind, paths in zip(recorded, one.paths or (None, None), strict=True):
        if paths is None:
            for was in recorded[kind]:
                wanted = _file_request(one, kind, was.name, was.path, _recorded_mtime_size(was))
                yield DeclaredFile(kind, was.name, wanted, was, bool(removed) and is_within(was.path, removed))
            continue
        earlier = {content.name: content for content in recorded[kind]}
        for name, path in paths.items():
            known = earlier.get(name)
            mtime_size = one.made.now.body.by_mtime.get(name) if known is None else _recorded_mtime_size(known)
            wanted = _file_request(one, kind, name, path, mtime_size)
            yield DeclaredFile(kind, name, wanted, known, bool(removed) and is_within(path, removed))


def _recorded_mtime_size(was: FileContent) -> int | None:
    return None if was.by == "content" else 0


def _file_request(one: AttemptMeasure, kind: ReasonKind, name: str, path: str, mtime_size: int | None) -> FileRequest:
    """Return what to read. A job's own outputs are excluded from folders and patterns that it reads."""
    if kind is ReasonKind.OUTPUT:
        return FileRequest(path, mtime_size)
    if (pattern := one.patterns.get(name)) is not None:
        return FileRequest(path, mtime_size, pattern, tuple(one.paths[1].values()) if one.paths else ())
    return FileRequest(path, mtime_size, excluded=one.inside(path) if mtime_size is None else ())
