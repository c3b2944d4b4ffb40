"""The outcome of each job of a workflow at the end of a run, for reports to other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.batches.quarantine import is_in_force, utc_day
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.queries import failure_queries, job_queries, selections, workflow_queries

if TYPE_CHECKING:
    from rekindle.domain.definition import Quarantine
    from rekindle.domain.models import Attempt, Job
    from rekindle.engine.results import WorkflowStatus
    from rekindle.engine.session import Session


class FailedAttempt(msgspec.Struct, frozen=True):
    """A failed attempt. `tail`: the end of its traceback or stderr, or of stdout if both are empty."""

    attempt: Attempt
    tail: tuple[str, ...]


class ReportedJob(msgspec.Struct, frozen=True):
    """A job, its live attempt, and why it failed or has not ended."""

    job: Job
    template: str
    attempt: Attempt | None
    failure: FailedAttempt | None = None  # of the live attempt
    earlier: tuple[FailedAttempt, ...] = ()  # attempts of this run that failed before the live one
    quarantine: Quarantine | None = None
    in_quarantine: bool = False  # `quarantine` is in force
    blocked_by: Job | None = None  # of a waiting job: the first job that it needs and that has not completed

    @property
    def is_flaky(self) -> bool:
        """Whether it has completed in this run after it failed."""
        return self.job.state is State.COMPLETED and bool(self.earlier)


class BatchReport(msgspec.Struct, frozen=True):
    """A workflow and its jobs by id. Retired jobs are left out."""

    status: WorkflowStatus
    jobs: tuple[ReportedJob, ...]
    since: float  # when the run began
    now: float


def batch_report(session: Session, workflow: int, since: float) -> BatchReport:
    """Return the report of a workflow after a run that began at `since`."""
    status = workflow_queries.status(session, str(workflow), specs=False)[0]
    rows = job_queries.jobs(session, selections.select(session, Selection(workflow=str(workflow))))
    several = [row.job.id for row in rows if row.job.attempts > 1]
    jobs = {row.job.id: row.job for row in rows}
    with session.store.read() as archive:
        templates, blocked = dict(archive.workflows.templates(workflow)), archive.graphs.first_needs(workflow)
        history = archive.attempts.listing(several, None) if several else []
        failed = {row.attempt.id for row in rows if row.attempt is not None and row.attempt.state is State.FAILED}
        live = {one.id: one for one in archive.attempts.by_id(failed)}
    earlier: dict[int, list[FailedAttempt]] = {}
    for one in history:
        if one.state is State.FAILED and one.archived_by is not None and (one.queued or one.ended or 0.0) >= since:
            earlier.setdefault(one.job, []).append(_failed(session, one))
    now = session.clock()
    today = utc_day(now)
    return BatchReport(
        status,
        tuple(
            ReportedJob(
                row.job,
                templates[row.job.template].name,
                row.attempt,
                _failed(session, live[row.attempt.id]) if row.attempt and row.attempt.id in live else None,
                tuple(earlier.get(row.job.id, ())),
                quarantine := templates[row.job.template].quarantine,
                is_in_force(quarantine, today),
                jobs.get(blocked.get(row.job.id, 0)),
            )
            for row in rows
        ),
        since,
        now,
    )


def _failed(session: Session, attempt: Attempt) -> FailedAttempt:
    return FailedAttempt(attempt, failure_queries.log_tail(session, attempt))
