"""Documents made of what was read for them, by the recipes of store.shapes; and the functions that SQL calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias

from rekindle.domain.actions import effective
from rekindle.domain.documents.conditions import condition_of
from rekindle.domain.texts.patterns import pattern_of
from rekindle.journal.encoding import from_json, to_json
from rekindle.store.rowshape import STATES


def _search(pattern: str, text: object) -> bool:
    return isinstance(text, str) and pattern_of(pattern).found_in(text)


def _matches(query: str, recipe: str, *taken: Any) -> bool:
    return condition_of(query)(_maker(recipe)(_Taken(taken)))


def _document(recipe: str, *taken: Any) -> str:
    return to_json(_maker(recipe)(_Taken(taken))).decode()


def _effective(params: str, patches: str) -> str:
    changes = [patch["set"] for patch in from_json(patches) if "set" in patch]
    return to_json(effective(from_json(params), changes)).decode()


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "search": _search,  # a pattern is found in a text; never in what is no text
    "matches": _matches,
    "document": _document,
    "effective": _effective,
}
"""The functions that SQL calls, by name."""


class Gathered:
    """Rows as the text of a list, sorted by their first columns. SQLite's own JSON has fewer digits."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []

    def step(self, *row: Any) -> None:
        self._rows.append(row)

    def finalize(self) -> str:
        rows = sorted(self._rows, key=lambda row: row[0])
        return to_json([row[1:] for row in rows]).decode()


class _Taken:
    """What was read for one document; JSON is decoded when it is first needed."""

    __slots__ = ("_decoded", "values")

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = values
        self._decoded: dict[int, Any] = {}

    def json(self, at: int) -> Any:
        if at not in self._decoded:
            text = self.values[at]
            self._decoded[at] = None if text is None else from_json(text)
        return self._decoded[at]


Make: TypeAlias = Callable[[_Taken], Any]


@lru_cache(maxsize=64)
def _maker(recipe: str) -> Make:
    return _read(from_json(recipe))


def _read(recipe: Sequence[Any]) -> Make:
    kind, *parts = recipe
    return _READ[kind](*parts)


def _const(value: Any) -> Make:
    return lambda _: value


def _value(at: int, kind: str) -> Make:
    shown = _SHOWN.get(kind)
    if shown is None:
        return lambda taken: taken.values[at]
    return lambda taken: None if taken.values[at] is None else shown(taken.values[at])


_SHOWN: Mapping[str, Callable[[Any], Any]] = {
    "bool": bool,
    "state": lambda value: STATES[value].label,
    "time": lambda value: datetime.fromtimestamp(value, UTC).replace(tzinfo=None).isoformat(),
}


def _lines(places: Sequence[int]) -> Make:
    return lambda taken: "\n".join(taken.values[at] for at in places if taken.values[at] is not None)


def _stored(at: int, path: Sequence[str]) -> Make:
    return lambda taken: _within(taken.json(at), path)


def _steps(at: int, path: Sequence[str]) -> Make:
    return lambda taken: _within(_put_together(taken.json(at) or ()), path)


def _within(value: Any, path: Sequence[str]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _joined(parts: Sequence[Any]) -> Make:
    makers = [_read(part) for part in parts]
    return lambda taken: _put_together(make(taken) for make in makers)


def _put_together(every: Sequence[Any] | Iterator[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in every:
        for key, value in one.items() if isinstance(one, dict) else ():
            before = found.get(key)
            if isinstance(before, dict) and isinstance(value, dict):
                found[key] = {**before, **value}
            elif isinstance(before, list) and isinstance(value, list):
                found[key] = [*before, *value]
            else:
                found[key] = value
    return found


def _stopped(at: int, of: Any) -> Make:
    make = _read(of)

    def stopped(taken: _Taken) -> Any:
        position, found = taken.values[at], make(taken)
        there = position is not None and isinstance(found, list) and position < len(found)
        return found[position] if there else None

    return stopped


def _put_over(base: Any, by: Any, key: str, apart: Any) -> Make:
    make, changes_of, apart_of = _read(base), _read(by), _read(apart)

    def put_over(taken: _Taken) -> Any:
        found, changes = make(taken), changes_of(taken)
        if not isinstance(found, dict) or not isinstance(changes, list):
            return found
        but, found = apart_of(taken), dict(found)
        for change in changes:
            if change["by"][0] != but:
                found |= change.get(key, {})
        return found

    return put_over


def _object(entries: Sequence[tuple[str, Any]]) -> Make:
    makers = [(key, _read(part)) for key, part in entries]
    return lambda taken: {key: make(taken) for key, make in makers}


def _items(parts: Sequence[Any]) -> Make:
    makers = [_read(part) for part in parts]
    return lambda taken: [make(taken) for make in makers]


def _attempts(at: int, each: Any) -> Make:
    make = _read(each)
    return lambda taken: [make(_Taken(row)) for row in taken.json(at) or ()]


def _choice(cases: Sequence[tuple[int, Any]]) -> Make:
    makers = [(at, _read(part)) for at, part in cases]
    return lambda taken: next((make(taken) for at, make in makers if taken.values[at]), None)


_READ: Mapping[str, Callable[..., Make]] = {
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
