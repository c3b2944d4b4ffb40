"""Verdicts: what a finished job found, and the status that combines a verdict with a state.

A step sets a verdict with a message. An attempt's verdict is the worst of its steps' verdicts, kept steps included,
with the message of the first such step. An attempt that did not complete has no verdict."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import msgspec

from rekindle.domain.errors import BadValue
from rekindle.domain.states import State
from rekindle.domain.texts.display import show_bytes

LONGEST_MESSAGE = 4096
"""Characters of a message that are stored."""


class BadVerdict(BadValue):
    """A verdict that cannot be read."""


class VerdictLevel(enum.StrEnum):
    """The levels of a verdict, best first."""

    PASSED = "passed"
    WARNING = "warning"
    BLOCKER = "blocker"


class Verdict(msgspec.Struct, frozen=True):
    """A level and a message, of a step or an attempt."""

    word: VerdictLevel
    message: str = ""


def make_verdict(word: str, message: str = "") -> Verdict:
    """Return the verdict for a level in any case. Raise BadVerdict for an unknown level."""
    try:
        return Verdict(VerdictLevel(word.lower()), _bounded(message.strip()))
    except ValueError:
        raise BadVerdict(f"unknown verdict {word!r:.60}", hint=_FOREIGN.get(word.upper(), _HINT)) from None


def read_verdict(text: str) -> Verdict:
    """Parse the verdict in a non-blank text: `WARNING too warm`, the level in any case, with or without a colon."""
    word, *message = text.split(maxsplit=1)
    return make_verdict(word.removesuffix(":"), *message)


def worst_verdict(verdicts: Iterable[Verdict | None]) -> Verdict | None:
    """Return the worst verdict, the first of several equal ones; None if there is none."""
    found: Verdict | None = None
    for one in verdicts:
        if one is not None and (found is None or _RANK[one.word] > _RANK[found.word]):
            found = one
    return found


class Status(enum.StrEnum):
    """A job's state and verdict in one word. Derived, never stored."""

    PASSED = "passed"
    WARNING = "warning"
    BLOCKER = "blocker"
    CANCELED = "canceled"
    ERROR = "error"
    QUEUED = "queued"
    RUNNING = "running"


def status_of(state: State, word: VerdictLevel | None = None) -> Status:
    """Return the status of a job from its state and its live attempt's verdict. A completed job without a verdict has
    passed."""
    if state is not State.COMPLETED:
        return _BY_STATE[state]
    return Status.PASSED if word is None else Status(word.value)


def statuses_of(counts: Mapping[State, int], found: Mapping[VerdictLevel, int]) -> dict[Status, int]:
    """Count jobs by status, from the counts by state and, for completed jobs, by verdict. Zero counts are omitted."""
    totals = Counter[Status]()
    for state, n in counts.items():
        totals[status_of(state)] += n
    for word, n in found.items():
        totals[Status.PASSED] -= n
        totals[status_of(State.COMPLETED, word)] += n
    return {status: totals[status] for status in Status if totals[status]}


def worst_status(counts: Mapping[State, int], found: Mapping[VerdictLevel, int]) -> Status:
    """Return one status for many jobs: running or queued while any job is, then the worst outcome. Jobs waiting behind
    a failed or canceled job do not hide it."""
    for state in _FIRST:
        if counts.get(state):
            return status_of(state)
    return status_of(State.COMPLETED, next((word for word in reversed(VerdictLevel) if found.get(word)), None))


def exit_code_for(statuses: Mapping[Status, int], asked: Collection[VerdictLevel]) -> int:
    """Return 7 if there are blockers, 8 if there are warnings, of the levels in `asked`; otherwise 0."""
    return next((code for word, code in _EXIT_CODES.items() if word in asked and statuses.get(Status(word.value))), 0)


def _bounded(message: str) -> str:
    message = show_bytes(message)
    return message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 1] + "…"


_RANK = {word: rank for rank, word in enumerate(VerdictLevel)}
_EXIT_CODES = {VerdictLevel.BLOCKER: 7, VerdictLevel.WARNING: 8}
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
