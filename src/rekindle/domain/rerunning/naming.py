"""Names in a sentence."""

from __future__ import annotations

from collections.abc import Iterable

_NAMED = 5


def named(names: Iterable[str]) -> str:
    """The first few: "`a`, `b` and 7 more"."""
    every = list(names)
    shown = ", ".join(f"`{name}`" for name in every[:_NAMED])
    return shown if len(every) <= _NAMED else f"{shown} and {len(every) - _NAMED} more"
