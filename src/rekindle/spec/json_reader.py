"""Read JSON text into a tree with the place of every key and value.

The standard library validates the text. A scan of the valid tokens adds the places.
"""

from __future__ import annotations

import bisect
import json
import re

from rekindle.spec.nodes import (
    MAX_DEPTH,
    ListNode,
    MappingEntry,
    MappingNode,
    Node,
    Problems,
    ScalarNode,
    SourcePlace,
    checked_text,
)
from rekindle.spec.yaml_reader import add_duplicate

_TOKEN = re.compile(r'[][{}:,]|"(?:[^"\\]|\\.)*"|[^][{}:,"\s]+')


_COMMA = "names of keys are in double quotes, and no comma is behind the last entry"


def read_json(text: str, problems: Problems) -> Node | None:
    """Return the tree of a JSON document, or None if the text is invalid (then a problem is reported)."""
    try:
        json.loads(text, parse_int=float)
    except json.JSONDecodeError as error:
        hint = _COMMA if error.msg.startswith("Expecting property name") else ""
        problems.add(SourcePlace(error.lineno, error.colno), f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}", hint)
        return None
    except RecursionError:
        problems.add(SourcePlace(), f"lists or mappings nested more than {MAX_DEPTH} deep")
        return None
    return _JsonScanner(text, problems).tree()


class _JsonScanner:
    """Scans the tokens of valid JSON."""

    def __init__(self, text: str, problems: Problems) -> None:
        self._text = text
        self._problems = problems
        self._lines = [0, *(found.end() for found in re.finditer("\n", text))]

    def tree(self) -> Node | None:
        opened: list[ListNode | MappingNode] = []
        key: MappingEntry | None = None  # its node holds the key
        root: Node | None = None
        for found in _TOKEN.finditer(self._text):
            token, place = found[0], self._place(found.start())
            if token in ":,":
                continue
            if token in "]}":
                opened.pop()
                continue
            parent = opened[-1] if opened else None
            if isinstance(parent, MappingNode) and key is None:
                key = MappingEntry(place, self._scalar(token, place))
                continue
            node: Node = (
                ListNode(place) if token == "[" else MappingNode(place) if token == "{" else self._scalar(token, place)
            )
            if parent is None:
                root = node
            elif isinstance(parent, ListNode):
                parent.items.append(node)
            elif key is not None:
                self._enter(parent, key, node)
            key = None
            if not isinstance(node, ScalarNode):
                opened.append(node)
            if len(opened) > MAX_DEPTH:
                self._problems.add(place, f"lists or mappings nested more than {MAX_DEPTH} deep")
                return None
        return root

    def _scalar(self, token: str, place: SourcePlace) -> ScalarNode:
        if token[0] != '"':
            long = len(token) > 40 and token.lstrip("-").isdecimal()
            return ScalarNode(float(token) if long else json.loads(token), token, place)
        text = checked_text(json.loads(token), place, self._problems)
        return ScalarNode(text, text, place)

    def _enter(self, table: MappingNode, key: MappingEntry, node: Node) -> None:
        name = key.node.text if isinstance(key.node, ScalarNode) else ""
        first = table.entries.get(name)
        if first is None:
            table.entries[name] = MappingEntry(key.place, node)
        else:
            add_duplicate(self._problems, name, first.place, key.place)

    def _place(self, offset: int) -> SourcePlace:
        line = bisect.bisect_right(self._lines, offset)
        return SourcePlace(line, offset - self._lines[line - 1] + 1)
