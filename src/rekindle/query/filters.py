"""One filter of the command line: FIELD OP VALUE."""

from __future__ import annotations

import re

from rekindle.domain.errors import BadSelection
from rekindle.domain.selection import Op, Predicate
from rekindle.domain.texts.jobnames import composed
from rekindle.query.comparing import comparison

_FILTER = re.compile(r"\s*([^=!<>~\s]+)\s*(!=|<=|>=|=|<|>|~)\s*(.*?)\s*", re.DOTALL)
_HINT = "write FIELD=VALUE, with one of = != < <= > >= ~"


def parse_filter(text: str) -> Predicate:
    """What `text` says; BadSelection or UnknownWord name the field or value that cannot be read."""
    match = _FILTER.fullmatch(text)
    if match is None:
        raise BadSelection(f"cannot read the filter {text!r}", hint=_HINT)
    field, op, value = match.groups()
    field = composed(field)
    if value.startswith(("=", "~")) and op in "=!~":
        raise BadSelection(f"cannot read the filter {text!r}: {op + value[0]!r} is no operator", hint=_HINT)
    if not value and op != "=" and op != "!=":
        raise BadSelection(f"the filter {text!r} has no value", hint=_HINT)
    return comparison(field, Op(op), value, f"filter {text!r}", text=True)
