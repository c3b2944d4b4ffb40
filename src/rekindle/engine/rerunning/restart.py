"""Restarting a workflow: everything that has to run again and need not be named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rekindle.domain.errors import NotFound, PlanRefused, Refused
from rekindle.domain.models import Workflow
from rekindle.domain.rerunning.rerun import PlannedJob, Reason
from rekindle.domain.rerunning.restarting import CUT_OFF, GO_ON, Restart, begin_restart, going_on
from rekindle.domain.selection import Compare, Every, Op
from rekindle.domain.states import ENDED, State
from rekindle.engine.changes.reading import Tell
from rekindle.engine.changes.staleness import Changed, changed
from rekindle.engine.fan_outs import planning_views, was_amid_fan_out
from rekindle.engine.looking import look
from rekindle.engine.looking.whereabouts import refuse_without_folder
from rekindle.engine.rerunning import rerun
from rekindle.engine.rerunning.missing import Missing, missing_inputs
from rekindle.engine.results import Proposal, Restarting
from rekindle.engine.session import Session

_NAMED = 5
_STILL_TO_RUN = (State.WAITING, State.READY)
_WILL_RUN = Every((Compare("state", Op.IN, list(_STILL_TO_RUN)), Compare("held", Op.EQ, False)))
_LOOKED_AT = (State.FAILED, State.CANCELED, State.QUEUED, State.RUNNING)


def the_workflow(session: Session, key: str | None) -> Workflow:
    """The workflow that is meant: by id or name, or without a key the only one of the store."""
    if key is not None:
        return look.find_workflow(session, key)
    known = look.workflows(session)
    if not known:
        raise NotFound("the store holds no workflow, or archived ones only", hint="rekindle submit SPEC")
    if len(known) > 1:
        listed = ", ".join(f"{one.id} {one.name}" for one in known[-20:])
        raise Refused(
            f"the store holds {len(known)} workflows: {listed}", hint="say which: rekindle restart -w ID|NAME"
        )
    return known[0]


def plan_restart(
    session: Session,
    workflow: Workflow,
    *,
    only_uninitialized: bool = False,
    cancel_running: bool = False,
    note: str | None = None,
    tell: Tell | None = None,
    also: Mapping[int, tuple[Reason, ...]] | None = None,
) -> Restarting:
    """What restarting would do; nothing is written but what files hold, should they have been read for it.

    Jobs run again that did not come to an end of their own, or whose inputs, definition or the like have changed, with
    everything below them, modified as they were; jobs that were reset by hand are let go (`only_uninitialized`: only
    these). What runs is left alone, and what would disturb it is refused; with `cancel_running` what runs there is
    canceled first. `also`: jobs that have to run again, should they have ended, for reasons that the caller knows.
    Refused when a job that would run needs a file that is not there and that no job makes; PlanRefused, with each
    job's reason, when there is something to do and none of it can be done."""
    if workflow.archived is not None:
        raise Refused(f"{workflow.name} is archived", hint=f"rekindle workflows archive --undo {workflow.id}")
    refuse_without_folder(session, [workflow.id])
    found = Changed({}) if only_uninitialized else _changed(session, workflow.id, tell, also or {})
    begun = _begun(session, workflow, only_uninitialized, found)
    if not begun.requests:
        return Restarting(None, begun.running, begun.stays, found.unknown)
    request: dict[str, Any] = {"selection": {"workflow": workflow.name}}
    if only_uninitialized:
        request["how"] = {"only_uninitialized": True}
    if cancel_running:
        request["how"] = {**request.get("how", {}), "cancel_running": True}

    def make(begun: Restart) -> Proposal:
        requests = [
            (jobs, how if how.release else replace(how, cancel_running=cancel_running)) for jobs, how in begun.requests
        ]
        return rerun.plan(session, requests, request, note, begun.why)

    proposal = plan_begun(session, begun, make)
    _refuse_missing(session, workflow, proposal.plan.jobs, others=not only_uninitialized)
    planned = {job.id for job in proposal.plan.jobs}
    stays = tuple(job for job in begun.stays if job.id not in planned)
    running = tuple(job for job in begun.running if job.id not in planned)
    unknown = tuple(job for job in found.unknown if job not in planned)
    return Restarting(replace(proposal, kind="restart"), running, stays, unknown)


def plan_begun(session: Session, begun: Restart, planned: Callable[[Restart], Proposal]) -> Proposal:
    """Return the plan that `planned` makes. A job that was interrupted within a fan-out resumes there if it can, and
    starts from the beginning otherwise."""
    amid = _amid_fan_outs(session, [job for jobs, how in begun.requests if how == CUT_OFF for job in jobs])
    if amid:
        try:
            proposal = planned(going_on(begun, amid))
        except PlanRefused as refusal:
            refused = {job.id for job in refusal.refused}
        else:
            refused = {job.id for job in proposal.plan.refused}
            if not refused & amid:
                return proposal
        begun = going_on(begun, amid - refused)
    return planned(begun)


def _amid_fan_outs(session: Session, jobs: Sequence[int]) -> set[int]:
    """Those of these jobs whose attempts stopped in a fan-out that had come to know its items."""
    with session.store.read() as archive:
        rows = archive.jobs.get(jobs)
        bodies = archive.measures.bodies({job.template for job in rows})
        fanning = [job.id for job in rows if any(step.each for step in bodies[job.template].steps)]
        if not fanning:
            return set()
        views, _, _ = planning_views(archive, [(fanning, GO_ON)])
        return {job for job in fanning if was_amid_fan_out(views[job])}


def _begun(session: Session, workflow: Workflow, only_reset: bool, found: Changed) -> Restart:
    with session.store.read() as archive:
        ids = set(archive.jobs.select(Compare("state", Op.IN, list(_LOOKED_AT)), workflow.id))
        ids.update(archive.jobs.select(Compare("held", Op.EQ, True), workflow.id))
        jobs = archive.jobs.get(sorted(ids))
        live = archive.jobs.live([job.id for job in jobs])
    return begin_restart(jobs, {job: one.cause for job, one in live.items()}, found.stale, only_reset=only_reset)


def _changed(session: Session, workflow: int, tell: Tell | None, also: Mapping[int, tuple[Reason, ...]]) -> Changed:
    """By job, what has changed since its live attempt, and the jobs that have nothing to compare."""
    with session.store.read() as archive:
        ended = archive.jobs.select(Compare("state", Op.IN, sorted(ENDED)), workflow)
    found = changed(session, ended, tell)
    return replace(found, stale={**{job: also[job] for job in ended if job in also}, **found.stale})


def check_inputs(session: Session, workflow: Workflow) -> None:
    """Refused when a job that is to run needs a file that is not there and that no job makes."""
    _refuse_missing(session, workflow, (), others=True)


def _refuse_missing(session: Session, workflow: Workflow, planned: Sequence[PlannedJob], *, others: bool) -> None:
    """Nothing is begun that a missing file would end. `others`: look at all that will run, planned or not."""
    overrides: Mapping[int, str | None] = {job.id: job.manner.overrides for job in planned if not job.releases}
    with session.store.read() as archive:
        jobs = {job.id for job in planned if job.after in _STILL_TO_RUN and (job.releases or not job.stays)}
        if others:
            jobs.update(archive.jobs.select(_WILL_RUN, workflow.id))
        gone = missing_inputs(archive, sorted(jobs), overrides)
    if gone:
        raise _missing(gone)


def _missing(gone: Sequence[Missing]) -> Refused:
    first = "; ".join(f"{one.job} reads {one.path}" for one in gone[:_NAMED])
    more = f"; and {len(gone) - _NAMED:,} more" if len(gone) > _NAMED else ""
    there = "a file that is not there" if len(gone) == 1 else "files that are not there"
    return Refused(
        f"nothing is started, for want of {there} and that no job makes: {first}{more}",
        hint="put it there, then try again",
    )
