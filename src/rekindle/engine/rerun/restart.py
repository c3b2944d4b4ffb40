"""Restart a workflow, or reset jobs of it.

Restart reruns every job that was interrupted or is stale. Reset archives attempts and holds the jobs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.domain.actions import effective_params
from rekindle.domain.errors import NotFound, PlanRefused, Refused, RekindleError
from rekindle.domain.overrides import decode_overrides
from rekindle.domain.rerun.request import RESET_HOLD, How, RequestMode, Requests, how_to_json, mode_of
from rekindle.domain.restart_choice import (
    RERUN_INTERRUPTED,
    RESUME_INTERRUPTED,
    Restart,
    choose_for_restart,
    resume_fan_outs,
)
from rekindle.domain.selection import AllOf, Compare, Op
from rekindle.domain.states import ENDED, State
from rekindle.domain.texts.patterns import glob_base, glob_location, glob_reaches, is_glob, split_glob
from rekindle.domain.texts.substitution import render_text
from rekindle.engine.dynamic_actions import parameter_changes
from rekindle.engine.fan_outs import planning_views, stopped_in_fan_out
from rekindle.engine.preconditions import refuse_without_folder
from rekindle.engine.queries import selections, workflow_queries
from rekindle.engine.rerun import rerun
from rekindle.engine.results import PlannedRerun, PlannedRestart
from rekindle.engine.staleness.assessments import WorkflowAssessment, assess_workflow
from rekindle.files.file_patterns import matching_files
from rekindle.journal.encoding import from_json

if TYPE_CHECKING:
    from rekindle.domain.models import Job, Workflow
    from rekindle.domain.rerun.plan import PlannedJob, Reason
    from rekindle.engine.session import Session
    from rekindle.engine.staleness.contents import ReadProgress
    from rekindle.store.archive import Snapshot

_MOST_NAMED = 5

_UNSTARTED = (State.WAITING, State.READY)

_TO_RUN = AllOf((Compare("state", Op.IN, list(_UNSTARTED)), Compare("held", Op.EQ, False)))

_RESTARTABLE = (State.FAILED, State.CANCELED, State.QUEUED, State.RUNNING)


def workflow_to_restart(session: Session, key: str | None) -> Workflow:
    """Return the workflow with this id or name; without a key, the only workflow of the store."""
    if key is not None:
        return selections.find_workflow(session, key)
    known = workflow_queries.workflows(session)
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
    progress: ReadProgress | None = None,
    also: Mapping[int, tuple[Reason, ...]] | None = None,
    ignores: Callable[[int, Reason], bool] | None = None,
) -> PlannedRestart:
    """Plan the restart of a workflow. Nothing is written except the digests of files that were read.

    Jobs run again if they were interrupted, canceled or are stale, with all descendants and with earlier modifications;
    jobs that were reset by hand are released (`only_uninitialized`: only these). Running jobs are left alone, and
    reruns that would disturb them are refused; with `cancel_running` they are canceled first. `also` adds jobs that
    have ended and must run again, with reasons. `ignores` takes a job and a reason: reasons for which it returns true
    do not make a job stale.

    Refused if a job that would run needs a missing file that no job produces. PlanRefused, with each job's reason, if
    none of the jobs can run again.
    """
    if workflow.archived is not None:
        raise Refused(f"{workflow.name} is archived", hint=f"rekindle workflows archive --undo {workflow.id}")
    refuse_without_folder(session, [workflow])
    found = WorkflowAssessment()
    if not only_uninitialized:
        found = _stale_jobs(session, workflow.id, progress, also or {}, ignores)
    restart, seen = _restart_requests(session, workflow, only_uninitialized, found)
    if not restart.requests:
        return PlannedRestart(None, restart.running, restart.stays, tuple(found.unknown))
    request: dict[str, Any] = {"selection": {"workflow": workflow.name}}
    if only_uninitialized:
        request["how"] = {"only_uninitialized": True}
    if cancel_running:
        request["how"] = {**request.get("how", {}), "cancel_running": True}

    def make(restart: Restart) -> PlannedRerun:
        requests = [
            (
                seen.only(jobs),
                how if mode_of(how) is RequestMode.RELEASE else replace(how, cancel_running=cancel_running),
            )
            for jobs, how in restart.requests
        ]
        return rerun.plan(session, requests, request, note, restart.why)

    proposal = plan_with_fan_outs(session, restart, make)
    _refuse_missing(session, workflow, proposal.plan.jobs, others=not only_uninitialized)
    planned = set(proposal.plan.jobs.ids)
    stays = tuple(job for job in restart.stays if job.id not in planned)
    running = tuple(job for job in restart.running if job.id not in planned)
    unknown = tuple(job for job in found.unknown if job not in planned)
    return PlannedRestart(replace(proposal, kind="restart"), running, stays, unknown)


def plan_with_fan_outs(session: Session, restart: Restart, planned: Callable[[Restart], PlannedRerun]) -> PlannedRerun:
    """Return the plan that `planned` makes. A job that was interrupted within a fan-out resumes there if possible, and
    starts from the beginning otherwise."""
    stopped = _stopped_in_fan_outs(
        session, [job for jobs, how in restart.requests if how == RERUN_INTERRUPTED for job in jobs]
    )
    if stopped:
        try:
            proposal = planned(resume_fan_outs(restart, stopped))
        except PlanRefused as refusal:
            refused = {job.id for job in refusal.refused}
        else:
            refused = {job.id for job in proposal.plan.refused}
            if not refused & stopped:
                return proposal
        restart = resume_fan_outs(restart, stopped - refused)
    return planned(restart)


def _stopped_in_fan_outs(session: Session, jobs: Sequence[int]) -> set[int]:
    """Return the jobs whose attempts stopped in a fan-out whose items were known."""
    with session.store.read() as archive:
        rows = archive.jobs.get(jobs)
        bodies = archive.staleness.templates({job.template for job in rows})
        fanning = [job.id for job in rows if any(step.each for step in bodies[job.template].steps)]
        if not fanning:
            return set()
        views, _, _ = planning_views(archive, Requests(dict.fromkeys(fanning, RESUME_INTERRUPTED)))
        return {job for job in fanning if stopped_in_fan_out(views[job])}


def _restart_requests(
    session: Session, workflow: Workflow, only_reset: bool, found: WorkflowAssessment
) -> tuple[Restart, selections.SelectedJobs]:
    """Return the requests of a restart, and the jobs that it may select, with the versions on which it decides."""
    with session.store.read() as archive:
        ids = set(archive.jobs.select(Compare("state", Op.IN, list(_RESTARTABLE)), workflow.id))
        ids.update(archive.jobs.select(Compare("held", Op.EQ, True), workflow.id))
        jobs = archive.jobs.get(sorted(ids))
        live = archive.jobs.live([job.id for job in jobs])
    causes = {job: one.cause for job, one in live.items()}
    seen = selections.SelectedJobs({**{job.id: job.version for job in jobs}, **found.versions})
    return choose_for_restart(jobs, causes, found.stale, only_reset=only_reset), seen


def _stale_jobs(
    session: Session,
    workflow: int,
    progress: ReadProgress | None,
    also: Mapping[int, tuple[Reason, ...]],
    ignores: Callable[[int, Reason], bool] | None,
) -> WorkflowAssessment:
    """Return the stale jobs of a workflow, without reasons to ignore, with those in `also`."""
    ended: Sequence[int] = ()
    if also:
        with session.store.read() as archive:
            ended = archive.jobs.select(Compare("state", Op.IN, sorted(ENDED)), workflow)
            versions = {job: version for job, (version, _) in archive.jobs.versions(also.keys()).items()}
    found = assess_workflow(session, workflow, progress)
    stale = found.stale
    if ignores is not None:
        counted = {job: tuple(one for one in reasons if not ignores(job, one)) for job, reasons in stale.items()}
        stale = {job: reasons for job, reasons in counted.items() if reasons}
    if also:
        stale = {**{job: also[job] for job in ended if job in also}, **stale}
        found = replace(found, versions={**versions, **found.versions})
    return replace(found, stale=stale)


def check_inputs(session: Session, workflow: Workflow) -> None:
    """Raise Refused if a job that will run needs a missing file that no job produces."""
    _refuse_missing(session, workflow, (), others=True)


def _refuse_missing(session: Session, workflow: Workflow, planned: Sequence[PlannedJob], *, others: bool) -> None:
    """Raise Refused if a missing file would end a job. With `others`, check all jobs that will run, planned or not."""
    overrides: Mapping[int, str | None] = {job.id: job.next.overrides for job in planned if not job.releases}
    with session.store.read() as archive:
        jobs = {job.id for job in planned if job.after in _UNSTARTED and (job.releases or not job.stays)}
        if others:
            jobs.update(archive.jobs.select(_TO_RUN, workflow.id))
        gone = missing_inputs(archive, sorted(jobs), overrides)
    if gone:
        raise _missing_error(gone)


def _missing_error(gone: Sequence[MissingInput]) -> Refused:
    first = "; ".join(f"{one.job} reads {one.path}" for one in gone[:_MOST_NAMED])
    more = f"; and {len(gone) - _MOST_NAMED:,} more" if len(gone) > _MOST_NAMED else ""
    what = "a file is missing that no job produces" if len(gone) == 1 else "files are missing that no job produces"
    return Refused(
        f"nothing is started: {what}: {first}{more}",
        hint="put it there, then try again",
    )


def plan_reset(
    session: Session,
    chosen: selections.Chosen,
    request: Mapping[str, Any],
    note: str | None = None,
    *,
    cancel_running: bool = False,
) -> PlannedRerun:
    """Plan the reset of the chosen jobs: they are held, their attempts are archived, and their descendants reset too.
    With `cancel_running`, running jobs are canceled first. PlanRefused, with each job's reason, if none can be
    reset."""
    how = How(hold=RESET_HOLD, cancel_running=cancel_running)
    asked = {**request, "how": how_to_json(how)}
    return replace(rerun.plan(session, [(chosen, how)], asked, note), kind="reset")


class MissingInput(msgspec.Struct, frozen=True):
    """A missing declared input of a job. `path` is absolute; for a pattern, its location."""

    job: str
    name: str
    path: str


def missing_inputs(archive: Snapshot, jobs: Sequence[int], overrides: Mapping[int, str | None]) -> list[MissingInput]:
    """Return the inputs of these jobs that are missing and that none of the needed jobs writes. `overrides`: JSON texts
    of modifications that differ from the current ones."""
    wanted = _DeclaredPaths(archive, jobs, overrides)
    gone = [
        (job, name, path, pattern)
        for job, name, path, pattern in wanted.of_inputs()
        if not os.path.exists(path) and not (pattern and matching_files(path, pattern))  # noqa: PTH110 many
    ]
    if not gone:
        return []
    readers = sorted({one[0].id for one in gone})
    needed = archive.jobs.parents(readers)
    writers = _DeclaredPaths(archive, sorted({one for ids in needed.values() for one in ids}), {})
    made: dict[int, list[str]] = {}
    for job, _, path in writers.of_outputs():
        made.setdefault(job.id, []).append(path)
    return [
        MissingInput(job.name, name, path)
        for job, name, path, pattern in gone
        if not any(_produces(output, path, pattern) for parent in needed[job.id] for output in made.get(parent, ()))
    ]


def _produces(output: str, path: str, pattern: str | None) -> bool:
    """Return whether a declared output is an input or one of its matches, or one of the two contains the other."""
    if _within(path, output) or _within(output, path):
        return True
    if pattern is None:
        return False
    folder = glob_base(path, pattern)
    return _within(folder, output) or (
        _within(output, folder) and glob_reaches(split_glob(pattern)[1], output[len(folder) :].lstrip("/"))
    )


def _within(path: str, output: str) -> bool:
    return path == output or path.startswith(output + "/")


def _absolute(directory: str, path: str) -> str:
    return os.path.normpath(os.path.join(directory, path))  # noqa: PTH118 many


class _DeclaredPaths:
    """The paths of the declared files of some jobs."""

    def __init__(self, archive: Snapshot, jobs: Sequence[int], overrides: Mapping[int, str | None]) -> None:
        self._archive, self._overrides = archive, overrides
        self._jobs = archive.jobs.get(jobs)
        self._templates = {one: archive.workflows.template(one) for one in {job.template for job in self._jobs}}
        self._changes = parameter_changes(archive, jobs)
        self._owners = {one: archive.workflows.find(one) for one in {job.workflow for job in self._jobs}}
        self._params: dict[int, Mapping[str, Any]] = {}

    def of_inputs(self) -> Iterator[tuple[Job, str, str, str | None]]:
        """Yield (job, name, absolute path, pattern) of required inputs."""
        for job in self._jobs:
            template = self._templates[job.template]
            texts = {name: text for name, text in template.inputs.items() if name not in template.optional}
            for _, name, directory, text in self._rendered(job, texts):
                pattern = text if is_glob(text) else None
                path = glob_location(directory, text) if pattern else _absolute(directory, text)
                yield job, name, path, pattern

    def of_outputs(self) -> Iterator[tuple[Job, str, str]]:
        """Yield (job, name, absolute path) of outputs in the project; those in an attempt's own folder are left out."""
        for job in self._jobs:
            template = self._templates[job.template]
            own_folder = template.workdir == "attempt"
            for one, name, directory, path in self._rendered(job, template.outputs):
                if not own_folder or template.outputs[name].startswith("/"):
                    yield one, name, _absolute(directory, path)

    def _rendered(self, job: Job, texts: Mapping[str, str]) -> Iterator[tuple[Job, str, str, str]]:
        """Yield (job, name, project folder, path as declared)."""
        owner = self._owners[job.workflow]
        if not texts or owner is None:
            return
        scope = self._scope(job, owner.revision)
        for name, text in texts.items():
            try:
                path = render_text(text, scope)
            except RekindleError:  # a value lacks the part that the path names: the attempt will report it
                continue
            yield job, name, owner.directory, path

    def _scope(self, job: Job, revision: int) -> dict[str, Any]:
        if job.workflow not in self._params:
            self._params[job.workflow] = self._archive.workflows.params(job.workflow, revision)
        modified = decode_overrides(self._overrides.get(job.id, job.next.overrides)).params
        return {
            "params": {**effective_params(self._params[job.workflow], self._changes.get(job.id, ())), **modified},
            "matrix": from_json(job.binding) if job.binding != "{}" else {},
            "job": {"name": job.name, "id": job.id},
        }
