"""Hooks: what happens at the end of a run of a workflow. A hook is a command, or a URL that gets a JSON document."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from rekindle.domain.definition import HookEvent
from rekindle.domain.states import State

DELAYS = (1.0, 3.0, 9.0)
"""Seconds before each further request to a URL."""

MAX_STARTS = 3
"""How many processes try to run one hook. If each died, the hook may be why."""


class RunEnd(msgspec.Struct, frozen=True):
    """The end of a run of a workflow, or its interruption. `why` says what stopped it; None: nothing did. `rests`: no
    job of it runs or can start by itself."""

    counts: Mapping[State, int]
    rests: bool
    why: str | None = None

    @property
    def state(self) -> str:
        """The state of the workflow in one word."""
        for state in (State.FAILED, State.CANCELED):
            if self.counts.get(state):
                return state.label
        done = {state for state, number in self.counts.items() if number} <= {State.COMPLETED}
        return State.COMPLETED.label if done else State.WAITING.label


def events_of(end: RunEnd) -> dict[HookEvent, str | None]:
    """Return the events of the end of a run, each with what stopped the run."""
    canceled, found = end.counts.get(State.CANCELED, 0), dict[HookEvent, str | None]()
    if end.rests and end.counts.get(State.FAILED):
        found["failed"] = end.why
    if end.why is not None or (end.rests and canceled):
        found["stopped"] = end.why or "jobs were canceled"
    if end.rests:
        found["finished"] = end.why
    return found


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a request: HMAC-SHA256 over `TIMESTAMP.BODY`, in hexadecimal digits."""
    import hashlib  # loads OpenSSL
    import hmac

    return hmac.new(secret.encode(), b"%d." % timestamp + body, hashlib.sha256).hexdigest()
