"""Submitting workflows with what has run of them elsewhere."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

from rekindle.domain.causes import state_after
from rekindle.domain.histories import PastAttempt, PastJob, PastWorkflow, check_history, ids_to_keep
from rekindle.domain.models import Ending, Failure, StepOutcome
from rekindle.domain.rerunning.plan_form import seal
from rekindle.domain.rerunning.rerun import FROM_BEGINNING, PlannedJob, Reason, ReasonKind, RerunPlan
from rekindle.domain.signatures import signature
from rekindle.domain.states import State
from rekindle.engine.presence import alive
from rekindle.engine.session import Session
from rekindle.engine.submitting.submit import identified
from rekindle.engine.wake import ring
from rekindle.store.port import Archive
from rekindle.store.port_histories import PastPointers, PastRow

KIND = "import"
"""The kind of the rerun that tells of the attempts which were archived before."""


@dataclass(frozen=True, slots=True)
class BroughtIn:
    """A workflow that was submitted with its history."""

    workflow: int
    name: str
    jobs: tuple[int, ...]  # as in its definition
    attempts: tuple[tuple[int, ...], ...]  # by job, oldest first


def bring_in(session: Session, workflows: Sequence[PastWorkflow], source: str) -> list[BroughtIn]:
    """Store workflows as new ones, with the attempts that they have had, in one transaction. Ids are kept where they
    are free (see PastWorkflow.ids). `source` says where they come from, for the record. Refused, and nothing is done,
    where a history cannot have been."""
    for workflow in workflows:
        check_history(workflow)
    now = session.clock()
    with session.store.write() as archive:
        brought = _write(archive, workflows, source, now)
        runners = alive(archive, now)
    ring(session.store.folder, runners)
    return brought


def _write(archive: Archive, workflows: Sequence[PastWorkflow], source: str, now: float) -> list[BroughtIn]:
    free = archive.queue.next_attempt()
    kept = ids_to_keep(workflows, archive.acts.next_job(), free)
    following = count(free)
    brought = []
    for past in workflows:
        first = archive.acts.next_job()
        jobs = past.ids if kept else tuple(range(first, first + len(past.jobs)))
        attempts = tuple(
            tuple((kept and attempt.id) or next(following) for attempt in job.attempts) for job in past.jobs
        )
        workflow = archive.workflows.add(identified(past.definition), past.submitted, jobs)
        rows = [row for each in zip(jobs, past.jobs, attempts, strict=True) for row in _rows(*each)]
        pointers = [_pointers(*each) for each in zip(jobs, past.jobs, attempts, strict=True)]
        archive.histories.write(rows, pointers, jobs)
        _hold(archive, jobs, past.jobs)
        if past.archived is not None:
            archive.workflows.archive(workflow, past.archived)
        name = past.definition.name
        archive.events.add(now, "imported", workflow, {"name": name, "jobs": len(jobs), "source": source})
        brought.append(BroughtIn(workflow, name, tuple(jobs), attempts))
    _archive(archive, workflows, brought, source, now)
    return brought


def _rows(job: int, past: PastJob, numbers: Sequence[int]) -> Iterator[PastRow]:
    for position, (attempt, number) in enumerate(zip(past.attempts, numbers, strict=True)):
        steps = tuple(
            step if step.kept_from is None else replace(step, kept_from=numbers[step.kept_from])
            for step in attempt.steps
        )
        yield PastRow(
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


def _ending(number: int, attempt: PastAttempt, steps: Sequence[StepOutcome]) -> Ending:
    state = state_after(attempt.cause)
    return Ending(
        attempt=number,
        state=state,
        ended=attempt.ended,
        started=attempt.started,
        host=attempt.host,
        cause=attempt.cause,
        exit_code=attempt.exit_code,
        failure=attempt.failure,
        signature=_signature(attempt) if state is State.FAILED else None,
        result=attempt.result,
        steps=steps,
        evidence=attempt.evidence,
    )


def _signature(attempt: PastAttempt) -> tuple[str, str, str]:
    said = attempt.failure or Failure()
    found = signature(attempt.cause or "", said.type, said.message, said.traceback, said.stderr)
    return found.digest, found.type, found.message


def _pointers(job: int, past: PastJob, numbers: Sequence[int]) -> PastPointers:
    live = next((number for number, one in zip(numbers, past.attempts, strict=True) if not one.archived), None)
    if past.resume is None:
        return PastPointers(job, len(numbers), live)
    folder = past.attempts[past.resume].folder if past.take else None
    return PastPointers(job, len(numbers), live, numbers[past.resume], past.resume_step, past.take, folder)


def _hold(archive: Archive, jobs: Sequence[int], past: Sequence[PastJob]) -> None:
    reasons: dict[str, list[int]] = {}
    for job, one in zip(jobs, past, strict=True):
        if one.held is not None:
            reasons.setdefault(one.held, []).append(job)
    for reason, held in reasons.items():
        archive.jobs.hold(held, reason)


def _archive(
    archive: Archive, workflows: Sequence[PastWorkflow], brought: Sequence[BroughtIn], source: str, now: float
) -> None:
    """Let a rerun tell of the attempts that were archived before."""
    archived: dict[int, tuple[int, ...]] = {}
    for past, new in zip(workflows, brought, strict=True):
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
    rerun = archive.reruns.record(seal(RerunPlan(planned)), KIND, {"import": source}, None, now)
    archive.histories.archive([number for numbers in archived.values() for number in numbers], rerun)
