"""Supervising: wait until a batch is at rest, look, run again what failed, within guards; again until it ends.

What a round decides is written with its rerun in one transaction, and how supervising ends is written before it is
told. Whoever goes on after a death finds how far it has come, and reruns nothing twice.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from rekindle.domain.batches.guards import check_guards
from rekindle.domain.batches.supervised import Report, Round
from rekindle.domain.batches.supervising import End, Supervision
from rekindle.domain.errors import Refused
from rekindle.domain.models import Place, Workflow
from rekindle.engine.looking.look import find_workflow
from rekindle.engine.nesting import refuse_inside_job
from rekindle.engine.presence import here, is_there
from rekindle.engine.results import Begun, Idle, SuperviseOptions
from rekindle.engine.session import Session
from rekindle.engine.supervising.rounds import Rounds, Tell
from rekindle.engine.supervising.waiting import Run
from rekindle.engine.wake import Bell


def supervise(session: Session, options: SuperviseOptions, run: Run | None, tell: Tell | None = None) -> Report:
    """Supervise a workflow to the end. Without `run` somebody else works on it. `tell` hears of each round.

    Whoever has told the report says so with `told`: until then starting again gives the same report. Refused while
    another process supervises the workflow, or when others are faster time and again."""
    check_guards(options.guards)
    workflow = find_workflow(session, options.workflow)
    if workflow.archived is not None:
        raise Refused(f"{workflow.name} is archived", hint=f"rekindle workflows archive --undo {workflow.id}")
    refuse_inside_job(session, workflow.id)
    owner = here()
    supervision, begun = _enter(session, workflow, options, owner)
    (tell or _nobody)(begun)
    if supervision.report is not None:
        return _REPORT.decode(supervision.report)
    bell = Bell(session.store.folder, supervision.id, "supervisor")
    try:
        return Rounds(session, workflow, supervision, options, bell, run, tell or _nobody).go()
    finally:
        bell.close()


def told(session: Session, report: Report) -> None:
    """The report has reached whoever asked for it."""
    with session.store.write() as archive:
        archive.supervisions.close(report.supervision, session.clock())


def _enter(session: Session, workflow: Workflow, options: SuperviseOptions, owner: Place) -> tuple[Supervision, Begun]:
    """Begin, or take over what a process that died has left."""
    asked, now, given_up = _SORTED.encode(options.guards).decode(), session.clock(), None
    with session.store.write() as archive:
        standing = archive.supervisions.standing(workflow.id)
        if standing is not None:
            _refuse_second(workflow, standing, owner, take_over=options.take_over)
            if standing.asked == asked:
                archive.supervisions.take(standing.id, owner)
                reruns = len(archive.supervisions.reruns(standing.id))
                archive.events.add(now, "supervise", workflow.id, {"supervision": standing.id, "resumed": True})
                return replace(standing, owner=owner), Begun(standing.id, reruns, resumed=True)
            if standing.outcome is None:
                archive.supervisions.conclude(standing.id, End.GIVEN_UP, None)
            archive.supervisions.close(standing.id, now)
            given_up = standing.id
        begun = archive.supervisions.begin(workflow.id, asked, owner, now)
        archive.events.add(now, "supervise", workflow.id, {"supervision": begun.id})
    return begun, Begun(begun.id, 0, resumed=False, given_up=given_up)


def _refuse_second(workflow: Workflow, standing: Supervision, owner: Place, *, take_over: bool) -> None:
    """Refused unless whoever supervises the workflow is dead, or is this very process."""
    there = standing.owner != owner and is_there(standing.owner)
    if there is False or (there is None and take_over):
        return
    who = f"pid {standing.owner.pid} on {standing.owner.host}"
    if there:
        raise Refused(f"{workflow.name} is supervised already, by {who}", hint="wait for its end, or end it first")
    raise Refused(
        f"{workflow.name} is supervised by {who}, and nobody can see from here whether that is alive",
        hint="once it is not, go on with --take-over",
    )


def _nobody(_: Begun | Round | Idle) -> None:
    """Nobody listens."""


_SORTED = msgspec.json.Encoder(order="deterministic")
_REPORT: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)
