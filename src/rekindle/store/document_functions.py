"""The functions that SQL calls: text search, and JSON documents built from a layout and the values read for it.

rekindle.store.predicates writes the layouts. SQL could nest it all, but SQLite limits the depth of an expression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias

from rekindle.journal.encoding import from_json, to_json
from rekindle.store.rows import STATES


def _search(pattern: str, text: object) -> bool:
    from rekindle.domain.texts.patterns import compile_pattern

    return isinstance(text, str) and compile_pattern(pattern).found_in(text)


def _matches(query: str, layout: str, *values: Any) -> bool:
    from rekindle.domain.documents.conditions import compile_query

    return compile_query(query)(_builder(layout)(_Values(values)))


def _document(layout: str, *values: Any) -> str:
    return to_json(_builder(layout)(_Values(values))).decode()


def _effective(params: str, patches: str) -> str:
    from rekindle.domain.actions import effective_params

    changes = [patch["set"] for patch in from_json(patches) if "set" in patch]
    return to_json(effective_params(from_json(params), changes)).decode()


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "search": _search,  # whether a pattern is found in a text; false for a value that is not text
    "matches": _matches,
    "document": _document,
    "effective": _effective,
}
"""The functions that SQL calls, by name."""


class Gathered:
    """Aggregate: rows as a JSON list, sorted by their first column. SQLite's own JSON writes fewer digits."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []

    def step(self, *row: Any) -> None:
        self._rows.append(row)

    def finalize(self) -> str:
        rows = sorted(self._rows, key=lambda row: row[0])
        return to_json([row[1:] for row in rows]).decode()


class _Values:
    """The values read for one document. JSON is decoded when it is first needed."""

    __slots__ = ("_decoded", "values")

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = values
        self._decoded: dict[int, Any] = {}

    def json(self, at: int) -> Any:
        if at not in self._decoded:
            text = self.values[at]
            self._decoded[at] = None if text is None else from_json(text)
        return self._decoded[at]


Build: TypeAlias = Callable[[_Values], Any]


@lru_cache(maxsize=64)
def _builder(layout: str) -> Build:
    return _read(from_json(layout))


def _read(layout: Sequence[Any]) -> Build:
    kind, *parts = layout
    return _READERS[kind](*parts)


def _const(value: Any) -> Build:
    return lambda _: value


def _value(at: int, kind: str) -> Build:
    convert = _CONVERTERS.get(kind)
    if convert is None:
        return lambda read: read.values[at]
    return lambda read: None if read.values[at] is None else convert(read.values[at])


_CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    "bool": bool,
    "state": lambda value: STATES[value].label,
    "time": lambda value: datetime.fromtimestamp(value, UTC).replace(tzinfo=None).isoformat(),
}


def _lines(positions: Sequence[int]) -> Build:
    return lambda read: "\n".join(read.values[at] for at in positions if read.values[at] is not None)


def _stored(at: int, path: Sequence[str]) -> Build:
    return lambda read: _within(read.json(at), path)


def _steps(at: int, path: Sequence[str]) -> Build:
    return lambda read: _within(_merge(read.json(at) or ()), path)


def _within(value: Any, path: Sequence[str]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _joined(parts: Sequence[Any]) -> Build:
    builds = [_read(part) for part in parts]
    return lambda read: _merge(build(read) for build in builds)


def _merge(values: Sequence[Any] | Iterator[Any]) -> dict[str, Any]:
    """Merge objects: objects and lists under the same key are joined, other values replaced."""
    found: dict[str, Any] = {}
    for one in values:
        for key, value in one.items() if isinstance(one, dict) else ():
            before = found.get(key)
            if isinstance(before, dict) and isinstance(value, dict):
                found[key] = {**before, **value}
            elif isinstance(before, list) and isinstance(value, list):
                found[key] = [*before, *value]
            else:
                found[key] = value
    return found


def _stopped(at: int, of: Any) -> Build:
    build = _read(of)

    def item_at_stop(read: _Values) -> Any:
        position, found = read.values[at], build(read)
        exists = position is not None and isinstance(found, list) and position < len(found)
        return found[position] if exists else None

    return item_at_stop


def _put_over(base: Any, by: Any, key: str, apart: Any) -> Build:
    build, changes_of, apart_of = _read(base), _read(by), _read(apart)

    def with_changes(read: _Values) -> Any:
        found, changes = build(read), changes_of(read)
        if not isinstance(found, dict) or not isinstance(changes, list):
            return found
        excluded, found = apart_of(read), dict(found)
        for change in changes:
            if change["by"][0] != excluded:
                found |= change.get(key, {})
        return found

    return with_changes


def _object(entries: Sequence[tuple[str, Any]]) -> Build:
    builds = [(key, _read(part)) for key, part in entries]
    return lambda read: {key: build(read) for key, build in builds}


def _items(parts: Sequence[Any]) -> Build:
    builds = [_read(part) for part in parts]
    return lambda read: [build(read) for build in builds]


def _attempts(at: int, each: Any) -> Build:
    build = _read(each)
    return lambda read: [build(_Values(row)) for row in read.json(at) or ()]


def _choice(cases: Sequence[tuple[int, Any]]) -> Build:
    builds = [(at, _read(part)) for at, part in cases]
    return lambda read: next((build(read) for at, build in builds if read.values[at]), None)


_READERS: Mapping[str, Callable[..., Build]] = {
    "const": _const,
    "value": _value,
    "lines": _lines,
    "stored": _stored,
    "steps": _steps,
    "joined": _joined,
    "stopped": _stopped,
    "put_over": _put_over,
    "object": _object,
    "items": _items,
    "attempts": _attempts,
    "choice": _choice,
}
"""By kind of a layout's node; rekindle.store.predicates writes these kinds."""
