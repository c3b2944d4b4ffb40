"""What measured files hold now, and what functions are made of: no store, no transaction, in any thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from rekindle.domain.changes.prints import By, Content, FileSeen, Part
from rekindle.files.digests import look, same_look, settled
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


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is at a path (see Reader.content), or, with `items`, the files that a pattern matches (Reader.matched)."""

    path: str  # absolute
    least: int | None = None
    pattern: str | None = None
    without: tuple[str, ...] = ()
    items: bool = False
    skip: frozenset[str] = frozenset()
    shallow: bool = False


Tell = Callable[[int, int], None]
"""Called with how many bytes have been read, and how many files are left."""

_FEW = 8  # files that are read before threads are worth their start


@dataclass(frozen=True, slots=True)
class Requests:
    """What must be looked at. Paths are absolute."""

    content: Collection[str] = ()
    glances: Collection[Glance] = ()
    code: Collection[Functions] = ()
    sets: Collection[Wanted] = ()  # what patterns match, and folders without a part of them
    environment: Collection[Surrounding] = ()


@dataclass(frozen=True, slots=True)
class Contents:
    """What was found: digests (see domain.prints), and the files that were read for them, for the cache."""

    content: Mapping[str, str] = field(default_factory=dict)
    glances: Mapping[Glance, tuple[str, By]] = field(default_factory=dict)
    code: Mapping[Functions, Mapping[str, str]] = field(default_factory=dict)  # see domain.changes.prints
    seen: tuple[FileSeen, ...] = ()
    sets: Mapping[Wanted, Content] = field(default_factory=dict)
    environment: Mapping[Surrounding, str] = field(default_factory=dict)


def take(requests: Requests, known: Mapping[str, FileSeen], tell: Tell | None = None) -> Contents:
    """Look at everything; what is in `known` and looks as it did then is not read again. What `tell` raises ends it."""
    content: dict[str, str] = {}
    unread: list[Wanted] = []
    for path in requests.content:
        was = known.get(path)
        now = look(path) if was is not None else None
        if was is None or now is None or not (same_look(was, now) and settled(was, was.taken_ns)):
            unread.append(Wanted(path))
        else:
            content[path] = was.digest
    unread += [Wanted(path, least) for path, least in requests.glances]
    unread += requests.sets
    found, seen = _read(unread, known, tell) if unread else ({}, ())
    plain = {wanted: one for wanted, one in found.items() if wanted.pattern is None and not wanted.without}
    content |= {wanted.path: one.digest for wanted, one in plain.items() if wanted.least is None}
    glances = {(w.path, w.least): (one.digest, one.by) for w, one in plain.items() if w.least is not None}
    sets = {wanted: one for wanted, one in found.items() if wanted not in plain}
    sources, reader = Sources(search_path()), Reader(known.values())
    code = {one: sources.code(*one) for one in requests.code}
    programs = Programs(reader)
    environment = {one: _part(one, programs) for one in requests.environment}
    return Contents(content, glances, code, (*seen, *reader.fresh()), sets, environment)


def _part(one: Surrounding, programs: Programs) -> str:
    if one.part.kind == "program":
        return programs.value(one.part.name, one.path, one.directory)
    return interpreter() if one.part.kind == "interpreter" else version(one.part.name)


def _read(
    wanted: Sequence[Wanted], known: Mapping[str, FileSeen], tell: Tell | None
) -> tuple[dict[Wanted, Content], tuple[FileSeen, ...]]:
    """What is at each path, several at a time: hashing does not hold the interpreter's lock."""
    read, left = 0, len(wanted)

    def count(more: int) -> None:
        nonlocal read
        read += more
        if tell is not None:
            tell(read, left)

    def one(each: Wanted) -> Content:
        nonlocal left
        if each.items and each.pattern is not None:
            content = reader.matched(
                "", each.path, each.pattern, each.least, count, skip=each.skip, shallow=each.shallow
            )
        else:
            content = reader.content("", each.path, each.least, count, each.pattern, each.without)
        left -= 1
        return content

    reader = Reader(known.values())
    if len(wanted) < _FEW:
        return {each: one(each) for each in wanted}, reader.fresh()
    with ThreadPoolExecutor(max_workers=(os.cpu_count() or 1) + 1) as pool:
        contents = list(pool.map(one, wanted))
    return dict(zip(wanted, contents, strict=True)), reader.fresh()
