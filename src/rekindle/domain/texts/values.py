"""Values of any JSON type as text, written so that values of different types never look alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

NOT_SET = "(not set)"
"""Stands for a value that is not there at all, which is not the value null."""

_WORDS = frozenset({"true", "false", "null", "~", ".inf", "-.inf", ".nan"})
_NUMBERS: tuple[Callable[[str], object], ...] = (float, lambda text: int(text, 0))


def value_text(value: Any) -> str:
    """Return `5`, `true`, `null`, `[1, 2]`, `hello`. A text that could be read as another value, or whose ends cannot
    be seen, is quoted: `"5"`, `"true"`, `""`."""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, default=str)
    return json.dumps(value, ensure_ascii=False) if _ambiguous(value) else value


def change_text(before: Any, after: Any, not_set: str | None = None) -> str:
    """Return `1 -> "1"`. `not_set` is the side, "before" or "after", that has no value."""
    one = NOT_SET if not_set == "before" else value_text(before)
    other = NOT_SET if not_set == "after" else value_text(after)
    return f"{one} -> {other}"


def _ambiguous(text: str) -> bool:
    if not text or text != text.strip() or text[0] in "\"'[{(" or " -> " in text or text.lower() in _WORDS:
        return True
    for read in _NUMBERS:
        try:
            read(text)
        except ValueError:
            continue
        return True
    return False
