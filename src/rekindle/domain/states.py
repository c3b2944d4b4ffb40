"""The states of jobs and attempts."""

from __future__ import annotations

import enum

from rekindle.domain.errors import UnknownWord


class State(enum.IntEnum):
    """Where a job or an attempt stands. The numbers are what the store keeps: never renumber."""

    WAITING = 0
    READY = 1
    QUEUED = 2
    RUNNING = 3
    COMPLETED = 4
    FAILED = 5
    CANCELED = 6

    @property
    def label(self) -> str:
        """The word a user reads and types, in lower case."""
        return self._name_.lower()

    @classmethod
    def parse(cls, word: str) -> State:
        """The state that a user means, in any case; raises UnknownWord with a hint."""
        key = word.strip().upper()
        if key == "CANCELLED":
            return cls.CANCELED
        try:
            return cls[key]
        except KeyError:
            hint = _FOREIGN.get(key, "states are " + ", ".join(state.label for state in cls))
            raise UnknownWord(f"unknown state {word!r}", hint=hint) from None


ENDED = frozenset({State.COMPLETED, State.FAILED, State.CANCELED})
"""States that an attempt does not leave."""

ENDED_BADLY = frozenset({State.FAILED, State.CANCELED})
"""Those of them after which there is nothing to go on with."""

ACTIVE = frozenset({State.QUEUED, State.RUNNING})
"""States in which an attempt exists that has not ended."""

_FOREIGN = {
    "FIZZLED": "FireWorks' FIZZLED is `failed` here",
    "DONE": "torc's `done` is `completed` here (or `failed`, when the return code was not 0)",
    "ERROR": "did you mean `failed`?",
    "DEFUSED": "a defused job is held here: filter with -f held=true",
    "PAUSED": "a paused job is held here: filter with -f held=true",
    "RESERVED": "FireWorks' RESERVED is `queued` here",
    "SUBMITTED": "torc's `submitted` is `running` here",
    "SUCCEEDED": "did you mean `completed`?",
    "PENDING": "did you mean `waiting` or `ready`?",
}
