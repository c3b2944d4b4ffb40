"""What supervising is asked for: what to run again, how often, and what ends it. Read and checked before anything is
done."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rekindle.domain.causes import Cause
from rekindle.domain.errors import BadValue, UnknownWord
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.domain.verdicts import Status


@dataclass(frozen=True, slots=True)
class Budget:
    """What all reruns together may take; None: as much as they like."""

    attempts: int | None = None
    core_seconds: float | None = None
    seconds: float | None = None  # of wall time, since supervising began


@dataclass(frozen=True, slots=True)
class Guards:
    """What was asked for."""

    max_reruns: int = 1
    max_failure_percent: float = 50.0
    on: frozenset[Status] = frozenset({Status.ERROR})
    on_causes: frozenset[Cause] = frozenset()  # of those that have a cause; none: whatever it is
    group_by: str | None = None
    max_group_percent: float | None = None
    canary: int | None = None  # so many of each signature first, and the rest only when these pass
    budget: Budget = field(default_factory=Budget)


def check_guards(guards: Guards) -> None:
    """BadValue, before anything is done, for what makes no sense."""
    if guards.max_reruns < 0:
        raise BadValue(f"--max-reruns {guards.max_reruns}: it cannot be negative", hint="0 reruns nothing")
    for option, percent in (
        ("--max-failure-percent", guards.max_failure_percent),
        ("--max-group-percent", guards.max_group_percent),
    ):
        if percent is not None and not 0 < percent <= 100:
            raise BadValue(f"{option} {percent:g}: a percentage is above 0 and at most 100", hint=f"{option} 50")
    if guards.max_group_percent is not None and guards.group_by is None:
        raise BadValue("--max-group-percent says nothing of which groups", hint="add --group-by signature")
    if guards.canary is not None and guards.canary < 1:
        raise BadValue(f"--canary {guards.canary}: at least one job of each kind runs first", hint="--canary 1")
    if not guards.on:
        raise BadValue("--on names no status", hint="--on error")
    if guards.group_by is not None:
        _check_group_by(guards.group_by)
    _check_budget(guards.budget)


def read_statuses(option: str, words: Iterable[str]) -> frozenset[Status]:
    """The statuses that words mean, several in one with commas, in any case. UnknownWord, or BadValue for one with
    which there is nothing to be done."""
    found = set()
    for word in _split(words):
        key = _ALSO.get(word, word)
        if key not in list(Status):
            raise UnknownWord(f"{option}: unknown status {word!r}", hint=_HINTS.get(word) or did_you_mean(key, _ON))
        if key not in _ON:
            raise BadValue(f"{option} {key}: there is nothing to do about that", hint=f"{option} {','.join(_ON)}")
        found.add(Status(key))
    return frozenset(found)


def read_causes(option: str, words: Iterable[str]) -> frozenset[Cause]:
    """The causes that words mean, as `read_statuses`."""
    known = [cause.value for cause in Cause]
    found = set()
    for word in _split(words):
        key = _ALSO.get(word, word)
        if key not in known:
            raise UnknownWord(f"{option}: unknown cause {word!r}", hint=did_you_mean(key, known))
        found.add(Cause(key))
    return frozenset(found)


def _split(words: Iterable[str]) -> Iterator[str]:
    for text in words:
        yield from (word.strip().lower() for word in text.split(",") if word.strip())


def _check_group_by(by: str) -> None:
    word, _, key = by.partition(".")
    if by in _GROUPS or (word in _KEYED and key):
        return
    if word in _KEYED:
        raise BadValue(f"--group-by {by}: which {word} value?", hint=f"--group-by {word}.NAME")
    forms = [*_GROUPS, *(f"{one}.NAME" for one in _KEYED)]
    raise UnknownWord(f"--group-by: there are no groups by {by!r}", hint=did_you_mean(by, forms))


def _check_budget(budget: Budget) -> None:
    for option, most in (
        ("--max-attempts", budget.attempts),
        ("--max-core-hours", budget.core_seconds),
        ("--max-time", budget.seconds),
    ):
        if most is not None and not 0 <= most < math.inf:
            raise BadValue(f"{option}: it cannot be negative or endless", hint=f"leave out {option} for no limit")


_ON = ("error", "blocker", "warning", "canceled")
"""Statuses that may be run again."""

_GROUPS = ("host", "signature", "cause", "template")
_KEYED = ("matrix",)
_ALSO = {"cancelled": "canceled", "blockers": "blocker", "warnings": "warning", "errors": "error"}
_HINTS = {"failed": "what failed has the status `error`", "fail_block": "did you mean `blocker`?"}
