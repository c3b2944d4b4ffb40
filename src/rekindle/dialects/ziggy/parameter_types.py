"""The types of Ziggy's parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any


def parse_value(text: str, kind: str) -> Any:
    """Return the value of a text of a type, or of several, separated by commas. Raise ValueError."""
    kind = kind.lower()
    one = kind.removesuffix("array")
    if one not in _PARSERS:
        kinds = ", ".join(_PARSERS)
        raise ValueError(f"the type {kind!r:.40} is not known (types are {kinds}, each also with array)")
    if one == kind:
        return _parse_one(text, kind)
    return [_parse_one(item, one) for item in text.split(",")] if text.strip() else []


def _parse_one(text: str, kind: str) -> Any:
    try:
        return _PARSERS[kind](text.strip())
    except (ValueError, KeyError):
        raise ValueError(f"{text!r:.60} is no {kind}") from None


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


_BOOLEANS = {"true": True, "false": False}
_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "boolean": lambda text: _BOOLEANS[text.lower()],
    **dict.fromkeys(("int", "integer", "long", "short", "byte"), int),
    **dict.fromkeys(("float", "double"), _float),
    "string": str,
}
