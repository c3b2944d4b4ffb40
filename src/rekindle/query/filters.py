"""Parse FIELD OP VALUE filters, and check comparisons: known field, operator that fits its kind, typed value."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, date, datetime, timedelta
from typing import TypeGuard

from rekindle.domain.definition import normalize_name
from rekindle.domain.errors import BadSelection, BadValue, UnknownWord
from rekindle.domain.selection import FIELD_PREFIXES, FIELDS, Ago, AllOf, AnyOf, Compare, FieldKind, Not, Op, Predicate
from rekindle.domain.states import Cause, State
from rekindle.domain.texts.display import did_you_mean
from rekindle.domain.texts.patterns import compile_pattern
from rekindle.domain.texts.quantities import parse_duration, parse_size
from rekindle.domain.texts.regexes import lazy_regex

_FILTER = lazy_regex(r"\s*([^=!<>~\s]+)\s*(!=|<=|>=|=|<|>|~)\s*(.*?)\s*", re.DOTALL)
_HINT = "write FIELD=VALUE, with one of = != < <= > >= ~"


def parse_filter(text: str) -> Predicate:
    """Return the predicate of a filter. Raise BadSelection or UnknownWord, naming the invalid field or value."""
    match = _FILTER.fullmatch(text)
    if match is None:
        raise BadSelection(f"cannot read the filter {text!r}", hint=_HINT)
    field, op, value = match.groups()
    field = normalize_name(field)
    if value.startswith(("=", "~")) and op in "=!~":
        raise BadSelection(f"cannot read the filter {text!r}: {op + value[0]!r} is not an operator", hint=_HINT)
    if not value and op != "=" and op != "!=":
        raise BadSelection(f"the filter {text!r} has no value", hint=_HINT)
    return comparison(field, Op(op), value, f"filter {text!r}", text=True)


_ORDERING = frozenset({Op.LT, Op.LE, Op.GT, Op.GE})


def comparison(field: str, op: Op, raw: object, place: str, *, text: bool = False) -> Predicate:
    """Return the predicate `field op raw`.

    `raw` is a JSON value, or with `text` a word of the command line. `place` begins every message: the user's text and
    the position in it. Raise BadSelection or UnknownWord if the comparison is invalid.
    """
    kind = known_kind(field, place)
    _check_operator(field, kind, op, place)
    if op is Op.REGEX:
        return Compare(field, op, _regex(raw, place))
    if kind == "time":
        return _compare_time(field, op, raw, place)
    if kind is None:
        return _compare_any(field, op, matrix_values(raw, place, text=text))
    return Compare(field, op, parse_value(field, kind, raw, place, text=text))


def known_kind(field: str, place: str) -> FieldKind | None:
    """Return the kind of a field, or None for a field of an open family, whose kind depends on the stored value.

    Raise UnknownWord with the nearest field if the field is unknown.
    """
    if field in FIELDS:
        return FIELDS[field].kind
    for prefix in FIELD_PREFIXES:
        if field.startswith(prefix) and len(field) > len(prefix):
            return None
    known = [*FIELDS, *(f"{prefix}NAME" for prefix in FIELD_PREFIXES)]
    raise UnknownWord(f"{place}: unknown field {field!r}", hint=did_you_mean(field, known))


def _check_operator(field: str, kind: FieldKind | None, op: Op, place: str) -> None:
    if op in _ORDERING and kind in ("state", "bool"):
        raise BadSelection(f"{place}: {field} has no order, so {op.value} cannot apply", hint="use = or !=")
    if op is Op.REGEX and kind not in ("text", None):
        raise BadSelection(f"{place}: ~ searches text, and {field} is {_KINDS[kind]}", hint="use = != < > instead")


_KINDS = {"int": "a number", "number": "a number", "state": "a state", "bool": "true or false", "time": "a time"}


def _regex(raw: object, place: str) -> str:
    if not isinstance(raw, str):
        raise BadSelection(f"{place}: a regular expression is a text, not {raw!r}")
    try:
        return compile_pattern(raw).text
    except BadSelection as problem:
        raise BadSelection(f"{place}: {problem.message}", hint=problem.hint) from None


def _compare_time(field: str, op: Op, raw: object, place: str) -> Predicate:
    """Compare with a time span: a date is its whole day, 10:30 its whole minute.

    A duration is an age: `ended<2d` means less than two days ago.
    """
    found = parse_time(raw, place)
    if not isinstance(found, tuple):
        if op not in _AGE_OPERATORS:
            raise BadSelection(
                f"{place}: an age is compared with < <= > >=, not with {op.value}", hint=f"{field}<{raw}"
            )
        return Compare(field, _AGE_OPERATORS[op], Ago(found))
    start, end = found
    inside = AllOf((Compare(field, Op.GE, start), Compare(field, Op.LT, end)))
    match op:
        case Op.EQ:
            return inside
        case Op.NE:
            return Not(inside)
        case Op.GT:
            return Compare(field, Op.GE, end)
        case Op.LE:
            return Compare(field, Op.LT, end)
        case _:
            return Compare(field, op, start)


_AGE_OPERATORS = {Op.LT: Op.GT, Op.LE: Op.GE, Op.GT: Op.LT, Op.GE: Op.LE}
"""A smaller age is a later time."""


def _compare_any(field: str, op: Op, readings: tuple[Value, ...]) -> Predicate:
    """Compare with each reading of a value. Equality holds if any reading is equal; other operators use the first."""
    if len(readings) == 1 or op not in (Op.EQ, Op.NE):
        return Compare(field, op, readings[0])
    same = AnyOf(tuple(Compare(field, Op.EQ, one) for one in readings))
    return same if op is Op.EQ else Not(same)


Value = str | int | float | bool

_BOOLS = {"true": True, "yes": True, "false": False, "no": False}
_ENUMERATIONS = {"cause": [cause.value for cause in Cause], "verdict": ["passed", "warning", "blocker"]}
_SECONDS = frozenset({"seconds", "cpu_seconds"})
_BYTES = frozenset({"max_rss_bytes"})


def parse_value(field: str, kind: FieldKind, raw: object, place: str, *, text: bool) -> Value:
    """Return `raw` as a value of `kind` (see `parse_time` for times). Raise BadSelection with the expected kind."""
    match kind:
        case "state":
            return _state(raw, place)
        case "bool":
            return _bool(field, raw, place, text=text)
        case "int" | "number":
            return _number(field, kind, raw, place, text=text)
        case _:
            return _text(field, raw, place)


def matrix_values(raw: object, place: str, *, text: bool) -> tuple[Value, ...]:
    """Return every reading of a matrix value, the likeliest first: on a command line `1` is a number or a text."""
    if text and isinstance(raw, str):
        try:
            read = json.loads(raw)
        except ValueError:
            return (raw,)
        return (read, raw) if isinstance(read, bool | int) or _is_finite(read) else (raw,)
    if isinstance(raw, str | bool | int) or _is_finite(raw):
        return (raw,)
    raise BadSelection(f"{place}: {_json(raw)} cannot be compared with", hint="a text, a number, true or false")


def parse_time(raw: object, place: str) -> tuple[float, float] | float:
    """Return the span of an ISO 8601 time in seconds since the epoch, or the seconds of a duration.

    A date is a day, `10:30` a minute, `10:30:05` a second. The default offset is UTC.
    """
    hint = "times are ISO 8601 in UTC: 2024-05-31 or 2024-05-31T10:30:05Z; ages are durations: 2d, 1h30m, 90s"
    if not isinstance(raw, str):
        raise BadSelection(f"{place}: {_json(raw)} is not a time", hint=hint)
    try:
        if len(raw) == len("2024-05-31"):
            day = date.fromisoformat(raw)
            start, length = datetime(day.year, day.month, day.day, tzinfo=UTC), timedelta(days=1)
        else:
            start, length = datetime.fromisoformat(raw), _time_precision(raw)
    except ValueError:
        try:
            return parse_duration(raw)
        except BadValue as bad:
            problem = bad.message if "unit" in bad.message else f"{raw!r} is not a time"
            raise BadSelection(f"{place}: {problem}", hint=hint) from None
    if start.tzinfo is None:
        start = start.replace(tzinfo=UTC)
    return start.timestamp(), start.timestamp() + length.total_seconds()


def _time_precision(text: str) -> timedelta:
    clock = text[11:].removesuffix("Z").split("+")[0].split("-")[0]
    if "." in clock or "," in clock:
        return timedelta(microseconds=1)
    digits = sum(character.isdigit() for character in clock)
    return timedelta(hours=1) if digits <= 2 else timedelta(minutes=1) if digits <= 4 else timedelta(seconds=1)


def _state(raw: object, place: str) -> State:
    if not isinstance(raw, str):
        raise BadSelection(f"{place}: {_json(raw)} is not a state", hint="for instance failed")
    try:
        return State.parse(raw)
    except UnknownWord as unknown:
        raise UnknownWord(f"{place}: {unknown.message}", hint=unknown.hint) from None


def _bool(field: str, raw: object, place: str, *, text: bool) -> bool:
    if isinstance(raw, bool):
        return raw
    if text and isinstance(raw, str) and raw.lower() in _BOOLS:
        return _BOOLS[raw.lower()]
    raise BadSelection(f"{place}: {field} is true or false, not {_json(raw)}")


def _number(field: str, kind: FieldKind, raw: object, place: str, *, text: bool) -> int | float:
    number: int | float | None = None
    if (isinstance(raw, int) and not isinstance(raw, bool)) or _is_finite(raw):
        number = raw
    elif isinstance(raw, str):
        number = _read_number(raw) if text else None
        if number is None:
            number = _parse_quantity(field, raw, place)
    if number is None or (kind == "int" and number != int(number)):
        wanted = "a whole number" if kind == "int" else "a number"
        raise BadSelection(f"{place}: {field} is {wanted}, not {_json(raw)}")
    return int(number) if kind == "int" else number


def _is_finite(value: object) -> TypeGuard[float]:
    return isinstance(value, float) and math.isfinite(value)


def _read_number(text: str) -> int | float | None:
    for read in (int, float):
        try:
            number = read(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else None
    return None


def _parse_quantity(field: str, text: str, place: str) -> int | float | None:
    """Parse `1h30m` for fields in seconds and `512M` for fields in bytes."""
    try:
        if field in _SECONDS:
            return parse_duration(text)
        return parse_size(text) if field in _BYTES else None
    except BadValue as bad:
        raise BadSelection(f"{place}: {bad.message}", hint=bad.hint) from None


def _text(field: str, raw: object, place: str) -> str:
    if not isinstance(raw, str):
        raise BadSelection(f"{place}: {field} is a text, not {_json(raw)}", hint="put it in quotation marks")
    if field not in _ENUMERATIONS:
        return raw
    word, known = raw.lower(), _ENUMERATIONS[field]
    if word == "cancelled" and field == "cause":
        return Cause.CANCELED.value
    if word not in known:
        raise UnknownWord(f"{place}: unknown {field} {raw!r}", hint=did_you_mean(word, known))
    return word


def _json(raw: object) -> str:
    return json.dumps(raw, ensure_ascii=False, default=str)
