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

    @property
    def is_empty(self) -> bool:
        """Whether nothing is requested."""
        return not (self.content or self.mtime_paths or self.code or self.sets or self.environment)


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


_MOST_SETS = 4096
"""Answers about patterns that a reader keeps."""


class ContentReader:
    """Reads what is requested. Code, programs and matches of patterns are read once for several requests."""

    def __init__(self, progress: ReadProgress | None = None) -> None:
        """An exception raised by `progress` ends the reading."""
        self._progress = progress
        self._sources: CodeDigester | None = None
        self._code: dict[FunctionSet, Mapping[str, str]] = {}
        self._files = FileReader()
        self._programs = ProgramDigests(self._files)
        self._environment: dict[EnvironmentLookup, str] = {}
        self._sets: dict[FileRequest, FileContent] = {}

    def read(self, requests: ContentRequests, known: Mapping[str, FileRecord]) -> FileContents:
        """Read everything requested. Files that look as they did in `known` are not read again."""
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
        unread += [wanted for wanted in requests.sets if wanted not in self._sets]
        found, seen = _read_files(unread, known, self._progress) if unread else ({}, ())
        plain = {wanted: one for wanted, one in found.items() if wanted.pattern is None and not wanted.excluded}
        content |= {wanted.path: one.digest for wanted, one in plain.items() if wanted.mtime_size is None}
        sized = {wanted: one for wanted, one in plain.items() if wanted.mtime_size is not None}
        mtime_paths = {(w.path, w.mtime_size or 0): (one.digest, one.by) for w, one in sized.items()}
        self._sets |= {wanted: one for wanted, one in found.items() if wanted not in plain}
        sets = {wanted: self._sets[wanted] for wanted in requests.sets}
        if len(self._sets) > _MOST_SETS:
            self._sets.clear()
        code = {one: self._code_of(one) for one in requests.code}
        if not self._environment.keys() >= set(requests.environment):
            self._files.know(known.values())
        environment = {one: self._part(one) for one in requests.environment}
        return FileContents(content, mtime_paths, code, (*seen, *self._files.fresh()), sets, environment)

    def _code_of(self, functions: FunctionSet) -> Mapping[str, str]:
        if functions not in self._code:
            if self._sources is None:
                self._sources = CodeDigester(search_path())
            self._code[functions] = self._sources.code(*functions)
        return self._code[functions]

    def _part(self, one: EnvironmentLookup) -> str:
        if one not in self._environment:
            self._environment[one] = _environment_value(one, self._programs)
        return self._environment[one]


def read_contents(
    requests: ContentRequests, known: Mapping[str, FileRecord], progress: ReadProgress | None = None
) -> FileContents:
    """Read everything requested, as a ContentReader does."""
    return ContentReader(progress).read(requests, known)


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
