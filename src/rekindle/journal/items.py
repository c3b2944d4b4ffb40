"""The items of a fan-out that can be told without running anything: the same for a plan as for the step itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rekindle.domain.definition import Each
from rekindle.domain.errors import BadValue
from rekindle.domain.subtasks import item_text, repeated
from rekindle.domain.texts.substitution import render_value, word
from rekindle.domain.texts.surrogates import shown_json
from rekindle.files.globbing import matched


def settled(each: Each, scope: Mapping[str, Any], directory: str) -> list[str] | None:
    """The items of a pattern (the paths that match, sorted) or of a list, as JSON texts; None: a command or a call
    finds them. Raises UnknownWord for a value that is not there, BadValue for an item that is there twice."""
    if each.glob is not None:
        value = render_value(each.glob, scope)
        if isinstance(value, list | tuple):
            return texts(value)
        return texts(matched(word(value), directory))
    return None if each.items is None else texts(render_value(each.items, scope))


def texts(items: list[Any] | tuple[Any, ...]) -> list[str]:
    """Items as JSON texts. BadValue names one that is there twice: its outcome could not be told from the other's."""
    found = [item_text(item) for item in items]
    double = repeated(found)
    if double is not None:
        raise BadValue(
            f"the item {shown_json(double):.200} is there twice", hint="each item of a fan-out is there once"
        )
    return found
