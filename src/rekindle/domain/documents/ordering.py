"""JSON values in MongoDB's order, and the values at a dotted path.

The order is by type first: absent, null, numbers, strings, objects, lists, booleans
(https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/). Values of different types are never equal:
`true` is not 1, but 1 is 1.0.

On a path, a list stands for the objects in it, and a number names one of its elements, so a path may have several
values. A list at the end stands for each of its elements and for itself. A missing name gives ABSENT, except within
list elements that are not objects, which give nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import cmp_to_key
from typing import Any, Final, TypeAlias


class Absence(Enum):
    """The type of ABSENT: there is no value, which differs from null."""

    ABSENT = "absent"


ABSENT: Final = Absence.ABSENT


JsonValue: TypeAlias = Any
"""A JSON value, or ABSENT."""


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


def type_rank(value: JsonValue) -> int:
    """Return the rank of a value's type."""
    return _RANKS[type(value)]


def compare_values(a: JsonValue, b: JsonValue) -> int:
    """Return a number below, at or above 0: `a` comes before `b`, equals it, or comes after it."""
    mine, other = _RANKS[type(a)], _RANKS[type(b)]
    if mine != other:
        return mine - other
    if mine == _OBJECT:
        return _compare_objects(a, b)
    if mine == _LIST:
        return _compare_lists(a, b)
    if mine <= _NULL:
        return 0
    return int(a > b) - int(a < b)


def values_equal(a: JsonValue, b: JsonValue) -> bool:
    """Return whether type and value are equal; objects must have their keys in the same order."""
    return compare_values(a, b) == 0


def sort_key(values: Sequence[JsonValue], *, descending: bool) -> Any:
    """Return the sort key of a document with these values at a path: the first of them in the requested order. No value
    and an absent one count as null, and a list counts by its elements."""
    found = [None if value is ABSENT else value for value in values if not isinstance(value, list)] or [None]
    return max(map(_key, found)) if descending else min(map(_key, found))


_by_compare = cmp_to_key(compare_values)


def _key(value: JsonValue) -> tuple[int, Any]:
    """Return a key that sorts as the value does. Scalars are compared by Python itself."""
    if value is None:
        return _NULL, 0
    return type_rank(value), _by_compare(value) if isinstance(value, dict) else value


def _compare_objects(a: Mapping[str, JsonValue], b: Mapping[str, JsonValue]) -> int:
    for (name, value), (other, against) in zip(a.items(), b.items(), strict=False):
        found = (
            type_rank(value) - type_rank(against) or (name > other) - (name < other) or compare_values(value, against)
        )
        if found:
            return found
    return len(a) - len(b)


def _compare_lists(a: Sequence[JsonValue], b: Sequence[JsonValue]) -> int:
    for one, other in zip(a, b, strict=False):
        found = compare_values(one, other)
        if found:
            return found
    return len(a) - len(b)


def values_at(document: JsonValue, names: Sequence[str], *, elements: bool = True) -> Iterator[JsonValue]:
    """Yield every value at the path. Without `elements`, a list at the end stands only for itself."""
    value = document
    for at, name in enumerate(names):
        if isinstance(value, dict):
            if name not in value:
                yield ABSENT
                return
            value = value[name]
        elif isinstance(value, list):
            yield from _values_in_list(value, names[at:], elements)
            return
        else:
            yield ABSENT
            return
    if elements and isinstance(value, list):
        yield from value
    yield value


def _values_in_list(found: Sequence[JsonValue], names: Sequence[str], elements: bool) -> Iterator[JsonValue]:
    name, further = names[0], names[1:]
    for at, one in enumerate(found):
        if isinstance(one, dict):
            yield from values_at(one, names, elements=elements)
        if name != str(at):
            continue
        if not further:
            yield one  # an element named by number stands for itself, even if it is a list
        elif isinstance(one, dict):
            yield from values_at(one, further, elements=elements)
        elif isinstance(one, list):
            yield from _values_in_list(one, further, elements)
