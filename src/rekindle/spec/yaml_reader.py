"""YAML text to a tree with the place of every key and value.

libyaml tells events; the tree is built from them without recursion, so that no nesting overflows anything. An alias
is the very node of its anchor, not a copy of it; how large the tree would be if all were written out is bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import yaml

from rekindle.spec.nodes import MAX_DEPTH, Entry, Items, Node, Scalar, ScalarValue, Table
from rekindle.spec.problems import Place, Problems
from rekindle.spec.scalars import resolve_plain

_READER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PREFIX = "tag:yaml.org,2002:"
_MERGE = "<<"
_MOST_EXPANDED = 2_000_000
"""Nodes that a file may stand for with every alias written out."""


class _Unusable(Exception):
    """A problem after which the rest of the file cannot be told."""

    def __init__(self, place: Place, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.place, self.message, self.hint = place, message, hint


def read_yaml(text: str, problems: Problems) -> Node | None:
    """The tree of one YAML document; None: it is empty, or cannot be read (then there is a problem)."""
    builder = _Builder(problems)
    try:
        for event in yaml.parse(text, Loader=_READER):
            builder.take(event)
    except _Unusable as error:
        problems.add(error.place, error.message, error.hint)
        return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problems.add(_place(mark), f"not YAML: {error.problem or error.context}", _SYNTAX.get(error.problem or "", ""))
        return None
    except yaml.reader.ReaderError as error:
        problems.add(_place_of_offset(text, error.position), f"not YAML: {error.reason}")
        return None
    return builder.root


_SYNTAX = {
    "found a tab character that violates indentation": "indent with spaces, not with tabs",
    "found character that cannot start any token": "indent with spaces, not tabs; quote texts that begin with @ or `",
    "mapping values are not allowed in this context": "a text that holds `: ` must be quoted",
    "did not find expected ',' or ']'": "a list that was opened with [ is not closed",
    "did not find expected ',' or '}'": "a mapping that was opened with { is not closed",
}


class _Mark(Protocol):
    """Where an event begins, counted from 0."""

    line: int
    column: int


def _place(mark: _Mark | None) -> Place:
    return Place(mark.line + 1, mark.column + 1) if mark else Place()


def _place_of_offset(text: str, offset: int) -> Place:
    """libyaml's reader counts bytes."""
    before = text.encode()[:offset].decode(errors="ignore")
    return Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


class _Open:
    """A list or mapping that is being filled."""

    __slots__ = ("anchor", "key", "merged", "merges", "node", "size")

    def __init__(self, node: Items | Table, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.size = 1
        self.key: tuple[str, Place] | None = None  # of a mapping: read, and its value not yet
        self.merges = False  # that key is `<<`
        self.merged: list[tuple[Place, Node]] = []  # what `<<` names, in order


class _Builder:
    """Takes events, makes the tree."""

    def __init__(self, problems: Problems) -> None:
        self.root: Node | None = None
        self._problems = problems
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._documents = 0
        self._takers: dict[type, Callable[[Any], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.SequenceStartEvent: self._start,
            yaml.MappingStartEvent: self._start,
            yaml.SequenceEndEvent: self._end,
            yaml.MappingEndEvent: self._end,
            yaml.DocumentStartEvent: self._document,
        }

    def take(self, event: yaml.Event) -> None:
        """One event, in the order of the file."""
        taker = self._takers.get(type(event))
        if taker:
            taker(event)

    def _document(self, event: yaml.DocumentStartEvent) -> None:
        self._documents += 1
        if self._documents > 1:
            place = _place(event.start_mark)
            raise _Unusable(place, "a second document begins here", "a spec is one document: take the `---` out")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        place = _place(event.start_mark)
        scalar = Scalar(self._value(event, place), event.value, place)
        opened = self._open[-1] if self._open else None
        if opened and isinstance(opened.node, Table) and opened.key is None:
            opened.key = (scalar.text, place)  # a key is its text: `1: x` is the key "1"
            opened.merges = scalar.text == _MERGE and bool(event.implicit[0])
            self._remember(event.anchor, scalar, 1)
        else:
            self._put(scalar, event.anchor, 1)

    def _value(self, event: yaml.ScalarEvent, place: Place) -> ScalarValue:
        tag: str | None = event.tag
        if tag is None or tag == "!":
            return resolve_plain(event.value) if event.implicit[0] else str(event.value)
        name = tag.removeprefix(_PREFIX)
        if name == "str":
            return str(event.value)
        if name in _TAGGED and tag.startswith(_PREFIX):
            value = resolve_plain(event.value)
            if name == "float" and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            if isinstance(value, _TAGGED[name]) and (name == "bool" or not isinstance(value, bool)):
                return value
        shown = f"!!{name}" if tag.startswith(_PREFIX) else tag
        self._problems.add(
            place, f"the tag {shown} cannot be used for {event.value!r:.60}", "write plain data without tags"
        )
        return str(event.value)

    def _alias(self, event: yaml.AliasEvent) -> None:
        place = _place(event.start_mark)
        if event.anchor not in self._anchors:
            inside = any(opened.anchor == event.anchor for opened in self._open)
            what = "is inside of what it names" if inside else "names no anchor above it"
            raise _Unusable(place, f"the alias *{event.anchor} {what}")
        node, size = self._anchors[event.anchor]
        opened = self._open[-1]
        if isinstance(opened.node, Table) and opened.key is None:
            if not isinstance(node, Scalar):
                raise _Unusable(place, "a key must be a text")
            opened.key = (node.text, place)
            return
        if isinstance(node, Scalar):
            node = node._replace(place=place)
        self._put(node, None, size)

    def _start(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent) -> None:
        place = _place(event.start_mark)
        opened = self._open[-1] if self._open else None
        if opened and isinstance(opened.node, Table) and opened.key is None:
            raise _Unusable(place, "a key must be a text", "quote a text that begins with [, { or `- `")
        if len(self._open) >= MAX_DEPTH:
            raise _Unusable(place, f"more than {MAX_DEPTH} lists or mappings inside one another")
        is_list = isinstance(event, yaml.SequenceStartEvent)
        if event.tag not in (None, "!", _PREFIX + ("seq" if is_list else "map")):
            self._problems.add(place, f"the tag {event.tag} cannot be used", "write plain data without tags")
        self._open.append(_Open(Items(place) if is_list else Table(place), event.anchor))

    def _end(self, event: yaml.SequenceEndEvent | yaml.MappingEndEvent) -> None:
        opened = self._open.pop()
        for place, source in opened.merged:
            self._merge(opened.node, place, source)
        self._put(opened.node, opened.anchor, opened.size, _place(event.start_mark))

    def _put(self, node: Node, anchor: str | None, size: int, end: Place | None = None) -> None:
        """Into the list or mapping that is open, or as the root."""
        self._remember(anchor, node, size)
        if not self._open:
            self.root = node
            return
        opened = self._open[-1]
        opened.size += size
        if opened.size > _MOST_EXPANDED and len(self._anchors) > 0:
            raise _Unusable(end or node.place, "aliases make this stand for too much", "write less with each alias")
        if isinstance(opened.node, Items):
            opened.node.items.append(node)
        elif opened.key is not None:
            (key, place), opened.key = opened.key, None
            if opened.merges:
                opened.merges = False
                opened.merged.append((place, node))
            else:
                self._enter(opened.node, key, Entry(place, node))

    def _remember(self, anchor: str | None, node: Node, size: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = node, size

    def _enter(self, table: Table, key: str, entry: Entry) -> None:
        first = table.entries.get(key)
        if first is None:
            table.entries[key] = entry
            return
        add_duplicate(self._problems, key, first.place, entry.place)

    def _merge(self, table: Items | Table, place: Place, source: Node) -> None:
        """`<<: *base` or `<<: [*a, *b]`: keys that the mapping does not have itself; of two, the earlier's."""
        tables = source.items if isinstance(source, Items) else [source]
        for one in tables:
            if not (isinstance(one, Table) and isinstance(table, Table)):
                self._problems.add(place, "`<<` takes a mapping, or a list of mappings", "as in `<<: *base`")
                return
            for key, entry in one.entries.items():
                table.entries.setdefault(key, entry)


_TAGGED: dict[str, type | tuple[type, ...]] = {"int": int, "float": float, "bool": bool, "null": type(None)}


def add_duplicate(problems: Problems, key: str, first: Place, second: Place) -> None:
    """Tell that a key stands twice in one mapping, at the second place and naming the first."""
    where = f"line {first.line}, column {first.column}" if first.line else "above"
    problems.add(second, f"the key {key!r} is there already", f"first at {where}; remove one of the two")
