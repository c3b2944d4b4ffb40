"""Compare inputs that are not declared: files that commands name, and the items of fan-outs over patterns.

A file that a job of the workflow writes does not make a job stale that only names the file.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from posixpath import join
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.changes.staleness import compare_matches, file_reason
from rekindle.domain.errors import RekindleError
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.states import State
from rekindle.domain.texts.patterns import glob_base, glob_location, split_glob
from rekindle.domain.texts.substitution import format_word, render_value
from rekindle.engine.staleness.contents import FileContents, FileRequest
from rekindle.files.digests import digest_of_set

if TYPE_CHECKING:
    from rekindle.domain.changes.fingerprints import (
        Baseline,
        FileContent,
        FileFingerprints,
        MatchedFiles,
        MeasuredAttempt,
    )
    from rekindle.domain.subtasks import Subtask
    from rekindle.engine.staleness.definitions import AttemptDefinitions, DefinitionVersion
    from rekindle.store.archive import Snapshot

_CLOCK_SLACK = 0.005
"""Seconds by which a file's time may precede the start of the attempt that wrote it: kernels date files with a coarse
clock."""

_Span = tuple[float, float]


class JobOutputs(msgspec.Struct, frozen=True):
    """The files that attempts of some workflows have written, and when the attempts ran."""

    _paths: Collection[tuple[int, str]] = ()  # (workflow, absolute path)
    _spans: Mapping[int, tuple[_Span, ...]] = msgspec.field(default_factory=dict)  # disjoint and in order

    def by_a_job(self, workflow: int, path: str) -> bool:
        """Return whether a job writes this file, or a folder that contains it."""
        if not self._paths:
            return False
        return any((workflow, str(one)) in self._paths for one in (path, *PurePath(path).parents))

    def leaves(self, workflow: int, was: FileContent) -> bool:
        """Return whether a file that a command names, or any match of a pattern in the command, is compared."""
        if was.matched is not None:
            return any(not self.by_a_job(workflow, path) for _, path in _matched_paths(was, was.matched.files or ()))
        return was.compared and not (was.named == "other" and self.by_a_job(workflow, was.path))

    def during_an_attempt(self, workflow: int, path: str) -> bool:
        """Return whether the last change of the file falls within an attempt."""
        try:
            found = Path(path).stat()
        except OSError:
            return False
        spans = self._spans.get(workflow, ())
        return all(_is_within_span(spans, at) for at in (found.st_mtime, found.st_ctime))


def job_outputs(archive: Snapshot, workflows: Collection[int]) -> JobOutputs:
    """Return the files that attempts of these workflows have written."""
    if not workflows:
        return JobOutputs()
    spans: dict[int, list[_Span]] = {}
    for workflow, started, ended in archive.staleness.spans(workflows):
        known = spans.setdefault(workflow, [])
        if known and started - _CLOCK_SLACK <= known[-1][1]:
            known[-1] = known[-1][0], max(ended, known[-1][1])
        else:
            known.append((started - _CLOCK_SLACK, ended))
    return JobOutputs(archive.staleness.written(workflows), {one: tuple(found) for one, found in spans.items()})


def _is_within_span(spans: tuple[_Span, ...], at: float) -> bool:
    before = bisect_right(spans, (at, float("inf"))) - 1
    return before >= 0 and at <= spans[before][1]


def pattern_request(was: FileContent) -> FileRequest:
    """Request the files that a pattern in a command matches."""
    return FileRequest(was.path, pattern=was.matched.pattern if was.matched else None, items=True, shallow=True)


def named_file_reasons(
    named: Sequence[FileContent],
    workflow: int,
    written: JobOutputs,
    contents: FileContents,
    redefined: bool,
    own: Collection[str],
) -> Iterator[Reason]:
    """Yield INPUT reasons for the files that the commands of an attempt named. If a command was `redefined`, missing
    files are not a reason: the new command may not name them. `own`: the absolute paths of files that do not count as
    matches of a pattern."""
    for was in named:
        if not was.compared:
            continue
        if was.matched is not None:
            yield from _pattern_reasons(was, was.matched, workflow, written, contents, own)
            continue
        reason = file_reason(ReasonKind.INPUT, was, was.path, contents.content[was.path])
        if reason is None or (redefined and reason.detail["after"] is None):
            continue
        made = was.named == "other" and written.during_an_attempt(workflow, was.path)
        if written.leaves(workflow, was) and not made:
            yield reason


def _pattern_reasons(
    was: FileContent,
    matched: MatchedFiles,
    workflow: int,
    written: JobOutputs,
    contents: FileContents,
    own: Collection[str],
) -> Iterator[Reason]:
    """Yield a reason if the files that a pattern matches have changed, except for `own` ones and files that jobs
    write."""
    seen = contents.sets[pattern_request(was)].matched
    if matched.files is None or seen is None or seen.files is None:  # too many files to separate those that jobs write
        return
    before, after = dict(matched.files), dict(seen.files)
    differing = [name for name in {*before, *after} if before.get(name) != after.get(name)]
    for name, path in _matched_paths(was, differing):
        if path in own or written.by_a_job(workflow, path) or written.during_an_attempt(workflow, path):
            before.pop(name, None)
            after.pop(name, None)
    if before != after:
        detail: dict[str, Any] = {"name": was.name, "path": was.path, "implicit": True, "pattern": matched.pattern}
        detail |= {"before": digest_of_set(before) or None, "after": digest_of_set(after) or None}
        yield Reason(ReasonKind.INPUT, detail | compare_matches(before, after))


def _matched_paths(was: FileContent, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield (name, absolute path) of files that a pattern matches. Names are relative if the pattern is."""
    pattern = was.matched.pattern if was.matched else ""
    folder, below = glob_base(was.path, pattern), len(split_glob(pattern)[0])
    return ((name, join(folder, name[below:])) for name in names)


class FanOutItems(msgspec.Struct, frozen=True):
    """The items of a fan-out step of an attempt. `then`: item to the digest of its file; None: not compared."""

    step: str
    wanted: FileRequest
    then: Mapping[str, str | None]
    whole: bool  # the attempt completed: new and missing items are differences too
    gone: frozenset[str]  # items removed while the attempt ran

    def now(self, contents: FileContents) -> dict[str, str]:
        """Return the digests of the files that match now, by path. Items that are not compared have no digest."""
        matched = contents.sets[self.wanted].matched
        files = (matched and matched.files) or {}
        return {name: digest for name, digest in files.items() if name in self.then or name not in self.wanted.skip}

    def reasons(self, contents: FileContents) -> tuple[Reason, ...]:
        """Return the INPUT reason if the items or their files differ from those that the attempt processed."""
        now = self.now(contents)
        before = {}
        for name, digest in self.then.items():
            found = now.get(name)
            if digest is None or (found is None and name in self.gone):
                digest = found  # not compared: counts as equal, even if the file is gone
            if digest is not None:
                before[name] = digest
        if not self.whole:
            before = {name: digest for name, digest in before.items() if name in now}
            now = {name: digest for name, digest in now.items() if name in before}
        if before == now:
            return ()
        detail: dict[str, Any] = {"name": self.step, "path": self.wanted.path}
        detail |= {"before": digest_of_set(before) or None, "after": digest_of_set(now) or None}
        detail |= {"pattern": self.wanted.pattern, "items": True}
        return (Reason(ReasonKind.INPUT, detail | compare_matches(before, now)),)


def fan_out_items(
    archive: Snapshot,
    one: MeasuredAttempt,
    definitions: AttemptDefinitions,
    made: DefinitionVersion,
    recorded: FileFingerprints,
    basis: Baseline | None,
) -> tuple[FanOutItems, ...]:
    """Return the fan-outs over patterns of an attempt whose items were recorded."""
    found = []
    for position, step in enumerate(made.body.steps):
        if step.each is None or step.each.glob is None or step.name not in recorded.made:
            continue
        owner = archive.subtasks.owner(one.attempt, position)
        pattern = _render_pattern(step.each.glob, definitions.scope(one, made, definitions.binding(one)))
        if owner is None or pattern is None:
            continue
        whole = one.state is State.COMPLETED
        subtasks = [each for each in archive.subtasks.of(owner, position) if whole or each.state is State.COMPLETED]
        made_then = recorded.made[step.name]
        own = frozenset(name for name, there in made_then.items() if there)
        then = _recorded_digests(subtasks, own, basis.items.get(step.name) if basis else None)
        skip = own | {name for name, digest in then.items() if digest is None}
        project = definitions.directory(one.workflow)
        directory = one.folder if made.body.workdir == "attempt" and one.folder else project
        wanted = FileRequest(glob_location(directory, pattern), pattern=pattern, items=True, skip=skip)
        found.append(FanOutItems(step.name, wanted, then, whole, frozenset(made_then.keys() - own)))
    return tuple(found)


def _recorded_digests(
    subtasks: list[Subtask], own: frozenset[str], accepted: Mapping[str, str] | None
) -> dict[str, str | None]:
    """Return item to recorded or accepted digest; None: not compared."""
    if accepted is not None:
        return {name: digest or None for name, digest in accepted.items()}
    names = {str(json.loads(one.item)): one.digest for one in subtasks}
    return {name: None if name in own else digest for name, digest in names.items()}


def _render_pattern(text: str, scope: Mapping[str, Any]) -> str | None:
    """Return the pattern with its values filled in; None if it is a list or depends on values of the running job."""
    try:
        value = render_value(text, scope)
    except RekindleError:
        return None
    return None if isinstance(value, list | tuple) else format_word(value)
