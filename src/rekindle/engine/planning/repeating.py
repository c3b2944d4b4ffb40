"""Repeats: what was to run several times, to be measured, is reset with the end of each of its attempts but the last.

Whether an attempt completed or failed makes no difference. Until the last one has ended the job is not done for those
that need it, so that nothing below it moves: what the rerun that somebody asked for said of them holds from then on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from rekindle.domain.models import Ending, Standing
from rekindle.domain.rerunning.planning import plan_rerun
from rekindle.domain.rerunning.rerun import How, Reason, ReasonKind
from rekindle.domain.states import State
from rekindle.engine.fan_outs import planning_views
from rekindle.store.port import Archive


def repeat(archive: Archive, ended: Sequence[tuple[Ending, Standing]], now: float) -> set[int]:
    """Run those of these jobs again that were to run more often; nothing whose end was asked for. The attempts have
    ended, their jobs have moved, and what needs them has not been told. Returns the jobs that run again."""
    left = {
        known.job: known.repeats - 1
        for ending, known in ended
        if known.repeats
        and ending.state in (State.COMPLETED, State.FAILED)
        and known.job_attempt == ending.attempt
        and not known.cancel_asked
    }
    if not left:
        return set()
    requests = [([job], How(again=True, repeats=more)) for job, more in left.items()]
    why = {job: (Reason(ReasonKind.REPEAT, {"left": more}),) for job, more in left.items()}
    views, graph, earlier = planning_views(archive, requests)
    plan = plan_rerun(views, graph, requests, os.path.exists, why, earlier)
    jobs = [job.id for job in plan.jobs]
    if jobs:
        archive.reruns.apply(plan, "repeat", {"jobs": jobs}, "as --repeat asked", now)
    return set(jobs)
