"""Parse document queries: JSON with `$` operators, as in document databases."""

from __future__ import annotations

import json
from typing import Any

from rekindle.domain.errors import BadSelection
from rekindle.domain.selection import FIELD_PREFIXES, FIELDS, AllOf, AnyOf, Compare, Not, Op, Predicate
from rekindle.domain.texts.display import did_you_mean
from rekindle.query.filters import comparison, known_kind

_COMPARISONS = {"$gt": Op.GT, "$gte": Op.GE, "$lt": Op.LT, "$lte": Op.LE, "$ne": Op.NE, "$regex": Op.REGEX}
_FIELD_OPERATORS = (*_COMPARISONS, "$in", "$nin", "$exists", "$not")
_QUERY_OPERATORS = ("$and", "$or", "$not")

MOST_NESTED = 32
"""The most levels of a query: a database limits the depth of a condition."""


def parse_document(text: str) -> Predicate:
    """Return the predicate of a JSON query such as `{"state": "failed", "matrix.alpha": {"$gt": 0.1}}`.

    Keys are fields (dotted, or nested objects) and `$and`, `$or`, `$not`. The value of a field is a value to equal,
    null (absent), or an object of operators that must all hold. Raise BadSelection or UnknownWord, naming the invalid
    key.
    """
    try:
        document = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as problem:
        raise BadSelection(
            f"the query is not JSON: {problem.msg} at character {problem.pos + 1}",
            hint="""for instance: -q '{"state": "failed"}'""",
        ) from None
    level, depth = [document], 0
    while level:
        level = [
            child
            for one in level
            for child in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
        ]
        depth += 1
        if depth > MOST_NESTED:
            raise _too_deep()
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadSelection("the query has half of a character: an escape such as \\ud800 alone") from None
    return _query(document, "")


def _too_deep() -> BadSelection:
    return BadSelection(f"the query is nested too deeply: more than {MOST_NESTED} levels")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadSelection(f"the query has the key {key!r} twice", hint="join them with $and")
        found[key] = value
    return found


def _refuse_constant(word: str) -> Any:
    raise BadSelection(f"the query has {word}, which is not JSON")


def _query(document: object, path: str) -> Predicate:
    if not isinstance(document, dict):
        raise BadSelection(f"{_describe(path)} must be an object, not {_json(document)}")
    parts = [_entry(key, value, path) for key, value in document.items()]
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _entry(key: str, value: object, path: str) -> Predicate:
    here = _join(path, key)
    if not key.startswith("$"):
        return _field(key, value, here)
    match key:
        case "$and":
            return AllOf(tuple(_branches(value, here)))
        case "$or":
            return AnyOf(tuple(_branches(value, here)))
        case "$not":
            return Not(_query(value, here))
    if key in _FIELD_OPERATORS:
        raise BadSelection(f"{_describe(here)} is not the value of a field", hint=f'write {{"FIELD": {{"{key}": …}}}}')
    raise _unknown_operator(key, here, _QUERY_OPERATORS)


def _branches(value: object, path: str) -> list[Predicate]:
    if not isinstance(value, list) or not value:
        raise BadSelection(f"{_describe(path)} must be a list of queries, not {_json(value)}")
    return [_query(part, f"{path}[{position}]") for position, part in enumerate(value)]


def _field(field: str, value: object, path: str) -> Predicate:
    if not isinstance(value, dict):
        return _equal(field, value, path)
    if not value:
        raise BadSelection(f"{_describe(path)} has neither a value nor an operator")
    operators = {key for key in value if key.startswith("$")}
    if not operators:
        return _nested(field, value, path)
    if len(operators) < len(value):
        raise BadSelection(f"{_describe(path)} mixes operators and fields: {', '.join(value)}")
    known_kind(field, _describe(path))
    parts = [_operator(field, key, operand, f"{path}.{key}") for key, operand in value.items()]
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _nested(field: str, value: dict[str, Any], path: str) -> Predicate:
    beginning = f"{field}."
    inside_family = any(beginning.startswith(prefix) for prefix in FIELD_PREFIXES)
    if not inside_family and not any(name.startswith(beginning) for name in FIELDS):
        known_kind(field, _describe(path))
        raise BadSelection(f"{_describe(path)}: {field} has no fields inside", hint="operators begin with $, as $gt")
    parts = [_field(beginning + key, inner, _join(path, key)) for key, inner in value.items()]
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _operator(field: str, key: str, operand: object, path: str) -> Predicate:
    if key in _COMPARISONS:
        if operand is None and key == "$ne":
            return Compare(field, Op.EXISTS, True)
        return comparison(field, _COMPARISONS[key], operand, _describe(path))
    match key:
        case "$in":
            return _one_of(field, operand, path)
        case "$nin":
            return Not(_one_of(field, operand, path))
        case "$exists":
            if not isinstance(operand, bool):
                raise BadSelection(f"{_describe(path)} is true or false, not {_json(operand)}")
            return Compare(field, Op.EXISTS, operand)
        case "$not":
            return Not(_field(field, operand, path))
    raise _unknown_operator(key, path, _FIELD_OPERATORS)


def _one_of(field: str, operand: object, path: str) -> Predicate:
    if not isinstance(operand, list):
        raise BadSelection(f"{_describe(path)} must be a list, not {_json(operand)}")
    parts = [_equal(field, value, f"{path}[{position}]") for position, value in enumerate(operand)]
    values = [part.value for part in parts if isinstance(part, Compare) and part.op is Op.EQ]
    if parts and len(values) == len(parts):
        return Compare(field, Op.IN, tuple(values))
    return AnyOf(tuple(parts))


def _equal(field: str, value: object, path: str) -> Predicate:
    if value is None:
        known_kind(field, _describe(path))
        return Compare(field, Op.EXISTS, False)
    return comparison(field, Op.EQ, value, _describe(path))


def _unknown_operator(key: str, path: str, known: tuple[str, ...]) -> BadSelection:
    return BadSelection(f"{_describe(path)}: unknown operator {key!r}", hint=did_you_mean(key, known))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _describe(path: str) -> str:
    return f"query at {path}" if path else "the query"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
