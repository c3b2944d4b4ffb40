"""What measured files hold now, and what functions are made of: no store, no transaction, in any thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from rekindle.domain.changes.prints import By, Content, FileSeen, Part
from rekindle.files.digests import Look, look, settled
from rekindle.files.environment import Programs, interpreter, version
from rekindle.files.reading import Reader
from rekindle.files.sources import Sources, search_path

Functions = tuple[tuple[str, ...], str]
"""Functions ("module:function"), and the project's folder in which they are looked for."""

Glance = tuple[str, int]
"""A path, and the least size in bytes from which what is there is told by size and time of modification."""


class Surrounding(NamedTuple):
    """A part of the environment, and for a program where it is looked for."""

    part: Part
    path: str = ""  # PATH
    directory: str = ""  # the project's folder


Apart = tuple[str, tuple[str, ...]]
"""A folder, and the paths inside it that do not count."""

_Wanted = tuple[str, int | None]

Tell = Callable[[int, int], None]
"""Called with how many bytes have been read, and how many files are left."""

_FEW = 8  # files that are read before threads are worth their start


@dataclass(frozen=True, slots=True)
class Requests:
    """What must be looked at. Paths are absolute."""

    content: Collection[str] = ()
    glances: Collection[Glance] = ()
    code: Collection[Functions] = ()
    environment: Collection[Surrounding] = ()
    apart: Collection[Apart] = ()


@dataclass(frozen=True, slots=True)
class Contents:
    """What was found: digests (see domain.prints), and the files that were read for them, for the cache."""

    content: Mapping[str, str] = field(default_factory=dict)
    glances: Mapping[Glance, tuple[str, By]] = field(default_factory=dict)
    code: Mapping[Functions, Mapping[str, str]] = field(default_factory=dict)  # see domain.changes.prints
    seen: tuple[FileSeen, ...] = ()
    environment: Mapping[Surrounding, str] = field(default_factory=dict)
    apart: Mapping[Apart, str] = field(default_factory=dict)


def take(requests: Requests, known: Mapping[str, FileSeen], tell: Tell | None = None) -> Contents:
    """Look at everything; what is in `known` and looks as it did then is not read again. What `tell` raises ends it."""
    content: dict[str, str] = {}
    unread: list[_Wanted] = []
    for path in requests.content:
        was = known.get(path)
        now = look(path) if was is not None else None
        if was is None or now is None or not _still(was, now):
            unread.append((path, None))
        else:
            content[path] = was.digest
    unread += requests.glances
    found, seen = _read(unread, known, tell) if unread else ({}, ())
    content |= {path: one.digest for (path, least), one in found.items() if least is None}
    glances = {(path, least): (one.digest, one.by) for (path, least), one in found.items() if least is not None}
    sources, reader = Sources(search_path()), Reader(known.values())
    code = {one: sources.code(*one) for one in requests.code}
    parts = Programs(reader)
    environment = {one: _part(one, parts) for one in requests.environment}
    apart = {one: reader.content("", one[0], skip=one[1]).digest for one in requests.apart}
    return Contents(content, glances, code, (*seen, *reader.fresh()), environment, apart)


def _part(one: Surrounding, programs: Programs) -> str:
    if one.part.kind == "program":
        return programs.value(one.part.name, one.path, one.directory)
    return interpreter() if one.part.kind == "interpreter" else version(one.part.name)


def _still(was: FileSeen, now: Look) -> bool:
    same = was.mtime_ns == now.mtime_ns and was.size == now.size and was.inode == now.inode and not now.folder
    return same and settled(was.mtime_ns, was.taken_ns)


def _read(
    wanted: Sequence[_Wanted], known: Mapping[str, FileSeen], tell: Tell | None
) -> tuple[dict[_Wanted, Content], tuple[FileSeen, ...]]:
    """What is at each path, several at a time: hashing does not hold the interpreter's lock."""
    read, left = 0, len(wanted)

    def count(more: int) -> None:
        nonlocal read
        read += more
        if tell is not None:
            tell(read, left)

    def one(each: _Wanted) -> Content:
        nonlocal left
        content = reader.content("", *each, count)
        left -= 1
        return content

    reader = Reader(known.values())
    if len(wanted) < _FEW:
        return {each: one(each) for each in wanted}, reader.fresh()
    with ThreadPoolExecutor(max_workers=(os.cpu_count() or 1) + 1) as pool:
        contents = list(pool.map(one, wanted))
    return dict(zip(wanted, contents, strict=True)), reader.fresh()
