"""JSON text to a tree with the place of every key and value.

The standard library reads and judges it; a scan of the tokens, which are then known to be right, adds the places."""

from __future__ import annotations

import bisect
import json
import re

from rekindle.spec.nodes import MAX_DEPTH, Entry, Items, Node, Scalar, Table, checked_text
from rekindle.spec.problems import Place, Problems
from rekindle.spec.yaml_reader import add_duplicate

_TOKEN = re.compile(r'[][{}:,]|"(?:[^"\\]|\\.)*"|[^][{}:,"\s]+')


def read_json(text: str, problems: Problems) -> Node | None:
    """The tree of a JSON document; None: it cannot be read (then there is a problem)."""
    try:
        json.loads(text, parse_int=float)
    except json.JSONDecodeError as error:
        problems.add(Place(error.lineno, error.colno), f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}")
        return None
    except RecursionError:
        problems.add(Place(), f"more than {MAX_DEPTH} lists or mappings inside one another")
        return None
    return _Scan(text, problems).tree()


class _Scan:
    """Goes over the tokens of valid JSON."""

    def __init__(self, text: str, problems: Problems) -> None:
        self._text = text
        self._problems = problems
        self._lines = [0, *(found.end() for found in re.finditer("\n", text))]

    def tree(self) -> Node | None:
        opened: list[Items | Table] = []
        key: Entry | None = None  # its node is the key itself
        root: Node | None = None
        for found in _TOKEN.finditer(self._text):
            token, place = found[0], self._place(found.start())
            if token in ":,":
                continue
            if token in "]}":
                opened.pop()
                continue
            parent = opened[-1] if opened else None
            if isinstance(parent, Table) and key is None:
                key = Entry(place, self._scalar(token, place))
                continue
            node: Node = Items(place) if token == "[" else Table(place) if token == "{" else self._scalar(token, place)
            if parent is None:
                root = node
            elif isinstance(parent, Items):
                parent.items.append(node)
            elif key is not None:
                self._enter(parent, key, node)
            key = None
            if not isinstance(node, Scalar):
                opened.append(node)
            if len(opened) > MAX_DEPTH:
                self._problems.add(place, f"more than {MAX_DEPTH} lists or mappings inside one another")
                return None
        return root

    def _scalar(self, token: str, place: Place) -> Scalar:
        if token[0] != '"':
            long = len(token) > 40 and token.lstrip("-").isdecimal()
            return Scalar(float(token) if long else json.loads(token), token, place)
        text = checked_text(json.loads(token), place, self._problems)
        return Scalar(text, text, place)

    def _enter(self, table: Table, key: Entry, node: Node) -> None:
        name = key.node.text if isinstance(key.node, Scalar) else ""
        first = table.entries.get(name)
        if first is None:
            table.entries[name] = Entry(key.place, node)
        else:
            add_duplicate(self._problems, name, first.place, key.place)

    def _place(self, offset: int) -> Place:
        line = bisect.bisect_right(self._lines, offset)
        return Place(line, offset - self._lines[line - 1] + 1)
