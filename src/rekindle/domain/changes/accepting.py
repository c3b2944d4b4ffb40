"""Which stale jobs may be declared current as they are: those whose change can be cosmetic, because all is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rekindle.domain.changes.staleness import Assessment
from rekindle.domain.models import Job
from rekindle.domain.rerunning.plan_form import seal
from rekindle.domain.rerunning.rerun import PlannedJob, Reason, ReasonKind, RefusedJob, RerunPlan
from rekindle.domain.states import ACTIVE, State


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What is accepted, as a plan that resets nothing (its reasons are what is accepted, job by job), and the jobs
    that are current already. A job that is refused is in the plan's `refused`."""

    plan: RerunPlan
    current: tuple[int, ...]


def decide_acceptance(jobs: Sequence[Job], found: Mapping[int, Assessment]) -> Acceptance:
    """Sort out the jobs asked for. `found` has, by job, what became of measuring the live attempt of each that has
    completed; a job without is refused."""
    accepted, refused, current = [], [], []
    for job in sorted(jobs, key=lambda one: one.id):
        why = _refusal(job, found.get(job.id))
        if why:
            refused.append(RefusedJob(job.id, job.name, why))
        elif not found[job.id].reasons:
            current.append(job.id)
        else:
            accepted.append(_unchanged(job, found[job.id].reasons))
    return Acceptance(seal(RerunPlan(tuple(accepted), refused=tuple(refused))), tuple(current))


def _refusal(job: Job, found: Assessment | None) -> str:
    if job.retired:
        return "it is retired: the latest revision of its workflow does not have it any more"
    if job.state in ACTIVE:
        return f"it is {job.state.label}: what it depends on is recorded as it goes"
    if job.state is not State.COMPLETED or found is None or found.attempt != job.attempt:
        return f"it {_not_completed(job)}: there is nothing that could be accepted; rerun it"
    for reason in found.reasons:
        if missing := _missing(reason):
            return f"{missing}; rerun it"
    return ""


def _not_completed(job: Job) -> str:
    if job.state is State.FAILED:
        return "failed"
    if job.state is State.CANCELED:
        return "was canceled"
    return "has not run yet since it was reset" if job.attempts else "has not run yet"


def _missing(reason: Reason) -> str:
    detail = reason.detail
    if reason.kind is ReasonKind.NEEDS:
        return f"`{detail['name']}`, which it needs, is not done"
    if reason.kind in (ReasonKind.INPUT, ReasonKind.OUTPUT) and detail["after"] is None:
        return f"its {reason.kind.value} {detail['path']} is missing"
    return ""


def _unchanged(job: Job, reasons: tuple[Reason, ...]) -> PlannedJob:
    return PlannedJob(job.id, job.name, job.version, job.state, job.state, "", reasons, unmet=job.unmet)
