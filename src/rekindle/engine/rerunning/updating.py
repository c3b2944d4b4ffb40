"""Bring a workflow up to date: submit its spec, and rerun stale and interrupted jobs as one recorded plan."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rekindle.domain.changes.staleness import Assessment
from rekindle.domain.definition import Definition
from rekindle.domain.errors import PlanRefused, Refused
from rekindle.domain.models import Job, Workflow
from rekindle.domain.rerunning.rerun import Reason, RefusedJob
from rekindle.domain.rerunning.restarting import Restart, begin_update
from rekindle.domain.selection import Compare, Op
from rekindle.domain.states import ENDED, State
from rekindle.engine.changes.measuring import Measured, gather
from rekindle.engine.changes.reading import Tell
from rekindle.engine.changes.staleness import Changed, changed, judged
from rekindle.engine.looking import look
from rekindle.engine.nesting import refuse_inside_job
from rekindle.engine.rerunning import rerun, resubmitting
from rekindle.engine.rerunning.restart import plan_begun
from rekindle.engine.rerunning.saving import Tell as Saving
from rekindle.engine.results import Applied, Preview, Proposal, Submitted, WorkflowStatus, WorkReport
from rekindle.engine.session import Session
from rekindle.engine.submitting.revising import unchanged
from rekindle.engine.submitting.submit import identified, submit
from rekindle.store.port import Archive


@dataclass(frozen=True, slots=True)
class Update:
    """What bringing a workflow up to date would do: submit a definition, and rerun jobs of it (None: none runs again).
    `preview` is the submission, where planning had to look at it; `refused` are jobs that should run again and cannot.
    """

    definition: Definition
    preview: Preview | None = None
    new: bool = False
    revise: bool = False
    proposal: Proposal | None = None
    refused: tuple[RefusedJob, ...] = ()

    @property
    def reruns_completed(self) -> int:
        """How many jobs that have completed run again."""
        if self.proposal is None:
            return 0
        return sum(job.before is State.COMPLETED and not job.stays for job in self.proposal.plan.jobs)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a workflow stands at the end of a run, and the exit code that follows. `changed`: what is stale or unknown
    among its completed jobs; `mended`: failed jobs whose inputs, definition or code have changed since."""

    status: WorkflowStatus
    changed: Changed
    exit_code: int
    mended: tuple[int, ...] = ()


def plan_update(
    session: Session,
    definition: Definition,
    *,
    name: str | None = None,
    new: bool = False,
    revise: bool = False,
    rerun_stale: bool = True,
    retry_failed: bool = False,
    tell: Tell | None = None,
) -> Update:
    """Return what `run` would do with a definition; nothing of a job is changed.

    Its workflow gets a new revision where it has changed. Then what is stale, was interrupted or, with `retry_failed`,
    has failed runs again, and everything below. Without `rerun_stale` nothing does. SubmitRefused as for `submit`;
    Refused when the workflow is archived."""
    definition = identified(definition, name)
    with session.store.read() as archive:
        known = None if new else archive.workflows.find(definition.name)
        same = known is not None and known.source == definition.source and unchanged(archive, known, definition)
    if known is not None and known.archived is not None:
        raise Refused(f"{known.name} is archived", hint=f"rekindle workflows archive --undo {known.id}")
    if known is None or not rerun_stale:
        return Update(definition, new=new, revise=revise)
    if same:
        seen = Preview(Submitted(known.id, known.name, known.revision, len(definition.jobs), False, unchanged=True))
        with session.store.read() as archive:
            ended = _ended(archive, known)
    else:
        seen, ended = resubmitting.foresee(session, definition, lambda archive: _ended(archive, known), revise=revise)
    begun = _begun(session, ended, retry_failed, tell)
    if not begun.requests:
        return Update(definition, seen, new, revise)
    request: dict[str, Any] = {"selection": {"workflow": known.name}, "source": definition.source}
    if retry_failed:
        request["how"] = {"retry_failed": True}

    def planned(begun: Restart) -> Proposal:
        if same:
            return rerun.plan(session, begun.requests, request, None, begun.why)
        requests = begun.requests
        found = resubmitting.propose(session, definition, lambda _: requests, request, why=begun.why, revise=revise)
        assert isinstance(found, Proposal)  # jobs are meant
        return found

    try:
        proposal = plan_begun(session, begun, planned)
    except PlanRefused as refusal:
        return Update(definition, seen, new, revise, refused=tuple(refusal.refused))
    return Update(definition, seen, new, revise, replace(proposal, kind="run"), proposal.plan.refused)


@dataclass(frozen=True, slots=True)
class _Ended:
    """The jobs of a workflow that have ended, and all that the store knows of what they depend on."""

    jobs: Sequence[Job]
    interrupted: Sequence[int]
    measured: Measured


def _ended(archive: Archive, workflow: Workflow) -> _Ended:
    ids = archive.jobs.select(Compare("state", Op.IN, sorted(ENDED)), workflow.id)
    measured = gather(archive, archive.measures.ended(ids), os.environ)
    return _Ended(archive.jobs.get(ids), archive.attempts.interrupted(workflow.id), measured)


def _begun(session: Session, ended: _Ended, retry_failed: bool, tell: Tell | None) -> Restart:
    found: Mapping[int, Assessment] = judged(session, ended.measured, tell)
    stale: dict[int, tuple[Reason, ...]] = {job: one.reasons for job, one in found.items() if one.reasons}
    return begin_update(ended.jobs, set(ended.interrupted), stale, retry_failed=retry_failed)


def apply_update(session: Session, update: Update, tell: Saving | None = None) -> tuple[Submitted, Applied | None]:
    """Do what was planned: the submission and the rerun in one transaction. PlanOutdated when jobs have moved since.
    Refused in a process of one of the workflow's jobs, which the run that follows would wait for."""
    with session.store.read() as archive:
        known = None if update.new else archive.workflows.find(update.definition.name)
    if known is not None:
        refuse_inside_job(session, known.id)
    if update.proposal is None or update.preview is None:
        return submit(session, update.definition, new=update.new, revise=update.revise), None
    applied = resubmitting.apply(session, update.proposal, tell)
    return applied.submitted or update.preview.submitted, applied


def conclude(session: Session, workflow: int, report: WorkReport | None, tell: Tell | None = None) -> Outcome:
    """Return how a workflow stands after a run. `report` is that of the run, None: there was nothing to run.

    The exit code covers the whole workflow: 5 interrupted, 6 timed out, 2 failed jobs stand, 5 canceled ones do, 1
    completed jobs are stale or others cannot start, else 0."""
    key = str(workflow)
    status = look.status(session, key)[0]
    with session.store.read() as archive:
        completed = archive.jobs.select(Compare("state", Op.EQ, State.COMPLETED), workflow)
        failed = archive.jobs.select(Compare("state", Op.EQ, State.FAILED), workflow)
    every = changed(session, [*completed, *failed], tell)
    done = set(completed)
    found = Changed(
        {job: reasons for job, reasons in every.stale.items() if job in done},
        tuple(job for job in every.unknown if job in done),
    )
    mended = tuple(job for job in every.stale if job not in done)
    return Outcome(status, found, _exit_code(status.counts, found, report), mended)


def _exit_code(counts: Mapping[State, int], found: Changed, report: WorkReport | None) -> int:
    if report is not None and (report.interrupted or report.exit_code == 6):
        return report.exit_code
    if counts.get(State.FAILED):
        return 2
    if counts.get(State.CANCELED):
        return 5
    return 1 if found.stale or any(counts.get(state) for state in State if state not in ENDED) else 0
