"""FireWorks' state names, and the states of jobs, attempts and workflows that they stand for."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rekindle.domain.selection import AllOf, AnyOf, Compare, Not, Op, Predicate
from rekindle.domain.states import ACTIVE, State

PAUSED, DEFUSED = "paused", "defused"
"""Hold reasons that this dialect sets. A hold for any other reason counts as DEFUSED."""

STATES = ("ARCHIVED", "FIZZLED", "DEFUSED", "PAUSED", "WAITING", "READY", "RESERVED", "RUNNING", "COMPLETED")
"""FireWorks' state names, in its order."""

_FW_STATES = {
    State.WAITING: "WAITING",
    State.READY: "READY",
    State.QUEUED: "RESERVED",
    State.RUNNING: "RUNNING",
    State.COMPLETED: "COMPLETED",
    State.FAILED: "FIZZLED",
    State.CANCELED: "FIZZLED",
}
_UNAFFECTED_BY_HOLDS = ACTIVE | {State.COMPLETED}
"""In these states a hold has no effect and is not shown."""


def fw_state(state: State, held: str | None = None, *, archived: bool = False) -> str:
    """Return the state of a firework from its job's state, hold reason and whether its workflow is archived."""
    if archived:
        return "ARCHIVED"
    if held is not None and state not in _UNAFFECTED_BY_HOLDS:
        return "PAUSED" if held == PAUSED else "DEFUSED"
    return _FW_STATES[state]


def launch_state(state: State) -> str:
    """Return the state of a launch from its attempt's state."""
    return _FW_STATES[state]


def wf_state(states: Mapping[int, str], children: Mapping[int, Collection[int]], lenient: Collection[int] = ()) -> str:
    """Return the state of a workflow from those of its fireworks and the children of each.

    A fizzled firework does not make the workflow FIZZLED if all its children are in `lenient`
    (`_allow_fizzled_parents`)."""
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


def _job_states(word: str) -> tuple[State, ...]:
    """Return the job states that a name may stand for, apart from holds. None for ARCHIVED, PAUSED and DEFUSED."""
    return tuple(state for state, plain in _FW_STATES.items() if plain == word)


def job_state_predicate(word: str) -> Predicate:
    """Return the predicate for jobs in a FireWorks state. ARCHIVED is a state of workflows: its predicate holds for
    every job, and the caller has to check the workflow."""
    if word == "ARCHIVED":
        return AllOf()
    goes_on = Compare("state", Op.IN, sorted(_UNAFFECTED_BY_HOLDS))
    held = Compare("held", Op.EQ, True)
    if word in ("PAUSED", "DEFUSED"):
        paused = Compare("held.reason", Op.EQ, PAUSED)
        return AllOf((held, Not(goes_on), paused if word == "PAUSED" else Not(paused)))
    plain = Compare("state", Op.IN, _job_states(word))
    return AllOf((plain, AnyOf((Not(held), goes_on))))


def is_fireworks_workflow(params: Mapping[str, object]) -> bool:
    """Return whether a workflow with these parameters was added by this dialect."""
    return isinstance(params.get(WORKFLOW_PARAM), Mapping)


WORKFLOW_PARAM = "fireworks"
"""The parameter of each workflow of this dialect: `{"name", "metadata", "created_on"}`."""

CHANGES_PARAM = "firework_changes"
"""The job parameter with the changes that other fireworks made to its spec."""
