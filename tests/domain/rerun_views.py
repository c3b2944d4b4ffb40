"""Builders of the planner's arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from rekindle.domain.next_attempt import NextAttempt
from rekindle.domain.rerun.plan import RerunPlan
from rekindle.domain.rerun.planner import plan_rerun
from rekindle.domain.rerun.request import How, normalize_requests
from rekindle.domain.rerun.views import (
    OWN,
    AttemptView,
    JobGraph,
    JobTable,
    JobView,
    StepView,
    kind_of,
    own_attempt,
)
from rekindle.domain.states import ACTIVE, ENDED, State

C, F, K, W, R, Q, X = (
    State.COMPLETED,
    State.FAILED,
    State.CANCELED,
    State.WAITING,
    State.READY,
    State.QUEUED,
    State.RUNNING,
)


def graph(*edges: tuple[int, int]) -> JobGraph:
    """Return a graph of these (parent, child) edges."""
    children: dict[int, list[int]] = {}
    parents: dict[int, list[int]] = {}
    for parent, child in edges:
        children.setdefault(parent, []).append(child)
        parents.setdefault(child, []).append(parent)
    return JobGraph(children)


def ran(*states: State, number: int = 7, state: State | None = None) -> AttemptView:
    """Return an attempt whose steps a, b, c, … ended in these states; it ended in the state of the last one."""
    steps = tuple(StepView(position, "abcdef"[position], step) for position, step in enumerate(states))
    end = state or states[-1]
    return AttemptView(number, end, "exit" if end is State.FAILED else None, steps)


def job(number: int, state: State, **more: Any) -> JobView:
    """Return a job named j<number> with one step, and with attempt 100+number if its state implies one. Fields of the
    next attempt may be given beside those of the view."""
    if "attempt" not in more and (state in ENDED or state in ACTIVE) and not more.get("canceled"):
        more["attempt"] = ran(state, number=100 + number)
    following = {name: more.pop(name) for name in NextAttempt.__struct_fields__ if name in more}
    more.setdefault("next", NextAttempt(**following))
    return JobView(id=number, name=f"j{number}", state=state, version=10 + number, **{"steps": ("a",), **more})


def world(jobs: Sequence[JobView], edges: JobGraph) -> dict[int, JobView]:
    """Return the views with the unmet counts that follow from the states."""
    views = {view.id: view for view in jobs}
    return {
        view.id: replace(
            view, unmet=sum(views[parent].state is not State.COMPLETED for parent in edges.parents.get(view.id, ()))
        )
        for view in jobs
    }


def plan(jobs: Sequence[JobView], edges: JobGraph, *selected: int, start: str = "beginning") -> RerunPlan:
    """Return the plan for one request."""
    return plan_pairs(world(jobs, edges), edges, [(selected, How(start))])


def plan_pairs(
    views: Mapping[int, JobView], edges: JobGraph, pairs: Iterable[tuple[Iterable[int], How]], *more: Any, **named: Any
) -> RerunPlan:
    """Return the plan for lists of jobs, each list with its options."""
    return plan_rerun(views, edges, normalize_requests(pairs), *more, **named)


def as_kinds(views: Mapping[int, JobView]) -> JobTable:
    """Return the table in which jobs with equal views, but for what JobColumns has, are of one kind."""
    table, numbers = JobTable([], {}), dict[str, int]()
    for job, view in views.items():
        kind = kind_of(view)
        number = numbers.setdefault(repr(kind), len(table.kinds))
        if number == len(table.kinds):
            table.kinds.append(kind)
        own = own_attempt(view)
        table.rows[job] = number, view.name, view.version, OWN if own is None else own, view.unmet, view.binding
    return table.with_views({job: view for job, view in views.items() if table[job] != view})
