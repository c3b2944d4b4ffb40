"""Submit a definition and rerun jobs of the workflow, in one transaction.

Both are planned first, on a copy of the store that is rolled back, and applied only if they would have the same result.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec.structs import replace

from rekindle.domain.batches.quarantine import failed_counts
from rekindle.domain.changes.differences import parameter_differences
from rekindle.domain.changes.revisions import diff_outlines
from rekindle.domain.definition import Definition
from rekindle.domain.errors import NotFound, PlanOutdated, PlanRefused, Refused, RefusedJob, SubmitRefused
from rekindle.domain.models import Job, ReuseSource, Workflow
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.restart_choice import Restart, choose_for_update
from rekindle.domain.selection import Compare, Op, Selection
from rekindle.domain.states import ENDED, State
from rekindle.engine.plan_inputs import (
    ChosenRequests,
    KnownPaths,
    PlanInputs,
    ResolvedRequests,
    read_plan_inputs,
    resolve_requests,
    write_with_paths,
)
from rekindle.engine.preconditions import refuse_inside_job
from rekindle.engine.queries import workflow_queries
from rekindle.engine.queries.selections import SelectedJobs, search_patterns, select_in
from rekindle.engine.rerun import rerun
from rekindle.engine.rerun.rerun import apply as apply_plan
from rekindle.engine.rerun.restart import plan_with_fan_outs
from rekindle.engine.results import (
    AppliedRerun,
    PlannedRerun,
    PlannedSubmission,
    SubmitPreview,
    SubmitResult,
    WorkflowStatus,
    WorkReport,
)
from rekindle.engine.reuse_offers import among_planned, find_sources
from rekindle.engine.session import Session, tentative
from rekindle.engine.staleness.assessments import WorkflowAssessment, assess_workflow
from rekindle.engine.staleness.measure import AttemptMeasures, measure_attempts
from rekindle.engine.staleness.stale_jobs import StaleJobs, assess_measures, stale_among
from rekindle.engine.submit.revise import (
    is_unchanged,
    may_replace_source,
    outline_of,
    revise_workflow,
    with_stored_names,
)
from rekindle.engine.submit.submit import submit, with_source_digest
from rekindle.store.archive import Snapshot, Transaction

if TYPE_CHECKING:
    from rekindle.domain.changes.staleness import Assessment
    from rekindle.domain.rerun.plan import RerunPlan
    from rekindle.domain.rerun.request import How
    from rekindle.domain.rerun.resolve import Exists
    from rekindle.domain.rerun.selected import StaleReasons
    from rekindle.engine.rerun.output_copies import CopyProgress
    from rekindle.engine.staleness.contents import ReadProgress
    from rekindle.store.workflows import StoreProgress

T = TypeVar("T")

RequestBuilder = Callable[[Snapshot], ChosenRequests]
"""Returns the jobs to rerun and how, from an archive that contains the new revision."""


def definition_for_workflow(
    session: Session, definition: Definition, workflow: str | None, *, revise: bool = False
) -> Definition:
    """Return the definition under the name of the workflow that it revises: its own name, or that of `workflow` (id or
    name), if that was submitted from the same file or `revise` is set. NotFound if there is no such workflow;
    SubmitRefused if it is another one."""
    definition = with_source_digest(definition)
    with session.store.read() as archive:
        if workflow is None:
            _known_workflow(archive, definition)
            return definition
        found = archive.workflows.find(int(workflow) if workflow.isdigit() else workflow)
        same = found is not None and found.source is not None and found.source == definition.source
        if found is not None and (same or revise):
            definition = with_source_digest(definition, found.name)
        known = _known_workflow(archive, definition)
    if found is None or found.id != known.id:
        raise SubmitRefused(
            f"the spec is of {known.name} (workflow {known.id}), and -w names {workflow!r}",
            hint="leave out -w to select jobs of the spec's workflow",
        )
    return definition


def requests_for_selection(session: Session, definition: Definition, selection: Selection, how: How) -> RequestBuilder:
    """Rerun the jobs that a selection matches in the workflow that `definition` revises. Regular expressions are
    searched here, in the jobs before the revision."""
    with session.store.read() as archive:
        workflow = str(_known_workflow(archive, definition).id)
    requests = [(search_patterns(session, replace(selection, workflow=workflow)), how)]
    return lambda _: requests


def requests_for_jobs(jobs: SelectedJobs | Sequence[int], how: How) -> RequestBuilder:
    """Rerun exactly these jobs. Versions of selected jobs are those after the submission."""
    return lambda _: [(jobs, how)]


def stale_after_revision(
    session: Session,
    definition: Definition,
    selection: Selection,
    progress: ReadProgress | None = None,
    *,
    revise: bool = False,
) -> SelectedJobs:
    """Return the jobs of a selection that would be stale once `definition` is the next revision, with the versions that
    they would have. Files are read outside of the transaction, and `progress` is called meanwhile."""

    with session.store.read() as archive:
        workflow = str(_known_workflow(archive, definition).id)
    searched = search_patterns(session, replace(selection, changed=False, workflow=workflow))

    def query(archive: Snapshot, _: SubmitResult) -> tuple[dict[int, tuple[int, str]], AttemptMeasures]:
        ids = select_in(archive, searched)
        measured = measure_attempts(archive, archive.staleness.live_ended(ids), os.environ)
        return archive.jobs.versions(ids), measured

    _, (versions, measured) = preview_revision(session, definition, query, revise=revise)
    found = stale_among(assess_measures(session, measured, progress, strict=selection.changed == "all"))
    return SelectedJobs({job: versions[job][0] for job in found.stale}, found.stale, found.unknown)


def preview_revision(
    session: Session,
    definition: Definition,
    query: Callable[[Snapshot, SubmitResult], T],
    revision_of: int | None = None,
    *,
    revise: bool = False,
) -> tuple[SubmitPreview, T]:
    """Return what submitting `definition` as the next revision would do, and what `query` returns for an archive that
    contains it, and that submission. Nothing is stored. Raises SubmitRefused or NotFound."""
    revise = revise or revision_of is not None or may_replace_source(session, definition)

    def change(archive: Transaction, paths: KnownPaths) -> tuple[SubmitPreview, T]:
        known = _known_workflow(archive, definition, revision_of)
        same = is_unchanged(archive, known, definition)
        before = None if same else archive.workflows.outline(known.id, known.revision)
        submitted = revise_workflow(archive, known, definition, session.clock(), paths.exists, revise=revise)
        paths.check()
        seen = query(archive, submitted)
        if before is None:
            return SubmitPreview(submitted), seen
        after = outline_of(with_stored_names(archive, known, definition))
        return SubmitPreview(submitted, diff_outlines(before, after)), seen

    return write_with_paths(lambda: tentative(session), change)


def plan_resubmit(
    session: Session,
    definition: Definition,
    pick: RequestBuilder,
    request: Mapping[str, Any],
    note: str | None = None,
    *,
    why: StaleReasons | None = None,
    slots: int | None = None,
    canary: int | None = None,
    revision_of: int | None = None,
    revise: bool = False,
    reuse: bool = False,
) -> PlannedRerun | SubmitPreview:
    """Plan to submit `definition` as the next revision and to rerun the jobs that `pick` returns; nothing is changed.
    Return a Preview of the submission alone if no job is to be rerun. PlanRefused if no job can be rerun, or
    SubmitRefused: in both cases neither is possible. `revision_of` names the workflow if several share a name. With
    `reuse`, find the earlier attempts that may complete jobs of the plan."""

    def query(archive: Snapshot, _: SubmitResult) -> tuple[ResolvedRequests, PlanInputs, dict[int, ReuseSource]]:
        resolved = resolve_requests(archive, pick(archive))
        inputs = read_plan_inputs(archive, resolved.requests, slots, canary)
        return resolved, inputs, find_sources(archive, inputs.views) if reuse else {}

    definition = with_source_digest(definition)
    revise = revise or revision_of is not None or may_replace_source(session, definition)
    preview, (resolved, inputs, reuses) = preview_revision(session, definition, query, revision_of, revise=revise)
    if not resolved.jobs and not resolved.moved:
        return preview
    try:
        proposal = resolved.plan(inputs, request, note, why)
    except PlanRefused as refusal:
        hint = "nothing is submitted either: `rekindle submit` does that alone"
        raise PlanRefused(refusal.message, hint=hint, refused=refusal.refused) from None
    return replace(
        proposal,
        reuses=among_planned(proposal.plan, reuses),
        planned_submission=PlannedSubmission(definition, preview, pick, why or {}, canary, revision_of, revise),
    )


def apply(session: Session, proposal: PlannedRerun, progress: CopyProgress | None = None) -> AppliedRerun:
    """Apply a planned rerun, with its submission if it has one. PlanOutdated, with nothing changed, if the result would
    differ from the plan."""
    planned_submission = proposal.planned_submission
    if planned_submission is None:
        return apply_plan(session, proposal, progress)
    done: list[SubmitResult] = []

    def first(archive: Transaction, exists: Exists) -> None:
        definition, revise = planned_submission.definition, planned_submission.revise
        known = _known_workflow(archive, definition, planned_submission.revision_of)
        done[:] = [revise_workflow(archive, known, definition, session.clock(), exists, revise=revise)]
        _refuse_other_plan(archive, proposal, planned_submission, done[0], exists)

    applied = apply_plan(session, proposal, progress, first)
    return replace(applied, submitted=done[0])


def _refuse_other_plan(
    archive: Snapshot,
    proposal: PlannedRerun,
    planned_submission: PlannedSubmission,
    done: SubmitResult,
    exists: Exists,
) -> None:
    """Raise PlanOutdated unless the revision and the plan equal those that were planned."""
    seen, resolved = planned_submission.preview.submitted, resolve_requests(archive, planned_submission.pick(archive))
    same = done.revision == seen.revision and _plan_digest(done.plan) == _plan_digest(seen.plan)
    if same and resolved.jobs:
        inputs = read_plan_inputs(archive, resolved.requests, None, planned_submission.canary)
        now = resolved.plan(inputs, proposal.request, proposal.note, planned_submission.why, exists)
        same = _plan_digest(now.plan) == _plan_digest(proposal.plan) and now.canaries == proposal.canaries
    if not same:
        raise PlanOutdated(
            "jobs have moved since the plan was made: submitting and rerunning would have another result now",
            hint="nothing is changed; plan the rerun again",
        )


def _plan_digest(plan: RerunPlan | None) -> str:
    return "" if plan is None else plan.digest


def _known_workflow(archive: Snapshot, definition: Definition, revision_of: int | None = None) -> Workflow:
    known = archive.workflows.find(revision_of or definition.name)
    if known is None:
        raise NotFound(
            f"this store has no workflow {definition.name!r} that the spec could be a revision of",
            hint="`rekindle run SPEC` submits it; -w NAME names one that was submitted --as NAME, -w NAME --revise any",
        )
    return known


class WorkflowUpdate(msgspec.Struct, frozen=True):
    """A planned update of a workflow: submit a definition, and rerun jobs (`proposal` None: no job runs again).
    `preview` is the submission, if planning needed it; `refused` are jobs that should run again and cannot; `found` is
    what planning found, if nothing is to be changed."""

    definition: Definition
    preview: SubmitPreview | None = None
    new: bool = False
    revise: bool = False
    proposal: PlannedRerun | None = None
    refused: tuple[RefusedJob, ...] = ()
    found: WorkflowAssessment | None = None

    @property
    def reruns_completed(self) -> int:
        """The number of completed jobs that run again."""
        if self.proposal is None:
            return 0
        return sum(job.before is State.COMPLETED and not job.stays for job in self.proposal.plan.jobs)


class RunOutcome(msgspec.Struct, frozen=True):
    """The state of a workflow at the end of a run, and the exit code. `changed`: its completed jobs that are stale or
    unknown; `failed_changed`: failed jobs whose inputs, definition or code have changed since."""

    status: WorkflowStatus
    changed: StaleJobs
    exit_code: int
    failed_changed: tuple[int, ...] = ()


def plan_update(
    session: Session,
    definition: Definition,
    *,
    name: str | None = None,
    new: bool = False,
    revise: bool = False,
    rerun_stale: bool = True,
    retry_failed: bool = False,
    progress: ReadProgress | None = None,
) -> WorkflowUpdate:
    """Plan what `run` would do with a definition; no job is changed.

    The workflow gets a new revision if the definition has changed. Then stale and interrupted jobs run again, with
    `retry_failed` failed ones too, and all their descendants. Without `rerun_stale`, no job runs again. SubmitRefused
    as for `submit`; Refused if the workflow is archived.
    """
    definition = with_source_digest(definition, name)
    with session.store.read() as archive:
        known = None if new else archive.workflows.find(definition.name)
        same = known is not None and known.source == definition.source and is_unchanged(archive, known, definition)
    if known is not None and known.archived is not None:
        raise Refused(f"{known.name} is archived", hint=f"rekindle workflows archive --undo {known.id}")
    if known is None or not rerun_stale:
        return WorkflowUpdate(definition, new=new, revise=revise)
    if same:
        result = SubmitResult(known.id, known.name, known.revision, len(definition.jobs), False, unchanged=True)
        seen, ended = SubmitPreview(result), _ended_jobs(session, known, progress)
    else:
        seen, ended = _ended_after_revision(session, known, definition, progress, revise=revise)
    restart = choose_for_update(ended.jobs, set(ended.interrupted), ended.found.stale, retry_failed=retry_failed)
    if not restart.requests:
        return WorkflowUpdate(definition, seen, new, revise, found=ended.found)
    request: dict[str, Any] = {"selection": {"workflow": known.name}, "source": definition.source}
    if retry_failed:
        request["how"] = {"retry_failed": True}

    versions = SelectedJobs({**{job.id: job.version for job in ended.jobs}, **ended.found.versions})

    def planned(restart: Restart) -> PlannedRerun:
        requests = [(versions.only(jobs), how) for jobs, how in restart.requests]
        if same:
            again = rerun.plan(session, requests, request, None, restart.why)
            with session.store.read() as archive:
                sources = find_sources(archive, again.plan.jobs.ids)
            return replace(again, reuses=among_planned(again.plan, sources))
        found = plan_resubmit(
            session, definition, lambda _: requests, request, why=restart.why, revise=revise, reuse=True
        )
        assert isinstance(found, PlannedRerun)  # there are jobs to rerun
        return found

    try:
        proposal = plan_with_fan_outs(session, restart, planned)
    except PlanRefused as refusal:
        return WorkflowUpdate(definition, seen, new, revise, refused=tuple(refusal.refused))
    return WorkflowUpdate(definition, seen, new, revise, replace(proposal, kind="run"), proposal.plan.refused)


class _EndedJobs(msgspec.Struct, frozen=True):
    """The ended jobs of a workflow that did not complete or are stale, and stale ones that wait to resume an
    interrupted attempt, by id; and what was found of all of them."""

    jobs: Sequence[Job]
    interrupted: Sequence[int]
    found: WorkflowAssessment


def _ended_jobs(session: Session, workflow: Workflow, progress: ReadProgress | None) -> _EndedJobs:
    found = assess_workflow(session, workflow.id, progress)
    with session.store.read() as archive:
        recovering = archive.attempts.recovering(workflow.id)
        measured = measure_attempts(archive, recovering, os.environ) if recovering else None
    if measured is not None:
        found.stale |= _stale_or_unrecorded(assess_measures(session, measured, progress))
    with session.store.read() as archive:
        return _ended_in(archive, workflow, found)


def _stale_or_unrecorded(recovering: Mapping[int, Assessment]) -> dict[int, tuple[Reason, ...]]:
    """Return the jobs that must not resume an interrupted attempt, and why: what it has left may differ now."""
    unknown = (Reason(ReasonKind.UNKNOWN),)
    return {job: one.reasons or unknown for job, one in recovering.items() if one.reasons or not one.recorded}


def _ended_in(archive: Snapshot, workflow: Workflow, found: WorkflowAssessment) -> _EndedJobs:
    ids = archive.jobs.select(Compare("state", Op.IN, [State.FAILED, State.CANCELED]), workflow.id)
    jobs = archive.jobs.get(sorted({*ids, *found.stale}))
    waiting = archive.attempts.recovering(workflow.id)
    jobs = [job for job in jobs if job.state in ENDED or job.id in waiting]
    return _EndedJobs(jobs, archive.attempts.interrupted(workflow.id), found)


def _ended_after_revision(
    session: Session, known: Workflow, definition: Definition, progress: ReadProgress | None, *, revise: bool
) -> tuple[SubmitPreview, _EndedJobs]:
    """Return what submitting a changed definition would do, and the ended jobs after it.

    Only jobs that the revision concerns are measured in the transaction that is rolled back; the others are as they are
    before it."""
    with session.store.read() as archive:
        params = archive.workflows.params(known.id, known.revision)
    some = not parameter_differences(params, definition.params)
    some = some and not any(template.when == "finished" for template in definition.templates)
    before = assess_workflow(session, known.id, progress) if some else WorkflowAssessment()

    recovering: dict[int, int] = {}

    def query(archive: Snapshot, submitted: SubmitResult) -> tuple[_EndedJobs, AttemptMeasures]:
        recovering.clear()
        if some:
            moved = [] if submitted.plan is None else [job.id for job in submitted.plan.jobs]
            below = archive.jobs.children(moved).values()
            ids = sorted({*moved, *before.stale, *(job for some in below for job in some)})
        else:
            ids = archive.jobs.select(Compare("state", Op.IN, sorted(ENDED)), known.id)
        recovering.update(archive.attempts.recovering(known.id))
        ids = sorted({*ids, *recovering})
        measured = measure_attempts(archive, {**archive.staleness.live_ended(ids), **recovering}, os.environ)
        versions = archive.jobs.versions(ids)
        found = WorkflowAssessment(versions={job: version for job, (version, _) in versions.items()})
        found.unknown = sorted({*before.unknown} - {*ids})
        found.stale = dict.fromkeys(ids, ())  # decided below
        return _ended_in(archive, known, found), measured

    seen, (ended, measured) = preview_revision(session, definition, query, revise=revise)
    every = assess_measures(session, measured, progress)
    again = _stale_or_unrecorded({job: one for job, one in every.items() if job in recovering})
    assessed = stale_among({job: one for job, one in every.items() if job not in recovering})
    found = replace(
        ended.found, stale={**assessed.stale, **again}, unknown=sorted([*ended.found.unknown, *assessed.unknown])
    )
    return seen, replace(ended, found=found)


def apply_update(
    session: Session,
    update: WorkflowUpdate,
    progress: CopyProgress | None = None,
    on_stored: StoreProgress | None = None,
) -> tuple[SubmitResult, AppliedRerun | None]:
    """Submit and rerun as planned, in one transaction. PlanOutdated if jobs have changed since. Refused in a process of
    one of the workflow's jobs: the run that follows would wait for that job."""
    with session.store.read() as archive:
        known = None if update.new else archive.workflows.find(update.definition.name)
    if known is not None:
        refuse_inside_job(session, known.id)
    if update.proposal is None or update.preview is None:
        submitted = submit(session, update.definition, new=update.new, revise=update.revise, progress=on_stored)
        return submitted, None
    applied = apply(session, update.proposal, progress)
    return applied.submitted or update.preview.submitted, applied


def run_outcome(
    session: Session,
    workflow: int,
    report: WorkReport | None,
    progress: ReadProgress | None = None,
    found: WorkflowAssessment | None = None,
) -> RunOutcome:
    """Return the state of a workflow after a run. `report` is the report of the run; None if nothing had to run. Then
    `found` may be what planning has found; otherwise the jobs are assessed here.

    The exit code covers the whole workflow: 5 interrupted, 6 timed out, 2 jobs have failed, 5 jobs are canceled, 1
    completed jobs are stale or others cannot start, otherwise 0.
    """
    status = workflow_queries.status(session, str(workflow))[0]
    every = found or assess_workflow(session, workflow, progress)
    with session.store.read() as archive:
        failed = set(archive.jobs.select(Compare("state", Op.EQ, State.FAILED), workflow))
        apart = failed.union(archive.jobs.select(Compare("state", Op.EQ, State.CANCELED), workflow))
    changed = StaleJobs(
        {job: every.stale[job] for job in sorted(every.stale) if job not in apart},
        tuple(job for job in every.unknown if job not in apart),
    )
    failed_changed = tuple(job for job in sorted(every.stale) if job in failed)
    return RunOutcome(
        status, changed, _exit_code(failed_counts(status.counts, status.quarantined), changed, report), failed_changed
    )


def _exit_code(counts: Mapping[State, int], found: StaleJobs, report: WorkReport | None) -> int:
    if report is not None and (report.interrupted or report.exit_code == 6):
        return report.exit_code
    if counts.get(State.FAILED):
        return 2
    if counts.get(State.CANCELED):
        return 5
    return 1 if found.stale or any(counts.get(state) for state in State if state not in ENDED) else 0
