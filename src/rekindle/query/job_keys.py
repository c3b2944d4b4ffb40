"""Parse job arguments: `3`, `1,2,3`, `4-9`, names and globs."""

from __future__ import annotations

from collections.abc import Sequence

from rekindle.domain.definition import normalize_name
from rekindle.domain.errors import BadSelection
from rekindle.domain.selection import IdsOrName, JobKey
from rekindle.domain.texts.regexes import lazy_regex

MAX_IDS = 1_000_000
"""Limit for one selection, so that a slip such as `1-99999999999` is refused before it is expanded."""

_SEPARATORS = lazy_regex(r"[,\s]+")
_ID = lazy_regex(r"[0-9]+")
_RANGE = lazy_regex(r"([0-9]+)-([0-9]+)")
_OTHER_RANGE = lazy_regex(r"([0-9]+)(?:\.{2,3}|:|to)([0-9]+)")
_IDS_ONLY = lazy_regex(r"[0-9]+(?:-[0-9]+)?(?:[,\s]+[0-9]+(?:-[0-9]+)?)*[,\s]*")


def parse_job_words(words: Sequence[str]) -> tuple[JobKey, ...]:
    """Return the keys of positional jobs.

    A number is an id. A word of digits, commas and ranges means ids unless a job has that name. Any other word is a
    name or glob.
    """
    keys: list[JobKey] = []
    for word in words:
        if not word.strip():
            raise BadSelection("a job's name is empty", hint="`rekindle jobs list` names them")
        word = normalize_name(word.strip())
        keys.append(int(word) if _ID.fullmatch(word) else IdsOrName(word) if _IDS_ONLY.fullmatch(word) else word)
    return tuple(dict.fromkeys(keys))


def parse_ids(words: Sequence[str]) -> tuple[int, ...]:
    """Return ids and ranges of ids, separated by commas or spaces. Raise BadSelection, naming the invalid part."""
    ids: dict[int, None] = {}
    for word in words:
        parts = [part for part in _SEPARATORS.split(word.strip()) if part]
        if not parts:
            raise BadSelection(f"no id in {word!r}", hint="for instance: -i 1,2 or -i 4-9")
        for part in parts:
            ids.update(dict.fromkeys(_span(part, MAX_IDS - len(ids))))
    return tuple(ids)


def has_wildcard(name: str) -> bool:
    """Return whether a name is a glob. Only `*` and `?` are special; brackets are literal."""
    return "*" in name or "?" in name


def range_hint(word: str) -> str:
    """Return a hint if a word is a range of ids in another notation, such as 1..3 or 1:3; else ""."""
    match = _OTHER_RANGE.fullmatch(word)
    return f"did you mean {match[1]}-{match[2]}?" if match else ""


def _span(part: str, limit: int) -> range:
    if _ID.fullmatch(part):
        first = last = int(part)
    elif match := _RANGE.fullmatch(part):
        first, last = int(match[1]), int(match[2])
    else:
        hint = range_hint(part) or "for instance 7, 1,2 or 4-9; names go with -n"
        raise BadSelection(f"{part!r} is neither an id nor a range of ids", hint=hint)
    if last < first:
        raise BadSelection(f"the range {part} runs backwards", hint=f"did you mean {last}-{first}?")
    if last - first >= limit:
        raise BadSelection(
            f"the range {part} takes more than {MAX_IDS:,} ids", hint=f"use a filter: -f 'id>={first}' -f 'id<={last}'"
        )
    return range(first, last + 1)
