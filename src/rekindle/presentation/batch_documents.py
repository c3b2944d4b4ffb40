"""The JSON documents of many jobs: failures, flaky jobs, reruns and supervisions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.batches.past_attempts import Source
from rekindle.presentation import documents, revisions

if TYPE_CHECKING:
    from rekindle.domain.batches.backtest import SimulatedRound
    from rekindle.domain.batches.canaries import CanaryChoice, CanaryGroup
    from rekindle.domain.batches.flakiness import Flakiness, Verification
    from rekindle.domain.batches.supervision_report import RoundReport, SupervisionReport
    from rekindle.domain.models import FailureGroup, PartialOfFailure, ReuseSource
    from rekindle.domain.rerun.plan import RerunRecord
    from rekindle.domain.verdicts import Status
    from rekindle.engine.queries.failure_queries import FailureExample
    from rekindle.engine.rerun.complete import CompletedByHand
    from rekindle.engine.results import AppliedRerun, CancelResult, JobRow, PlannedRerun, PlannedRestart
    from rekindle.engine.supervising.simulation import SimulatedSupervision


def failure(
    group: FailureGroup,
    example: FailureExample | None,
    partial: Sequence[PartialOfFailure],
    covered: Collection[int] = (),
    undecided: Mapping[int, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return a group of failures with its newest attempt, the partial outputs of its attempts, and its jobs among
    `covered`, the jobs in quarantine. `undecided`: by job, what its failure waits for."""
    newest = None
    if example is not None:
        one = example.attempt
        newest = {
            "job": one.job,
            "name": example.name,
            "attempt": one.id,
            "number": one.number,
            "step": example.step,
            "subtask": example.subtask,
            "ended": documents.iso(one.ended),
            "tail": list(example.tail),
        }
    left = [{"job": one.job, "attempt": one.attempt, **documents.partial_output(one.output)} for one in partial]
    return {
        **documents.failure(group),
        "example": newest,
        "partial_outputs": left,
        "quarantined": [job for job in group.jobs if job in covered],
        "undecided": [{"job": job, "waits": undecided[job]} for job in group.jobs if job in undecided],
    }


def flaky_jobs(found: Sequence[Flakiness], rows: Mapping[int, JobRow]) -> list[dict[str, Any]]:
    """Return how often jobs fail. `rows`: of these jobs, by id."""
    return [_flaky_job(one, rows[one.job]) for one in found]


def _flaky_job(one: Flakiness, row: JobRow) -> dict[str, Any]:
    return {
        "job": one.job,
        "name": row.job.name,
        "workflow": row.job.workflow,
        "passed": one.passed.value,
        "passes": one.passes,
        "failures": one.failures,
        "rate": one.rate,
        "interval": list(one.interval),
        "other_failures": one.elsewhere,
        "lost": one.lost,
        "last": documents.iso(one.last),
        "last_failure": documents.iso(one.last_failure),
        "signatures": [
            {
                "signature": way.signature,
                "cause": way.cause,
                "type": way.type,
                "message": way.message,
                "count": way.count,
                "attempt": way.newest,
                "newest_message": way.newest_message,
            }
            for way in one.signatures
        ],
        "hosts": [{"host": on.host, "passes": on.passes, "failures": on.failures} for on in one.hosts],
        "verified": None if one.verified is None else _verified(one.verified),
    }


def _verified(one: Verification) -> dict[str, Any]:
    return {"attempt": one.attempt, "at": documents.iso(one.at), "outcome": one.outcome, **one.detail}


def planned_rerun(found: PlannedRerun, applied: AppliedRerun | None = None) -> dict[str, Any]:
    """Return a planned rerun with its canaries and its submission; with `applied`, as it was applied."""
    document = documents.plan(found.plan, applied.rerun if applied else None)
    document["canaries"] = [canary_choice(one) for one in found.canaries]
    if found.planned_submission is None:
        return document
    submitted = revisions.preview_json(found.planned_submission.preview)
    if applied is not None and applied.submitted is not None:
        submitted |= {"dry_run": False, "rerun": applied.submitted.rerun}
    return {**document, "submitted": submitted}


def rerun_details(
    record: RerunRecord, checked: Mapping[int, Mapping[str, Any]], groups: Sequence[CanaryGroup]
) -> dict[str, Any]:
    """Return an applied rerun with its plan. `checked`: the reuse checks by job."""
    return {
        **documents.rerun(record, len(record.plan.jobs)),
        **documents.plan(record.plan, record.id),
        "checked": [{"id": job, **result} for job, result in sorted(checked.items())],
        "canaries": [documents.canary_group(one) for one in groups],
    }


def canceled(one: CancelResult) -> dict[str, Any]:
    """Return the jobs that were canceled, by id."""
    groups = {"canceled": one.now, "asked": one.asked, "ended": one.ended, "left_out": one.left_out}
    return {key: list(jobs) for key, jobs in groups.items()}


def supervision(report: SupervisionReport, code: int) -> dict[str, Any]:
    """Return the report of a supervision, with the exit code of its command."""
    return {
        "supervision": report.supervision,
        "workflow": report.workflow,
        "name": report.name,
        "end": report.end.value,
        "why": report.why,
        "exit_code": code,
        "reruns": report.reruns,
        "rounds": [_round(one) for one in report.rounds],
        "statuses": {status.value: number for status, number in report.statuses.items()},
        "fixed": [
            {
                "id": one.id,
                "name": one.name,
                "attempts": one.attempts,
                "status": one.status.value,
                "passed": one.passed.value if one.passed else None,
            }
            for one in report.fixed
        ],
        "failing": [
            {
                "signature": one.signature,
                "cause": one.cause,
                "type": one.type,
                "message": one.message,
                "count": len(one.jobs),
                "jobs": list(one.jobs),
            }
            for one in report.failing
        ],
        "left": [{"id": one.id, "name": one.name, "why": one.why} for one in report.left],
        "never_fit": [{"name": name, "asks": asks} for name, asks in report.never_fit],
        "held": report.held,
        "quarantined": [msgspec.to_builtins(one) for one in report.quarantined],
        "attempts": report.attempts,
        "core_seconds": report.core_seconds,
        "seconds": report.seconds,
    }


SOURCES = {
    Source.SAME_SIGNATURE: "attempts after a failure with the same signature",
    Source.SAME_CAUSE: "attempts after a failure with the same cause",
    Source.ANY_FAILURE: "attempts after any failure",
    Source.SAME_JOB: "attempts of the same job",
    Source.SAME_TEMPLATE: "attempts of jobs of the same template",
    Source.ANY_JOB: "attempts of any job",
}
"""What unrecorded attempts of a simulation are drawn from."""


def simulated_supervision(one: SimulatedSupervision) -> dict[str, Any]:
    """Return what a supervision would have done, and what happened."""
    found = one.found
    return {
        "workflow": one.workflow,
        "name": one.name,
        "seed": one.seed,
        "slots": one.policy.slots,
        "end": found.end.value,
        "why": found.why,
        "simulated": _cost(found.attempts, found.core_seconds, found.statuses) | {"seconds": found.seconds},
        "happened": _cost(one.attempts, one.core_seconds, one.statuses),
        "rounds": [_simulated_round(each) for each in found.rounds],
        "drawn": {source.value: found.drawn.get(source, 0) for source in Source},
        "canceled": one.canceled,
    }


def _simulated_round(one: SimulatedRound) -> dict[str, Any]:
    return {
        "round": one.number,
        "at": one.at,
        "attempts": one.attempts,
        "core_seconds": one.core_seconds,
        "percent": one.percent,
        "matching": one.matching,
        "total": one.total,
        "aggregates": one.aggregates,
        "jobs": one.jobs,
        "stopped": dict(one.stopped),
    }


def _cost(attempts: int, core_seconds: float, statuses: Mapping[Status, int]) -> dict[str, Any]:
    counts = {status.value: number for status, number in statuses.items()}
    return {"attempts": attempts, "core_seconds": core_seconds, "statuses": counts}


def _round(one: RoundReport) -> dict[str, Any]:
    return {
        "round": one.number,
        "percent": one.percent,
        "matching": one.matching,
        "total": one.total,
        "aggregates": one.aggregates,
        "rerun": one.rerun,
        "jobs": one.jobs,
        "stopped": dict(one.stopped),
    }


def canary_choice(one: CanaryChoice) -> dict[str, Any]:
    """Return a canary group of a plan."""
    return {
        "signature": one.signature,
        "canaries": [job for job, _ in one.canaries],
        "waits": [job for job, _ in one.waits],
    }


def completed(done: CompletedByHand) -> dict[str, Any]:
    """Return jobs that a person recorded as completed. `completed`: jobs that had completed already."""
    return documents.plan(done.plan, done.rerun) | {
        "completed": list(done.completed),
        "copied": [{"source": source, "target": target} for source, target in done.copied],
    }


def reuses(found: Mapping[int, ReuseSource]) -> list[dict[str, Any]]:
    """Return the earlier attempts that may complete jobs of a plan."""
    return [
        {"id": job, "attempt": one.id, "job": one.job, "workflow": one.workflow} for job, one in sorted(found.items())
    ]


def restart(found: PlannedRestart, rerun: int | None) -> dict[str, Any]:
    """Return a planned restart, or an applied one with the number of its rerun."""
    whole = documents.nothing_planned() if found.proposal is None else documents.plan(found.proposal.plan, rerun)
    left = {"running": found.running, "stays": found.stays}
    whole |= {key: [{"id": job.id, "name": job.name} for job in jobs] for key, jobs in left.items()}
    return whole | {"unknown": list(found.unknown)}
