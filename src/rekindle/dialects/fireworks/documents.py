"""What FireWorks' three collections hold, made of what rekindle has: the fields that its queries may name.

https://materialsproject.github.io/fireworks/ describes them by its `lpad` commands; a firework is a job, a launch an
attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rekindle.dialects.fireworks.flows import date_text
from rekindle.dialects.fireworks.launched import NOTHING
from rekindle.dialects.fireworks.words import CHANGES, STATES, WORKFLOW, fw_state, launch_state, stands, wf_state
from rekindle.domain.documents.shapes import (
    Attempts,
    Choice,
    Const,
    Items,
    Joined,
    Lines,
    Object,
    PutOver,
    Shape,
    Stored,
    Value,
    WhereItStopped,
)
from rekindle.domain.selection import AnyOf, Compare, Every, Not, Op, Predicate
from rekindle.domain.states import State
from rekindle.store.port_documents import Outlined

OURS: Predicate = Every(
    (Compare(f"params.{WORKFLOW}.name", Op.EXISTS, True), Compare("workflow.archived", Op.EXISTS, True))
)
"""The job is one of a workflow that came through this dialect. That it speaks of archived ones lets them in."""


def state_is(word: str) -> Predicate:
    """The firework is in this state."""
    archived = Compare("workflow.archived", Op.EQ, True)
    return archived if word == "ARCHIVED" else Every((Not(archived), stands(word)))


def _attempt_is(*states: State) -> Predicate:
    return AnyOf(tuple(Compare("attempt.state", Op.EQ, state) for state in states))


def _is_there(field: str) -> Predicate:
    return Compare(field, Op.EXISTS, True)


def _dated(state: Shape, at: str) -> Shape:
    return Object((("state", state), ("created_on", Value(at))))


_LAUNCH_STATE = Choice(tuple((_attempt_is(state), Const(launch_state(state))) for state in State))

_RESERVED, _RUNNING = _dated(Const("RESERVED"), "queued"), _dated(Const("RUNNING"), "started")
_ENDED = _dated(_LAUNCH_STATE, "ended")
_HISTORY = Choice(
    (
        (Every((_is_there("ended"), _is_there("started"))), Items((_RUNNING, _ENDED))),
        (_is_there("ended"), Items((_RESERVED, _ENDED))),
        (_is_there("started"), Items((_RUNNING,))),
        (_is_there("queued"), Items((_RESERVED,))),
    )
)

_MESSAGE = Choice(((_is_there("error.message"), Value("error.message")), (Every(), Value("cause"))))
_STACKTRACE = Choice(
    (
        (_is_there("error.traceback"), Value("error.traceback")),
        (_is_there("error.message"), Lines(("error.message", "error.stderr"))),
        (Every(), Lines(("cause", "error.stderr"))),
    )
)
_FAILURE = Object(
    (
        ("_message", _MESSAGE),
        ("_task", WhereItStopped(Stored("matrix", ("spec", "_tasks")))),
        ("_exception", Object((("_stacktrace", _STACKTRACE), ("_details", Const(None))))),
    )
)
_FAILED = Object((("exit", Const(True)), ("stored_data", Joined((Stored("steps", ("stored_data",)), _FAILURE)))))
_ACTION = Choice(
    (
        (_attempt_is(State.COMPLETED), Joined((Const(dict(NOTHING)), Stored("steps")))),
        (_attempt_is(State.FAILED, State.CANCELED), Joined((Const(dict(NOTHING)), _FAILED))),
    )
)

LAUNCH = Object(
    (
        ("fw_id", Value("id")),
        ("launch_id", Value("attempt.id")),
        ("state", _LAUNCH_STATE),
        ("host", Value("host")),
        ("fworker", Object((("name", Value("runner")),))),
        ("launch_dir", Value("workdir")),
        ("action", _ACTION),
        ("time_start", Value("started")),
        ("time_end", Value("ended")),
        ("runtime_secs", Value("seconds")),
        ("state_history", _HISTORY),
    )
)
"""The fields of a launch."""

_CREATED = Stored("matrix", ("created_on",))

SPEC = PutOver(
    Stored("matrix", ("spec",)), Stored("params", (CHANGES,)), "update_spec", Stored("matrix", ("added_by",))
)
"""A firework's spec with the `update_spec` of what others have changed in it. What a `mod_spec` changes is not seen
by queries: it is a program, which only the bench runs."""

FIREWORK = Object(
    (
        ("fw_id", Value("id")),
        ("name", Stored("matrix", ("name",))),
        ("state", Choice(tuple((state_is(word), Const(word)) for word in STATES))),
        ("created_on", _CREATED),
        ("updated_on", Choice(((_is_there("last_active"), Value("last_active")), (Every(), _CREATED)))),
        ("spec", SPEC),
        ("launches", Attempts(Value("attempt.id"))),
        ("archived_launches", Attempts(Value("attempt.id"), archived=True)),
    )
)
"""The fields of a firework. Its launches are their ids, unless a query asks for what lies within them."""

WITHIN_LAUNCHES: Mapping[str, Shape] = {
    "launches": Attempts(LAUNCH),
    "archived_launches": Attempts(LAUNCH, archived=True),
}
"""The launches themselves, by the fields that name them."""

WORKFLOW_FIELDS = (
    "name",
    "state",
    "metadata",
    "nodes",
    "links",
    "parent_links",
    "fw_states",
    "created_on",
    "updated_on",
)
"""The fields of a workflow."""


def workflow_document(found: Outlined) -> dict[str, Any]:
    """The document of a workflow that came through this dialect."""
    about = found.params[WORKFLOW]
    states = {job: fw_state(state, held, archived=found.archived) for job, (state, held) in found.jobs.items()}
    links: dict[str, list[int]] = {str(job): [] for job in found.jobs}
    parents: dict[str, list[int]] = {}
    for parent, child in found.edges:
        links[str(parent)].append(child)
        parents.setdefault(str(child), []).append(parent)
    return {
        "name": about["name"],
        "state": wf_state(states, {job: links[str(job)] for job in found.jobs}, found.lenient),
        "metadata": about["metadata"],
        "nodes": list(found.jobs),
        "links": links,
        "parent_links": parents,
        "fw_states": {str(job): state for job, state in states.items()},
        "created_on": about["created_on"],
        "updated_on": date_text(found.updated),
    }
