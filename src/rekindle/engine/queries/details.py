"""Everything about a job or an attempt, and explanations of jobs: what is shown of them on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rekindle.engine import dynamic_actions
from rekindle.engine.queries import job_queries, workflow_queries
from rekindle.engine.queries.flaky_queries import pass_conditions
from rekindle.engine.queries.waits import wait_reasons
from rekindle.engine.staleness import stale_jobs

if TYPE_CHECKING:
    from rekindle.domain.actions import ActionSet, Patch
    from rekindle.domain.batches.canaries import CanaryGroup
    from rekindle.domain.batches.flakiness import PassHistory
    from rekindle.domain.changes.fingerprints import EnvironmentPart, FileFingerprints
    from rekindle.domain.changes.staleness import Assessment
    from rekindle.domain.definition import Quarantine
    from rekindle.domain.models import Attempt, Job, PartialOutput
    from rekindle.domain.rerun.plan import Reason, RerunRecord
    from rekindle.domain.states import State
    from rekindle.domain.subtasks import Subtask
    from rekindle.engine.queries.waits import WaitReason
    from rekindle.engine.results import JobRow
    from rekindle.engine.session import Session
    from rekindle.engine.staleness.contents import ReadProgress
    from rekindle.engine.staleness.stale_jobs import Explanation
    from rekindle.store.dynamic_actions import AddedBy
    from rekindle.store.retention import PrunedAttempt


class JobDetails(msgspec.Struct, frozen=True):
    """Everything about a job."""

    row: JobRow
    needs: Sequence[Job]
    needed_by: Sequence[Job]
    attempts: Sequence[Attempt]  # archived ones too, oldest first
    retries: Mapping[int, Reason]  # by attempt
    due: Reason | None  # of its next retry
    passed: PassHistory | None
    canaries: CanaryGroup | None
    waits: Sequence[WaitReason]
    adder: AddedBy | None
    patches: Sequence[tuple[Patch, int]]  # each with its attempt
    labels: Mapping[str, str]
    quarantine: Quarantine | None
    assessment: Assessment | None  # None: no attempt to measure


def job_details(session: Session, jobs: Sequence[int], progress: ReadProgress | None = None) -> list[JobDetails]:
    """Return everything about jobs, by id. Files are read to find out whether the jobs are stale."""
    needs, needed = job_queries.parents(session, jobs), job_queries.children(session, jobs)
    history = job_queries.attempts(session, jobs)
    _, assessed = stale_jobs.assess(session, jobs, progress)
    return [
        replace(
            one,
            needs=needs.get(one.row.job.id, ()),
            needed_by=needed.get(one.row.job.id, ()),
            attempts=[each for each in history if each.job == one.row.job.id],
            assessment=assessed.get(one.row.job.id),
        )
        for one in present_details(session, jobs)
    ]


def present_details(session: Session, jobs: Sequence[int]) -> list[JobDetails]:
    """Return what is known of jobs without their attempts, the jobs that they need or that need them, and files."""
    retries, due = job_queries.retries(session, jobs)
    adders, patches = dynamic_actions.adders(session, jobs), dynamic_actions.patches(session, jobs)
    passed, canaries = pass_conditions(session, jobs), job_queries.canary_groups_of(session, jobs)
    waits = wait_reasons(session, jobs)
    rows = job_queries.jobs(session, jobs)
    templates = job_queries.templates_of(session, [row.job for row in rows])
    return [
        JobDetails(
            row=row,
            needs=(),
            needed_by=(),
            attempts=(),
            retries=retries,
            due=due.get(row.job.id),
            passed=passed.get(row.job.id),
            canaries=canaries.get(row.job.id),
            waits=waits.get(row.job.id, ()),
            adder=adders.get(row.job.id),
            patches=patches.get(row.job.id, ()),
            labels=templates[row.job.id].labels,
            quarantine=templates[row.job.id].quarantine,
            assessment=None,
        )
        for row in rows
    ]


class AttemptDetails(msgspec.Struct, frozen=True):
    """Everything about an attempt."""

    attempt: Attempt
    job: JobRow
    workdir: str | None
    retry: Reason | None
    in_force: ActionSet | None  # its dynamic actions; None if they are not in force
    copying: tuple[int, int] | None  # bytes copied, bytes in total, while it copies the folder that it resumes in
    saved_outputs: str | None  # the folder
    files: FileFingerprints
    partial_outputs: Sequence[PartialOutput]
    counts: Mapping[tuple[int, int], Mapping[State, int]]  # of subtasks, by attempt and step
    subtasks: Mapping[str, Sequence[Subtask]]  # by the name of their step
    environment: Mapping[EnvironmentPart, str]
    leaves_running: bool
    pruned: PrunedAttempt | None  # None: its content is kept
    by_hand: RerunRecord | None  # with which a person recorded it, without its jobs; None: it was executed


def attempt_details(session: Session, attempt: int) -> AttemptDetails:
    """Return everything about an attempt. Raise NotFound if there is none with this id."""
    found = attempt_summary(session, attempt)
    if not found.counts:
        return found
    steps, by_position = job_queries.step_names(session, found.attempt), job_queries.subtasks(session, found.attempt)
    return replace(found, subtasks={steps[position]: several for position, several in by_position.items()})


def attempt_summary(session: Session, attempt: int) -> AttemptDetails:
    """Return everything about an attempt but its subtasks. Raise NotFound if there is none with this id."""
    found = job_queries.attempt(session, attempt)
    acting = dynamic_actions.in_force(session, [found.job]).get(found.job)
    retries, _ = job_queries.retries(session, [found.job])
    return AttemptDetails(
        attempt=found,
        job=job_queries.jobs(session, [found.job])[0],
        workdir=job_queries.workdirs(session, [found])[found.id],
        retry=retries.get(found.id),
        in_force=acting if acting is not None and acting.attempt == found.id else None,
        copying=job_queries.copy_progress(session, found),
        saved_outputs=job_queries.existing_saved_outputs(session, found.id),
        files=job_queries.recorded_files(session, found.id),
        partial_outputs=job_queries.partial_outputs(session, [found.id]).get(found.id, ()),
        counts=job_queries.subtask_counts(session, [found]),
        subtasks={},
        environment=job_queries.environment(session, found),
        leaves_running=job_queries.leaves_running(session, found),
        pruned=_pruned(session, found),
        by_hand=_recorded_by_hand(session, found),
    )


def _recorded_by_hand(session: Session, attempt: Attempt) -> RerunRecord | None:
    if attempt.completed_by is None:
        return None
    with session.store.read() as archive:
        return archive.reruns.head(attempt.completed_by)


def _pruned(session: Session, attempt: Attempt) -> PrunedAttempt | None:
    if attempt.pruned_by is None:
        return None
    with session.store.read() as archive:
        return next(iter(archive.retention.pruned([attempt.id])), None)


class Explanations(msgspec.Struct, frozen=True):
    """Whether jobs would run again, and why; and by job or rerun what else is known about that."""

    jobs: Sequence[Explanation]
    notes: Mapping[int, str]  # by rerun that accepted changes
    cancels: Mapping[int, str]  # notes of the cancellations, by job
    canaries: Mapping[int, CanaryGroup]
    waits: Mapping[int, Sequence[WaitReason]]
    by_hand: Mapping[int, RerunRecord]  # by job: with which a person recorded it as completed


def explanations(
    session: Session, jobs: Sequence[int], progress: ReadProgress | None = None, *, strict: bool = False
) -> Explanations:
    """Explain jobs. With `strict`, differences that are only warnings make a job stale."""
    found = stale_jobs.explain(session, jobs, progress, strict=strict)
    ids = [one.job.id for one in found]
    accepted = {one.accepted for one in found if one.accepted is not None}
    return Explanations(
        jobs=found,
        notes={rerun: note for rerun in accepted if (note := workflow_queries.rerun(session, rerun).note)},
        cancels=job_queries.cancel_notes(session, [one.job.id for one in found if one.word == "canceled"]),
        canaries=job_queries.canary_groups_of(session, ids),
        waits=wait_reasons(session, ids),
        by_hand=_by_hand(session, ids),
    )


def _by_hand(session: Session, jobs: Sequence[int]) -> dict[int, RerunRecord]:
    """Return, by job, the reruns that recorded live attempts."""
    with session.store.read() as archive:
        found = archive.manual_attempts.of_jobs(jobs)
        records = {rerun: archive.reruns.head(rerun) for rerun in set(found.values())}
    return {job: record for job, rerun in found.items() if (record := records[rerun]) is not None}
