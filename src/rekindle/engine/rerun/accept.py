"""Accept the present as the new basis of stale jobs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rekindle.domain.changes.staleness import decide_acceptance
from rekindle.domain.errors import PlanRefused
from rekindle.domain.rerun.plan import seal_plan
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.plan_inputs import refusal_reasons
from rekindle.engine.preconditions import refuse_without_folder
from rekindle.engine.queries.selections import Chosen, resolve_in, select_stale
from rekindle.engine.results import AcceptedChanges
from rekindle.engine.staleness.contents import ReadProgress, read_contents
from rekindle.engine.staleness.measure import AttemptMeasures, measure_attempts

if TYPE_CHECKING:
    from rekindle.domain.models import Job
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot


def accept(
    session: Session,
    chosen: Chosen,
    request: Mapping[str, Any],
    note: str | None = None,
    progress: ReadProgress | None = None,
) -> AcceptedChanges:
    """Accept the present as what the chosen jobs' attempts depended on. Applies to stale jobs that can be accepted; the
    answer names the others. A selection is resolved in the snapshot that the attempts are read in. Recorded as a rerun
    of kind `accept`, which undo takes back.

    PlanRefused, with each job's reason, if no job can be accepted and not all are current.
    PlanOutdated if a job has changed while files were read. `progress` reports the reading.
    """
    if isinstance(chosen, Selection) and chosen.changed:
        chosen = select_stale(session, chosen, progress)
    with session.store.read() as archive:
        ids, moved = resolve_in(archive, chosen, session.note)
        workflows = archive.workflows.of_jobs(ids)
        jobs, measured = _measure_completed(archive, ids)
    refuse_without_folder(session, workflows)
    contents = read_contents(measured.requests, measured.known, progress)
    decided = decide_acceptance(jobs, measured.assess(contents))
    plan = decided.plan
    if moved:
        plan = seal_plan(replace(plan, refused=(*plan.refused, *moved)))
    if not plan.jobs:
        if plan.refused:
            raise PlanRefused(f"nothing can be accepted: {refusal_reasons(plan.refused)}", refused=plan.refused)
        return AcceptedChanges(None, plan, decided.current)
    attempts = {job.id: job.attempt for job in jobs}
    found = measured.bases(contents, plan.jobs.ids)
    bases = {attempt: basis for job, basis in found.items() if (attempt := attempts[job]) is not None}
    now = session.clock()
    with session.store.write() as archive:
        archive.fingerprints.remember_files(contents.seen)
        rerun = archive.reruns.accept(plan, bases, request, note, now)
    return AcceptedChanges(rerun, plan, decided.current)


def _measure_completed(archive: Snapshot, ids: Sequence[int]) -> tuple[list[Job], AttemptMeasures]:
    """Return the jobs, and measures of the completed ones."""
    jobs = archive.jobs.get(ids)
    live = {
        job.id: job.attempt
        for job in jobs
        if job.state is State.COMPLETED and job.attempt is not None and not job.retired
    }
    return jobs, measure_attempts(archive, live, os.environ, whole=True)
