"""A plan as JSON, as the command line prints it and as it is saved, and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, astuple, replace
from typing import Any

from rekindle.domain.rerunning.rerun import (
    PLAIN,
    Change,
    Expected,
    Manner,
    PlannedJob,
    Reason,
    ReasonKind,
    RefusedJob,
    RerunPlan,
    TakenOut,
)
from rekindle.domain.states import State


def plan_to_json(plan: RerunPlan) -> dict[str, Any]:
    """The whole plan in values that JSON has. `plan_from_json` reads it back to an equal plan."""
    return {
        "digest": plan.digest,
        "jobs": [_job_to_json(job) for job in plan.jobs],
        "refused": [{"id": job.id, "name": job.name, "why": job.why} for job in plan.refused],
        "warnings": list(plan.warnings),
        "expected": asdict(plan.expected),
        "overwrites": list(plan.overwrites),
        "reads": [list(read) for read in plan.reads],
        "dynamic": [_taken_to_json(one) for one in plan.dynamic],
    }


def plan_from_json(document: Mapping[str, Any]) -> RerunPlan:
    """The plan that `plan_to_json` wrote, other keys ignored. KeyError, TypeError or ValueError when it is not
    one, or when it has been altered since (its digest differs)."""
    plan = RerunPlan(
        jobs=tuple(_job_from_json(job) for job in document["jobs"]),
        refused=tuple(RefusedJob(job["id"], job["name"], job["why"]) for job in document["refused"]),
        warnings=tuple(document["warnings"]),
        expected=Expected(**document["expected"]),
        overwrites=tuple(document["overwrites"]),
        reads=tuple((job, version) for job, version in document["reads"]),
        dynamic=tuple(taken_from_json(one) for one in document.get("dynamic", ())),
    )
    sealed = seal(plan)
    if sealed.digest != document["digest"]:
        raise ValueError("the plan has been altered: its digest differs")
    return sealed


def seal(plan: RerunPlan) -> RerunPlan:
    """The plan with its digest: 32 hexadecimal digits over everything else in it."""
    text = json.dumps(_canonical(plan), separators=(",", ":"), sort_keys=True, ensure_ascii=True)
    return replace(plan, digest=hashlib.blake2b(text.encode(), digest_size=16).hexdigest())


def _canonical(plan: RerunPlan) -> list[Any]:
    """Lists, not objects: half the time for a plan of 100,000 jobs."""
    return [
        [_row(job) for job in plan.jobs],
        [(job.id, job.name, job.why) for job in plan.refused],
        plan.warnings,
        astuple(plan.expected),
        plan.overwrites,
        plan.reads,
        *([_taken_to_json(one) for one in plan.dynamic],) * bool(plan.dynamic),
    ]


def _taken_to_json(one: TakenOut) -> dict[str, Any]:
    return {
        "attempt": one.attempt,
        "job": one.job,
        "name": one.name,
        "retires": list(one.retires),
        "patches": one.patches,
    }


def taken_from_json(one: Mapping[str, Any]) -> TakenOut:
    """A set taken out of force, as a plan's JSON has it."""
    return TakenOut(one["attempt"], one["job"], one["name"], tuple(one["retires"]), one["patches"])


def _row(job: PlannedJob) -> tuple[Any, ...]:
    return (
        job.id,
        job.name,
        job.version,
        job.before,
        job.after,
        job.start,
        [(reason.kind, reason.detail) for reason in job.reasons],
        job.archives,
        job.keeps,
        job.resume_attempt,
        job.resume_step,
        job.unmet,
        *(() if job.manner == PLAIN else _manner_row(job.manner)),
        job.subtasks,
        *([(job.reserve, job.pinned_to, job.stays, job.holds, job.releases)] * _is_uncommon(job)),
    )


def _is_uncommon(job: PlannedJob) -> bool:
    return job.reserve is not None or job.pinned_to is not None or job.stays or bool(job.holds) or job.releases


def _manner_row(manner: Manner) -> tuple[Any, ...]:
    changes = [(change.name, change.before, change.after) for change in manner.changes]
    later = () if manner.not_before is None and manner.avoids is None else (manner.not_before, manner.avoids)
    kept = (manner.take, manner.folder, manner.keep_recovery, manner.overrides, changes, manner.saves)
    return (*kept, *later, *((("repeats", manner.repeats),) if manner.repeats else ()))


def _job_to_json(job: PlannedJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "name": job.name,
        "before": job.before.label,
        "after": job.after.label,
        "start": job.start,
        "reasons": [{"kind": reason.kind.value, **reason.detail} for reason in job.reasons],
        "archives": list(job.archives),
        "keeps": list(job.keeps),
        "version": job.version,
        "unmet": job.unmet,
        "resume_attempt": job.resume_attempt,
        "resume_step": job.resume_step,
        "workdir": job.manner.take or "new",
        "folder": job.manner.folder,
        "keep_recovery": job.manner.keep_recovery,
        "overrides": None if job.manner.overrides is None else json.loads(job.manner.overrides),
        "changes": [
            {"name": change.name, "before": change.before, "after": change.after} for change in job.manner.changes
        ],
        "saves": list(job.manner.saves),
        "not_before": job.manner.not_before,
        "avoids": job.manner.avoids,
        "repeats": job.manner.repeats,
        "subtasks": list(job.subtasks) if isinstance(job.subtasks, tuple) else job.subtasks,
        "reserve": job.reserve,
        "pinned_to": job.pinned_to,
        "stays": job.stays,
        "holds": job.holds,
        "releases": job.releases,
    }


def _job_from_json(job: Mapping[str, Any]) -> PlannedJob:
    return PlannedJob(
        id=job["id"],
        name=job["name"],
        version=job["version"],
        before=_state(job["before"]),
        after=_state(job["after"]),
        start=job["start"],
        reasons=tuple(_reason_from_json(reason) for reason in job["reasons"]),
        archives=tuple(job["archives"]),
        keeps=tuple(job["keeps"]),
        resume_attempt=job["resume_attempt"],
        resume_step=job["resume_step"],
        unmet=job["unmet"],
        manner=_manner_from_json(job),
        subtasks=tuple(job["subtasks"]) if isinstance(job["subtasks"], list) else job["subtasks"],
        reserve=job["reserve"],
        pinned_to=job["pinned_to"],
        stays=job["stays"],
        holds=job["holds"],
        releases=job["releases"],
    )


def _manner_from_json(job: Mapping[str, Any]) -> Manner:
    overrides = job["overrides"]
    return Manner(
        take=None if job["workdir"] == "new" else job["workdir"],
        folder=job["folder"],
        keep_recovery=job["keep_recovery"],
        overrides=None if overrides is None else json.dumps(overrides, sort_keys=True),
        changes=tuple(Change(one["name"], one["before"], one["after"]) for one in job["changes"]),
        saves=tuple(job["saves"]),
        not_before=job["not_before"],
        avoids=job["avoids"],
        repeats=job["repeats"],
    )


def _reason_from_json(reason: Mapping[str, Any]) -> Reason:
    detail = {key: value for key, value in reason.items() if key != "kind"}
    return Reason(ReasonKind(reason["kind"]), detail)


def _state(label: str) -> State:
    return State[label.upper()]
