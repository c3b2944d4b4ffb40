"""JSON values in one order, whatever they are: as MongoDB has them, by type first.

https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/: absent, null, numbers, texts, objects,
lists, truth values. Values of different types are never equal: `true` is not 1, while 1 is 1.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cmp_to_key
from typing import Any, Final, TypeAlias


class Absence(Enum):
    """That there is no value, which is not null."""

    ABSENT = "absent"


ABSENT: Final = Absence.ABSENT

Json: TypeAlias = Any
"""A JSON value as Python has it, or ABSENT."""

_NULL, _NUMBER, _TEXT, _OBJECT, _LIST, _TRUTH = range(1, 7)
_RANKS: Mapping[type, int] = {
    Absence: 0,
    type(None): _NULL,
    int: _NUMBER,
    float: _NUMBER,
    str: _TEXT,
    dict: _OBJECT,
    list: _LIST,
    bool: _TRUTH,
}


def rank(value: Json) -> int:
    """The place of a value's type among the types."""
    return _RANKS[type(value)]


def compare(a: Json, b: Json) -> int:
    """Below, at or above 0: `a` comes before `b`, is equal, or comes after it."""
    mine, other = _RANKS[type(a)], _RANKS[type(b)]
    if mine != other:
        return mine - other
    if mine == _OBJECT:
        return _objects(a, b)
    if mine == _LIST:
        return _lists(a, b)
    if mine <= _NULL:
        return 0
    return int(a > b) - int(a < b)


def equal(a: Json, b: Json) -> bool:
    """The same type and value; of objects, with the keys in the same order."""
    return compare(a, b) == 0


def sort_key(values: Sequence[Json], *, descending: bool) -> Any:
    """What a document is sorted by that has these values at a path: the first of them in the order that is asked for.
    None at all counts as null, and so does an absent one; a list is sorted by its elements."""
    found = [None if value is ABSENT else value for value in values if not isinstance(value, list)] or [None]
    return max(map(_key, found)) if descending else min(map(_key, found))


_by_compare = cmp_to_key(compare)


def _key(value: Json) -> tuple[int, Any]:
    """Sorts as the value does: what Python compares as we do is left to it."""
    if value is None:
        return _NULL, 0
    return rank(value), _by_compare(value) if isinstance(value, dict) else value


def _objects(a: Mapping[str, Json], b: Mapping[str, Json]) -> int:
    for (name, value), (other, against) in zip(a.items(), b.items(), strict=False):
        found = rank(value) - rank(against) or (name > other) - (name < other) or compare(value, against)
        if found:
            return found
    return len(a) - len(b)


def _lists(a: Sequence[Json], b: Sequence[Json]) -> int:
    for one, other in zip(a, b, strict=False):
        found = compare(one, other)
        if found:
            return found
    return len(a) - len(b)
