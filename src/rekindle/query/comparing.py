"""One comparison, checked: the field is known, the operator fits its kind, and the value is typed."""

from __future__ import annotations

from rekindle.domain.errors import BadSelection, UnknownWord
from rekindle.domain.fields import FIELDS, PREFIXES, Kind
from rekindle.domain.selection import Ago, AnyOf, Compare, Every, Not, Op, Predicate
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.domain.texts.patterns import pattern_of
from rekindle.query.typed import Value, moment, scalar, typed

ORDERED = frozenset({Op.LT, Op.LE, Op.GT, Op.GE})


def comparison(field: str, op: Op, raw: object, place: str, *, text: bool = False) -> Predicate:
    """`field op raw`. `raw` is a JSON value, or with `text` a word of the command line. `place` begins every
    message: what the user wrote, and where. BadSelection or UnknownWord say what is wrong with it."""
    kind = known_kind(field, place)
    _check_operator(field, kind, op, place)
    if op is Op.REGEX:
        return Compare(field, op, _regex(raw, place))
    if kind == "time":
        return _within(field, op, raw, place)
    if kind is None:
        return _open(field, op, scalar(raw, place, text=text))
    return Compare(field, op, typed(field, kind, raw, place, text=text))


def known_kind(field: str, place: str) -> Kind | None:
    """The kind of a field; None for one of an open family, whose kind is the stored value's. UnknownWord, with the
    nearest field, for one that nobody knows."""
    if field in FIELDS:
        return FIELDS[field].kind
    for prefix in PREFIXES:
        if field.startswith(prefix) and len(field) > len(prefix):
            return None
    known = [*FIELDS, *(f"{prefix}NAME" for prefix in PREFIXES)]
    raise UnknownWord(f"{place}: unknown field {field!r}", hint=did_you_mean(field, known))


def _check_operator(field: str, kind: Kind | None, op: Op, place: str) -> None:
    if op in ORDERED and kind in ("state", "bool"):
        raise BadSelection(f"{place}: {field} has no order, so {op.value} says nothing", hint="use = or !=")
    if op is Op.REGEX and kind not in ("text", None):
        raise BadSelection(f"{place}: ~ searches text, and {field} is {_KINDS[kind]}", hint="use = != < > instead")


_KINDS = {"int": "a number", "number": "a number", "state": "a state", "bool": "true or false", "time": "a time"}


def _regex(raw: object, place: str) -> str:
    if not isinstance(raw, str):
        raise BadSelection(f"{place}: a regular expression is a text, not {raw!r}")
    try:
        return pattern_of(raw).text
    except BadSelection as problem:
        raise BadSelection(f"{place}: {problem.message}", hint=problem.hint) from None


def _within(field: str, op: Op, raw: object, place: str) -> Predicate:
    """A time is as long as it was written: a date is its whole day, 10:30 its whole minute. A duration is an age:
    `ended<2d` is less than two days ago."""
    found = moment(raw, place)
    if not isinstance(found, tuple):
        if op not in _AGES:
            raise BadSelection(
                f"{place}: an age is compared with < <= > >=, not with {op.value}", hint=f"{field}<{raw}"
            )
        return Compare(field, _AGES[op], Ago(found))
    start, end = found
    inside = Every((Compare(field, Op.GE, start), Compare(field, Op.LT, end)))
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


_AGES = {Op.LT: Op.GT, Op.LE: Op.GE, Op.GT: Op.LT, Op.GE: Op.LE}
"""Younger is later."""


def _open(field: str, op: Op, readings: tuple[Value, ...]) -> Predicate:
    """Of a value that can be read as a number or as a text, equality takes both."""
    if len(readings) == 1 or op not in (Op.EQ, Op.NE):
        return Compare(field, op, readings[0])
    same = AnyOf(tuple(Compare(field, Op.EQ, one) for one in readings))
    return same if op is Op.EQ else Not(same)
