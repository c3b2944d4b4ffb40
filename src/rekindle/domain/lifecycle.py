"""The one table that knows how a job's state may change, and what state follows from its pointers."""

from __future__ import annotations

import enum

from rekindle.domain.errors import IllegalTransition
from rekindle.domain.states import State


class Event(enum.StrEnum):
    """What can happen to a job."""

    NEEDS_MET = "needs met"  # everything it needs is done
    NEEDS_LOST = "needs lost"  # something it needs is no longer done
    CLAIM = "claim"  # a runner took it
    START = "start"  # its first process runs
    GIVE_BACK = "give back"  # claimed, never started, free again
    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"
    RESET = "reset"  # a rerun archived its attempt
    CANCEL_AND_RESET = "cancel and reset"  # … which had not ended: its end is asked for
    REINSTATE = "reinstate"  # its reserve attempt still holds


_W, _R, _Q, _X = State.WAITING, State.READY, State.QUEUED, State.RUNNING
_C, _F, _K = State.COMPLETED, State.FAILED, State.CANCELED

TRANSITIONS: dict[tuple[State, Event], State] = {
    (_W, Event.NEEDS_MET): _R,
    (_R, Event.NEEDS_LOST): _W,
    (_R, Event.CLAIM): _Q,
    (_Q, Event.START): _X,
    (_Q, Event.GIVE_BACK): _R,
    (_Q, Event.FAIL): _F,  # could not be started, an input missing, lost on the way
    (_Q, Event.CANCEL): _K,
    (_X, Event.COMPLETE): _C,
    (_X, Event.FAIL): _F,
    (_X, Event.CANCEL): _K,
    (_W, Event.CANCEL): _K,
    (_R, Event.CANCEL): _K,
    (_W, Event.RESET): _W,
    (_R, Event.RESET): _W,
    (_C, Event.RESET): _W,
    (_F, Event.RESET): _W,
    (_K, Event.RESET): _W,
    (_Q, Event.CANCEL_AND_RESET): _W,
    (_X, Event.CANCEL_AND_RESET): _W,
    (_W, Event.REINSTATE): _C,
    (_R, Event.REINSTATE): _C,
}
"""`(state, event) -> state`. A reset leads to WAITING; NEEDS_MET follows when nothing is unmet. A job that was reset
while it ran is not claimed before that attempt has ended: the archive sees to it."""


def transition(state: State, event: Event, story: str) -> State:
    """The state after `event`; raises IllegalTransition with `story` (what the job is, what led here)."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(state.label, event.value, story) from None


def derive_state(attempt: State | None, canceled: bool, unmet: int) -> State:
    """The state that follows from a job's pointers: its live attempt's state (None: it has none), whether
    it was canceled before it had one, and how many of the jobs it needs are not done."""
    if attempt is not None:
        return attempt
    if canceled:
        return State.CANCELED
    return State.READY if unmet == 0 else State.WAITING
