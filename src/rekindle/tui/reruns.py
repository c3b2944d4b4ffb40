"""Plan, apply and undo reruns of picked jobs. Each function runs in the store's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from rekindle.domain.errors import PlanOutdated, PlanRefused, RefusedJob
from rekindle.domain.rerun.request import KEEP_MOST, How
from rekindle.engine.queries import workflow_queries
from rekindle.engine.rerun import rerun
from rekindle.engine.results import PlannedRerun
from rekindle.engine.running.reconcile import reconcile
from rekindle.presentation.workflows import spec_note

if TYPE_CHECKING:
    from rekindle.domain.rerun.plan import RerunRecord
    from rekindle.engine.results import AppliedRerun, UndoneRerun
    from rekindle.engine.session import Session
    from rekindle.tui.picked_jobs import PickedJobs


class RerunOptions(msgspec.Struct, frozen=True):
    """The options of a rerun that the screen offers. By default most is kept, and nothing is destroyed."""

    start: str = KEEP_MOST
    downstream: Literal["all", "changed", "none"] = "changed"
    keep_outputs: bool = True

    @property
    def how(self) -> How:
        """The options as the planner takes them. Modified parameters and resources are kept."""
        return How(start=self.start, downstream=self.downstream, keep_outputs=self.keep_outputs, keep_modified=True)


class Proposal(msgspec.Struct, frozen=True):
    """A plan, or the jobs that were refused if all were."""

    planned: PlannedRerun | None
    refused: tuple[RefusedJob, ...] = ()
    notes: tuple[str, ...] = ()  # on spec files that differ from what runs


def plan(session: Session, picked: PickedJobs, options: RerunOptions) -> Proposal:
    """Plan a rerun of the picked jobs."""
    reconcile(session)
    try:
        found = rerun.plan(session, picked.requests(options.how), picked.recorded(options.how))
    except PlanRefused as refusal:
        return Proposal(None, refusal.refused)
    notes = ((one, spec_note(one, workflow_queries.spec_state(one))) for one in found.workflows)
    return Proposal(found, notes=tuple(f"{one.name}: {note[0]}" for one, note in notes if note is not None))


def apply(session: Session, planned: PlannedRerun) -> AppliedRerun | None:
    """Apply exactly this plan. Return None, and change nothing, if one of its jobs has changed since."""
    reconcile(session)
    try:
        return rerun.apply(session, planned)
    except PlanOutdated:
        return None


def newest(session: Session) -> RerunRecord | None:
    """Return the rerun that an undo without a number would undo."""
    with session.store.read() as archive:
        number = archive.reruns.newest_manual()
    return None if number is None else workflow_queries.rerun(session, number)


def undo(session: Session, number: int) -> UndoneRerun:
    """Undo a rerun."""
    reconcile(session)
    return rerun.undo(session, number)
