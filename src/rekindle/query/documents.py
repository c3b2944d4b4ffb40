"""Document queries: JSON with `$` operators, as document databases have them."""

from __future__ import annotations

import json
from typing import Any

from rekindle.domain.errors import BadSelection
from rekindle.domain.fields import FIELDS, PREFIXES
from rekindle.domain.selection import AnyOf, Compare, Every, Not, Op, Predicate
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.query.comparing import comparison, known_kind

_COMPARING = {"$gt": Op.GT, "$gte": Op.GE, "$lt": Op.LT, "$lte": Op.LE, "$ne": Op.NE, "$regex": Op.REGEX}
_ON_FIELDS = (*_COMPARING, "$in", "$nin", "$exists", "$not")
_ON_QUERIES = ("$and", "$or", "$not")


def parse_document(text: str) -> Predicate:
    """The predicate of a JSON query such as `{"state": "failed", "matrix.alpha": {"$gt": 0.1}}`.

    Keys are fields (dotted, or nested objects) and `$and`, `$or`, `$not`; a field's value is a value, null (it is
    absent) or an object of operators, all of which must hold. Every error names the key it is about."""
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise BadSelection("the query is nested too deeply") from None
    except json.JSONDecodeError as problem:
        raise BadSelection(
            f"the query is not JSON: {problem.msg} at character {problem.pos + 1}",
            hint="""for instance: -q '{"state": "failed"}'""",
        ) from None
    return _query(document, "")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadSelection(f"the query has the key {key!r} twice", hint="join them with $and")
        found[key] = value
    return found


def _no_constant(word: str) -> Any:
    raise BadSelection(f"the query has {word}, which is not JSON")


def _query(document: object, path: str) -> Predicate:
    if not isinstance(document, dict):
        raise BadSelection(f"{_place(path)} must be an object, not {_shown(document)}")
    parts = [_entry(key, value, path) for key, value in document.items()]
    return parts[0] if len(parts) == 1 else Every(tuple(parts))


def _entry(key: str, value: object, path: str) -> Predicate:
    here = _joined(path, key)
    if not key.startswith("$"):
        return _field(key, value, here)
    match key:
        case "$and":
            return Every(tuple(_branches(value, here)))
        case "$or":
            return AnyOf(tuple(_branches(value, here)))
        case "$not":
            return Not(_query(value, here))
    if key in _ON_FIELDS:
        raise BadSelection(f"{_place(here)} stands beside no field", hint=f'write {{"FIELD": {{"{key}": …}}}}')
    raise _unknown_operator(key, here, _ON_QUERIES)


def _branches(value: object, path: str) -> list[Predicate]:
    if not isinstance(value, list) or not value:
        raise BadSelection(f"{_place(path)} must be a list of queries, not {_shown(value)}")
    return [_query(part, f"{path}[{position}]") for position, part in enumerate(value)]


def _field(field: str, value: object, path: str) -> Predicate:
    if not isinstance(value, dict):
        return _equal(field, value, path)
    if not value:
        raise BadSelection(f"{_place(path)} has neither a value nor an operator")
    operators = {key for key in value if key.startswith("$")}
    if not operators:
        return _nested(field, value, path)
    if len(operators) < len(value):
        raise BadSelection(f"{_place(path)} mixes operators and fields: {', '.join(value)}")
    known_kind(field, _place(path))
    parts = [_operator(field, key, operand, f"{path}.{key}") for key, operand in value.items()]
    return parts[0] if len(parts) == 1 else Every(tuple(parts))


def _nested(field: str, value: dict[str, Any], path: str) -> Predicate:
    beginning = f"{field}."
    inside_family = any(beginning.startswith(prefix) for prefix in PREFIXES)
    if not inside_family and not any(name.startswith(beginning) for name in FIELDS):
        known_kind(field, _place(path))
        raise BadSelection(f"{_place(path)}: {field} has no fields inside", hint="operators begin with $, as $gt")
    parts = [_field(beginning + key, inner, _joined(path, key)) for key, inner in value.items()]
    return parts[0] if len(parts) == 1 else Every(tuple(parts))


def _operator(field: str, key: str, operand: object, path: str) -> Predicate:
    if key in _COMPARING:
        if operand is None and key == "$ne":
            return Compare(field, Op.EXISTS, True)
        return comparison(field, _COMPARING[key], operand, _place(path))
    match key:
        case "$in":
            return _one_of(field, operand, path)
        case "$nin":
            return Not(_one_of(field, operand, path))
        case "$exists":
            if not isinstance(operand, bool):
                raise BadSelection(f"{_place(path)} is true or false, not {_shown(operand)}")
            return Compare(field, Op.EXISTS, operand)
        case "$not":
            return Not(_field(field, operand, path))
    raise _unknown_operator(key, path, _ON_FIELDS)


def _one_of(field: str, operand: object, path: str) -> Predicate:
    if not isinstance(operand, list):
        raise BadSelection(f"{_place(path)} must be a list, not {_shown(operand)}")
    parts = [_equal(field, value, f"{path}[{position}]") for position, value in enumerate(operand)]
    values = [part.value for part in parts if isinstance(part, Compare) and part.op is Op.EQ]
    if parts and len(values) == len(parts):
        return Compare(field, Op.IN, tuple(values))
    return AnyOf(tuple(parts))


def _equal(field: str, value: object, path: str) -> Predicate:
    if value is None:
        known_kind(field, _place(path))
        return Compare(field, Op.EXISTS, False)
    return comparison(field, Op.EQ, value, _place(path))


def _unknown_operator(key: str, path: str, known: tuple[str, ...]) -> BadSelection:
    return BadSelection(f"{_place(path)}: unknown operator {key!r}", hint=did_you_mean(key, known))


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _place(path: str) -> str:
    return f"query at {path}" if path else "the query"


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
