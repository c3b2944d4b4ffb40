"""The tree that every spec format is read into: plain data, the place of each part, and the problems found."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import PurePath
from typing import Any, NamedTuple

import msgspec

from rekindle.domain.errors import SpecError, SpecProblem

ScalarValue = str | int | float | bool | None


class ScalarNode(NamedTuple):
    """A value, and the text as written (`1.10` stays `1.10` where a text is wanted)."""

    value: ScalarValue
    text: str
    place: SourcePlace


class ListNode(msgspec.Struct):
    """A list."""

    place: SourcePlace
    items: list[Node] = msgspec.field(default_factory=list)


class MappingEntry(NamedTuple):
    """The place of a key, and its value."""

    place: SourcePlace
    node: Node


class MappingNode(msgspec.Struct):
    """A mapping with text keys, in the order of the file."""

    place: SourcePlace
    entries: dict[str, MappingEntry] = msgspec.field(default_factory=dict)

    def get(self, key: str) -> Node | None:
        """Return the value of `key`, or None if the key is absent."""
        entry = self.entries.get(key)
        return entry.node if entry else None


Node = ScalarNode | ListNode | MappingNode

MAX_DEPTH = 64
"""Nesting depth of lists and mappings. The limit keeps recursive readers from overflowing the stack."""


def describe(node: Node) -> str:
    """Describe a node for a message: a scalar as written, any other node by its kind."""
    if isinstance(node, ScalarNode):
        if node.value is None:
            return "nothing"
        text = repr(node.text) if isinstance(node.value, str) else node.text
        return text if len(text) <= 80 else text[:77] + "..."
    kind = "list" if isinstance(node, ListNode) else "mapping"
    return f"a {kind}" if _is_filled(node) else f"an empty {kind}"


def _is_filled(node: ListNode | MappingNode) -> bool:
    return bool(node.items if isinstance(node, ListNode) else node.entries)


_WRITTEN = {None: "null", True: "true", False: "false"}


def _number(value: int | float) -> str:
    """Return the text of a number, or its magnitude if the number is too long to write."""
    return str(value) if isinstance(value, float) or value.bit_length() < 1000 else f"2**{value.bit_length()}"


def from_python(value: object, place: SourcePlace, problems: Problems, depth: int = 0) -> Node:
    """Return the tree of Python data. Other objects are reported and become null."""
    if depth > MAX_DEPTH:
        problems.add(place, f"lists or mappings nested more than {MAX_DEPTH} deep")
        return ScalarNode(None, "null", place)
    if isinstance(value, PurePath):
        value = str(value)
    if isinstance(value, date):
        value = value.isoformat()
    if isinstance(value, str):
        text = checked_text(str(value), place, problems)
        return ScalarNode(text, text, place)
    if value is None or isinstance(value, bool):
        return ScalarNode(value, _WRITTEN[value], place)
    if isinstance(value, int | float):  # convert subclasses such as IntEnum and numpy.float64
        plain = int(value) if isinstance(value, int) else float(value)
        return ScalarNode(plain, _number(plain), place)
    if isinstance(value, Mapping):
        return _table(value, place, problems, depth)
    if isinstance(value, list | tuple | range):
        nodes = [from_python(item, place.at(index), problems, depth + 1) for index, item in enumerate(value)]
        return ListNode(place, nodes)
    if depth < MAX_DEPTH and callable(plain_of := getattr(value, "tolist", None)):  # numpy, pandas
        return from_python(plain_of(), place, problems, depth + 1)
    problems.add(
        place,
        f"{type(value).__name__} is not plain data: {' '.join(repr(value).split()):.60}",
        "texts, numbers, true, false, null, lists and mappings are",
    )
    problems.suppress(place)
    return ScalarNode(None, "null", place)


def _table(value: Mapping[Any, Any], place: SourcePlace, problems: Problems, depth: int) -> MappingNode:
    table = MappingNode(place)
    for key, item in value.items():
        inside = place.at(key)
        if isinstance(key, str):
            checked_text(key, inside, problems)
            table.entries[key] = MappingEntry(inside, from_python(item, inside, problems, depth + 1))
        else:
            problems.add(inside, f"the key {key!r:.60} is not a text")
    return table


def checked_text(text: str, place: SourcePlace, problems: Problems) -> str:
    """Return `text`. An unpaired surrogate, which no file can hold, is reported and becomes a question mark."""
    try:
        text.encode()
    except UnicodeEncodeError:
        problems.add(place, f"not a valid text: {text!r:.60}", "it holds half of a surrogate pair")
        return text.encode(errors="replace").decode()
    return text


_MAX_REPORTED = 200
"""Problems that are reported at most."""


class SourcePlace(NamedTuple):
    """A position in a spec: line and column from 1, or 0 and a path of keys if the line is unknown."""

    line: int = 0
    column: int = 0
    path: str = ""

    def at(self, step: object) -> SourcePlace:
        """Return the place of a key or position below this one, known by its path only."""
        return self._replace(path=f"{self.path}.{step}" if self.path else str(step))


class PlacedText(NamedTuple):
    """A text and its place."""

    text: str
    place: SourcePlace


class Problems:
    """Collects the distinct problems of one spec."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._found: dict[SpecProblem, None] = {}
        self._suppressed: set[SourcePlace] = set()
        self._added = 0

    def add(self, place: SourcePlace, message: str, hint: str = "") -> None:
        """Add a problem.

        If the line is unknown, the message begins with the path of keys. Suppressed places are ignored.
        """
        self._added += 1
        if place in self._suppressed:
            return
        if not place.line and place.path:
            message = f"{place.path}: {message}"
        self._found[SpecProblem(place.line, place.column, message, hint)] = None

    def suppress(self, place: SourcePlace) -> None:
        """Ignore further problems at a place that was reported and holds a null as a substitute."""
        if place.path:
            self._suppressed.add(place)

    def __len__(self) -> int:
        return self._added

    def raise_any(self) -> None:
        """Raise SpecError with all problems, if there are any."""
        if not self._found:
            return
        found = sorted(self._found)
        if len(found) > _MAX_REPORTED:
            more = SpecProblem(found[-1].line, found[-1].column, f"and {len(found) - _MAX_REPORTED} more problems")
            found = [*found[:_MAX_REPORTED], more]
        raise SpecError(self.path, found)
