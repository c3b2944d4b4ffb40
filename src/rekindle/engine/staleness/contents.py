"""Read what measured files, functions and environments contain now. Needs no store; can run in any thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from rekindle.domain.changes.fingerprints import ABSENT, ComparedBy, EnvironmentPart, FileContent, FileRecord
from rekindle.files.dependencies import ProgramDigests, distribution_version, interpreter
from rekindle.files.digests import FileReader, file_stat, is_settled, same_stat, text_digest
from rekindle.files.sources import CodeDigester, search_path

FunctionSet = tuple[tuple[str, ...], str]
"""Functions ("module:function"), and the project folder in which they are looked up."""

MtimePath = tuple[str, int]
"""A path, and the size in bytes from which its content is identified by size and modification time."""


class EnvironmentLookup(NamedTuple):
    """A part of the environment; for a program, also where to look it up."""

    part: EnvironmentPart
    path: str = ""  # PATH
    directory: str = ""  # the project's folder


class FileRequest(msgspec.Struct, frozen=True):
    """The content of a path (see Reader.content) or, with `items`, the files that a pattern matches
    (Reader.matched)."""

    path: str  # absolute
    mtime_size: int | None = None
    pattern: str | None = None
    excluded: tuple[str, ...] = ()
    items: bool = False
    skip: frozenset[str] = frozenset()
    shallow: bool = False


ReadProgress = Callable[[int, int], None]
"""Called with the number of bytes read and the number of files left."""

_THREADS_FROM = 8  # with fewer files, starting threads costs more than it saves


class ContentRequests(msgspec.Struct, frozen=True):
    """Everything to read. Paths are absolute."""

    content: Collection[str] = ()
    mtime_paths: Collection[MtimePath] = ()
    code: Collection[FunctionSet] = ()
    sets: Collection[FileRequest] = ()  # matches of patterns, and folders with exclusions
    environment: Collection[EnvironmentLookup] = ()


class FileContents(msgspec.Struct, frozen=True):
    """The digests found (see domain.changes.fingerprints), and the files that were read, for the digest cache."""

    content: Mapping[str, str] = msgspec.field(default_factory=dict)
    mtime_paths: Mapping[MtimePath, tuple[str, ComparedBy]] = msgspec.field(default_factory=dict)
    code: Mapping[FunctionSet, Mapping[str, str]] = msgspec.field(
        default_factory=dict
    )  # see domain.changes.fingerprints
    seen: tuple[FileRecord, ...] = ()
    sets: Mapping[FileRequest, FileContent] = msgspec.field(default_factory=dict)
    environment: Mapping[EnvironmentLookup, str] = msgspec.field(default_factory=dict)


def read_contents(
    requests: ContentRequests, known: Mapping[str, FileRecord], progress: ReadProgress | None = None
) -> FileContents:
    """Read everything requested. Files that look as they did in `known` are not read again. An exception raised by
    `progress` ends the reading."""
    content: dict[str, str] = {}
    unread: list[FileRequest] = []
    for path in requests.content:
        was = known.get(path)
        now = file_stat(path) if was is not None else None
        if was is None or now is None or not (same_stat(was, now) and is_settled(was, was.taken_ns)):
            unread.append(FileRequest(path))
        else:
            content[path] = was.digest
    unread += [FileRequest(path, mtime_size) for path, mtime_size in requests.mtime_paths]
    unread += requests.sets
    found, seen = _read_files(unread, known, progress) if unread else ({}, ())
    plain = {wanted: one for wanted, one in found.items() if wanted.pattern is None and not wanted.excluded}
    content |= {wanted.path: one.digest for wanted, one in plain.items() if wanted.mtime_size is None}
    mtime_paths = {(w.path, w.mtime_size): (one.digest, one.by) for w, one in plain.items() if w.mtime_size is not None}
    sets = {wanted: one for wanted, one in found.items() if wanted not in plain}
    sources, reader = CodeDigester(search_path()), FileReader(known.values())
    code = {one: sources.code(*one) for one in requests.code}
    programs = ProgramDigests(reader)
    environment = {one: _environment_value(one, programs) for one in requests.environment}
    return FileContents(content, mtime_paths, code, (*seen, *reader.fresh()), sets, environment)


def _environment_value(one: EnvironmentLookup, programs: ProgramDigests) -> str:
    if one.part.kind == "program":
        return programs.value(one.part.name, one.path, one.directory)
    return interpreter() if one.part.kind == "interpreter" else distribution_version(one.part.name)


def _read_files(
    wanted: Sequence[FileRequest], known: Mapping[str, FileRecord], progress: ReadProgress | None
) -> tuple[dict[FileRequest, FileContent], tuple[FileRecord, ...]]:
    """Read each path, several at a time. Hashing releases the interpreter lock."""
    read, left = 0, len(wanted)

    def count(more: int) -> None:
        nonlocal read
        read += more
        if progress is not None:
            progress(read, left)

    def one(each: FileRequest) -> FileContent:
        nonlocal left
        if each.items and each.pattern is not None:
            content = reader.matched(
                "", each.path, each.pattern, each.mtime_size, count, skip=each.skip, shallow=each.shallow
            )
        else:
            content = reader.content("", each.path, each.mtime_size, count, each.pattern, each.excluded)
        left -= 1
        return content

    reader = FileReader(known.values())
    if len(wanted) < _THREADS_FROM:
        return {each: one(each) for each in wanted}, reader.fresh()
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=(os.cpu_count() or 1) + 1) as pool:
        contents = list(pool.map(one, wanted))
    return dict(zip(wanted, contents, strict=True)), reader.fresh()


class VariableDigests(msgspec.Struct):
    """Digests of outer variables, each computed once."""

    environment: Mapping[str, str]
    known: dict[str, str] = msgspec.field(default_factory=dict)

    def digest(self, name: str) -> str:
        """Return the digest of a variable; ABSENT if it is not set."""
        found = self.known.get(name)
        if found is None:
            value: Any = self.environment.get(name)
            found = self.known[name] = ABSENT if value is None else text_digest(value)
        return found
