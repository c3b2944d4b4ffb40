"""The documents of a list of jobs as JSON text. Millions of jobs differ only in a few keys: the text of the others is
made once for all jobs that are alike."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING

from rekindle.domain.texts.display import mask_matrix
from rekindle.presentation import documents
from rekindle.presentation.words import seconds
from rekindle.store.job_pages import OWN_COLUMNS

if TYPE_CHECKING:
    from rekindle.engine.queries.lists import AlikeJobs
    from rekindle.store.queries import Row

_OWN_KEYS = ("id", "name", "attempt", "matrix", "started", "ended", "seconds")
"""The keys of `documents.job`, in its order, that the first columns of a row decide."""

_MOST = 10_000
"""Kinds of jobs whose texts are kept."""


def job_lines(found: AlikeJobs, stale: bool | None) -> Iterator[str]:
    """Yield the document of each job in one line of ASCII. `stale` as in `documents.job`."""
    texts: dict[Row, tuple[str, ...]] = {}
    for rows in found.blocks:
        kinds = [(*row[OWN_COLUMNS:], row[0]) if row[0] in found.single else row[OWN_COLUMNS:] for row in rows]
        new = {kind: row[0] for kind, row in zip(kinds, rows, strict=True) if kind not in texts}
        if len(texts) + len(new) > _MOST:
            texts.clear()
            new = {kind: row[0] for kind, row in zip(kinds, rows, strict=True)}
        for kind, example in zip(new, found.get(list(new.values())) if new else (), strict=True):
            texts[kind] = _parts(documents.job(example, stale))
        for kind, row in zip(kinds, rows, strict=True):
            number, name, binding, attempt, started, ended = row[:OWN_COLUMNS]
            parts = texts[kind]
            yield "".join(  # a fifth of the time that formatting takes
                (
                    parts[0] + str(number),
                    parts[1] + encode_basestring_ascii(name),
                    parts[2] + ("null" if attempt is None else str(attempt)),
                    parts[3] + _matrix(binding),
                    parts[4] + _time(started),
                    parts[5] + _time(ended),
                    parts[6] + _number(seconds(started, ended)),
                    parts[7],
                )
            )


def _parts(document: Mapping[str, object]) -> tuple[str, ...]:
    """Return the text of a document without the values of _OWN_KEYS: what is before, between and after them."""
    parts = ["{"]
    for at, (key, value) in enumerate(document.items()):
        parts[-1] += f"{',' if at else ''}{json.dumps(key)}:"
        if key in _OWN_KEYS:
            parts.append("")
        else:
            parts[-1] += _compact(value)
    parts[-1] += "}"
    return tuple(parts)


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _matrix(binding: str) -> str:
    """Return matrix values, given as JSON text, without secrets. Only variables can be secret, and their names have
    `env` in them."""
    text = binding or "{}"
    return text if text.isascii() and "env" not in text else _compact(mask_matrix(json.loads(text)))


def _time(at: float | None) -> str:
    return "null" if at is None else '"' + documents.iso(at) + '"'  # type: ignore[operator]


def _number(value: float | None) -> str:
    return "null" if value is None else repr(value)
