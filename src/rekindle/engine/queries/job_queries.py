"""Query jobs and attempts: rows, parameters, steps, subtasks, files and working directories."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.errors import NotFound
from rekindle.domain.selection import Compare, Op
from rekindle.domain.states import ACTIVE, State
from rekindle.engine.results import JobRow
from rekindle.journal.paths import attempt_folder, read_progress, saved_outputs_folder

if TYPE_CHECKING:
    from rekindle.domain.batches.canaries import CanaryGroup
    from rekindle.domain.changes.fingerprints import EnvironmentPart, FileFingerprints
    from rekindle.domain.definition import JobTemplate
    from rekindle.domain.models import (
        Attempt,
        Job,
        PartialOutput,
    )
    from rekindle.domain.rerun.plan import Reason
    from rekindle.domain.selection import Predicate
    from rekindle.domain.subtasks import Subtask
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot
    from rekindle.store.candidates import JobRecord
    from rekindle.store.documents import WorkflowOutline


def is_every_rerun_forbidden(session: Session, workflow: int, state: State) -> bool:
    """Return whether all jobs of a workflow in this state must not run twice."""
    with session.store.read() as archive:
        if not archive.overviews.any_rerun_forbidden(workflow):
            return False
        from rekindle.engine.staleness.stale_jobs import forbidden_reruns

        ids = archive.jobs.select(Compare("state", Op.EQ, state), workflow)
        return len(forbidden_reruns(archive, archive.jobs.get(ids))) == len(ids)


def params_of(session: Session, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return the parameters of these jobs, including changes by actions in force."""
    from rekindle.domain.actions import effective_params
    from rekindle.engine.dynamic_actions import parameter_changes

    with session.store.read() as archive:
        jobs = archive.jobs.get(ids)
        params = {one.id: archive.workflows.params(one.id, one.revision) for one in archive.workflows.of_jobs(ids)}
        changes = parameter_changes(archive, ids)
        return {job.id: effective_params(params[job.workflow], changes.get(job.id, ())) for job in jobs}


def jobs(session: Session, ids: Sequence[int]) -> list[JobRow]:
    """Return jobs with their live attempts, in the order of `ids`."""
    with session.store.read() as archive:
        return jobs_in(archive, ids)


def jobs_in(archive: Snapshot, ids: Sequence[int]) -> list[JobRow]:
    """Return jobs with their live attempts, in the order of `ids`, within a transaction."""
    rows = archive.jobs.get(ids)
    live = archive.jobs.live(ids)
    names = {workflow.id: workflow.name for workflow in archive.workflows.of_jobs(ids)}
    resources = archive.jobs.resources({job.resource_class for job in rows})
    partial, awaited = archive.subtasks.partial(ids), archive.attempts.blocking(ids)
    return [
        JobRow(
            job,
            names[job.workflow],
            live.get(job.id),
            resources[job.resource_class],
            job.id in partial,
            tuple(awaited.get(job.id, ())),
        )
        for job in rows
    ]


def parents(session: Session, ids: Sequence[int]) -> dict[int, list[Job]]:
    """Return, by job, the jobs that it needs."""
    with session.store.read() as archive:
        return _jobs_by_id(archive, archive.jobs.parents(ids))


def children(session: Session, ids: Sequence[int]) -> dict[int, list[Job]]:
    """Return, by job, the jobs that need it."""
    with session.store.read() as archive:
        return _jobs_by_id(archive, archive.jobs.children(ids))


class AdjacentJobs(msgspec.Struct, frozen=True):
    """The first of the jobs that a job needs, or that need it, and how many there are."""

    jobs: Sequence[Job]
    total: int


def adjacent_jobs(session: Session, job: int, most: int) -> tuple[AdjacentJobs, AdjacentJobs]:
    """Return the jobs that a job needs, and those that need it. At most `most` of each are read, by id."""
    with session.store.read() as archive:
        needs, needed_by = (
            AdjacentJobs(archive.jobs.get(sorted(ids)[:most]), len(ids))
            for ids in (archive.jobs.parents([job]).get(job, []), archive.jobs.children([job]).get(job, []))
        )
    return needs, needed_by


def child_ids(session: Session, ids: Sequence[int]) -> dict[int, list[int]]:
    """Return, by job, the ids of the jobs that need it."""
    with session.store.read() as archive:
        return archive.jobs.children(ids)


def _jobs_by_id(archive: Snapshot, related: dict[int, list[int]]) -> dict[int, list[Job]]:
    known = {job.id: job for job in archive.jobs.get(sorted({one for ids in related.values() for one in ids}))}
    return {job: [known[one] for one in ids] for job, ids in related.items()}


def attempts(
    session: Session, jobs: Sequence[int] | None, workflow: int | None = None, live: bool = False
) -> list[Attempt]:
    """Return attempts with their steps, oldest first; `jobs` None: of all jobs."""
    with session.store.read() as archive:
        return archive.attempts.listing(jobs, workflow, live)


def attempt(session: Session, number: int) -> Attempt:
    """Return an attempt by id, or raise NotFound."""
    with session.store.read() as archive:
        found = archive.attempts.get(number)
    if found is None:
        raise NotFound(f"no such attempt: {number}", hint="`rekindle attempts list` names them")
    return found


def environment(session: Session, one: Attempt) -> dict[EnvironmentPart, str]:
    """Return the recorded interpreter, installed distributions and programs of an attempt."""
    from rekindle.domain.changes.differences import environment_parts

    with session.store.read() as archive:
        recorded = archive.fingerprints.sources([one.code]) if one.code is not None else {}
    return environment_parts(recorded.get(one.code or "", {}))


def runner_names(session: Session, attempts: Sequence[Attempt]) -> dict[int, str]:
    """Return, by runner, the names of the runners of these attempts. A runner without a name is called by its host."""
    with session.store.read() as archive:
        wanted = {one.runner for one in attempts if one.runner is not None}
        found = (archive.runners.find(number) for number in sorted(wanted))
        return {one.id: one.label or one.host for one in found if one is not None}


def copy_progress(session: Session, attempt: Attempt) -> tuple[int, int] | None:
    """Return (bytes copied, bytes in total) while a running attempt copies the folder that it resumes in."""
    return read_progress(attempt_folder(session.store.folder, attempt.id)) if attempt.state in ACTIVE else None


def existing_saved_outputs(session: Session, attempt: int) -> str | None:
    """Return the folder with the outputs of an attempt that a rerun saved, if there is one."""
    folder = saved_outputs_folder(attempt_folder(session.store.folder, attempt))
    return folder if Path(folder).is_dir() else None


def partial_outputs(session: Session, attempts: Sequence[int]) -> dict[int, tuple[PartialOutput, ...]]:
    """Return, by attempt, the declared outputs that it left without completing. Attempts without any are absent."""
    with session.store.read() as archive:
        return archive.fingerprints.partial(attempts)


def recorded_files(session: Session, attempt: int) -> FileFingerprints:
    """Return the recorded files that an attempt depended on and produced."""
    from rekindle.domain.changes.fingerprints import FileFingerprints

    with session.store.read() as archive:
        return archive.fingerprints.files([attempt]).get(attempt, FileFingerprints())


def subtask_counts(session: Session, attempts: Sequence[Attempt]) -> dict[tuple[int, int], Mapping[State, int]]:
    """Return the number of subtasks by state, for each (attempt, position of a fan-out step)."""
    with session.store.read() as archive:
        return archive.subtasks.counts([one.id for one in attempts])


def subtasks(session: Session, attempt: Attempt) -> dict[int, list[Subtask]]:
    """Return the subtasks of each fan-out step of an attempt, by the step's position. Subtasks kept from other attempts
    are included."""
    with session.store.read() as archive:
        positions = [step for _, step in sorted(archive.subtasks.counts([attempt.id]))]
        return {step: archive.subtasks.of(attempt.id, step) for step in positions}


def subtasks_of_step(session: Session, attempt: int, step: int) -> list[Subtask]:
    """Return the subtasks of one fan-out step of an attempt, by the step's position."""
    with session.store.read() as archive:
        return archive.subtasks.of(attempt, step)


def template_of(session: Session, attempt: Attempt) -> JobTemplate:
    """Return the attempt's own definition."""
    with session.store.read() as archive:
        return archive.workflows.template(attempt.template)


def step_names(session: Session, attempt: Attempt) -> tuple[str, ...]:
    """Return the names of the steps of the attempt's own definition, in order."""
    return tuple(step.name for step in template_of(session, attempt).steps)


def leaves_running(session: Session, attempt: Attempt) -> bool:
    """Return whether the attempt's own definition has `leave_running: true`."""
    return template_of(session, attempt).leave_running


def templates_of(session: Session, jobs: Sequence[Job]) -> dict[int, JobTemplate]:
    """Return, by job, its template."""
    with session.store.read() as archive:
        bodies = archive.staleness.templates({job.template for job in jobs})
    return {job.id: bodies[job.template] for job in jobs}


def retries(session: Session, jobs: Sequence[int]) -> tuple[dict[int, Reason], dict[int, Reason]]:
    """Return (reasons of attempts that are retries, by attempt; reasons of jobs that wait for a retry, by job)."""
    with session.store.read() as archive:
        retried = archive.reruns.retried(jobs)
    return (
        {attempt: reason for _, attempt, reason in retried if attempt is not None},
        {job: reason for job, attempt, reason in retried if attempt is None},
    )


def canary_groups_of(session: Session, jobs: Sequence[int]) -> dict[int, CanaryGroup]:
    """Return, by job, the canary group in which it waits or waited."""
    with session.store.read() as archive:
        return archive.canaries.of_jobs(jobs)


def revisions_run(session: Session, attempts: Sequence[int]) -> list[int]:
    """Return the distinct revisions that these attempts ran."""
    with session.store.read() as archive:
        return sorted({revision for _, revision, _ in archive.staleness.origins(attempts).values()})


def cancel_notes(session: Session, jobs: Sequence[int]) -> dict[int, str]:
    """Return, by job, the note of its last cancellation."""
    with session.store.read() as archive:
        return archive.events.cancel_notes(jobs)


def workflows_of(session: Session, jobs: Sequence[int]) -> list[int]:
    """Return the ids of the workflows of these jobs, each once, in order."""
    with session.store.read() as archive:
        return archive.jobs.workflows(jobs)


def workdirs(session: Session, attempts: Sequence[Attempt]) -> dict[int, str | None]:
    """Return, by attempt, its working directory: the project folder or the attempt's own."""
    with session.store.read() as archive:
        return workdirs_in(archive, attempts)


def workdirs_in(archive: Snapshot, attempts: Sequence[Attempt]) -> dict[int, str | None]:
    """Return the working directories of attempts, within a transaction."""
    own = {one: archive.workflows.template(one).workdir == "attempt" for one in {a.template for a in attempts}}
    found = {one: archive.workflows.find(one) for one in {a.workflow for a in attempts}}
    projects = {number: owner.directory if owner else None for number, owner in found.items()}
    return {one.id: one.folder if own[one.template] else projects[one.workflow] for one in attempts}


def project_folder(session: Session, workflow: int) -> str:
    """Return the folder of a workflow's project."""
    with session.store.read() as archive:
        found = archive.workflows.find(workflow)
    return found.directory if found is not None else ""


def jobs_matching(session: Session, where: Predicate) -> list[int]:
    """Return the ids of the jobs that match a condition. Archived workflows and retired jobs are left out unless the
    condition names them."""
    with session.store.read() as archive:
        return archive.jobs.select(where, None)


def job_documents(
    session: Session, document: Callable[[JobRecord], Any], where: Predicate, jobs: Collection[int]
) -> list[tuple[int, Any]]:
    """Return those of these jobs that match a condition, each with its document."""
    with session.store.read() as archive:
        return [(job.id, document(job)) for job in archive.documents.records(where, jobs)]


def workflow_outlines(session: Session, param: str) -> list[WorkflowOutline]:
    """Return the workflows that have a parameter of this name, with their jobs. Archived workflows are included."""
    with session.store.read() as archive:
        return archive.documents.outlines(param)
