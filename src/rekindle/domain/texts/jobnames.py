"""Names of the jobs of a matrix: `train[alpha=0.1,seed=0]`."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from rekindle.domain.texts.substitution import word

_PARTS = re.compile(r'\s*([\w-]+)=("(?:[^"\\]|\\.)*"|[^,]*)(?:,|$)')


def composed(text: str) -> str:
    """Return a name with composed characters (Unicode NFC): `é` is one character, however it was typed."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def labels(values: Mapping[str, Any]) -> str:
    """Return matrix values as they stand in a job's name: `alpha=0.1,seed=0`."""
    return ",".join([f"{key}={value_label(value)}" for key, value in values.items()])


def value_label(value: Any) -> str:
    """Return a matrix value as it stands in a job's name. A text that a name could not hold unambiguously or readably
    is a JSON string: one with a comma, a bracket, a tab or another control character, a quotation mark at its start,
    or a space at an end. An empty text is nothing: `build[flags=]`."""
    if not isinstance(value, str):
        return word(value)
    text = composed(value)
    plain = text.isprintable() and text == text.strip() and not text.startswith('"') and not set(text) & set(",[]")
    if plain:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in quoted)


def labels_of(name: str) -> tuple[str, dict[str, str]]:
    """Return the entry and the labels by key in the name of a job; no labels where the name has none."""
    entry, bracket, rest = name.partition("[")
    if not bracket or not rest.endswith("]"):
        return name, {}
    found: dict[str, str] = {}
    at = 0
    rest = rest[:-1]
    while at < len(rest):
        part = _PARTS.match(rest, at)
        if part is None:
            return name, {}
        found[part[1]] = part[2]
        at = part.end()
    return entry, found
