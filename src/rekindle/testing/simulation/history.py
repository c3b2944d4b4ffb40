"""What the store says, for checks: jobs, attempts and pointers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekindle.domain.selection import Selection
from rekindle.engine.queries import job_queries

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt, Job
    from rekindle.engine.session import Session


def all_jobs(session: Session) -> dict[int, Job]:
    """Return all jobs by id, retired ones too."""
    with session.store.read() as archive:
        ids = archive.jobs.select(Selection().where, None, retired=True)
        return {job.id: job for job in archive.jobs.get(ids)}


def all_attempts(session: Session) -> dict[int, Attempt]:
    """Return all attempts by id."""
    return {one.id: one for one in job_queries.attempts(session, None)}


def pointers(session: Session) -> dict[int, tuple[object, ...]]:
    """Return what an undo restores of each job that is not retired. Versions only grow, and are left out."""
    return {
        job.id: (
            job.state,
            job.unmet,
            job.attempt,
            job.next.reuse_candidate,
            job.next.pinned_to,
            job.next.resume_attempt,
            job.next.resume_step,
            job.canceled,
            job.held,
            job.added_by,
        )
        for job in all_jobs(session).values()
        if not job.retired
    }


def record_of(one: Attempt) -> tuple[object, ...]:
    """Return the record of an attempt that has ended, which nothing may change."""
    return (one.job, one.number, one.token, one.state, one.cause, one.started, one.ended, one.steps)
