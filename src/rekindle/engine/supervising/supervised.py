"""What is told when supervising ends, read from the store: nothing of it depends on who supervised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rekindle.domain.batches.canaries import Outcome
from rekindle.domain.batches.guards import Guards
from rekindle.domain.batches.supervised import Report, Round, failing_ones, fixed_ones, left_ones, statuses_now
from rekindle.domain.batches.supervising import Decision, End, Spent, Supervision
from rekindle.domain.models import Workflow
from rekindle.engine.looking.flaky import how_passed
from rekindle.engine.session import Session
from rekindle.engine.supervising.batches import batch
from rekindle.store.port import Archive

Done = Sequence[tuple[int, Mapping[str, Any]]]
"""The reruns of a supervision, with what their rows say."""


def report_of(
    session: Session,
    workflow: Workflow,
    supervision: Supervision,
    guards: Guards,
    decision: Decision,
    end: End,
    never_fit: tuple[tuple[str, str], ...],
) -> Report:
    """How supervising ends that has been decided to end."""
    with session.store.read() as archive:
        members, jobs = batch(archive, workflow, guards.group_by)
        done = archive.supervisions.reruns(supervision.id)
        groups = archive.attempts.failures(workflow.id)
        spent = spent_so_far(archive, supervision, done, session.clock())
        last = archive.reruns.get(done[-1][0]) if done else None
        stopped = archive.canaries.of_jobs([one.job for one in jobs])
    ran = {job for _, request in done for job in request["jobs"]}
    refused = {job.id: job.why for job in last.plan.refused} if last else {}
    refused |= {job: group.why for job, group in stopped.items() if group.outcome is Outcome.STOPPED}
    rounds = [round_of(number, request) for number, request in done]
    if decision.total:
        seen = (decision.percent, decision.matching, decision.total)
        rounds.append(Round(len(done) + 1, *seen, stopped=decision.stopped))
    return Report(
        supervision=supervision.id,
        workflow=workflow.id,
        name=workflow.name,
        end=end,
        why=decision.why,
        rounds=tuple(rounds),
        statuses=statuses_now(members),
        fixed=tuple(fixed_ones(members, ran, how_passed(session, ran), guards)),
        failing=tuple(failing_ones(groups)),
        left=tuple(left_ones(jobs, {one.id: one.name for one in members}, decision, refused, guards)),
        attempts=spent.attempts,
        core_seconds=spent.core_seconds,
        seconds=spent.seconds,
        never_fit=never_fit,
        held=sum(one.held for one in members),
    )


def spent_so_far(archive: Archive, supervision: Supervision, done: Done, now: float) -> Spent:
    """What a supervision and its reruns have taken."""
    seconds = now - supervision.began
    if not done:
        return Spent(seconds=seconds)
    attempts, core_seconds = archive.supervisions.taken(supervision.workflow, done[0][1]["first_attempt"])
    return Spent(attempts, core_seconds, seconds)


def round_of(rerun: int, request: Mapping[str, Any]) -> Round:
    """A round, from what its rerun's row says."""
    return Round(
        request["round"],
        request["percent"],
        request["matching"],
        request["total"],
        rerun,
        len(request["jobs"]),
        request["stopped"],
    )
