"""The fireworks that a store has: which workflows came through this dialect, their specs as they are now, and a
workflow read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rekindle.dialects.fireworks.flows import Firework, Flow
from rekindle.dialects.fireworks.spec_changes import spec_of
from rekindle.dialects.fireworks.words import WORKFLOW, came_through
from rekindle.domain.errors import Refused
from rekindle.domain.models import Job, Workflow
from rekindle.domain.selection import Selection
from rekindle.engine.looking import look
from rekindle.engine.session import Session
from rekindle.journal.encoding import from_json


def workflows(session: Session, *, archived: bool = True) -> list[Workflow]:
    """The workflows that came through this dialect, oldest first."""
    return [one for one in look.workflows(session, archived) if came_through(look.params(session, one))]


def about(session: Session, workflow: Workflow) -> Mapping[str, Any]:
    """`name`, `metadata` and `created_on` of a workflow. Refused for one that did not come through this dialect."""
    params = look.params(session, workflow)
    if not came_through(params):
        raise Refused(
            f"the workflow {workflow.id} {workflow.name} did not come through FireWorks",
            hint="rekindle's own commands change it",
        )
    found: Mapping[str, Any] = params[WORKFLOW]
    return found


def binding_of(job: Job) -> dict[str, Any]:
    """What makes a job a firework; empty of one that is none."""
    found: dict[str, Any] = from_json(job.binding)
    return found if "spec" in found and "fw" in found else {}


def specs(session: Session, jobs: Sequence[Job]) -> dict[int, dict[str, Any]]:
    """The specs of fireworks as their next attempts are to see them: with what others have changed."""
    params = look.params_of(session, [job.id for job in jobs])
    bindings = {job.id: binding_of(job) for job in jobs}
    return {number: spec_of(binding, params[number]) for number, binding in bindings.items() if binding}


def flow_of(session: Session, workflow: Workflow) -> Flow:
    """A workflow read back as it was added, or last updated, numbered by its jobs' ids; what actions have added or
    changed is no part of it. Refused for one that did not come through this dialect."""
    told = about(session, workflow)
    ids = look.select(session, Selection(workflow=str(workflow.id)))
    jobs = [row.job for row in look.jobs(session, ids)]
    jobs = [job for job in jobs if not job.retired and job.added_by is None]
    kept = {job.id for job in jobs}
    children = look.children_of(session, sorted(kept))
    fireworks = []
    for job in jobs:
        binding = binding_of(job)
        fireworks.append(
            Firework(
                id=job.id,
                name=binding["name"],
                spec=binding["spec"],
                created_on=binding["created_on"],
                job=job.name,
                number=binding["fw"],
            )
        )
    links = {job.id: tuple(child for child in children.get(job.id, ()) if child in kept) for job in jobs}
    return Flow(told["name"], told["created_on"], tuple(fireworks), links, told.get("metadata") or {})
