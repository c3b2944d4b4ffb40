"""Read TOML text into a tree. The standard library reports no places, so a scan finds the lines of the keys."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from rekindle.spec.nodes import (
    MAX_DEPTH,
    ListNode,
    MappingEntry,
    MappingNode,
    Node,
    Problems,
    ScalarNode,
    SourcePlace,
    from_python,
)

_Path = tuple[str | int, ...]
_Places = Mapping[_Path, tuple[SourcePlace, SourcePlace]]

_WHERE = re.compile(r"(?P<message>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL)
_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_HEADER = re.compile(rf"[ \t]*(?P<open>\[\[?)[ \t]*(?P<path>{_DOTTED})[ \t]*\]")
_ASSIGNMENT = re.compile(rf"[ \t]*(?P<path>{_DOTTED})[ \t]*=[ \t]*")
_PART = re.compile(_KEY)


_HINT = 'texts are in quotes, as in run = "make"; a table begins with [jobs.NAME]'


def read_toml(text: str, problems: Problems) -> Node | None:
    """Return the tree of a TOML document, or None if the text is invalid (then a problem is reported).

    A key on its own line has its line and column. Parts of an inline table or list have the place of their key.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _WHERE.fullmatch(str(error))
        last = text.count("\n") + 1
        place = SourcePlace(int(found["line"] or last), int(found["column"] or 1)) if found else SourcePlace()
        message = found["message"] if found else str(error)
        problems.add(place, f"not TOML: {message[:1].lower()}{message[1:]}", _HINT)
        return None
    except RecursionError:
        problems.add(SourcePlace(), f"lists or mappings nested more than {MAX_DEPTH} deep")
        return None
    except ValueError:  # an integer with thousands of digits
        problems.add(SourcePlace(), "not TOML that can be read: a number is too long")
        return None
    return _placed(data, (), SourcePlace(1, 1), _places(text), problems)


def _placed(value: Any, path: _Path, near: SourcePlace, places: _Places, problems: Problems) -> Node:
    """Return the tree of `value`. A part that the scan did not find has the place `near`."""
    if len(path) > MAX_DEPTH:
        return from_python(value, near, problems, len(path))
    if isinstance(value, Mapping):
        table = MappingNode(near)
        for name, item in value.items():
            inside = (*path, name)
            key_place, value_place = places.get(inside, (near, near))
            table.entries[name] = MappingEntry(key_place, _placed(item, inside, value_place, places, problems))
        return table
    if isinstance(value, list):
        nodes = []
        for index, item in enumerate(value):
            inside = (*path, index)
            nodes.append(_placed(item, inside, places.get(inside, (near, near))[1], places, problems))
        return ListNode(near, nodes)
    if isinstance(value, str | bool | int | float):
        return from_python(value, near, problems)
    problems.add(near, f"a date or time cannot be used: {value}", "quote it")
    return ScalarNode(str(value), str(value), near)


def _places(text: str) -> dict[_Path, tuple[SourcePlace, SourcePlace]]:
    """Return the places of keys and values by their path.

    Best effort: a line of a multi-line text may look like a key. Its path is then absent from the data, or was set by
    an earlier line.
    """
    places: dict[_Path, tuple[SourcePlace, SourcePlace]] = {}
    tables: dict[_Path, int] = {}  # list of tables -> position of its last table
    base: _Path = ()
    for number, line in enumerate(text.split("\n"), 1):
        header = _HEADER.match(line)
        if header:
            place = SourcePlace(number, header.start("open") + 1)
            path = _resolved(_parts(header["path"]), tables)
            if header["open"] == "[[":
                places.setdefault(path, (place, place))
                tables[path] = tables.get(path, -1) + 1
                path = (*path, tables[path])
            places.setdefault(path, (place, place))
            base = path
            continue
        assignment = _ASSIGNMENT.match(line)
        if assignment:
            place = SourcePlace(number, assignment.start("path") + 1)
            path = base + _parts(assignment["path"])
            places.setdefault(path, (place, SourcePlace(number, assignment.end() + 1)))
    return places


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part[1:-1] if part[0] in "\"'" else part for part in _PART.findall(dotted))


def _resolved(path: tuple[str, ...], tables: Mapping[_Path, int]) -> _Path:
    """Insert list positions: `jobs.a.steps.env` in the second `[[jobs.a.steps]]` is `jobs.a.steps.1.env`."""
    resolved: _Path = ()
    for index, part in enumerate(path):
        resolved = (*resolved, part)
        if index < len(path) - 1 and resolved in tables:
            resolved = (*resolved, tables[resolved])
    return resolved
