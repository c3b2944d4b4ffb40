"""Workflows with a history: what ran elsewhere, and was over before the archive knew of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rekindle.domain.causes import Cause
from rekindle.domain.definition import Definition
from rekindle.domain.errors import Refused
from rekindle.domain.models import Failure, StepOutcome
from rekindle.domain.rerunning.rerun import Take


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """An attempt that was over before. Times are seconds since the epoch; texts are bounded by whoever makes it."""

    ended: float
    cause: Cause | None = None  # None: it completed
    archived: bool = True  # False: it is the job's live one
    queued: float | None = None
    started: float | None = None
    exit_code: int | None = None
    failure: Failure | None = None
    host: str | None = None
    runner: str = ""  # what the runner was called that ran it
    folder: str | None = None  # absolute, whether or not it exists
    result: str | None = None  # JSON text
    evidence: str | None = None  # JSON text
    steps: tuple[StepOutcome, ...] = ()  # `kept_from` is a position among the job's attempts
    builds_on: int | None = None  # such a position
    start_step: int = 0
    id: int | None = None  # that it had: see PastWorkflow.ids


@dataclass(frozen=True, slots=True)
class PastJob:
    """A job with its attempts, oldest first. What it stands in follows from the live one, or from what it needs."""

    attempts: tuple[PastAttempt, ...] = ()
    held: str | None = None  # the reason
    resume: int | None = None  # the next attempt builds on the attempt at this position …
    resume_step: int = 0  # … from this step
    take: Take | None = None  # how it gets that one's folder; None: a new folder


@dataclass(frozen=True, slots=True)
class PastWorkflow:
    """A workflow with its history. `ids`, and those of the attempts, are what jobs and attempts were called by: they
    are kept while the archive has given none of them out, for all that come at once, or for none."""

    definition: Definition
    jobs: tuple[PastJob, ...]  # as the definition's
    submitted: float
    archived: float | None = None
    ids: tuple[int, ...] = ()  # as the jobs; empty: any will do


def check_history(workflow: PastWorkflow) -> None:
    """Refused, naming the job, where a history could not have been."""
    for node, job in zip(workflow.definition.jobs, workflow.jobs, strict=True):
        count = len(job.attempts)
        if any(not attempt.archived for attempt in job.attempts[:-1]):
            raise _impossible(node.name, "an attempt that is not its last is live")
        if job.resume is not None and not (0 <= job.resume < count and job.attempts[job.resume].archived):
            raise _impossible(node.name, "it is to go on from an attempt that is not there, or is live")
        for position, attempt in enumerate(job.attempts):
            earlier = [attempt.builds_on, *(step.kept_from for step in attempt.steps)]
            if any(one is not None and not 0 <= one < position for one in earlier):
                raise _impossible(node.name, "an attempt builds on one that did not come before it")
            if attempt.started is not None and attempt.ended < attempt.started:
                raise _impossible(node.name, "an attempt ended before it started")
            if attempt.failure is not None and attempt.cause is None:
                raise _impossible(node.name, "an attempt completed and says how it failed")


def ids_to_keep(workflows: Sequence[PastWorkflow], next_job: int, next_attempt: int) -> bool:
    """Whether jobs and attempts that come together can all be called what they were called, where the first that are
    free are these."""
    jobs = [number for workflow in workflows for number in workflow.ids]
    attempts = [one.id for workflow in workflows for job in workflow.jobs for one in job.attempts]
    known = [number for number in attempts if number is not None]
    complete = len(jobs) == sum(len(workflow.jobs) for workflow in workflows) and len(known) == len(attempts)
    unique = len(set(jobs)) == len(jobs) and len(set(known)) == len(known)
    free = min(jobs, default=next_job) >= next_job and min(known, default=next_attempt) >= next_attempt
    return complete and unique and free


def _impossible(name: str, why: str) -> Refused:
    return Refused(f"the history of {name!r} cannot have been: {why}", hint="nothing was brought in")
