"""All that came through this dialect is removed from a store, and nothing else."""

from __future__ import annotations

from rekindle.dialects.fireworks.stored import workflows
from rekindle.domain.errors import Refused
from rekindle.domain.models import Workflow
from rekindle.domain.states import ACTIVE
from rekindle.engine.session import Session
from rekindle.engine.submitting.submit import delete_workflow

_NAMED = 20


def remove_all(session: Session) -> list[Workflow]:
    """Remove these workflows with their history; the folders of launches stay. Returns what is removed. Refused, and
    nothing is removed, while any runs."""
    going = workflows(session)
    refuse_running(going)
    for one in going:
        delete_workflow(session, one.id)
    return going


def refuse_running(going: list[Workflow]) -> None:
    """Refused, naming them, where any of these workflows runs."""
    running = [one for one in going if any(one.counts.get(state) for state in ACTIVE)]
    if running:
        raise Refused(f"nothing is removed: {names(running)} run now", hint="wait for them, or cancel them")


def names(found: list[Workflow]) -> str:
    """Workflows by id and name, the first of them."""
    told = ", ".join(f"{one.id} {one.name}" for one in found[:_NAMED])
    return told + (f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else "")
