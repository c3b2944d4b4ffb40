"""Turn the selection flags of a command line into a Selection."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from rekindle.domain.definition import normalize_name
from rekindle.domain.errors import BadSelection
from rekindle.domain.selection import (
    AllOf,
    Compare,
    ErrorPattern,
    JobKey,
    Op,
    Predicate,
    Selection,
    StaleFilter,
    resolve_times,
)
from rekindle.domain.states import State
from rekindle.query.job_keys import parse_ids, parse_job_words


class SelectionFlags(msgspec.Struct, frozen=True):
    """Selection flags as typed. Flags of one kind widen each other, except that filters and queries narrow.

    Different kinds always narrow.
    """

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
    changed: StaleFilter = False
    from_files: Sequence[str] = ()  # paths
    tainted_by: Sequence[int] = ()  # ids of attempts

    def typed(self) -> dict[str, Any]:
        """Return the flags that were given as JSON values, for the record of a request."""
        values = msgspec.structs.asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items() if value}


def parse_selection(flags: SelectionFlags, clock: Callable[[], float] = time.time) -> Selection:
    """Return the Selection of the flags. Raise BadSelection or UnknownWord, naming the invalid flag.

    `clock` gives the time from which ages count.
    """
    if flags.archived and flags.error is None:
        raise BadSelection("--archived extends --error to archived attempts", hint="add --error REGEX, or leave it out")
    if flags.changed not in (False, True, "all"):
        raise BadSelection(f"changed is true, false or 'all', not {flags.changed!r}", hint='changed="all"')
    named: tuple[tuple[JobKey, ...], ...] = (parse_job_words(flags.jobs), parse_ids(flags.ids), _names(flags.names))
    groups = [group for group in named if group]
    parts: list[Predicate] = []
    if flags.states:
        parts.append(parse_states(flags.states))
    if flags.filters or flags.queries:
        from rekindle.query.document_queries import parse_document
        from rekindle.query.filters import parse_filter

        parts += [parse_filter(text) for text in flags.filters]
        parts += [parse_document(text) for text in flags.queries]
    if flags.error is not None:
        parts.append(ErrorPattern(checked_regex(flags.error), flags.archived))
    return Selection(
        workflow=flags.workflow,
        jobs=groups[0] if groups else (),
        where=resolve_times(_all_of([part for part in parts if part != AllOf()]), clock()),
        signature=_checked_signature(flags.signature),
        everything=flags.everything,
        changed=flags.changed,
        also=tuple(groups[1:]),
        read_files=tuple(map(_absolute_path, flags.from_files)),
        tainted_by=tuple(dict.fromkeys(flags.tainted_by)),
    )


def _absolute_path(path: str) -> str:
    if not path or "\0" in path:
        raise BadSelection(f"{path!r} is no path of a file", hint="for instance: --from-file data/raw.csv")
    return os.path.abspath(path)  # noqa: PTH100  resolve() would follow links, and names are recorded as they are given


def parse_states(words: Sequence[str]) -> Predicate:
    """Return a predicate for any of these states. A word may hold several: `failed,canceled`."""
    states = dict.fromkeys(State.parse(word) for text in words for word in text.split(",") if word.strip())
    if not states:
        raise BadSelection("a state is empty", hint="for instance: -s failed")
    if len(states) == 1:
        return Compare("state", Op.EQ, next(iter(states)))
    return Compare("state", Op.IN, tuple(states))


def checked_regex(pattern: str) -> str:
    """Return the pattern if it is a valid regular expression, else raise BadSelection."""
    from rekindle.domain.texts.patterns import compile_pattern

    return compile_pattern(pattern).text


def _names(names: Sequence[str]) -> tuple[str, ...]:
    if any(not name for name in names):
        raise BadSelection("a name is empty", hint="for instance: -n 'train*'")
    return tuple(normalize_name(name) for name in names)


def _all_of(parts: Sequence[Predicate]) -> Predicate:
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _checked_signature(signature: str | None) -> str | None:
    if signature is not None and not re.fullmatch(r"[0-9a-fA-F]+", signature):
        raise BadSelection(
            f"{signature!r} is not a signature", hint="signatures are hexadecimal: `rekindle failures` lists them"
        )
    return signature.lower() if signature else None
