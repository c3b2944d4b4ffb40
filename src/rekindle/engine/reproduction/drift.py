"""What differs today from what an attempt ran with, and where the files that it read are to be had."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rekindle.domain.changes.differences import code_reasons, environment_part_reasons
from rekindle.domain.changes.fingerprints import ABSENT, FileContent, written_inside
from rekindle.domain.changes.staleness import file_reason, variable_reasons
from rekindle.domain.changes.template_uses import functions_called
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.engine.reproduction.recorded import find_copies
from rekindle.engine.staleness.contents import ContentRequests, FileRequest, VariableDigests, read_contents
from rekindle.engine.staleness.environments import EnvironmentLookups
from rekindle.files.digests import digest_of
from rekindle.journal.content_store import ContentStore
from rekindle.journal.kept_outputs import read_document

if TYPE_CHECKING:
    from rekindle.engine.reproduction.recorded import RecordedAttempt
    from rekindle.engine.session import Session
    from rekindle.engine.staleness.contents import FileContents, ReadProgress


class CachedOutput(msgspec.Struct, frozen=True):
    """An output of an attempt, a file or a folder, in the content store."""

    attempt: int
    name: str
    digest: str


class SourceFile(msgspec.Struct, frozen=True):
    """A file or folder that the attempt read: `source` is the path that holds its content; None: nothing does.

    `excluded`: absolute paths inside `source` that are not taken: outputs of the attempt itself. `cached`: the content
    is restored from the content store instead."""

    path: str
    source: str | None
    excluded: tuple[str, ...] = ()
    cached: CachedOutput | None = None


class Drift(msgspec.Struct, frozen=True):
    """What differs today from what an attempt ran with.

    `reasons`: what the attempt would be given as it is today. `restored`: what differs today, and is given as it was;
    `cached`: the paths among these whose contents come from the content store."""

    reasons: tuple[Reason, ...]
    restored: tuple[Reason, ...]
    sources: tuple[SourceFile, ...]
    cached: frozenset[str] = frozenset()


class _ReadFile(msgspec.Struct, frozen=True):
    """A file that the attempt read, and how its content is looked up now."""

    was: FileContent
    wanted: FileRequest

    @property
    def is_set(self) -> bool:
        return self.wanted.pattern is not None or bool(self.wanted.excluded)

    def now(self, contents: FileContents) -> FileContent:
        wanted = self.wanted
        if self.is_set:
            return contents.sets[wanted]
        if wanted.mtime_size is None:
            return FileContent("", wanted.path, contents.content[wanted.path])
        return FileContent("", wanted.path, *contents.mtime_paths[wanted.path, wanted.mtime_size])


def compare_with_today(
    session: Session, one: RecordedAttempt, environment: Mapping[str, str], progress: ReadProgress | None = None
) -> Drift:
    """Compare what an attempt read with what is there today. Reads files; writes nothing."""
    files = _files_read(one)
    functions = functions_called(one.body.steps)
    code = [(functions, one.task.directory)] if one.code is not None and functions else []
    lookups = EnvironmentLookups(environment)
    parts = lookups.of(one.code, one.body, one.attempt.overrides, one.task.directory) if one.code else {}
    requests = ContentRequests(
        content=[each.wanted.path for each in files if not each.is_set and each.wanted.mtime_size is None],
        mtime_paths=[(each.wanted.path, size) for each in files if (size := each.wanted.mtime_size) is not None],
        sets=[each.wanted for each in files if each.is_set],
        code=code,
        environment=tuple(parts),
    )
    contents = read_contents(requests, one.known, progress)
    changed = [each for each in files if each.now(contents).digest != each.was.digest]
    held = _held_elsewhere(session, one.store, changed)
    sources = [_source(one, each, contents, held) for each in files]
    lost = [each for each in changed if each.was.digest not in held]
    reasons = [*_file_reasons(lost, contents), *_unstable(one)]
    if code and one.code is not None:
        reasons += code_reasons(one.code, contents.code[code[0]])
    reasons += environment_part_reasons({part.part: (then, contents.environment[part]) for part, then in parts.items()})
    digests = VariableDigests(environment)
    reasons += variable_reasons(one.prints.env, {name: digests.digest(name) for name in one.prints.env})
    given = [each for each in changed if each.was.digest in held]
    restored = [*_file_reasons(given, contents), *_upstream(one)]
    cached = frozenset(each.was.path for each in given if held[each.was.digest].cached)
    return Drift(tuple(reasons), tuple(restored), tuple(sources), cached)


def _files_read(one: RecordedAttempt) -> list[_ReadFile]:
    """Return the files that the attempt read and that existed: declared, named in its commands, items of its fan-outs,
    and outputs of the attempts that it used. Each path is there once."""
    own = tuple(each.path for each in one.prints.outputs)
    upstream = (replace(each.content, name=f"{each.job}.{each.content.name}") for each in one.upstream)
    found: dict[tuple[str, str], _ReadFile] = {}
    for was in (*one.prints.inputs, *_items(one), *upstream):
        pattern = was.matched.pattern if was.matched else None
        if was.digest == ABSENT or not was.compared or was.path in own:
            continue
        mtime_size = None if was.by == "content" else 0
        if was.implicit and pattern is not None:
            wanted = FileRequest(was.path, pattern=pattern, items=True, shallow=True)
        else:
            inside = own if pattern is not None else written_inside(was.path, own)
            wanted = FileRequest(was.path, mtime_size, pattern, inside)
        found.setdefault((was.path, pattern or ""), _ReadFile(was, wanted))
    return list(found.values())


def _items(one: RecordedAttempt) -> Iterator[FileContent]:
    """Yield the files that were items of the attempt's fan-outs and whose contents were recorded."""
    for at, subtasks in one.subtasks.items():
        step = one.body.steps[at].name
        for each in subtasks:
            if each.digest:
                path = os.path.normpath(Path(one.directory, str(json.loads(each.item))))
                yield FileContent(step, path, each.digest)


class _Held(msgspec.Struct, frozen=True):
    """Where a content is that is not in its place any more: at a path, or in the content store."""

    path: str | None = None
    output: CachedOutput | None = None
    cached: bool = False


def _held_elsewhere(session: Session, store: str, changed: Iterable[_ReadFile]) -> dict[str, _Held]:
    """Return, by digest, where a content is that is not in its place any more. All are read, to be sure of it."""
    digests = {each.was.digest for each in changed if each.was.by == "content" and each.was.matched is None}
    contents = ContentStore(store)
    found = {}
    for digest, copies in find_copies(session, digests).items():
        place = next((path for path in copies.paths if digest_of(path) == digest), None)
        if place is not None:
            found[digest] = _Held(place)
        elif (output := _cached_output(contents, copies.attempts, digest)) is not None:
            found[digest] = _Held(output=output, cached=True)
        elif digest_of(contents.path(digest)) == digest:  # of a file within an output
            found[digest] = _Held(contents.path(digest), cached=True)
    return found


def _cached_output(contents: ContentStore, attempts: Iterable[int], digest: str) -> CachedOutput | None:
    """Return an output with this content of one of these attempts, if it is whole in the content store."""
    for attempt in attempts:
        document = read_document(contents, attempt)
        for output in () if document is None else document.outputs:
            files = {each.text for each in output.files if each.kind == "file"}
            if output.digest == digest and all(digest_of(contents.path(each)) == each for each in files):
                return CachedOutput(attempt, output.name, digest)
    return None


def _source(one: RecordedAttempt, each: _ReadFile, contents: FileContents, held: Mapping[str, _Held]) -> SourceFile:
    was, now = each.was, each.now(contents)
    own = tuple(output.path for output in one.prints.outputs)
    if now.digest != was.digest and (found := held.get(was.digest)) is not None:
        return SourceFile(was.path, found.path, cached=found.output)
    return SourceFile(was.path, was.path if now.digest != ABSENT else None, own)


def _file_reasons(files: Iterable[_ReadFile], contents: FileContents) -> list[Reason]:
    found = []
    for each in files:
        now = each.now(contents)
        reason = file_reason(ReasonKind.INPUT, each.was, each.was.path, now.digest, now.matched)
        found += [] if reason is None else [reason]
    return found


def _unstable(one: RecordedAttempt) -> list[Reason]:
    """Return the inputs that changed while the attempt ran: nobody knows which content it read."""
    return [
        Reason(ReasonKind.UNSTABLE, {"name": each.name, "path": each.path})
        for each in one.prints.inputs
        if each.name in one.prints.unstable
    ]


def _upstream(one: RecordedAttempt) -> list[Reason]:
    """Return the needed jobs that have other attempts now: the results of those that the attempt used are given."""
    return [
        Reason(
            ReasonKind.RESULT,
            {"job": each.job, "name": each.name, "before": str(each.then), "after": str(each.now or "reset")},
        )
        for each in one.upstream_changes
    ]
