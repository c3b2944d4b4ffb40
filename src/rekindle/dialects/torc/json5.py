"""Read JSON5 into a tree with the place of every key and value: JSON with comments, single quotes, bare keys,
trailing commas, and JavaScript's numbers."""

from __future__ import annotations

import bisect
import re

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
    checked_text,
)
from rekindle.spec.yaml_reader import add_duplicate

_SKIP = re.compile(r"(?:[\s\ufeff]|//[^\n\r\u2028\u2029]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"((?:[^"\\\n\r]|\\.)*)"' + r"|'((?:[^'\\\n\r]|\\.)*)'", re.DOTALL)
_NAME = re.compile(r"[^\W\d]\w*|[$_][\w$]*")
_NUMBER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|Infinity|NaN|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")
_WORDS: dict[str, ScalarValue] = {"true": True, "false": False, "null": None}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(\r\n|.))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": "", "\r\n": "", "\r": ""}
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def read_json5(text: str, problems: Problems) -> Node | None:
    """Return the tree of a JSON5 document, or None after adding a problem."""
    return _Json5Reader(text, problems).document()


class _Json5Error(Exception):
    """A syntax error at an offset."""

    def __init__(self, offset: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.offset, self.message, self.hint = offset, message, hint


class _Json5Reader:
    """A recursive descent parser."""

    def __init__(self, text: str, problems: Problems) -> None:
        self._text = text
        self._problems = problems
        self._at = 0
        self._lines = [0, *(found.end() for found in re.finditer("\n", text))]

    def document(self) -> Node | None:
        try:
            if not self._next():
                return None
            root = self._value(0)
            if self._next():
                raise _Json5Error(self._at, f"{self._shown()} follows the end")
        except _Json5Error as error:
            self._problems.add(self._place(error.offset), f"not JSON5: {error.message}", error.hint)
            return None
        return root

    def _value(self, depth: int) -> Node:
        mark = self._next()
        place = self._place(self._at)
        if mark in ("{", "["):
            if depth >= MAX_DEPTH:
                raise _Json5Error(self._at, f"more than {MAX_DEPTH} lists or mappings inside one another")
            self._at += 1
            return self._table(place, depth) if mark == "{" else self._items(place, depth)
        if mark in ("'", '"'):
            text = self._string()
            return ScalarNode(text, text, place)
        found = _NUMBER.match(self._text, self._at)
        if found:
            self._at = found.end()
            return ScalarNode(_number(found[0]), found[0], place)
        found = _NAME.match(self._text, self._at)
        if found and found[0] in _WORDS:
            self._at = found.end()
            return ScalarNode(_WORDS[found[0]], found[0], place)
        raise _Json5Error(self._at, f"a value is missing before {self._shown()}", "quote texts")

    def _table(self, place: SourcePlace, depth: int) -> MappingNode:
        table = MappingNode(place)
        while self._next() != "}":
            at = self._place(self._at)
            key = self._key()
            if self._next() != ":":
                raise _Json5Error(self._at, f"a colon is missing after the key {key!r:.60}")
            self._at += 1
            node = self._value(depth + 1)
            if key in table.entries:
                add_duplicate(self._problems, key, table.entries[key].place, at)
            table.entries.setdefault(key, MappingEntry(at, node))
            self._comma("}")
        self._at += 1
        return table

    def _items(self, place: SourcePlace, depth: int) -> ListNode:
        items = ListNode(place)
        while self._next() != "]":
            items.items.append(self._value(depth + 1))
            self._comma("]")
        self._at += 1
        return items

    def _comma(self, end: str) -> None:
        mark = self._next()
        if mark == ",":
            self._at += 1
        elif mark != end:
            raise _Json5Error(self._at, f"a comma or {end} is missing before {self._shown()}")

    def _key(self) -> str:
        if self._next() in ("'", '"'):
            return self._string()
        found = _NAME.match(self._text, self._at)
        if not found:
            raise _Json5Error(self._at, f"{self._shown()} is no key", "put it in quotes")
        self._at = found.end()
        return found[0]

    def _string(self) -> str:
        found = _STRING.match(self._text, self._at)
        if not found:
            raise _Json5Error(self._at, "a text is not closed on its line", "a line goes on after a \\ at its end")
        place = self._place(self._at)
        self._at = found.end()
        written = found[1] if found[1] is not None else found[2]
        text = _PAIR.sub(_joined, _ESCAPE.sub(_unescaped, written))
        return checked_text(text, place, self._problems)

    def _next(self) -> str:
        """Skip blanks and comments. Returns the next character, or "" at the end."""
        found = _SKIP.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        return self._text[self._at : self._at + 1]

    def _shown(self) -> str:
        return repr(self._text[self._at]) if self._at < len(self._text) else "the end"

    def _place(self, offset: int) -> SourcePlace:
        line = bisect.bisect_right(self._lines, offset)
        return SourcePlace(line, offset - self._lines[line - 1] + 1)


def _number(text: str) -> int | float:
    unsigned = text.lstrip("+-")
    sign = -1 if text.startswith("-") else 1
    if unsigned[:2] in ("0x", "0X"):
        return sign * int(unsigned, 16)
    if unsigned in ("Infinity", "NaN"):
        return sign * float("inf" if unsigned == "Infinity" else "nan")
    return sign * (int(unsigned) if unsigned.isdecimal() and len(unsigned) <= 40 else float(unsigned))


def _unescaped(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    return chr(int(code, 16)) if code else _ESCAPED.get(found[3], found[3])


def _joined(found: re.Match[str]) -> str:
    """Join the two halves of a surrogate pair."""
    return found[0].encode("utf-16", "surrogatepass").decode("utf-16")
