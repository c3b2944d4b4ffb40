"""Read YAML text into a tree with the place of every key and value.

The tree is built from libyaml's events without recursion, so that deep nesting cannot overflow the stack. An alias is
the node of its anchor, not a copy. The size of the tree with all aliases expanded is bounded.

Unquoted scalars follow the core schema of YAML 1.2 (section 10.3.2 of its specification): `yes`, `no`, `on`, `off`,
`1:30` and `2024-01-01` are texts; `0o17` is 15; `1e3` is a float; `010` is 10.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Protocol

import yaml

from rekindle.spec.nodes import (
    MAX_DEPTH,
    ListNode,
    MappingEntry,
    MappingNode,
    Node,
    Problems,
    ScalarNode,
    ScalarValue,
    SourcePlace,
)

_READER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PREFIX = "tag:yaml.org,2002:"
_MERGE = "<<"
_MAX_EXPANDED = 2_000_000
"""Nodes of a file with every alias expanded."""


class _Unusable(Exception):
    """A problem after which the rest of the file cannot be read."""

    def __init__(self, place: SourcePlace, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.place, self.message, self.hint = place, message, hint


def read_yaml(text: str, problems: Problems) -> Node | None:
    """Return the tree of one YAML document, or None if it is empty or invalid (invalid text is reported)."""
    builder = _TreeBuilder(problems)
    try:
        for event in yaml.parse(text, Loader=_READER):
            builder.take(event)
    except _Unusable as error:
        problems.add(error.place, error.message, error.hint)
        return None
    except yaml.MarkedYAMLError as error:
        _add_syntax_error(error, text, problems)
        return None
    except yaml.reader.ReaderError as error:
        problems.add(_place_of_offset(text, error.position), f"not YAML: {error.reason}")
        return None
    return builder.root


_INDENTATION = "check the indentation: keys of one mapping, and items of one list, begin in the same column"

_SYNTAX = {
    "found a tab character that violates indentation": "indent with spaces, not with tabs",
    "found character that cannot start any token": "indent with spaces, not tabs; quote texts that begin with @ or `",
    "mapping values are not allowed in this context": "a text that holds `: ` must be quoted",
    "did not find expected key": _INDENTATION,
    "did not find expected '-' indicator": _INDENTATION,
    "did not find expected <document start>": _INDENTATION,
    "did not find expected ',' or ']'": "a list that was opened with [ is not closed",
    "did not find expected ',' or '}'": "a mapping that was opened with { is not closed",
}


def _add_syntax_error(error: yaml.MarkedYAMLError, text: str, problems: Problems) -> None:
    """Report an error of the parser at the place where the mistake was made, with a hint."""
    mark = error.problem_mark or error.context_mark
    message, hint = error.problem or error.context or "", _SYNTAX.get(error.problem or "", "")
    lines = text.splitlines()
    before = lines[mark.line][: mark.column] if mark is not None and mark.line < len(lines) else ""
    if error.context in ("while scanning an alias", "while scanning an anchor"):
        mark, message = error.context_mark, "an unquoted * or & begins the name of an alias or anchor"
        hint = 'quote a text that begins with * or &, as in `needs: "*"`'
    elif error.context == "while scanning a quoted scalar" and message.startswith("found unexpected"):
        mark, message, hint = (
            error.context_mark,
            "the quote that begins here is not closed",
            "close it at the text's end",
        )
    elif error.context in _FLOW and before.endswith("$"):
        hint = f'quote a text with ${{…}} within {_FLOW[error.context]}, as in `outputs: {{f: "${{matrix.x}}.txt"}}`'
    elif message == "did not find expected key" and before.rstrip().endswith(('"', "'")):
        hint = "a text ends at the quote before: close every quote above, and quote the whole text"
    problems.add(_place(mark), f"not YAML: {message}", hint)


_FLOW = {"while parsing a flow mapping": "{…}", "while parsing a flow sequence": "[…]"}


class _Mark(Protocol):
    """The position of an event, counted from 0."""

    line: int
    column: int


def _place(mark: _Mark | None) -> SourcePlace:
    return SourcePlace(mark.line + 1, mark.column + 1) if mark else SourcePlace()


def _place_of_offset(text: str, offset: int) -> SourcePlace:
    """Return the place of a byte offset, as libyaml's reader counts."""
    before = text.encode()[:offset].decode(errors="ignore")
    return SourcePlace(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


class _OpenNode:
    """A list or mapping that is being filled."""

    __slots__ = ("anchor", "key", "merged", "merges", "node", "size")

    def __init__(self, node: ListNode | MappingNode, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.size = 1
        self.key: tuple[str, SourcePlace] | None = None  # the key whose value follows, in a mapping
        self.merges = False  # the key is `<<`
        self.merged: list[tuple[SourcePlace, Node]] = []  # values of `<<`, in order


class _TreeBuilder:
    """Builds a tree from events."""

    def __init__(self, problems: Problems) -> None:
        self.root: Node | None = None
        self._problems = problems
        self._open: list[_OpenNode] = []
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._documents = 0
        self._handlers: dict[type, Callable[[Any], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.SequenceStartEvent: self._start,
            yaml.MappingStartEvent: self._start,
            yaml.SequenceEndEvent: self._end,
            yaml.MappingEndEvent: self._end,
            yaml.DocumentStartEvent: self._document,
        }

    def take(self, event: yaml.Event) -> None:
        """Handle the next event of the file."""
        handler = self._handlers.get(type(event))
        if handler:
            handler(event)

    def _document(self, event: yaml.DocumentStartEvent) -> None:
        self._documents += 1
        if self._documents > 1:
            place = _place(event.start_mark)
            raise _Unusable(place, "a second document begins here", "a spec is one document: take the `---` out")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        place = _place(event.start_mark)
        scalar = ScalarNode(self._value(event, place), event.value, place)
        opened = self._open[-1] if self._open else None
        if opened and isinstance(opened.node, MappingNode) and opened.key is None:
            opened.key = (scalar.text, place)  # a key is its text: `1: x` is the key "1"
            opened.merges = scalar.text == _MERGE and bool(event.implicit[0])
            self._remember(event.anchor, scalar, 1)
        else:
            self._put(scalar, event.anchor, 1)

    def _value(self, event: yaml.ScalarEvent, place: SourcePlace) -> ScalarValue:
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
            what = "is inside the node that it names" if inside else "names no anchor above it"
            raise _Unusable(place, f"the alias *{event.anchor} {what}")
        node, size = self._anchors[event.anchor]
        opened = self._open[-1]
        if isinstance(opened.node, MappingNode) and opened.key is None:
            if not isinstance(node, ScalarNode):
                raise _Unusable(place, "a key must be a text")
            opened.key = (node.text, place)
            return
        if isinstance(node, ScalarNode):
            node = node._replace(place=place)
        self._put(node, None, size)

    def _start(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent) -> None:
        place = _place(event.start_mark)
        opened = self._open[-1] if self._open else None
        if opened and isinstance(opened.node, MappingNode) and opened.key is None:
            raise _Unusable(place, "a key must be a text", "quote a text that begins with [, { or `- `")
        if len(self._open) >= MAX_DEPTH:
            raise _Unusable(place, f"lists or mappings nested more than {MAX_DEPTH} deep")
        is_list = isinstance(event, yaml.SequenceStartEvent)
        if event.tag not in (None, "!", _PREFIX + ("seq" if is_list else "map")):
            self._problems.add(place, f"the tag {event.tag} cannot be used", "write plain data without tags")
        self._open.append(_OpenNode(ListNode(place) if is_list else MappingNode(place), event.anchor))

    def _end(self, event: yaml.SequenceEndEvent | yaml.MappingEndEvent) -> None:
        opened = self._open.pop()
        for place, source in opened.merged:
            self._merge(opened.node, place, source)
        self._put(opened.node, opened.anchor, opened.size, _place(event.start_mark))

    def _put(self, node: Node, anchor: str | None, size: int, end: SourcePlace | None = None) -> None:
        """Add a node to the open list or mapping, or make it the root."""
        self._remember(anchor, node, size)
        if not self._open:
            self.root = node
            return
        opened = self._open[-1]
        opened.size += size
        if opened.size > _MAX_EXPANDED and len(self._anchors) > 0:
            raise _Unusable(end or node.place, "aliases expand to too many nodes", "write less with each alias")
        if isinstance(opened.node, ListNode):
            opened.node.items.append(node)
        elif opened.key is not None:
            (key, place), opened.key = opened.key, None
            if opened.merges:
                opened.merges = False
                opened.merged.append((place, node))
            else:
                self._enter(opened.node, key, MappingEntry(place, node))

    def _remember(self, anchor: str | None, node: Node, size: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = node, size

    def _enter(self, table: MappingNode, key: str, entry: MappingEntry) -> None:
        first = table.entries.get(key)
        if first is None:
            table.entries[key] = entry
            return
        add_duplicate(self._problems, key, first.place, entry.place)

    def _merge(self, table: ListNode | MappingNode, place: SourcePlace, source: Node) -> None:
        """Apply `<<: *base` or `<<: [*a, *b]`: add missing keys; the first mapping with a key wins."""
        tables = source.items if isinstance(source, ListNode) else [source]
        for one in tables:
            if not (isinstance(one, MappingNode) and isinstance(table, MappingNode)):
                self._problems.add(place, "`<<` takes a mapping, or a list of mappings", "as in `<<: *base`")
                return
            for key, entry in one.entries.items():
                table.entries.setdefault(key, entry)


_TAGGED: dict[str, type | tuple[type, ...]] = {"int": int, "float": float, "bool": bool, "null": type(None)}


def add_duplicate(problems: Problems, key: str, first: SourcePlace, second: SourcePlace) -> None:
    """Report a key that occurs twice in one mapping, at the second place."""
    where = f"line {first.line}, column {first.column}" if first.line else "above"
    problems.add(second, f"the key {key!r} is there already", f"first at {where}; remove one of the two")


_WORDS: dict[str, ScalarValue] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((sign + word for sign in ("", "+") for word in (".inf", ".Inf", ".INF")), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_DECIMAL = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_MAX_INTEGER_DIGITS = 40
"""Longer integers exceed 64 bits and become infinite, which the number checks refuse."""


def typed_value(text: str) -> Any:
    """Return the value of a parameter as typed: JSON if it looks like JSON, else an unquoted YAML scalar."""
    if text[:1] in ('"', "[", "{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return resolve_plain(text)


def resolve_plain(text: str) -> ScalarValue:
    """Return the value of an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _DECIMAL.fullmatch(text):
        return int(text) if len(text) <= _MAX_INTEGER_DIGITS else float("inf")
    if _FLOAT.fullmatch(text):
        return float(text)
    if len(text) <= _MAX_INTEGER_DIGITS:
        if _OCTAL.fullmatch(text):
            return int(text[2:], 8)
        if _HEXADECIMAL.fullmatch(text):
            return int(text[2:], 16)
    return text
