"""Accepting: what jobs depend on as it is now becomes what they are measured by."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from rekindle.domain.changes.accepting import decide_acceptance
from rekindle.domain.errors import PlanRefused
from rekindle.domain.models import Job
from rekindle.domain.states import State
from rekindle.engine.changes.measuring import Measured, gather
from rekindle.engine.changes.reading import Tell, take
from rekindle.engine.looking.whereabouts import refuse_without_folder, workflows_of
from rekindle.engine.results import Accepted
from rekindle.engine.session import Session

_NAMED = 5


def accept(
    session: Session, ids: Sequence[int], request: Mapping[str, Any], note: str | None = None, tell: Tell | None = None
) -> Accepted:
    """Let the present count as what these jobs' attempts depended on, for those that are stale and can be accepted;
    the others are named in the answer. It is recorded as a rerun of kind `accept`, which undo takes back.

    PlanRefused, with every job's reason, when none can be and not all are current. PlanOutdated when one has moved
    while files were read. `tell` hears how far the reading is."""
    refuse_without_folder(session, workflows_of(session, ids))
    jobs, measured = _measured(session, ids)
    contents = take(measured.requests, measured.known, tell)
    decided = decide_acceptance(jobs, measured.judge(contents))
    plan = decided.plan
    if not plan.jobs:
        if plan.refused:
            first = "; ".join(f"{job.name}: {job.why}" for job in plan.refused[:_NAMED])
            more = f"; and {len(plan.refused) - _NAMED} more" if len(plan.refused) > _NAMED else ""
            raise PlanRefused(f"nothing can be accepted: {first}{more}", refused=plan.refused)
        return Accepted(None, plan, decided.current)
    attempts = {job.id: job.attempt for job in jobs}
    found = measured.bases(contents, [job.id for job in plan.jobs])
    bases = {attempt: basis for job, basis in found.items() if (attempt := attempts[job]) is not None}
    now = session.clock()
    with session.store.write() as archive:
        archive.fingerprints.remember_files(contents.seen)
        rerun = archive.reruns.accept(plan, bases, request, note, now)
    return Accepted(rerun, plan, decided.current)


def _measured(session: Session, ids: Sequence[int]) -> tuple[list[Job], Measured]:
    """The jobs, and those among them that have completed measured, in one snapshot."""
    with session.store.read() as archive:
        jobs = archive.jobs.get(ids)
        live = {
            job.id: job.attempt
            for job in jobs
            if job.state is State.COMPLETED and job.attempt is not None and not job.retired
        }
        return jobs, gather(archive, live, os.environ, whole=True)
