"""From the selection flags of a command line to one Selection."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from rekindle.domain.errors import BadSelection
from rekindle.domain.selection import Changed, Compare, ErrorMatches, Every, Key, Op, Predicate, Selection, as_of
from rekindle.domain.states import State
from rekindle.domain.texts.jobnames import composed
from rekindle.domain.texts.patterns import pattern_of
from rekindle.query.documents import parse_document
from rekindle.query.filters import parse_filter
from rekindle.query.words import parse_ids, parse_words


@dataclass(frozen=True, slots=True)
class Flags:
    """What was typed, word by word, before anything is understood. Flags of one kind widen each other, but
    filters and queries narrow; different kinds always narrow."""

    jobs: Sequence[str] = ()  # positional: ids, ranges, names, globs
    workflow: str | None = None
    ids: Sequence[str] = ()
    names: Sequence[str] = ()
    states: Sequence[str] = ()  # commas allowed
    filters: Sequence[str] = ()
    queries: Sequence[str] = ()
    error: str | None = None
    archived: bool = False  # --error looks at archived attempts too
    signature: str | None = None
    everything: bool = False
    changed: Changed = False

    def typed(self) -> dict[str, Any]:
        """Only what was given, as JSON values: the record of a request."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items() if value}


def parse_selection(flags: Flags, clock: Callable[[], float] = time.time) -> Selection:
    """The jobs that are meant. BadSelection or UnknownWord name what cannot be read. Ages are those at the `clock`'s
    time."""
    if flags.archived and flags.error is None:
        raise BadSelection("--archived says where --error looks", hint="add --error REGEX, or leave it out")
    if flags.changed not in (False, True, "all"):
        raise BadSelection(f"changed is true, false or 'all', not {flags.changed!r}", hint='changed="all"')
    named: tuple[tuple[Key, ...], ...] = (parse_words(flags.jobs), parse_ids(flags.ids), _names(flags.names))
    groups = [group for group in named if group]
    parts: list[Predicate] = []
    if flags.states:
        parts.append(parse_states(flags.states))
    parts += [parse_filter(text) for text in flags.filters]
    parts += [parse_document(text) for text in flags.queries]
    if flags.error is not None:
        parts.append(ErrorMatches(checked_regex(flags.error), flags.archived))
    return Selection(
        workflow=flags.workflow,
        jobs=groups[0] if groups else (),
        where=as_of(_every([part for part in parts if part != Every()]), clock()),
        signature=_checked_signature(flags.signature),
        everything=flags.everything,
        changed=flags.changed,
        also=tuple(groups[1:]),
    )


def parse_states(words: Sequence[str]) -> Predicate:
    """Any of these states; `failed,canceled` is two."""
    states = dict.fromkeys(State.parse(word) for text in words for word in text.split(",") if word.strip())
    if not states:
        raise BadSelection("a state is empty", hint="for instance: -s failed")
    if len(states) == 1:
        return Compare("state", Op.EQ, next(iter(states)))
    return Compare("state", Op.IN, tuple(states))


def checked_regex(pattern: str) -> str:
    """The pattern itself, if Python's `re` takes it; else BadSelection that names it."""
    return pattern_of(pattern).text


def _names(names: Sequence[str]) -> tuple[str, ...]:
    if any(not name for name in names):
        raise BadSelection("a name is empty", hint="for instance: -n 'train*'")
    return tuple(composed(name) for name in names)


def _every(parts: Sequence[Predicate]) -> Predicate:
    return parts[0] if len(parts) == 1 else Every(tuple(parts))


def _checked_signature(signature: str | None) -> str | None:
    if signature is not None and not re.fullmatch(r"[0-9a-fA-F]+", signature):
        raise BadSelection(
            f"{signature!r} is not a signature", hint="signatures are hexadecimal: `rekindle failures` lists them"
        )
    return signature.lower() if signature else None
