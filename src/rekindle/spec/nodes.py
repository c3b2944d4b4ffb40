"""The tree that every kind of spec file is read into: plain data, and where each part of it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, NamedTuple

from rekindle.spec.problems import Place, Problems

ScalarValue = str | int | float | bool | None


class Scalar(NamedTuple):
    """One value, and the text it was written as (`1.10` stays `1.10` where a text is wanted)."""

    value: ScalarValue
    text: str
    place: Place


@dataclass(slots=True)
class Items:
    """A list."""

    place: Place
    items: list[Node] = field(default_factory=list)


class Entry(NamedTuple):
    """The place of a key, and what it holds."""

    place: Place
    node: Node


@dataclass(slots=True)
class Table:
    """A mapping with text keys, in the order of the file."""

    place: Place
    entries: dict[str, Entry] = field(default_factory=dict)

    def get(self, key: str) -> Node | None:
        """What `key` holds; None: it is not there."""
        entry = self.entries.get(key)
        return entry.node if entry else None


Node = Scalar | Items | Table

MAX_DEPTH = 64
"""Lists and mappings inside one another; no spec needs more, and no reader can be made to overflow."""


def describe(node: Node) -> str:
    """What a node is, for a message: a scalar as it was written, anything else by its kind."""
    if isinstance(node, Scalar):
        if node.value is None:
            return "nothing"
        text = repr(node.text) if isinstance(node.value, str) else node.text
        return text if len(text) <= 80 else text[:77] + "..."
    return "a list" if isinstance(node, Items) else "a mapping"


_WRITTEN = {None: "null", True: "true", False: "false"}


def _number(value: int | float) -> str:
    """The text of a number; of one too long to be written, how large it is."""
    return str(value) if isinstance(value, float) or value.bit_length() < 1000 else f"2**{value.bit_length()}"


def from_python(value: object, place: Place, problems: Problems, depth: int = 0) -> Node:
    """The tree of Python data. What is not plain data is a problem, and stands as null."""
    if depth > MAX_DEPTH:
        problems.add(place, f"more than {MAX_DEPTH} lists or mappings inside one another")
        return Scalar(None, "null", place)
    if isinstance(value, PurePath):
        value = str(value)
    if isinstance(value, str):
        text = checked_text(str(value), place, problems)
        return Scalar(text, text, place)
    if value is None or isinstance(value, bool):
        return Scalar(value, _WRITTEN[value], place)
    if isinstance(value, int | float):  # plain, also where it is an IntEnum or a float of another library
        plain = int(value) if isinstance(value, int) else float(value)
        return Scalar(plain, _number(plain), place)
    if isinstance(value, Mapping):
        return _table(value, place, problems, depth)
    if isinstance(value, list | tuple | range):
        nodes = [from_python(item, place.at(index), problems, depth + 1) for index, item in enumerate(value)]
        return Items(place, nodes)
    if depth < MAX_DEPTH and callable(plain_of := getattr(value, "tolist", None)):  # of numpy, pandas and their like
        return from_python(plain_of(), place, problems, depth + 1)
    problems.add(
        place,
        f"{type(value).__name__} is not plain data: {value!r:.60}",
        "texts, numbers, true, false, null, lists and mappings are",
    )
    problems.void(place)
    return Scalar(None, "null", place)


def _table(value: Mapping[Any, Any], place: Place, problems: Problems, depth: int) -> Table:
    table = Table(place)
    for key, item in value.items():
        inside = place.at(key)
        if isinstance(key, str):
            checked_text(key, inside, problems)
            table.entries[key] = Entry(inside, from_python(item, inside, problems, depth + 1))
        else:
            problems.add(inside, f"the key {key!r:.60} is not a text")
    return table


def checked_text(text: str, place: Place, problems: Problems) -> str:
    """`text`; half a surrogate pair, which no file can hold, is a problem and becomes a question mark."""
    try:
        text.encode()
    except UnicodeEncodeError:
        problems.add(place, f"not a valid text: {text!r:.60}", "it holds half of a surrogate pair")
        return text.encode(errors="replace").decode()
    return text
