"""States of jobs and attempts, causes of failures, and the table of state transitions."""

from __future__ import annotations

import enum

from rekindle.domain.errors import IllegalTransition, UnknownWord


class State(enum.IntEnum):
    """The state of a job or an attempt. The numbers are stored: never renumber them."""

    WAITING = 0
    READY = 1
    QUEUED = 2
    RUNNING = 3
    COMPLETED = 4
    FAILED = 5
    CANCELED = 6

    @property
    def label(self) -> str:
        """The lower-case name that users read and type."""
        return self._name_.lower()

    @classmethod
    def parse(cls, word: str) -> State:
        """Return the state named by a word in any case. Raise UnknownWord with a hint for an unknown one."""
        key = word.strip().upper()
        if key == "CANCELLED":
            return cls.CANCELED
        try:
            return cls[key]
        except KeyError:
            from rekindle.domain.texts.display import closest_word

            close = closest_word(word.strip(), [state.label for state in cls])
            listed = "states are " + ", ".join(state.label for state in cls)
            hint = _FOREIGN.get(key) or (f"did you mean `{close}`?" if close is not None else listed)
            raise UnknownWord(f"unknown state {word!r}", hint=hint) from None


ENDED = frozenset({State.COMPLETED, State.FAILED, State.CANCELED})
"""States that an attempt never leaves."""


ENDED_BADLY = frozenset({State.FAILED, State.CANCELED})
"""Ended states other than COMPLETED."""


ACTIVE = frozenset({State.QUEUED, State.RUNNING})
"""States of an attempt that has not ended."""


_FOREIGN = {
    "FIZZLED": "FireWorks' FIZZLED is `failed` here",
    "DONE": "torc's `done` is `completed` here (or `failed`, when the return code was not 0)",
    "ERROR": "did you mean `failed`?",
    "DEFUSED": "a defused job is held here: filter with -f held=true",
    "PAUSED": "a paused job is held here: filter with -f held=true",
    "RESERVED": "FireWorks' RESERVED is `queued` here",
    "SUBMITTED": "torc's `submitted` is `running` here",
    "SUCCEEDED": "did you mean `completed`?",
    **dict.fromkeys(("STALE", "CHANGED", "OUTDATED"), "stale is not a state: --changed selects stale jobs"),
    "HELD": "held is not a state: filter with -f held=true",
    "PENDING": "did you mean `waiting` or `ready`?",
}


class Cause(enum.StrEnum):
    """Why an attempt, step or subtask did not succeed. Each of these has exactly one cause."""

    EXIT = "exit"  # a command returned a code other than 0
    EXCEPTION = "exception"  # a callable raised
    SIGNAL = "signal"  # killed by a signal that rekindle did not send
    OOM = "oom"  # exceeded its memory limit
    TIMEOUT = "timeout"  # exceeded its time limit
    LOST = "lost"  # the runner or the node vanished
    START = "start"  # could not be started
    MISSING_INPUT = "missing_input"
    MISSING_OUTPUT = "missing_output"
    SUBTASKS = "subtasks"  # more subtasks failed than allowed
    CANCELED = "canceled"


def state_after(cause: Cause | None) -> State:
    """Return the final state for a cause; None means success."""
    if cause is None:
        return State.COMPLETED
    return State.CANCELED if cause is Cause.CANCELED else State.FAILED


class JobEvent(enum.StrEnum):
    """An event in the life of a job."""

    NEEDS_MET = "needs met"  # everything it needs is done
    NEEDS_LOST = "needs lost"  # a needed job is no longer done
    CLAIM = "claim"  # claimed by a runner
    START = "start"  # its first process started
    GIVE_BACK = "give back"  # claimed, never started, and returned to the queue
    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"
    RESET = "reset"  # a rerun archived its attempt
    CANCEL_AND_RESET = "cancel and reset"  # a rerun archived its running attempt and asked for its end
    REINSTATE = "reinstate"  # its archived attempt is reused


_W, _R, _Q, _X = State.WAITING, State.READY, State.QUEUED, State.RUNNING


_C, _F, _K = State.COMPLETED, State.FAILED, State.CANCELED


TRANSITIONS: dict[tuple[State, JobEvent], State] = {
    (_W, JobEvent.NEEDS_MET): _R,
    (_R, JobEvent.NEEDS_LOST): _W,
    (_R, JobEvent.CLAIM): _Q,
    (_Q, JobEvent.START): _X,
    (_Q, JobEvent.GIVE_BACK): _R,
    (_Q, JobEvent.FAIL): _F,  # could not be started, an input missing, lost on the way
    (_Q, JobEvent.CANCEL): _K,
    (_X, JobEvent.COMPLETE): _C,
    (_X, JobEvent.FAIL): _F,
    (_X, JobEvent.CANCEL): _K,
    (_W, JobEvent.CANCEL): _K,
    (_R, JobEvent.CANCEL): _K,
    (_W, JobEvent.RESET): _W,
    (_R, JobEvent.RESET): _W,
    (_C, JobEvent.RESET): _W,
    (_F, JobEvent.RESET): _W,
    (_K, JobEvent.RESET): _W,
    (_Q, JobEvent.CANCEL_AND_RESET): _W,
    (_X, JobEvent.CANCEL_AND_RESET): _W,
    (_W, JobEvent.REINSTATE): _C,
    (_R, JobEvent.REINSTATE): _C,
}
"""`(state, event) -> state`. A reset leads to WAITING; NEEDS_MET follows if nothing is unmet. A job that was reset
while running is not claimed before that attempt has ended: the store makes sure of this."""


def transition(state: State, event: JobEvent, story: object) -> State:
    """Return the state after `event`. Raise IllegalTransition with the text of `story`, the job and its history, if
    there is no such transition."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(state.label, event.value, str(story)) from None


def derive_state(attempt: State | None, canceled: bool, unmet: int) -> State:
    """Return the state that follows from a job's pointers: the state of its live attempt (None: it has none), whether
    it was canceled before its first attempt, and the number of unmet needs."""
    if attempt is not None:
        return attempt
    if canceled:
        return State.CANCELED
    return State.READY if unmet == 0 else State.WAITING


def may_have_started(state: State, cause: str | None, started: float | None) -> bool:
    """Return whether a process of an attempt may have started. Of an unfinished attempt and of a lost one, the record
    of the start may not have been read."""
    return started is not None or state in ACTIVE or cause == Cause.LOST.value
