"""The JSON that scripts rely on: keys are added, never renamed."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from rekindle.cli.showing.canaries import group_shape
from rekindle.domain.changes.prints import Content
from rekindle.domain.definition import Each, JobTemplate, Resources
from rekindle.domain.models import Attempt, Event, FailureGroup, PartialOutput, Runner, StepOutcome, Workflow
from rekindle.domain.rerunning.plan_form import plan_to_json
from rekindle.domain.rerunning.rerun import Reason, RefusedJob, RerunPlan, RerunRecord
from rekindle.domain.rerunning.retrying import rule_to_json
from rekindle.domain.states import State
from rekindle.domain.subtasks import Subtask
from rekindle.domain.texts.secrets import masked, masked_document, masked_matrix, masked_overrides
from rekindle.domain.verdicts import Verdict
from rekindle.engine.results import DeadRunner, JobRow, Restarting, Submitted, Unfit, WorkflowStatus, WorkReport


def emit(document: Mapping[str, Any]) -> None:
    """Print one document on stdout."""
    click.echo(json.dumps(document))


def iso(at: float | None) -> str | None:
    """ISO 8601 in UTC, to the millisecond."""
    if at is None:
        return None
    second = math.floor(at)
    microseconds = round((at - second) * 1e6)
    return f"{_iso_second(second + microseconds // 1_000_000)}.{microseconds // 1_000 % 1_000:03d}Z"


@functools.lru_cache(maxsize=4096)
def _iso_second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def counts(by_state: Mapping[State, int]) -> dict[str, int]:
    """Only states that occur, in the order of a job's life."""
    return {state.label: number for state, number in sorted(by_state.items()) if number}


def workflow(one: Workflow) -> dict[str, Any]:
    """A workflow as it is listed."""
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
    """A workflow as `status` tells it."""
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
        "canaries": [group_shape(one) for one in status.canaries],
        "stale_by_needs": status.overtaken,
        "unfit": [unfit(one) for one in status.unfit],
    }


def unfit(one: Unfit) -> dict[str, Any]:
    """Jobs that have not started and ask more than a runner, or this machine (null), has."""
    return {"jobs": one.jobs, "runner": one.runner, "lacks": [lack._asdict() for lack in one.lacks]}


def runner(one: Runner) -> dict[str, Any]:
    """A runner as `status` tells it."""
    return {
        "id": one.id,
        "host": one.host,
        "pid": one.pid,
        "executor": one.executor,
        "slots": one.slots,
        "started": iso(one.started),
        "offer": None if one.offer is None else dataclasses.asdict(one.offer),
    }


def dead_runner(one: DeadRunner) -> dict[str, Any]:
    """A runner that is not alive and has left something behind."""
    return {**runner(one.runner), "why": one.why, "keeper": one.keeper}


def job(row: JobRow, stale: bool | None = None) -> dict[str, Any]:
    """A job as it is listed. `stale` is None where nobody has looked, and where it is unknown; a completed job that
    needs a job that is not done is stale in any case."""
    one, live = row.job, row.attempt
    return {
        "id": one.id,
        "workflow": one.workflow,
        "workflow_name": row.workflow,
        "name": one.name,
        "state": one.state.label,
        "held": one.held is not None,
        "held_reason": one.held,
        **_verdict(row.verdict),
        "status": row.status.value,
        "cause": live.cause.value if live and live.cause else None,
        "exit_code": live.exit_code if live else None,
        "evidence": _evidence(live.evidence) if live else None,
        "signature": live.signature if live else None,
        "attempts": one.attempts,
        "attempt": one.attempt,
        "reserve": one.reserve,
        "pinned_to": one.pinned_to,
        "retired": one.retired,
        "added_by": one.added_by,
        "stale": True if row.overtaken else stale,
        "matrix": masked_matrix(json.loads(one.binding or "{}")),
        "partial": row.partial,
        "priority": one.priority,
        "unmet": one.unmet,
        "overrides": _overrides(one.overrides),
        "keep_recovery": one.keep_recovery,
        "not_before": iso(one.not_before),
        "avoids": one.avoids,
        "awaits": list(row.awaits),
        "repeats": one.repeats,
        "resources": resources(row.resources),
        "started": iso(live.started) if live else None,
        "ended": iso(live.ended) if live else None,
        "seconds": seconds(live.started, live.ended) if live else None,
    }


def _verdict(one: Verdict | None) -> dict[str, str | None]:
    return {"verdict": one.word.value if one else None, "verdict_message": one.message if one else None}


def _overrides(text: str | None) -> Any:
    return None if text is None else masked_overrides(json.loads(text))


def seconds(started: float | None, ended: float | None) -> float | None:
    """How long between two times, where both are known."""
    return None if started is None or ended is None else round(max(0.0, ended - started), 6)


def retry(reason: Reason | None) -> dict[str, Any] | None:
    """Which retry an attempt is, of how many, and after what; None: it is none."""
    return None if reason is None else dict(reason.detail)


SubtaskCounts = Mapping[tuple[int, int], Mapping[State, int]]


def attempt(
    one: Attempt,
    workdir: str | None,
    subtasks: SubtaskCounts | None = None,
    retries: Mapping[int, Reason] | None = None,
    partial: Mapping[int, Sequence[PartialOutput]] | None = None,
) -> dict[str, Any]:
    """An attempt with its steps, by (attempt, step) how many subtasks are in which state, which are retries, and the
    outputs that attempts have left without completing."""
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
        "result": _shown(one.result),
        "revision": one.revision,
        "pinned": one.pinned_to is not None,
        "pinned_to": one.pinned_to,
        "builds_on": one.builds_on,
        "archived": one.archived_by is not None,
        "archived_by": one.archived_by,
        "partial": one.partial,
        "modified": one.overrides is not None,
        "overrides": _overrides(one.overrides),
        "retry": retry((retries or {}).get(one.id)),
        "partial_outputs": [partial_output(each) for each in (partial or {}).get(one.id, ())],
        "steps": [_step(step, (subtasks or {}).get((one.id, step.position), {})) for step in one.steps],
        "left_running": json.loads(one.left_running) if one.left_running else None,
    }


def partial_output(one: PartialOutput) -> dict[str, Any]:
    """A declared output that an attempt has left without completing; where it was set aside, or why it was not."""
    return {"name": one.name, "path": one.path, "bytes": one.size, "aside": one.aside, "stays": one.stays}


def _shown(text: str | None) -> Any:
    """A result or an action, without secrets."""
    return masked_document(json.loads(text)) if text else None


def _evidence(text: str | None) -> dict[str, Any] | None:
    """What a cause was concluded from; `at` is when that was seen."""
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
    """One item of a fan-out step."""
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
        "result": _shown(one.result),
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
        "result": _shown(step.result),
        "action": _shown(step.action),
        **_verdict(step.verdict),
        "subtasks": counts(subtasks),
    }


def failure(group: FailureGroup) -> dict[str, Any]:
    """Attempts that failed alike."""
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
    """A rerun, planned or applied (`rerun` is its number). What else the plan has read is for saved plans only."""
    document = {key: value for key, value in plan_to_json(one).items() if key != "reads"}
    jobs = [
        {**job, "not_before": iso(job["not_before"]), "overrides": masked_overrides(job["overrides"] or {}) or None}
        for job in document["jobs"]
    ]
    return {"rerun": rerun, **document, "jobs": jobs}


def nothing_planned(refused: Iterable[RefusedJob] = ()) -> dict[str, Any]:
    """A rerun in which nothing is done."""
    return plan(RerunPlan(jobs=(), refused=tuple(refused)), None)


def restart(found: Restarting, rerun: int | None) -> dict[str, Any]:
    """A restart, planned or applied; without a proposal there is nothing to do."""
    whole = nothing_planned() if found.proposal is None else plan(found.proposal.plan, rerun)
    left = {"running": found.running, "stays": found.stays}
    whole |= {key: [{"id": job.id, "name": job.name} for job in jobs] for key, jobs in left.items()}
    return whole | {"unknown": list(found.unknown)}


def rerun(record: RerunRecord, touched: int) -> dict[str, Any]:
    """A rerun as it is listed."""
    return {
        "rerun": record.id,
        "kind": record.kind,
        "at": iso(record.at),
        "note": record.note,
        "undone": iso(record.undone),
        "jobs": touched,
        "request": dict(record.request),
    }


def event(one: Event) -> dict[str, Any]:
    """Something that happened."""
    return {
        "id": one.id,
        "at": iso(one.at),
        "kind": one.kind,
        "workflow": one.workflow,
        "detail": masked_document(one.detail),
    }


def submitted(one: Submitted) -> dict[str, Any]:
    """What a submission did."""
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
    """How a run ended."""
    return {
        "exit_code": one.exit_code,
        "completed": one.completed,
        "failed": one.failed,
        "canceled": one.canceled,
        "counts": counts(one.counts),
        "never_fit": [{"name": name, "asks": asks} for name, asks in one.never_fit],
        "interrupted": one.interrupted,
        "recovered": one.recovered,
        "inherited": dataclasses.asdict(one.inherited),
        "stuck": [{"name": name, "pids": list(pids)} for name, pids in one.stuck],
        "held": dict(one.held),
        "reinstated": one.reinstated,
        "retried": one.retried,
        "damaged": list(one.damaged),
        "canaries": [group_shape(group) for group in one.canaries],
    }


def file(one: Content) -> dict[str, Any]:
    """A file that an attempt depended on, or made."""
    shape: dict[str, Any] = {"name": one.name, "path": one.path, "digest": one.digest or None}
    return {**shape, "implicit": True, "compared": one.compared} if one.implicit else shape


def template(one: JobTemplate) -> dict[str, Any]:
    """What all jobs of an entry of the spec share."""
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
        "env": masked(one.env),
        "resources": resources(one.resources),
        "priority": one.priority,
        "workdir": one.workdir,
        "aggregate": one.aggregate,
        "when": one.when,
        "retry": [rule_to_json(rule) for rule in one.retry],
        "grace": one.grace,
        "implicit_inputs": one.implicit_inputs,
        "leave_running": one.leave_running,
        "partial": one.partial,
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
    """What an attempt takes while it runs: the same mapping for equal resources."""
    return {
        "cpus": one.cpus,
        "memory": one.memory,
        "gpus": one.gpus,
        "time": one.time,
        "licences": dict(one.licences),
    }
