"""What a finished job found, beside whether it ran: its verdict, and the one status that both come to.

A step sets a verdict with a message. An attempt's is the worst of its steps', kept ones included, with the message of
the first that was so bad. An attempt that did not complete has none: how it ended says more.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from rekindle.domain.errors import BadValue
from rekindle.domain.states import State
from rekindle.domain.texts.surrogates import shown

LONGEST_MESSAGE = 4096
"""Characters of a message that are kept."""


class BadVerdict(BadValue):
    """A verdict that cannot be read."""


class Word(enum.StrEnum):
    """What there is to find, the better first."""

    PASSED = "passed"
    WARNING = "warning"
    BLOCKER = "blocker"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a step or an attempt found."""

    word: Word
    message: str = ""


def give_verdict(word: str, message: str = "") -> Verdict:
    """The verdict of a word in any case. BadVerdict for any other."""
    try:
        return Verdict(Word(word.lower()), _bounded(message.strip()))
    except ValueError:
        raise BadVerdict(f"unknown verdict {word!r:.60}", hint=_FOREIGN.get(word.upper(), _HINT)) from None


def read_verdict(text: str) -> Verdict:
    """The verdict of a text that is not blank: `WARNING too warm`, the word in any case, a colon behind it or not."""
    word, *message = text.split(maxsplit=1)
    return give_verdict(word.removesuffix(":"), *message)


def worst(verdicts: Iterable[Verdict | None]) -> Verdict | None:
    """The worst of several, and of those as bad the first; None where there is none."""
    found: Verdict | None = None
    for one in verdicts:
        if one is not None and (found is None or _RANK[one.word] > _RANK[found.word]):
            found = one
    return found


class Status(enum.StrEnum):
    """A job's state and verdict in one word. It follows from them and is stored nowhere."""

    PASSED = "passed"
    WARNING = "warning"
    BLOCKER = "blocker"
    CANCELED = "canceled"
    ERROR = "error"
    QUEUED = "queued"
    RUNNING = "running"


def status_of(state: State, word: Word | None = None) -> Status:
    """The status of a job in this state whose live attempt found this. Who completed without one has passed."""
    if state is not State.COMPLETED:
        return _BY_STATE[state]
    return Status.PASSED if word is None else Status(word.value)


def statuses_of(counts: Mapping[State, int], found: Mapping[Word, int]) -> dict[Status, int]:
    """How many jobs have which status, from how many are in which state, and how many of those that completed found
    what; only those that occur."""
    told = Counter[Status]()
    for state, n in counts.items():
        told[status_of(state)] += n
    for word, n in found.items():
        told[Status.PASSED] -= n
        told[status_of(State.COMPLETED, word)] += n
    return {status: told[status] for status in Status if told[status]}


def worst_status(counts: Mapping[State, int], found: Mapping[Word, int]) -> Status:
    """The one word for many jobs: as long as any runs or will, that; then the worst of what they came to. What waits
    behind a job that failed or was canceled does not hide it."""
    for state in _FIRST:
        if counts.get(state):
            return status_of(state)
    return status_of(State.COMPLETED, next((word for word in reversed(Word) if found.get(word)), None))


def exit_code_for(statuses: Mapping[Status, int], asked: Collection[Word]) -> int:
    """7 where blockers stand, 8 where warnings do, of those asked for; else 0."""
    return next((code for word, code in _EXIT_CODES.items() if word in asked and statuses.get(Status(word.value))), 0)


def _bounded(message: str) -> str:
    message = shown(message)
    return message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 1] + "…"


_RANK = {word: rank for rank, word in enumerate(Word)}
_EXIT_CODES = {Word.BLOCKER: 7, Word.WARNING: 8}
_FIRST = (State.RUNNING, State.QUEUED, State.READY, State.FAILED, State.CANCELED, State.WAITING)
_BY_STATE = {
    State.WAITING: Status.QUEUED,
    State.READY: Status.QUEUED,
    State.QUEUED: Status.QUEUED,
    State.RUNNING: Status.RUNNING,
    State.FAILED: Status.ERROR,
    State.CANCELED: Status.CANCELED,
}
_HINT = "verdicts are PASSED, WARNING and BLOCKER, then a message"
_FOREIGN = {
    "FAIL_BLOCK": "ReSim's FAIL_BLOCK is BLOCKER here",
    "FAIL_WARN": "ReSim's FAIL_WARN is WARNING here",
    "NOT_APPLICABLE": "a step that has nothing to say writes nothing",
    "FAILED": "a step that fails exits with another code than 0; what it found wrong is a BLOCKER",
}
