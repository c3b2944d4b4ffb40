"""The JSON documents of the command line and the HTTP API. Keys are added, never renamed."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.next_attempt import ANY_EARLIER
from rekindle.domain.rerun.plan import PlannedJobs, Reason, RerunPlan, RerunRecord
from rekindle.domain.rerun.plan_json import planned_job_to_json, summary_to_json
from rekindle.domain.retry import rule_to_json
from rekindle.domain.states import State
from rekindle.domain.texts.display import mask_document, mask_env, mask_matrix, mask_overrides
from rekindle.presentation import words

if TYPE_CHECKING:
    from rekindle.domain.batches.canaries import CanaryGroup
    from rekindle.domain.changes.fingerprints import FileContent
    from rekindle.domain.definition import Each, JobTemplate, Resources
    from rekindle.domain.errors import RefusedJob
    from rekindle.domain.models import Attempt, FailureGroup, LoggedEvent, PartialOutput, Runner, StepOutcome, Workflow
    from rekindle.domain.subtasks import Subtask
    from rekindle.domain.verdicts import Verdict
    from rekindle.engine.results import (
        DeadRunner,
        JobRow,
        SubmitResult,
        UndoneRerun,
        UnfitJobs,
        WorkflowStatus,
        WorkReport,
    )


def iso(at: float | None) -> str | None:
    """Return a time as ISO 8601 in UTC, to the millisecond."""
    if at is None:
        return None
    second, millisecond = divmod(round(at * 1e6) // 1_000, 1_000)
    return _iso_second(second) + _MILLISECONDS[millisecond]


_MILLISECONDS = tuple(f".{number:03d}Z" for number in range(1_000))


@functools.lru_cache(maxsize=4096)
def _iso_second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def counts(by_state: Mapping[State, int]) -> dict[str, int]:
    """Return counts by state, without zeros, in the order of a job's life."""
    return {state.label: number for state, number in sorted(by_state.items()) if number}


def workflow(one: Workflow) -> dict[str, Any]:
    """Return a workflow as `workflows list` prints it."""
    return {
        "id": one.id,
        "name": one.name,
        "project": one.project,
        "directory": one.directory,
        "source": one.source,
        "revision": one.revision,
        "submitted": iso(one.submitted),
        "archived": one.archived is not None,
        "counts": counts(one.counts),
    }


def workflow_status(status: WorkflowStatus) -> dict[str, Any]:
    """Return a workflow as `status` prints it."""
    return {
        **workflow(status.workflow),
        "state": status.state,
        "counts": counts(status.counts),
        "seconds": status.seconds,
        "failures": [failure(group) for group in status.failures],
        "runners": [runner(one) for one in status.runners],
        "dead_runners": [dead_runner(one) for one in status.dead_runners],
        "spec_changed": status.spec_changed,
        "held": dict(status.held),
        "spec": status.spec,
        "delayed": status.delayed,
        "leaving": status.leaving,
        "status": status.status.value,
        "statuses": {one.value: number for one, number in status.statuses.items()},
        "canaries": [canary_group(one) for one in status.canaries],
        "stale_by_needs": status.overtaken,
        "by_hand": status.by_hand,
        "undecided": dict(status.undecided),
        "unfit": [unfit(one) for one in status.unfit],
        "quarantined": [msgspec.to_builtins(one) for one in status.quarantined],
        "element_waits": [
            {"reason": wait.reason, "never": wait.never, "elements": number}
            for wait, number in status.element_waits.items()
        ],
    }


def unfit(one: UnfitJobs) -> dict[str, Any]:
    """Return jobs that ask more than a runner has; runner null: more than this machine has."""
    return {"jobs": one.jobs, "runner": one.runner, "lacks": [msgspec.structs.asdict(lack) for lack in one.lacks]}


def runner(one: Runner) -> dict[str, Any]:
    """Return a runner as `status` prints it."""
    return {
        "id": one.id,
        "host": one.host,
        "pid": one.pid,
        "executor": one.executor,
        "slots": one.slots,
        "started": iso(one.started),
        "offer": None if one.offer is None else msgspec.structs.asdict(one.offer),
    }


def dead_runner(one: DeadRunner) -> dict[str, Any]:
    """Return a dead runner with orphaned attempts."""
    return {**runner(one.runner), "why": one.why, "keeper": one.keeper}


def job(row: JobRow, stale: bool | None = None) -> dict[str, Any]:
    """Return a job as `jobs list` prints it. `stale` None: not compared, or unknown. A completed job that needs a job
    that is not done is stale in any case."""
    one, live = row.job, row.attempt
    return {
        "id": one.id,
        "workflow": one.workflow,
        "workflow_name": row.workflow,
        "name": one.name,
        "state": one.state.label,
        "held": one.held is not None,
        "held_reason": one.held,
        "undecided": live.undecided if live else None,
        **_verdict(row.verdict),
        "status": row.status.value,
        "cause": live.cause.value if live and live.cause else None,
        "exit_code": live.exit_code if live else None,
        "evidence": _evidence(live.evidence) if live else None,
        "signature": live.signature if live else None,
        "attempts": one.attempts,
        "attempt": one.attempt,
        "reserve": one.next.reuse_candidate or None,
        "reuse_offered": one.next.reuse_candidate == ANY_EARLIER,
        "pinned_to": one.next.pinned_to,
        "retired": one.retired,
        "added_by": one.added_by,
        "stale": True if row.overtaken else stale,
        "matrix": mask_matrix(json.loads(one.binding or "{}")),
        "partial": row.partial,
        "priority": one.priority,
        "unmet": one.unmet,
        "overrides": _overrides(one.next.overrides),
        "keep_recovery": one.next.keep_recovery,
        "not_before": iso(one.next.not_before),
        "avoids": one.next.avoids,
        "awaits": list(row.awaits),
        "repeats": one.next.repeats,
        "resources": resources(row.resources),
        "started": iso(live.started) if live else None,
        "ended": iso(live.ended) if live else None,
        "seconds": words.seconds(live.started, live.ended) if live else None,
    }


def _verdict(one: Verdict | None) -> dict[str, str | None]:
    return {"verdict": one.word.value if one else None, "verdict_message": one.message if one else None}


def _overrides(text: str | None) -> Any:
    return None if text is None else mask_overrides(json.loads(text))


def retry(reason: Reason | None) -> dict[str, Any] | None:
    """Return the number, limit and cause of a retry; None if the attempt is no retry."""
    return None if reason is None else dict(reason.detail)


SubtaskCounts = Mapping[tuple[int, int], Mapping[State, int]]


def attempt(
    one: Attempt,
    workdir: str | None,
    subtasks: SubtaskCounts | None = None,
    retries: Mapping[int, Reason] | None = None,
    partial: Mapping[int, Sequence[PartialOutput]] | None = None,
) -> dict[str, Any]:
    """Return an attempt with its steps. `subtasks`: counts by state for each (attempt, step). `retries`, `partial`: the
    retry reasons and the partial outputs by attempt."""
    return {
        "id": one.id,
        "job": one.job,
        "workflow": one.workflow,
        "number": one.number,
        "state": one.state.label,
        "cause": one.cause.value if one.cause else None,
        "exit_code": one.exit_code,
        "signal": one.signal,
        "error": _error(one),
        "evidence": _evidence(one.evidence),
        "signature": one.signature,
        **_verdict(one.verdict),
        "host": one.host,
        "pid": one.pid,
        "workdir": workdir,
        "folder": one.folder,
        "queued": iso(one.queued),
        "started": iso(one.started),
        "ended": iso(one.ended),
        "cpu_seconds": one.cpu_seconds,
        "max_rss_bytes": one.max_rss_bytes,
        "result": _masked(one.result),
        "revision": one.revision,
        "pinned": one.pinned_to is not None,
        "pinned_to": one.pinned_to,
        "builds_on": one.builds_on,
        "reused_from": one.reused_from,
        "reused_workflow": one.reused_workflow,
        "archived": one.archived_by is not None,
        "archived_by": one.archived_by,
        "pruned": one.pruned_by is not None,
        "pruned_by": one.pruned_by,
        "completed_by": one.completed_by,
        "undecided": one.undecided,
        "partial": one.partial,
        "modified": one.overrides is not None,
        "overrides": _overrides(one.overrides),
        "retry": retry((retries or {}).get(one.id)),
        "partial_outputs": [partial_output(each) for each in (partial or {}).get(one.id, ())],
        "steps": [_step(step, (subtasks or {}).get((one.id, step.position), {})) for step in one.steps],
        "left_running": msgspec.to_builtins(one.left_running),
    }


def partial_output(one: PartialOutput) -> dict[str, Any]:
    """Return an output of an attempt that did not complete; `aside`: its new path, `stays`: why it was not moved."""
    return {"name": one.name, "path": one.path, "bytes": one.size, "aside": one.aside, "stays": one.stays}


def _masked(text: str | None) -> Any:
    """Return a result or an action without secrets."""
    return mask_document(json.loads(text)) if text else None


def _evidence(text: str | None) -> dict[str, Any] | None:
    """Return the evidence for a cause; `at` is the time of the observation."""
    if text is None:
        return None
    found = json.loads(text)
    return {**found, "at": iso(found["at"])} if "at" in found else found


def _error(one: Attempt) -> dict[str, str] | None:
    if one.failure is None:
        return None
    return {
        "type": one.failure.type,
        "message": one.failure.message,
        "traceback": one.failure.traceback,
        "stderr": one.failure.stderr,
    }


def subtask(step: str, one: Subtask) -> dict[str, Any]:
    """Return a subtask of a fan-out step."""
    return {
        "step": step,
        "index": one.index,
        "item": json.loads(one.item),
        "state": one.state.label,
        "attempts": one.attempts,
        "cause": one.cause.value if one.cause else None,
        "exit_code": one.exit_code,
        "signal": one.signal,
        "attempt": one.attempt,
        "started": iso(one.started),
        "ended": iso(one.ended),
        "result": _masked(one.result),
    }


def _step(step: StepOutcome, subtasks: Mapping[State, int]) -> dict[str, Any]:
    return {
        "name": step.name,
        "state": step.state.label,
        "cause": step.cause.value if step.cause else None,
        "exit_code": step.exit_code,
        "signal": step.signal,
        "started": iso(step.started),
        "ended": iso(step.ended),
        "kept_from": step.kept_from,
        "result": _masked(step.result),
        "action": _masked(step.action),
        **_verdict(step.verdict),
        "subtasks": counts(subtasks),
    }


def failure(group: FailureGroup) -> dict[str, Any]:
    """Return a group of attempts that failed with one signature."""
    return {
        "signature": group.signature,
        "cause": group.cause.value,
        "type": group.type,
        "message": group.message,
        "count": group.count,
        "jobs": list(group.jobs),
        "first": iso(group.first),
        "last": iso(group.last),
        "hosts": [{"host": host, "count": count} for host, count in group.hosts],
        "newest_message": group.newest_message,
    }


def plan(one: RerunPlan, rerun: int | None) -> dict[str, Any]:
    """Return a planned rerun, or an applied one with its number. `reads` is for saved plans only."""
    return {"rerun": rerun, **summary_to_json(one), "jobs": list(planned_jobs(one.jobs))}


def planned_jobs(jobs: PlannedJobs) -> Iterator[dict[str, Any]]:
    """Yield the jobs of a plan."""
    for job in jobs:
        document = planned_job_to_json(job)
        overrides = mask_overrides(document["overrides"] or {}) or None
        yield {**document, "not_before": iso(document["not_before"]), "overrides": overrides}


def nothing_planned(refused: Iterable[RefusedJob] = ()) -> dict[str, Any]:
    """Return a rerun without jobs."""
    return plan(RerunPlan(jobs=PlannedJobs(), refused=tuple(refused)), None)


def rerun(record: RerunRecord, touched: int) -> dict[str, Any]:
    """Return a rerun as `reruns list` prints it."""
    return {
        "rerun": record.id,
        "kind": record.kind,
        "by": record.by,
        "at": iso(record.at),
        "note": record.note,
        "undone": iso(record.undone),
        "jobs": touched,
        "request": dict(record.request),
    }


def undone_rerun(one: UndoneRerun) -> dict[str, Any]:
    """Return a rerun that was undone: its jobs as they are again, and the files that were put back."""
    jobs = [{"id": number, "name": name, "state": state.label} for number, name, state in one.jobs]
    return {"rerun": one.rerun, "jobs": jobs, "restored": list(one.restored)}


def event(one: LoggedEvent) -> dict[str, Any]:
    """Return an event."""
    return {
        "id": one.id,
        "at": iso(one.at),
        "kind": one.kind,
        "workflow": one.workflow,
        "detail": mask_document(one.detail),
    }


def submitted(one: SubmitResult) -> dict[str, Any]:
    """Return the result of a submission."""
    return {
        "workflow": one.workflow,
        "name": one.name,
        "revision": one.revision,
        "jobs": one.jobs,
        "created": one.created,
        "unchanged": one.unchanged,
        "added": list(one.added),
        "retired": list(one.retired),
        "changed": list(one.changed),
        "rerun": one.rerun,
        "params": [
            {"name": each.field, "before": each.a, "after": each.b}
            | ({} if each.not_set is None else {"not_set": each.not_set})
            for each in one.params
        ],
        "using": one.using,
        "warnings": list(one.warnings),
        "replaces": one.replaces,
    }


def report(one: WorkReport) -> dict[str, Any]:
    """Return the result of a run."""
    return {
        "exit_code": one.exit_code,
        "completed": one.completed,
        "failed": one.failed,
        "canceled": one.canceled,
        "counts": counts(one.counts),
        "never_fit": [{"name": name, "asks": asks} for name, asks in one.never_fit],
        "interrupted": one.interrupted,
        "recovered": one.recovered,
        "inherited": msgspec.structs.asdict(one.orphan_counts),
        "stuck": [{"name": name, "pids": list(pids)} for name, pids in one.stuck],
        "held": dict(one.held),
        "reinstated": one.reinstated,
        "retried": one.retried,
        "damaged": list(one.damaged),
        "canaries": [canary_group(group) for group in one.canaries],
        "quarantined": one.quarantined,
        "not_retried": one.not_retried,
    }


def file(one: FileContent) -> dict[str, Any]:
    """Return an input or output of an attempt."""
    shape: dict[str, Any] = {"name": one.name, "path": one.path, "digest": one.digest or None}
    return {**shape, "implicit": True, "compared": one.compared} if one.implicit else shape


def template(one: JobTemplate) -> dict[str, Any]:
    """Return a job template of the definition."""
    return {
        "name": one.name,
        "steps": [
            {
                "name": step.name,
                "run": list(step.run) if isinstance(step.run, tuple) else step.run,
                "shell": step.shell,
                "call": step.call,
                "args": dict(step.args),
                "each": _each(step.each),
            }
            for step in one.steps
        ],
        "inputs": dict(one.inputs),
        "outputs": dict(one.outputs),
        "env": mask_env(one.env),
        "resources": resources(one.resources),
        "priority": one.priority,
        "workdir": one.workdir,
        "aggregate": one.aggregate,
        "when": one.when,
        "retry": [rule_to_json(rule) for rule in one.retry],
        "grace": one.grace,
        "implicit_inputs": one.implicit_inputs,
        "leave_running": one.leave_running,
        "definition": one.definition,
        "partial": one.partial,
        "labels": dict(one.labels),
        "quarantine": msgspec.to_builtins(one.quarantine),
        "manual": {"rerun": "forbidden", "reason": one.rerun_forbidden} if one.rerun_forbidden else None,
        "on_unknown_failure": one.on_unknown_failure,
        "judge": list(one.judge) if isinstance(one.judge, tuple) else one.judge,
    }


def _each(one: Each | None) -> dict[str, Any] | None:
    if one is None:
        return None
    found: dict[str, Any] = {"glob": one.glob, "items": None if one.items is None else list(one.items)}
    found |= {"run": list(one.run) if isinstance(one.run, tuple) else one.run, "shell": one.shell, "call": one.call}
    found |= {"args": dict(one.args)}
    return found | {"max_failed": one.max_failed, "resubmit": one.resubmit, "parallel": one.parallel}


@functools.lru_cache
def resources(one: Resources) -> Mapping[str, Any]:
    """Return resources; the same mapping for equal ones."""
    return {
        "cpus": one.cpus,
        "memory": one.memory,
        "gpus": one.gpus,
        "time": one.time,
        "licences": dict(one.licences),
        "options": list(one.options),
    }


def canary_group(one: CanaryGroup) -> dict[str, Any]:
    """Return the state of a canary group."""
    return {
        "rerun": one.rerun,
        "workflow": one.workflow,
        "signature": one.signature,
        "canaries": [{"id": each.job, "name": each.name, "state": each.state.label} for each in one.canaries],
        "waiting": one.waiting,
        "outcome": None if one.outcome is None else one.outcome.value,
        "why": one.why or None,
        "released": one.released,
    }
