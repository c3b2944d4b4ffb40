"""Queries on JSON documents, with the syntax and semantics of MongoDB.

Supported are the operators of https://www.mongodb.com/docs/manual/reference/operator/query/ that apply to JSON. A query
is parsed once and evaluated on many documents. An invalid query raises BadSelection with the position."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec

from rekindle.domain.documents.ordering import ABSENT, JsonValue, compare_values, type_rank, values_at, values_equal
from rekindle.domain.errors import BadSelection
from rekindle.domain.texts.display import did_you_mean
from rekindle.domain.texts.patterns import compile_pattern

Test: TypeAlias = Callable[[JsonValue], bool]


ParseQuery: TypeAlias = Callable[[object, str], Callable[[JsonValue], bool]]
"""The parser of queries inside an operator."""


class Clause(msgspec.Struct, frozen=True):
    """A parsed operator. `test` checks one value, such as an element of a list; `along` checks the value at a path of a
    document."""

    test: Test
    along: Callable[[JsonValue, Sequence[str]], bool]


def all_clauses(clauses: Sequence[Clause]) -> Clause:
    """Return a clause that requires all clauses."""
    if len(clauses) == 1:
        return clauses[0]
    return Clause(
        lambda value: all(one.test(value) for one in clauses),
        lambda document, names: all(one.along(document, names) for one in clauses),
    )


def parse_operators(value: object, path: str, parse: ParseQuery) -> list[Clause]:
    """Parse the condition on a field: operators, or the value it must have."""
    if not (isinstance(value, dict) and _has_operators(value)):
        return [_equal(value)]
    clauses = []
    for key, operand in value.items():
        here = f"{path}.{key}"
        if not key.startswith("$"):
            raise BadSelection(f"{describe_path(path)} mixes operators and fields: {', '.join(value)}")
        if key == "$regex":
            clauses.append(_regex(operand, value.get("$options", ""), here))
        elif key == "$options":
            if "$regex" not in value:
                raise BadSelection(f"{describe_path(here)} stands without a $regex")
        elif key in _NESTING:
            clauses.append(_NESTING[key](operand, here, parse))
        elif key in _PLAIN:
            clauses.append(_PLAIN[key](operand, here))
        else:
            raise BadSelection(f"{describe_path(here)}: unknown operator {key!r}", hint=did_you_mean(key, OPERATORS))
    return clauses


def describe_path(path: str) -> str:
    """Return the position in a query, for a message."""
    return f"query at {path}" if path else "the query"


def quote_value(value: object) -> str:
    """Return a value for a message, as JSON."""
    return json.dumps(value, ensure_ascii=False, default=repr)[:80]


def _has_operators(value: object) -> bool:
    return isinstance(value, dict) and next(iter(value), "").startswith("$")


def _any(test: Test, *, elements: bool = True) -> Clause:
    """Return a clause that holds for any value at the path."""
    return Clause(
        test, lambda document, names: any(test(value) for value in values_at(document, names, elements=elements))
    )


def _not(clause: Clause) -> Clause:
    return Clause(
        lambda value: not clause.test(value),
        lambda document, names: not clause.along(document, names),
    )


def _equal(value: JsonValue) -> Clause:
    if value is None:
        return _any(lambda found: found is None or found is ABSENT)
    if isinstance(value, dict | list):
        return _any(lambda found: values_equal(found, value))
    kind = type(value) if isinstance(value, bool | str) else None
    if kind is not None:
        return _any(lambda found: type(found) is kind and found == value)
    return _any(lambda found: type(found) is not bool and found == value)


def _ordered(holds: Callable[[int], bool]) -> Callable[[JsonValue, str], Clause]:
    """Return a comparison. Values of different types are not comparable; null equals null and absent values."""

    def read(operand: JsonValue, _: str) -> Clause:
        if operand is None:
            return _any(lambda found: (found is None or found is ABSENT) and holds(0))
        of = type_rank(operand)
        return _any(lambda found: type_rank(found) == of and holds(compare_values(found, operand)))

    return read


def _one_of(operand: object, path: str) -> Clause:
    wanted = _listed(operand, path)
    plain = {(type_rank(one), one) for one in wanted if not isinstance(one, dict | list)}
    if None in wanted:
        plain.add((type_rank(ABSENT), ABSENT))
    whole = [one for one in wanted if isinstance(one, dict | list)]

    def test(found: JsonValue) -> bool:
        if isinstance(found, dict | list):
            return any(values_equal(found, one) for one in whole)
        return (type_rank(found), found) in plain

    return _any(test)


def _exists(operand: object, _: str) -> Clause:
    there = _any(lambda found: found is not ABSENT)
    return there if operand not in (False, None) else _not(there)


def _regex(operand: object, options: object, path: str) -> Clause:
    if not isinstance(operand, str):
        raise BadSelection(f"{describe_path(path)}: a regular expression is a text, not {quote_value(operand)}")
    if not isinstance(options, str) or not set(options) <= _FLAGS.keys():
        raise BadSelection(
            f"{describe_path(path)}: $options are letters of {''.join(_FLAGS)}, not {quote_value(options)}"
        )
    flags = re.NOFLAG
    for letter in options:
        flags |= _FLAGS[letter]
    try:
        pattern = compile_pattern(operand, int(flags))
    except BadSelection as problem:
        raise BadSelection(f"{describe_path(path)}: {problem.message}", hint=problem.hint) from None
    return _any(lambda found: isinstance(found, str) and pattern.found_in(found))


_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE, "u": re.UNICODE}


def _size(operand: object, path: str) -> Clause:
    size = _whole(operand, path)
    if size < 0:
        raise BadSelection(f"{describe_path(path)} is a number from 0, not {quote_value(operand)}")
    return _any(lambda found: isinstance(found, list) and len(found) == size, elements=False)


def _mod(operand: object, path: str) -> Clause:
    if not isinstance(operand, list) or len(operand) != 2:
        raise BadSelection(f"{describe_path(path)} is a list of a divisor and a remainder, not {quote_value(operand)}")
    divisor, remainder = (_whole(one, path) for one in operand)
    if divisor == 0:
        raise BadSelection(f"{describe_path(path)}: the divisor is 0")

    def test(found: JsonValue) -> bool:
        if not _is_number(found) or (isinstance(found, float) and not math.isfinite(found)):
            return False
        left = abs(int(found)) % abs(divisor)
        return (-left if found < 0 else left) == remainder

    return _any(test)


def _type(operand: object, path: str) -> Clause:
    wanted = operand if isinstance(operand, list) else [operand]
    for one in wanted:
        if isinstance(one, bool) or not isinstance(one, int | float | str) or one not in _TYPES:
            raise BadSelection(
                f"{describe_path(path)}: unknown type {quote_value(one)}", hint=did_you_mean(str(one), _TYPE_NAMES)
            )
    return _any(lambda found: any(_TYPES[one](found) for one in wanted))


def _is_number(found: JsonValue) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)


def _is_int(found: JsonValue) -> bool:
    return _is_number(found) and isinstance(found, int) and -(2**31) <= found < 2**31


def _is_long(found: JsonValue) -> bool:
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


def _contains_all(operand: object, path: str, parse: ParseQuery) -> Clause:
    wanted = _listed(operand, path)
    if not wanted:
        return _any(lambda _: False)
    matched = [isinstance(one, dict) and next(iter(one), "") == "$elemMatch" for one in wanted]
    if all(matched):
        return all_clauses([_element(one["$elemMatch"], f"{path}[{at}]", parse) for at, one in enumerate(wanted)])
    for at, one in enumerate(wanted):
        if _has_operators(one):
            raise BadSelection(f"{describe_path(f'{path}[{at}]')} has operators", hint="values, or an $elemMatch each")
    return all_clauses([_equal(one) for one in wanted])


def _element(operand: object, path: str, parse: ParseQuery) -> Clause:
    """Require that one element of the list meets all conditions at once."""
    if not isinstance(operand, dict):
        raise BadSelection(f"{describe_path(path)} must be an object, not {quote_value(operand)}")
    if next(iter(operand), "") in OPERATORS:
        alone = all_clauses(parse_operators(operand, path, parse)).test
    else:
        inner = parse(operand, path)

        def alone(one: JsonValue) -> bool:
            if isinstance(one, list):
                return inner({str(at): value for at, value in enumerate(one)})
            return isinstance(one, dict) and inner(one)

    return _any(lambda found: isinstance(found, list) and any(alone(one) for one in found), elements=False)


def _negated(operand: object, path: str, parse: ParseQuery) -> Clause:
    if not _has_operators(operand):
        raise BadSelection(f"{describe_path(path)} must be an object of operators, not {quote_value(operand)}")
    return _not(all_clauses(parse_operators(operand, path, parse)))


def _listed(operand: object, path: str) -> list[Any]:
    if not isinstance(operand, list):
        raise BadSelection(f"{describe_path(path)} must be a list, not {quote_value(operand)}")
    return operand


def _whole(operand: object, path: str) -> int:
    if isinstance(operand, bool) or not isinstance(operand, int | float) or operand != operand // 1:
        raise BadSelection(f"{describe_path(path)} takes a whole number, not {quote_value(operand)}")
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


_NESTING: Mapping[str, Callable[[Any, str, ParseQuery], Clause]] = {
    "$not": _negated,
    "$all": _contains_all,
    "$elemMatch": _element,
}


OPERATORS: Iterable[str] = (*_PLAIN, *_NESTING, "$regex", "$options")
"""Every operator that applies to a field."""


Condition: TypeAlias = Callable[[JsonValue], bool]


_ON_QUERIES = ("$and", "$or", "$nor", "$comment")


@lru_cache(maxsize=256)
def compile_query(query: str) -> Condition:
    """Compile a query from its JSON text."""
    return parse_condition(json.loads(query))


def parse_condition(query: object, path: str = "") -> Condition:
    """Parse a query from a JSON value. `path` is its position in a larger query."""
    try:
        return _query(query, path)
    except RecursionError:
        raise BadSelection("the query is nested too deeply") from None


def _query(query: object, path: str) -> Condition:
    if not isinstance(query, dict):
        raise BadSelection(f"{describe_path(path)} must be an object, not {quote_value(query)}")
    return _all([_entry(key, value, f"{path}.{key}" if path else key) for key, value in query.items()])


def _entry(key: str, value: object, path: str) -> Condition:
    if not key.startswith("$"):
        return _on_field(key, value, path)
    if key == "$comment":
        return _all([])
    if key in OPERATORS:
        raise BadSelection(f"{describe_path(path)} stands beside no field", hint=f'write {{"FIELD": {{"{key}": …}}}}')
    if key not in _ON_QUERIES:
        raise BadSelection(f"{describe_path(path)}: unknown operator {key!r}", hint=did_you_mean(key, _ON_QUERIES))
    parts = [_query(part, f"{path}[{at}]") for at, part in enumerate(query_branches(value, path))]
    if key == "$and":
        return _all(parts)
    if key == "$or":
        return lambda document: any(part(document) for part in parts)
    return lambda document: not any(part(document) for part in parts)


def query_branches(value: object, path: str) -> list[Any]:
    """Return the queries joined by `$and`, `$or` or `$nor`."""
    if not isinstance(value, list) or not value:
        raise BadSelection(f"{describe_path(path)} must be a list of queries, not {quote_value(value)}")
    return value


def _all(parts: list[Condition]) -> Condition:
    if len(parts) == 1:
        return parts[0]
    return lambda document: all(part(document) for part in parts)


def _on_field(key: str, value: object, path: str) -> Condition:
    names = tuple(key.split("."))
    clause: Clause = all_clauses(parse_operators(value, path, _query))
    return lambda document: clause.along(document, names)
