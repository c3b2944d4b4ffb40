"""Adding a FireWorks workflow to a store: always a workflow of its own."""

from __future__ import annotations

from rekindle.dialects.fireworks.defining import define
from rekindle.dialects.fireworks.duplicates import check_finders
from rekindle.dialects.fireworks.flows import Flow
from rekindle.domain.models import Workflow
from rekindle.domain.selection import Selection
from rekindle.engine.looking import look
from rekindle.engine.results import Submitted
from rekindle.engine.session import Session
from rekindle.engine.submitting.submit import submit


def add_flow(session: Session, flow: Flow, directory: str) -> dict[int, int]:
    """Store a workflow. Returns the ids of its fireworks, by their numbers in it.

    `directory`: where the functions and Firetasks that it names are looked for, beside what is installed."""
    check_finders(flow, flow.name)
    done = submit(session, define(flow, directory), new=True)
    ids = look.select(session, Selection(workflow=str(done.workflow)))
    return {one.id: job for one, job in zip(flow.fireworks, ids, strict=True)}


def update_flow(session: Session, workflow: Workflow, flow: Flow) -> Submitted:
    """Make a workflow that was read back (see `stored.flow_of`), and changed, the next revision of what it was."""
    return submit(session, define(flow, workflow.directory), revision_of=workflow.id)
