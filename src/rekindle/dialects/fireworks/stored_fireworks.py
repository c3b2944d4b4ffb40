"""Read fireworks and FireWorks workflows from a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.dialects.fireworks.flow import Firework, Flow
from rekindle.dialects.fireworks.fw_states import WORKFLOW_PARAM, fw_state, is_fireworks_workflow
from rekindle.dialects.fireworks.spec_changes import shown_spec
from rekindle.domain.errors import Refused
from rekindle.domain.selection import Selection
from rekindle.engine.queries import job_queries, selections, workflow_queries
from rekindle.engine.results import JobRow
from rekindle.journal.encoding import from_json

if TYPE_CHECKING:
    from rekindle.domain.models import Job, Workflow
    from rekindle.engine.session import Session


class StoredFirework(msgspec.Struct, frozen=True):
    """A stored firework: its job, and its state in FireWorks' terms."""

    row: JobRow
    state: str

    @property
    def job(self) -> Job:
        """Return its job."""
        return self.row.job

    @property
    def id(self) -> int:
        """Return its fw_id."""
        return self.row.job.id


def read_fireworks(session: Session, ids: Sequence[int]) -> list[StoredFirework]:
    """Return these fireworks in this order. Unknown ids are left out."""
    archived = {one.id for one in workflow_queries.owners(session, ids) if one.archived is not None}
    return [
        StoredFirework(row, fw_state(row.job.state, row.job.held, archived=row.job.workflow in archived))
        for row in job_queries.jobs(session, ids)
    ]


def fireworks_of(session: Session, workflows: Sequence[int]) -> list[int]:
    """Return the fw_ids of workflows in order, without retired fireworks."""
    found = (one for key in workflows for one in selections.select(session, Selection(workflow=str(key))))
    return sorted(found)


def fireworks_workflows(session: Session, *, archived: bool = True) -> list[Workflow]:
    """Return the workflows that this dialect added, oldest first."""
    return [
        one
        for one in workflow_queries.workflows(session, archived)
        if is_fireworks_workflow(workflow_queries.params(session, one))
    ]


def workflow_details(session: Session, workflow: Workflow) -> Mapping[str, Any]:
    """Return `name`, `metadata` and `created_on` of a workflow. Raises Refused unless this dialect added it."""
    params = workflow_queries.params(session, workflow)
    if not is_fireworks_workflow(params):
        raise Refused(
            f"the workflow {workflow.id} {workflow.name} did not come through FireWorks",
            hint="rekindle's own commands change it",
        )
    found: Mapping[str, Any] = params[WORKFLOW_PARAM]
    return found


def stored_binding(job: Job) -> dict[str, Any]:
    """Return the binding of a firework's job, or {} if the job is no firework."""
    found: dict[str, Any] = from_json(job.binding)
    return found if "spec" in found and "fw" in found else {}


def current_specs(session: Session, jobs: Sequence[Job]) -> dict[int, dict[str, Any]]:
    """Return the specs that the next launches of fireworks get, with the changes of other fireworks."""
    params = job_queries.params_of(session, [job.id for job in jobs])
    bindings = {job.id: stored_binding(job) for job in jobs}
    return {number: dict(shown_spec(binding, params[number])) for number, binding in bindings.items() if binding}


def stored_flow(session: Session, workflow: Workflow) -> Flow:
    """Return a workflow as it was added or last updated, numbered by fw_id. Dynamic additions and changes are left
    out. Raises Refused unless this dialect added it."""
    details = workflow_details(session, workflow)
    ids = selections.select(session, Selection(workflow=str(workflow.id)))
    jobs = [row.job for row in job_queries.jobs(session, ids)]
    jobs = [job for job in jobs if not job.retired and job.added_by is None]
    kept = {job.id for job in jobs}
    children = job_queries.child_ids(session, sorted(kept))
    fireworks = []
    for job in jobs:
        binding = stored_binding(job)
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
    return Flow(details["name"], details["created_on"], tuple(fireworks), links, details.get("metadata") or {})
