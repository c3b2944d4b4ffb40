"""Decide which jobs a person may record as completed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.errors import RefusedJob
from rekindle.domain.next_attempt import NextAttempt
from rekindle.domain.rerun.plan import PlannedJob, Reason, ReasonKind, RerunPlan, planned_jobs, seal_plan
from rekindle.domain.rerun.start import BEGINNING
from rekindle.domain.states import ACTIVE, State
from rekindle.domain.texts.display import list_names

if TYPE_CHECKING:
    from rekindle.domain.models import Job


class CompletionFacts(msgspec.Struct, frozen=True):
    """What decides about jobs, by job. `missing`: declared outputs that are not there, by name; `leaving`: jobs with a
    canceled attempt that has not ended; `undone`: the names of needed jobs that are not done afterwards; `causes`: why
    their live attempts failed."""

    missing: Mapping[int, Mapping[str, str]]
    leaving: frozenset[int] = frozenset()
    undone: Mapping[int, Sequence[str]] = msgspec.field(default_factory=dict)
    causes: Mapping[int, str] = msgspec.field(default_factory=dict)


class Completion(msgspec.Struct, frozen=True):
    """The plan that records jobs as completed, and the jobs that are completed already."""

    plan: RerunPlan
    completed: tuple[int, ...]


def decide_completion(jobs: Sequence[Job], facts: CompletionFacts, overwrites: Sequence[str] = ()) -> Completion:
    """Plan to record jobs as completed: each that has not completed, does not run, and has all its declared outputs.
    The others are refused by name. `overwrites`: files that outputs from elsewhere replace."""
    planned, refused, completed = [], [], []
    for job in sorted(jobs, key=lambda one: one.id):
        if job.state is State.COMPLETED and not job.retired:
            completed.append(job.id)
        elif why := _refusal(job, facts):
            refused.append(RefusedJob(job.id, job.name, why))
        else:
            planned.append(_planned(job, facts))
    plan = RerunPlan(
        planned_jobs(planned),
        refused=tuple(refused),
        warnings=tuple(_warnings(planned, facts)),
        overwrites=tuple(overwrites),
    )
    return Completion(seal_plan(plan), tuple(completed))


def _refusal(job: Job, facts: CompletionFacts) -> str:
    if job.retired:
        return "it is retired: the latest revision of its workflow does not have it any more"
    if job.state in ACTIVE:
        return f"it is {job.state.label}; cancel it first: rekindle cancel {job.id}"
    if job.id in facts.leaving:
        return "an attempt of it that was canceled has not ended yet"
    if missing := facts.missing.get(job.id):
        files = ", ".join(f"{name} ({path})" for name, path in missing.items())
        outputs = "output is" if len(missing) == 1 else "outputs are"
        return f"missing_output: its declared {outputs} not there: {files}"
    return ""


def _planned(job: Job, facts: CompletionFacts) -> PlannedJob:
    return PlannedJob(
        id=job.id,
        name=job.name,
        version=job.version,
        before=job.state,
        after=State.COMPLETED,
        start=BEGINNING.label,
        reasons=(Reason(ReasonKind.BY_HAND, {"state": job.state.label, "cause": facts.causes.get(job.id)}),),
        archives=() if job.attempt is None else (job.attempt,),
        unmet=job.unmet,
        next=NextAttempt(overrides=job.next.overrides),
        releases=job.held is not None,
    )


def _warnings(planned: Sequence[PlannedJob], facts: CompletionFacts) -> list[str]:
    """Warn of jobs that become stale as soon as a job that they need has run."""
    return [
        f"`{job.name}` becomes stale once {list_names(undone)}, which it needs, has run"
        for job in planned
        if (undone := facts.undone.get(job.id))
    ]
