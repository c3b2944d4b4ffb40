"""How a job, an attempt and a workflow stand, in FireWorks' words, and what its words mean here."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rekindle.domain.selection import AnyOf, Compare, Every, Not, Op, Predicate
from rekindle.domain.states import ACTIVE, State

PAUSED, DEFUSED = "paused", "defused"
"""The reasons of the holds that this dialect makes. A hold for any other reason is a defused one too."""

STATES = ("ARCHIVED", "FIZZLED", "DEFUSED", "PAUSED", "WAITING", "READY", "RESERVED", "RUNNING", "COMPLETED")
"""FireWorks' own words, in its order."""

_PLAIN = {
    State.WAITING: "WAITING",
    State.READY: "READY",
    State.QUEUED: "RESERVED",
    State.RUNNING: "RUNNING",
    State.COMPLETED: "COMPLETED",
    State.FAILED: "FIZZLED",
    State.CANCELED: "FIZZLED",
}
_GOES_ON = ACTIVE | {State.COMPLETED}
"""States over which a hold is not told: it keeps nothing from happening."""


def fw_state(state: State, held: str | None = None, *, archived: bool = False) -> str:
    """The word for a job: its state, the reason of its hold, and whether its workflow is archived."""
    if archived:
        return "ARCHIVED"
    if held is not None and state not in _GOES_ON:
        return "PAUSED" if held == PAUSED else "DEFUSED"
    return _PLAIN[state]


def launch_state(state: State) -> str:
    """The word for an attempt."""
    return _PLAIN[state]


def wf_state(states: Mapping[int, str], children: Mapping[int, Collection[int]], lenient: Collection[int] = ()) -> str:
    """The word for a workflow, from those of its fireworks and what needs each of them. One that fizzled lets those go
    on that are `lenient` (`_allow_fizzled_parents`)."""
    words = set(states.values())
    leaves = {word for number, word in states.items() if not children.get(number)}
    if leaves == {"COMPLETED"}:
        return "COMPLETED"
    if words == {"ARCHIVED"}:
        return "ARCHIVED"
    for word in ("DEFUSED", "PAUSED"):
        if word in words:
            return word
    for number, word in states.items():
        below = children.get(number)
        if word == "FIZZLED" and not (below and all(child in lenient for child in below)):
            return "FIZZLED"
    if words & {"FIZZLED", "COMPLETED", "RUNNING"}:
        return "RUNNING"
    return "RESERVED" if "RESERVED" in words else "READY"


def states_meant(word: str) -> tuple[State, ...]:
    """The states of jobs that a word may stand for, holds aside; none for ARCHIVED, PAUSED and DEFUSED."""
    return tuple(state for state, plain in _PLAIN.items() if plain == word)


def stands(word: str) -> Predicate:
    """What holds for the jobs that a word is for. What is archived is not told by its jobs: for ARCHIVED everything
    holds, and whoever asks has to look at the workflows."""
    if word == "ARCHIVED":
        return Every()
    goes_on = Compare("state", Op.IN, sorted(_GOES_ON))
    held = Compare("held", Op.EQ, True)
    if word in ("PAUSED", "DEFUSED"):
        paused = Compare("held.reason", Op.EQ, PAUSED)
        return Every((held, Not(goes_on), paused if word == "PAUSED" else Not(paused)))
    plain = Compare("state", Op.IN, states_meant(word))
    return Every((plain, AnyOf((Not(held), goes_on))))


def came_through(params: Mapping[str, object]) -> bool:
    """Whether a workflow with these parameters came through this dialect."""
    return isinstance(params.get(WORKFLOW), Mapping)


WORKFLOW = "fireworks"
"""The parameter of a workflow that came through this dialect: `{"name", "metadata", "created_on"}`."""

CHANGES = "firework_changes"
"""The parameter of a job with what others have changed in its spec."""
