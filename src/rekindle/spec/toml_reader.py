"""TOML text to a tree. The standard library reads it and tells no places: a scan finds the lines of the keys."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from rekindle.spec.nodes import MAX_DEPTH, Entry, Items, Node, Scalar, Table, from_python
from rekindle.spec.problems import Place, Problems

_Path = tuple[str | int, ...]
_Places = Mapping[_Path, tuple[Place, Place]]

_WHERE = re.compile(r"(?P<message>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL)
_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_HEADER = re.compile(rf"[ \t]*(?P<open>\[\[?)[ \t]*(?P<path>{_DOTTED})[ \t]*\]")
_ASSIGNMENT = re.compile(rf"[ \t]*(?P<path>{_DOTTED})[ \t]*=[ \t]*")
_PART = re.compile(_KEY)


def read_toml(text: str, problems: Problems) -> Node | None:
    """The tree of a TOML document; None: it cannot be read (then there is a problem).

    A key on a line of its own has its line and column; what stands within an inline table or list has its key's."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _WHERE.fullmatch(str(error))
        last = text.count("\n") + 1
        place = Place(int(found["line"] or last), int(found["column"] or 1)) if found else Place()
        message = found["message"] if found else str(error)
        problems.add(place, f"not TOML: {message[:1].lower()}{message[1:]}")
        return None
    except RecursionError:
        problems.add(Place(), f"more than {MAX_DEPTH} lists or mappings inside one another")
        return None
    except ValueError:  # an integer of thousands of digits
        problems.add(Place(), "not TOML that can be read: a number is too long")
        return None
    return _placed(data, (), Place(1, 1), _places(text), problems)


def _placed(value: Any, path: _Path, near: Place, places: _Places, problems: Problems) -> Node:
    """The tree of `value`; what the scan has not found stands where the key above it does."""
    if len(path) > MAX_DEPTH:
        return from_python(value, near, problems, len(path))
    if isinstance(value, Mapping):
        table = Table(near)
        for name, item in value.items():
            inside = (*path, name)
            key_place, value_place = places.get(inside, (near, near))
            table.entries[name] = Entry(key_place, _placed(item, inside, value_place, places, problems))
        return table
    if isinstance(value, list):
        nodes = []
        for index, item in enumerate(value):
            inside = (*path, index)
            nodes.append(_placed(item, inside, places.get(inside, (near, near))[1], places, problems))
        return Items(near, nodes)
    if isinstance(value, str | bool | int | float):
        return from_python(value, near, problems)
    problems.add(near, f"a date or time cannot be used: {value}", "quote it")
    return Scalar(str(value), str(value), near)


def _places(text: str) -> dict[_Path, tuple[Place, Place]]:
    """For keys by their path: where the key stands, and where its value begins. Best effort: a line within a
    text of many lines may look like a key; it stands for none that is in the data, or for one further up."""
    places: dict[_Path, tuple[Place, Place]] = {}
    tables: dict[_Path, int] = {}  # lists of tables: the position of the last
    base: _Path = ()
    for number, line in enumerate(text.split("\n"), 1):
        header = _HEADER.match(line)
        if header:
            place = Place(number, header.start("open") + 1)
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
            place = Place(number, assignment.start("path") + 1)
            path = base + _parts(assignment["path"])
            places.setdefault(path, (place, Place(number, assignment.end() + 1)))
    return places


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part[1:-1] if part[0] in "\"'" else part for part in _PART.findall(dotted))


def _resolved(path: tuple[str, ...], tables: Mapping[_Path, int]) -> _Path:
    """`jobs.a.steps.env` within the second of `[[jobs.a.steps]]` is `jobs.a.steps.1.env`."""
    resolved: _Path = ()
    for index, part in enumerate(path):
        resolved = (*resolved, part)
        if index < len(path) - 1 and resolved in tables:
            resolved = (*resolved, tables[resolved])
    return resolved
