"""Why an attempt did not succeed: exactly one cause for each that did not."""

from __future__ import annotations

import enum

from rekindle.domain.states import State


class Cause(enum.StrEnum):
    """How an attempt, step or subtask that did not succeed came to its end."""

    EXIT = "exit"  # a command ended with a return code other than 0
    EXCEPTION = "exception"  # a callable raised
    SIGNAL = "signal"  # killed by a signal that rekindle did not send
    OOM = "oom"  # used more memory than it had
    TIMEOUT = "timeout"  # ran longer than it was given
    LOST = "lost"  # the runner or the node vanished under it
    START = "start"  # could not be started
    MISSING_INPUT = "missing_input"
    MISSING_OUTPUT = "missing_output"
    SUBTASKS = "subtasks"  # more of them failed than allowed
    CANCELED = "canceled"


def state_after(cause: Cause | None) -> State:
    """The state in which something has ended that ended for a cause, or for none."""
    if cause is None:
        return State.COMPLETED
    return State.CANCELED if cause is Cause.CANCELED else State.FAILED
