"""The operators that stand beside a field in a query of a document database, each as MongoDB means it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from rekindle.domain.documents.ordering import ABSENT, Json, compare, equal, rank
from rekindle.domain.documents.paths import values_at
from rekindle.domain.errors import BadSelection
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.domain.texts.patterns import pattern_of

Test: TypeAlias = Callable[[Json], bool]
Read: TypeAlias = Callable[[object, str], Callable[[Json], bool]]
"""What reads a query within an operator: conditions do, which are made of operators."""


@dataclass(frozen=True, slots=True)
class Clause:
    """What an operator says. `test`: of one value, which is how an element of a list is looked at; `along`: of a
    document, and what lies at a path in it."""

    test: Test
    along: Callable[[Json, Sequence[str]], bool]


def every(clauses: Sequence[Clause]) -> Clause:
    """All of them."""
    if len(clauses) == 1:
        return clauses[0]
    return Clause(
        lambda value: all(one.test(value) for one in clauses),
        lambda document, names: all(one.along(document, names) for one in clauses),
    )


def read_operators(value: object, path: str, read: Read) -> list[Clause]:
    """What is asked of a field: operators, or a value that it has."""
    if not (isinstance(value, dict) and _has_operators(value)):
        return [_equal(value)]
    clauses = []
    for key, operand in value.items():
        here = f"{path}.{key}"
        if not key.startswith("$"):
            raise BadSelection(f"{place(path)} mixes operators and fields: {', '.join(value)}")
        if key == "$regex":
            clauses.append(_regex(operand, value.get("$options", ""), here))
        elif key == "$options":
            if "$regex" not in value:
                raise BadSelection(f"{place(here)} stands without a $regex")
        elif key in _NESTING:
            clauses.append(_NESTING[key](operand, here, read))
        elif key in _PLAIN:
            clauses.append(_PLAIN[key](operand, here))
        else:
            raise BadSelection(f"{place(here)}: unknown operator {key!r}", hint=did_you_mean(key, OPERATORS))
    return clauses


def place(path: str) -> str:
    """Where in a query something is, for a message."""
    return f"query at {path}" if path else "the query"


def shown(value: object) -> str:
    """A value in a message, as it was written."""
    return json.dumps(value, ensure_ascii=False, default=repr)[:80]


def _has_operators(value: object) -> bool:
    return isinstance(value, dict) and next(iter(value), "").startswith("$")


def _any(test: Test, *, elements: bool = True) -> Clause:
    """It holds for some value at the path."""
    return Clause(
        test, lambda document, names: any(test(value) for value in values_at(document, names, elements=elements))
    )


def _not(clause: Clause) -> Clause:
    return Clause(
        lambda value: not clause.test(value),
        lambda document, names: not clause.along(document, names),
    )


def _equal(value: Json) -> Clause:
    if value is None:
        return _any(lambda found: found is None or found is ABSENT)
    if isinstance(value, dict | list):
        return _any(lambda found: equal(found, value))
    kind = type(value) if isinstance(value, bool | str) else None
    if kind is not None:
        return _any(lambda found: type(found) is kind and found == value)
    return _any(lambda found: type(found) is not bool and found == value)


def _ordered(holds: Callable[[int], bool]) -> Callable[[Json, str], Clause]:
    """Values of another type are neither above nor below; null is as it is, and what is absent is like it."""

    def read(operand: Json, _: str) -> Clause:
        if operand is None:
            return _any(lambda found: (found is None or found is ABSENT) and holds(0))
        of = rank(operand)
        return _any(lambda found: rank(found) == of and holds(compare(found, operand)))

    return read


def _one_of(operand: object, path: str) -> Clause:
    wanted = _listed(operand, path)
    plain = {(rank(one), one) for one in wanted if not isinstance(one, dict | list)}
    if None in wanted:
        plain.add((rank(ABSENT), ABSENT))
    whole = [one for one in wanted if isinstance(one, dict | list)]

    def test(found: Json) -> bool:
        if isinstance(found, dict | list):
            return any(equal(found, one) for one in whole)
        return (rank(found), found) in plain

    return _any(test)


def _exists(operand: object, _: str) -> Clause:
    there = _any(lambda found: found is not ABSENT)
    return there if operand not in (False, None) else _not(there)


def _regex(operand: object, options: object, path: str) -> Clause:
    if not isinstance(operand, str):
        raise BadSelection(f"{place(path)}: a regular expression is a text, not {shown(operand)}")
    if not isinstance(options, str) or not set(options) <= _FLAGS.keys():
        raise BadSelection(f"{place(path)}: $options are letters of {''.join(_FLAGS)}, not {shown(options)}")
    flags = re.NOFLAG
    for letter in options:
        flags |= _FLAGS[letter]
    try:
        pattern = pattern_of(operand, int(flags))
    except BadSelection as problem:
        raise BadSelection(f"{place(path)}: {problem.message}", hint=problem.hint) from None
    return _any(lambda found: isinstance(found, str) and pattern.found_in(found))


_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE, "u": re.UNICODE}


def _size(operand: object, path: str) -> Clause:
    size = _whole(operand, path)
    if size < 0:
        raise BadSelection(f"{place(path)} is a number from 0, not {shown(operand)}")
    return _any(lambda found: isinstance(found, list) and len(found) == size, elements=False)


def _mod(operand: object, path: str) -> Clause:
    if not isinstance(operand, list) or len(operand) != 2:
        raise BadSelection(f"{place(path)} is a list of a divisor and a remainder, not {shown(operand)}")
    divisor, remainder = (_whole(one, path) for one in operand)
    if divisor == 0:
        raise BadSelection(f"{place(path)}: the divisor is 0")

    def test(found: Json) -> bool:
        if not _is_number(found) or (isinstance(found, float) and not math.isfinite(found)):
            return False
        left = abs(int(found)) % abs(divisor)
        return (-left if found < 0 else left) == remainder

    return _any(test)


def _type(operand: object, path: str) -> Clause:
    wanted = operand if isinstance(operand, list) else [operand]
    for one in wanted:
        if isinstance(one, bool) or not isinstance(one, int | float | str) or one not in _TYPES:
            raise BadSelection(f"{place(path)}: unknown type {shown(one)}", hint=did_you_mean(str(one), _TYPE_NAMES))
    return _any(lambda found: any(_TYPES[one](found) for one in wanted))


def _is_number(found: Json) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)


def _is_int(found: Json) -> bool:
    return _is_number(found) and isinstance(found, int) and -(2**31) <= found < 2**31


def _is_long(found: Json) -> bool:
    return _is_number(found) and isinstance(found, int) and not _is_int(found)


_NAMED_TYPES: tuple[tuple[int | None, str, Test], ...] = (
    (1, "double", lambda found: isinstance(found, float)),
    (2, "string", lambda found: isinstance(found, str)),
    (3, "object", lambda found: isinstance(found, dict)),
    (4, "array", lambda found: isinstance(found, list)),
    (8, "bool", lambda found: isinstance(found, bool)),
    (10, "null", lambda found: found is None),
    (16, "int", _is_int),
    (18, "long", _is_long),
    (None, "number", _is_number),
)
_TYPE_NAMES = tuple(name for _, name, _ in _NAMED_TYPES)
_TYPES: Mapping[Any, Test] = {key: test for number, name, test in _NAMED_TYPES for key in (number, name) if key}


def _all(operand: object, path: str, read: Read) -> Clause:
    wanted = _listed(operand, path)
    if not wanted:
        return _any(lambda _: False)
    matched = [isinstance(one, dict) and next(iter(one), "") == "$elemMatch" for one in wanted]
    if all(matched):
        return every([_element(one["$elemMatch"], f"{path}[{at}]", read) for at, one in enumerate(wanted)])
    for at, one in enumerate(wanted):
        if _has_operators(one):
            raise BadSelection(f"{place(f'{path}[{at}]')} has operators", hint="values, or an $elemMatch each")
    return every([_equal(one) for one in wanted])


def _element(operand: object, path: str, read: Read) -> Clause:
    """One element of the list is all of this at once."""
    if not isinstance(operand, dict):
        raise BadSelection(f"{place(path)} must be an object, not {shown(operand)}")
    if next(iter(operand), "") in OPERATORS:
        alone = every(read_operators(operand, path, read)).test
    else:
        inner = read(operand, path)

        def alone(one: Json) -> bool:
            if isinstance(one, list):
                return inner({str(at): value for at, value in enumerate(one)})
            return isinstance(one, dict) and inner(one)

    return _any(lambda found: isinstance(found, list) and any(alone(one) for one in found), elements=False)


def _negated(operand: object, path: str, read: Read) -> Clause:
    if not _has_operators(operand):
        raise BadSelection(f"{place(path)} must be an object of operators, not {shown(operand)}")
    return _not(every(read_operators(operand, path, read)))


def _listed(operand: object, path: str) -> list[Any]:
    if not isinstance(operand, list):
        raise BadSelection(f"{place(path)} must be a list, not {shown(operand)}")
    return operand


def _whole(operand: object, path: str) -> int:
    if isinstance(operand, bool) or not isinstance(operand, int | float) or operand != operand // 1:
        raise BadSelection(f"{place(path)} takes a whole number, not {shown(operand)}")
    return int(operand)


_PLAIN: Mapping[str, Callable[[Any, str], Clause]] = {
    "$eq": lambda operand, _: _equal(operand),
    "$ne": lambda operand, _: _not(_equal(operand)),
    "$gt": _ordered(lambda found: found > 0),
    "$gte": _ordered(lambda found: found >= 0),
    "$lt": _ordered(lambda found: found < 0),
    "$lte": _ordered(lambda found: found <= 0),
    "$in": _one_of,
    "$nin": lambda operand, path: _not(_one_of(operand, path)),
    "$exists": _exists,
    "$size": _size,
    "$mod": _mod,
    "$type": _type,
}
_NESTING: Mapping[str, Callable[[Any, str, Read], Clause]] = {
    "$not": _negated,
    "$all": _all,
    "$elemMatch": _element,
}
OPERATORS: Iterable[str] = (*_PLAIN, *_NESTING, "$regex", "$options")
"""Every operator that stands beside a field."""
