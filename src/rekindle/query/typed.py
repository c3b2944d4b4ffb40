"""Values: what a word or a JSON value means for a field of a known kind."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from typing import TypeGuard

from rekindle.domain.causes import Cause
from rekindle.domain.errors import BadSelection, BadValue, UnknownWord
from rekindle.domain.fields import Kind
from rekindle.domain.states import State
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.domain.texts.quantities import parse_duration, parse_size

Value = str | int | float | bool

_BOOLS = {"true": True, "yes": True, "false": False, "no": False}
_CLOSED = {"cause": [cause.value for cause in Cause], "verdict": ["passed", "warning", "blocker"]}
_SECONDS = frozenset({"seconds", "cpu_seconds"})
_BYTES = frozenset({"max_rss_bytes"})


def typed(field: str, kind: Kind, raw: object, place: str, *, text: bool) -> Value:
    """`raw` as a value of `kind` (not "time": see `moment`). BadSelection says what was expected."""
    match kind:
        case "state":
            return _state(raw, place)
        case "bool":
            return _bool(field, raw, place, text=text)
        case "int" | "number":
            return _number(field, kind, raw, place, text=text)
        case _:
            return _text(field, raw, place)


def scalar(raw: object, place: str, *, text: bool) -> tuple[Value, ...]:
    """A matrix value, of no known kind: every way to read it, the likeliest first. `1` on a command line is a
    number or a text."""
    if text and isinstance(raw, str):
        try:
            read = json.loads(raw)
        except ValueError:
            return (raw,)
        return (read, raw) if isinstance(read, bool | int) or _is_finite(read) else (raw,)
    if isinstance(raw, str | bool | int) or _is_finite(raw):
        return (raw,)
    raise BadSelection(f"{place}: {_shown(raw)} is no value to compare with", hint="a text, a number, true or false")


def moment(raw: object, place: str) -> tuple[float, float] | float:
    """The span that an ISO 8601 time names, as seconds since the epoch: a date is a day, `10:30` a minute,
    `10:30:05` a second. Without an offset it is UTC. Of a duration, which is an age, its seconds."""
    hint = "times are ISO 8601 in UTC: 2024-05-31 or 2024-05-31T10:30:05Z; ages are durations: 2d, 1h30m, 90s"
    if not isinstance(raw, str):
        raise BadSelection(f"{place}: {_shown(raw)} is not a time", hint=hint)
    try:
        if len(raw) == len("2024-05-31"):
            day = date.fromisoformat(raw)
            start, length = datetime(day.year, day.month, day.day, tzinfo=UTC), timedelta(days=1)
        else:
            start, length = datetime.fromisoformat(raw), _precision(raw)
    except ValueError:
        try:
            return parse_duration(raw)
        except BadValue as bad:
            problem = bad.message if "unit" in bad.message else f"{raw!r} is not a time"
            raise BadSelection(f"{place}: {problem}", hint=hint) from None
    if start.tzinfo is None:
        start = start.replace(tzinfo=UTC)
    return start.timestamp(), start.timestamp() + length.total_seconds()


def _precision(text: str) -> timedelta:
    clock = text[11:].removesuffix("Z").split("+")[0].split("-")[0]
    if "." in clock or "," in clock:
        return timedelta(microseconds=1)
    digits = sum(character.isdigit() for character in clock)
    return timedelta(hours=1) if digits <= 2 else timedelta(minutes=1) if digits <= 4 else timedelta(seconds=1)


def _state(raw: object, place: str) -> State:
    if not isinstance(raw, str):
        raise BadSelection(f"{place}: {_shown(raw)} is not a state", hint="for instance failed")
    try:
        return State.parse(raw)
    except UnknownWord as unknown:
        raise UnknownWord(f"{place}: {unknown.message}", hint=unknown.hint) from None


def _bool(field: str, raw: object, place: str, *, text: bool) -> bool:
    if isinstance(raw, bool):
        return raw
    if text and isinstance(raw, str) and raw.lower() in _BOOLS:
        return _BOOLS[raw.lower()]
    raise BadSelection(f"{place}: {field} is true or false, not {_shown(raw)}")


def _number(field: str, kind: Kind, raw: object, place: str, *, text: bool) -> int | float:
    number: int | float | None = None
    if (isinstance(raw, int) and not isinstance(raw, bool)) or _is_finite(raw):
        number = raw
    elif isinstance(raw, str):
        number = _read_number(raw) if text else None
        if number is None:
            number = _quantity(field, raw, place)
    if number is None or (kind == "int" and number != int(number)):
        wanted = "a whole number" if kind == "int" else "a number"
        raise BadSelection(f"{place}: {field} is {wanted}, not {_shown(raw)}")
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


def _quantity(field: str, text: str, place: str) -> int | float | None:
    """`1h30m` where seconds are meant, `512M` where bytes are."""
    try:
        if field in _SECONDS:
            return parse_duration(text)
        return parse_size(text) if field in _BYTES else None
    except BadValue as bad:
        raise BadSelection(f"{place}: {bad.message}", hint=bad.hint) from None


def _text(field: str, raw: object, place: str) -> str:
    if not isinstance(raw, str):
        raise BadSelection(f"{place}: {field} is a text, not {_shown(raw)}", hint="put it in quotation marks")
    if field not in _CLOSED:
        return raw
    word, known = raw.lower(), _CLOSED[field]
    if word == "cancelled" and field == "cause":
        return Cause.CANCELED.value
    if word not in known:
        raise UnknownWord(f"{place}: unknown {field} {raw!r}", hint=did_you_mean(word, known))
    return word


def _shown(raw: object) -> str:
    return json.dumps(raw, ensure_ascii=False, default=str)
