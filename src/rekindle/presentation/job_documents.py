"""The JSON documents of one job, of one attempt, of two attempts compared, and of jobs explained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.changes.differences import NAMED_PREFIX
from rekindle.domain.texts.display import mask_document
from rekindle.presentation import attempts, documents, waits

if TYPE_CHECKING:
    from rekindle.domain.changes.staleness import ComparedPart
    from rekindle.domain.models import Job
    from rekindle.domain.rerun.plan import Reason
    from rekindle.engine.queries.attempt_comparison import AttemptComparison
    from rekindle.engine.queries.details import AttemptDetails, Explanations, JobDetails
    from rekindle.engine.queries.file_uses import FileUse
    from rekindle.engine.queries.lineage import Lineage
    from rekindle.engine.queries.run_comparison import RunComparison
    from rekindle.engine.results import PageRequest
    from rekindle.engine.staleness.stale_jobs import Explanation


def jobs_details(found: Sequence[JobDetails]) -> dict[str, Any]:
    """Return everything about a job; about several, a list."""
    return _job_details(found[0]) if len(found) == 1 else {"jobs": [_job_details(one) for one in found]}


def _job_details(one: JobDetails) -> dict[str, Any]:
    return {
        **documents.job(one.row, one.assessment.stale if one.assessment else False),
        "passed": one.passed,
        "retry": documents.retry(one.due),
        "needs": [_related_job(each) for each in one.needs],
        "needed_by": [_related_job(each) for each in one.needed_by],
        "attempt_ids": [each.id for each in one.attempts],
        "canaries": documents.canary_group(one.canaries) if one.canaries else None,
        "waits": [waits.wait_json(each) for each in one.waits],
        "added_by_job": one.adder.job if one.adder else None,
        "labels": dict(one.labels),
        "quarantine": msgspec.to_builtins(one.quarantine),
        "patches": [{"attempt": attempt, each.kind: mask_document(each.content)} for each, attempt in one.patches],
    }


def _related_job(job: Job) -> dict[str, object]:
    return {"id": job.id, "name": job.name, "state": job.state.label}


def attempt_details(one: AttemptDetails, page: PageRequest) -> dict[str, Any]:
    """Return everything about an attempt. `page`: of the subtasks of each step."""
    number = one.attempt.id
    retries = {number: one.retry} if one.retry else {}
    return {
        **documents.attempt(one.attempt, one.workdir, one.counts, retries, {number: one.partial_outputs}),
        "pruned_at": documents.iso(one.pruned.at) if one.pruned else None,
        "by_hand": {"rerun": one.by_hand.id, "by": one.by_hand.by, "note": one.by_hand.note} if one.by_hand else None,
        "actions_in_force": one.in_force is not None,
        "added": list(one.in_force.names) if one.in_force else [],
        "copying": {"done": one.copying[0], "whole": one.copying[1]} if one.copying else None,
        "saved_outputs": one.saved_outputs,
        "inputs": [documents.file(each) for each in one.files.inputs],
        "outputs": [documents.file(each) for each in one.files.outputs],
        "subtasks": [
            documents.subtask(step, each) for step, several in one.subtasks.items() for each in page.of(several)
        ],
        "environment": [
            {"part": part.kind, "name": part.name, "value": value} for part, value in one.environment.items()
        ],
    }


def attempt_comparison(found: AttemptComparison) -> dict[str, Any]:
    """Return what differs between two attempts."""
    return {
        "a": found.a.id,
        "b": found.b.id,
        "differences": [
            {"field": each.field, "a": each.a, "b": each.b}
            | ({"implicit": True} if each.field.startswith(NAMED_PREFIX) else {})
            for each in found.fields
        ],
        "outputs": [
            {
                "name": one.name,
                "a": {"at": one.at[0], "lost": one.lost[0]},
                "b": {"at": one.at[1], "lost": one.lost[1]},
                "lines": list(one.lines),
                "why": one.why or None,
            }
            for one in found.outputs
        ],
        "logs": [
            {"step": one.step, "stream": one.stream, "line": one.line, "a": one.a, "b": one.b} for one in found.logs
        ],
    }


def run_comparison(found: RunComparison) -> dict[str, Any]:
    """Return where two workflows part."""
    return {
        "a": found.a.id,
        "b": found.b.id,
        "same": found.same,
        "parted": [
            {
                "name": one.name,
                "first": one.is_first,
                "jobs": list(one.jobs),
                "attempts": list(one.attempts),
                "states": [state.label for state in one.states],
                "reasons": list(map(_reason, one.reasons)),
                "results": list(one.results),
                "upstream": list(one.upstream),
            }
            for one in found.parted
        ],
        "only_a": list(found.only_a),
        "only_b": list(found.only_b),
        "not_compared": list(found.not_compared),
    }


def lineage(found: Lineage) -> dict[str, Any]:
    """Return where a file comes from, and what depends on it."""
    state = found.maker_state
    return {
        "path": found.path,
        "digest": found.digest or None,
        "origin": found.origin,
        "made": found.maker and _file_use(found.maker, found),
        "current": state
        and {"verdict": state.word, "stale": state.stale, "reasons": list(map(_reason, state.reasons))},
        "sources": [
            {**documents.file(one.content), "attempt": one.maker, "used_by": one.user, "depth": one.depth}
            for one in found.sources
        ],
        "used": [_file_use(one, found) for one in found.uses.used],
        "tainted": [
            {"id": job.id, "workflow": job.workflow, "name": job.name, "state": job.state.label}
            for job in found.tainted
        ],
        "more": found.uses.more,
    }


def _file_use(one: FileUse, found: Lineage) -> dict[str, Any]:
    return {
        "attempt": one.attempt.id,
        "number": one.attempt.number,
        "job": one.job.id,
        "name": one.job.name,
        "workflow": one.job.workflow,
        "live": one.job.attempt == one.attempt.id,
        "path": one.content.path,
        "digest": one.content.digest or None,
        "same": (one.digest_of(found.path) or one.content.digest) == found.digest,
        "ended": documents.iso(one.attempt.ended),
    }


def explanations(found: Explanations) -> Iterator[dict[str, Any]]:
    """Yield whether each job would run again, and why."""
    for one in found.jobs:
        job = one.job.id
        canaries = found.canaries.get(job)
        yield {
            **_explanation(one),
            "canaries": canaries and documents.canary_group(canaries),
            "waits": [waits.wait_json(each) for each in found.waits.get(job, ())],
            "note": found.cancels.get(job),
        }


def _explanation(one: Explanation) -> dict[str, Any]:
    job, checked, again = one.job, one.checked, one.again
    return {
        "id": job.id,
        "workflow": job.workflow,
        "name": job.name,
        "state": job.state.label,
        "held": job.held is not None,
        "stale": one.stale,
        "verdict": one.word,
        "reasons": [*map(_reason, one.reasons), *({**_reason(each), "stale": False} for each in one.warnings)],
        "accepted": one.accepted,
        "awaits": list(one.awaits),
        "error": (attempts.error(one.failed) if one.failed else "") or None,
        "forbidden": one.forbidden or None,
        "compared": [_part(part) for part in one.compared],
        "mentioned": [_part(part) for part in one.mentioned],
        "removed": [{"name": each.name, "path": each.path, "since": documents.iso(each.since)} for each in one.removed],
        "checked": checked
        and {
            "rerun": checked.rerun,
            "at": documents.iso(checked.at),
            "result": "reinstated" if checked.reinstated else "runs",
            "reasons": [_reason(reason) for reason in checked.reasons],
        },
        "again": again
        and {
            "kind": again.kind,
            "attempt": again.attempt.number,
            "id": again.attempt.id,
            "cause": again.attempt.cause,
            "exit_code": again.attempt.exit_code,
        },
    }


def _part(part: ComparedPart) -> dict[str, Any]:
    shape: dict[str, Any] = {"kind": part.kind.value, "name": part.name}
    shape |= {} if part.path is None else {"path": part.path}
    return {**shape, "implicit": True} if part.implicit else shape


def _reason(reason: Reason) -> dict[str, Any]:
    return {"kind": reason.kind.value, **reason.detail}
