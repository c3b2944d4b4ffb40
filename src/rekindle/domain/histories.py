"""Imported histories: workflows whose attempts ran in another system before the store knew them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rekindle.domain.definition import Definition
from rekindle.domain.errors import Refused
from rekindle.domain.models import Failure, StepOutcome
from rekindle.domain.next_attempt import FolderReuse
from rekindle.domain.states import Cause


class PastAttempt(msgspec.Struct, frozen=True):
    """An attempt that ended before the import. Times are seconds since the epoch; texts are bounded by the importer."""

    ended: float
    cause: Cause | None = None  # None: it completed
    archived: bool = True  # False: it is the job's live attempt
    queued: float | None = None
    started: float | None = None
    exit_code: int | None = None
    failure: Failure | None = None
    host: str | None = None
    runner: str = ""  # the name of its runner
    folder: str | None = None  # absolute, whether or not it exists
    result: str | None = None  # JSON text
    evidence: str | None = None  # JSON text
    steps: tuple[StepOutcome, ...] = ()  # `kept_from` is a position among the job's attempts
    builds_on: int | None = None  # a position among the job's attempts
    start_step: int = 0
    id: int | None = None  # its original id: see PastWorkflow.ids


class PastJob(msgspec.Struct, frozen=True):
    """A job with its attempts, oldest first. Its state follows from the live one, or from its needs."""

    attempts: tuple[PastAttempt, ...] = ()
    held: str | None = None  # the reason
    resume: int | None = None  # the next attempt builds on the attempt at this position …
    resume_step: int = 0  # … from this step
    take: FolderReuse | None = None  # how it gets that attempt's folder; None: a new folder


class PastWorkflow(msgspec.Struct, frozen=True):
    """A workflow with its history. `ids`, and those of the attempts, are the original ids. They are kept for all
    workflows of an import if none of them is in use, otherwise for none."""

    definition: Definition
    jobs: tuple[PastJob, ...]  # as the definition's jobs
    submitted: float
    archived: float | None = None
    ids: tuple[int, ...] = ()  # as the jobs; empty: no original ids


def check_history(workflow: PastWorkflow) -> None:
    """Raise Refused, naming the job, for an impossible history."""
    for node, job in zip(workflow.definition.jobs, workflow.jobs, strict=True):
        count = len(job.attempts)
        if any(not attempt.archived for attempt in job.attempts[:-1]):
            raise _impossible_history(node.name, "an attempt that is not its last is live")
        if job.resume is not None and not (0 <= job.resume < count and job.attempts[job.resume].archived):
            raise _impossible_history(node.name, "it resumes an attempt that does not exist, or is live")
        for position, attempt in enumerate(job.attempts):
            earlier = [attempt.builds_on, *(step.kept_from for step in attempt.steps)]
            if any(one is not None and not 0 <= one < position for one in earlier):
                raise _impossible_history(node.name, "an attempt builds on one that did not come before it")
            if attempt.started is not None and attempt.ended < attempt.started:
                raise _impossible_history(node.name, "an attempt ended before it started")
            if attempt.failure is not None and attempt.cause is None:
                raise _impossible_history(node.name, "an attempt completed and says how it failed")


def can_keep_ids(workflows: Sequence[PastWorkflow], next_job: int, next_attempt: int) -> bool:
    """Return whether all imported jobs and attempts can keep their ids, given the first free ones."""
    jobs = [number for workflow in workflows for number in workflow.ids]
    attempts = [one.id for workflow in workflows for job in workflow.jobs for one in job.attempts]
    known = [number for number in attempts if number is not None]
    complete = len(jobs) == sum(len(workflow.jobs) for workflow in workflows) and len(known) == len(attempts)
    unique = len(set(jobs)) == len(jobs) and len(set(known)) == len(known)
    free = min(jobs, default=next_job) >= next_job and min(known, default=next_attempt) >= next_attempt
    return complete and unique and free


def _impossible_history(name: str, why: str) -> Refused:
    return Refused(f"the history of {name!r} is impossible: {why}", hint="nothing was imported")
