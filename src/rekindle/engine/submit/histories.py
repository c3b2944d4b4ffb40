"""Import workflows with the attempts that they ran in another system."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rekindle.domain.histories import PastAttempt, PastJob, PastWorkflow, can_keep_ids, check_history
from rekindle.domain.models import AttemptEnd, StepOutcome
from rekindle.domain.next_attempt import NextAttempt
from rekindle.domain.rerun.plan import PlannedJob, Reason, ReasonKind, RerunPlan, planned_jobs, seal_plan
from rekindle.domain.rerun.request import FROM_BEGINNING
from rekindle.domain.signatures import failure_signature
from rekindle.domain.states import State, state_after
from rekindle.engine.notify import notify
from rekindle.engine.presence import live_runners
from rekindle.engine.submit.submit import with_source_digest
from rekindle.store.imports import ImportedAttempt, ImportedPointers

if TYPE_CHECKING:
    from rekindle.engine.session import Session
    from rekindle.store.archive import Transaction

IMPORT_KIND = "import"
"""The kind of the rerun that records attempts archived before the import."""


class ImportedWorkflow(msgspec.Struct, frozen=True):
    """A workflow that was imported with its history."""

    workflow: int
    name: str
    jobs: tuple[int, ...]  # in the order of its definition
    attempts: tuple[tuple[int, ...], ...]  # by job, oldest first


def import_workflows(session: Session, workflows: Sequence[PastWorkflow], source: str) -> list[ImportedWorkflow]:
    """Store workflows as new ones with their past attempts, in one transaction. Ids are kept if they are free (see
    PastWorkflow.ids). `source` is recorded as their origin. Refused, with nothing stored, if a history is
    impossible."""
    for workflow in workflows:
        check_history(workflow)
    now = session.clock()
    with session.store.write() as archive:
        imported = _write_workflows(archive, workflows, source, now)
        registered = archive.runners.alive()
    runners = live_runners(registered, now)
    notify(session.store, runners)
    return imported


def _write_workflows(
    archive: Transaction, workflows: Sequence[PastWorkflow], source: str, now: float
) -> list[ImportedWorkflow]:
    free = archive.queue.next_attempt()
    kept = can_keep_ids(workflows, archive.dynamic_actions.next_job(), free)
    following = count(free)
    imported = []
    for past in workflows:
        first = archive.dynamic_actions.next_job()
        jobs = past.ids if kept else tuple(range(first, first + len(past.jobs)))
        attempts = tuple(
            tuple((kept and attempt.id) or next(following) for attempt in job.attempts) for job in past.jobs
        )
        workflow = archive.workflows.add(with_source_digest(past.definition), past.submitted, jobs)
        rows = [row for each in zip(jobs, past.jobs, attempts, strict=True) for row in _rows(*each)]
        pointers = [_pointers(*each) for each in zip(jobs, past.jobs, attempts, strict=True)]
        archive.imports.write(rows, pointers, jobs)
        _restore_holds(archive, jobs, past.jobs)
        if past.archived is not None:
            archive.workflows.archive(workflow, past.archived)
        name = past.definition.name
        archive.events.add(now, "imported", workflow, {"name": name, "jobs": len(jobs), "source": source})
        imported.append(ImportedWorkflow(workflow, name, tuple(jobs), attempts))
    _record_archived(archive, workflows, imported, source, now)
    return imported


def _rows(job: int, past: PastJob, numbers: Sequence[int]) -> Iterator[ImportedAttempt]:
    for position, (attempt, number) in enumerate(zip(past.attempts, numbers, strict=True)):
        steps = tuple(
            step if step.kept_from is None else replace(step, kept_from=numbers[step.kept_from])
            for step in attempt.steps
        )
        yield ImportedAttempt(
            job,
            number=position + 1,
            token=secrets.token_hex(8),
            ending=_ending(number, attempt, steps),
            folder=attempt.folder,
            queued=attempt.queued,
            builds_on=None if attempt.builds_on is None else numbers[attempt.builds_on],
            start_step=attempt.start_step,
            runner=attempt.runner,
        )


def _ending(number: int, attempt: PastAttempt, steps: tuple[StepOutcome, ...]) -> AttemptEnd:
    state = state_after(attempt.cause)
    return AttemptEnd(
        attempt=number,
        state=state,
        ended=attempt.ended,
        started=attempt.started,
        host=attempt.host,
        cause=attempt.cause,
        exit_code=attempt.exit_code,
        failure=attempt.failure,
        signature=failure_signature(attempt.cause, attempt.failure) if state is State.FAILED else None,
        result=attempt.result,
        steps=steps,
        evidence=attempt.evidence,
    )


def _pointers(job: int, past: PastJob, numbers: Sequence[int]) -> ImportedPointers:
    live = next((number for number, one in zip(numbers, past.attempts, strict=True) if not one.archived), None)
    if past.resume is None:
        return ImportedPointers(job, len(numbers), live)
    folder = past.attempts[past.resume].folder if past.take else None
    resumed = NextAttempt(numbers[past.resume], past.resume_step, take=past.take, folder=folder)
    return ImportedPointers(job, len(numbers), live, resumed)


def _restore_holds(archive: Transaction, jobs: Sequence[int], past: Sequence[PastJob]) -> None:
    reasons: dict[str, list[int]] = {}
    for job, one in zip(jobs, past, strict=True):
        if one.held is not None:
            reasons.setdefault(one.held, []).append(job)
    for reason, held in reasons.items():
        archive.jobs.hold(held, reason)


def _record_archived(
    archive: Transaction,
    workflows: Sequence[PastWorkflow],
    imported: Sequence[ImportedWorkflow],
    source: str,
    now: float,
) -> None:
    """Record a rerun that holds the attempts archived before the import."""
    archived: dict[int, tuple[int, ...]] = {}
    for past, new in zip(workflows, imported, strict=True):
        for job, one, numbers in zip(new.jobs, past.jobs, new.attempts, strict=True):
            gone = tuple(number for number, each in zip(numbers, one.attempts, strict=True) if each.archived)
            if gone:
                archived[job] = gone
    if not archived:
        return
    reasons = (Reason(ReasonKind.IMPORTED),)
    planned = tuple(
        PlannedJob(
            job.id,
            job.name,
            job.version,
            before=job.state,
            after=job.state,
            start=FROM_BEGINNING,
            reasons=reasons,
            archives=archived[job.id],
            unmet=job.unmet,
        )
        for job in archive.jobs.get(sorted(archived))
    )
    rerun = archive.reruns.record(
        seal_plan(RerunPlan(planned_jobs(planned))), IMPORT_KIND, {"import": source}, None, now
    )
    archive.imports.archive([number for numbers in archived.values() for number in numbers], rerun)
