"""Plans as JSON: each job of a plan as scripts read it, and whole plans as they are saved. A saved plan has the jobs of
a set as columns; a column of integers as runs of values that are equal or go up by one."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import asdict

from rekindle.domain.errors import RefusedJob
from rekindle.domain.next_attempt import next_attempt_to_json, next_attempt_values
from rekindle.domain.rerun.plan import (
    ExpectedCost,
    JobSet,
    PlannedJob,
    PlannedJobs,
    RerunPlan,
    RolledBackActions,
    seal_plan,
)
from rekindle.domain.states import State

_COLUMNS = ("ids", "versions", "attempts", "near")


def plan_to_json(plan: RerunPlan) -> dict[str, Any]:
    """Return the whole plan as a JSON object. `plan_from_json` decodes it to an equal plan."""
    return {**summary_to_json(plan), "sets": [_set_to_json(one) for one in plan.jobs.sets], "reads": _reads(plan)}


def plan_from_json(document: Mapping[str, Any]) -> RerunPlan:
    """Decode a plan encoded by `plan_to_json`; other keys are ignored.

    Raise KeyError, TypeError, ValueError or msgspec.ValidationError if the document is not a plan, or ValueError if its
    digest does not match."""
    reads = [_values(column) for column in document["reads"]]
    plan = RerunPlan(
        jobs=PlannedJobs(_set_from_json(one) for one in document["sets"]),
        refused=tuple(
            RefusedJob(job["id"], job["name"], job["why"], job.get("kind", "")) for job in document["refused"]
        ),
        warnings=tuple(document["warnings"]),
        expected=ExpectedCost(**document["expected"]),
        overwrites=tuple(document["overwrites"]),
        reads=tuple(zip(*reads, strict=True)),
        dynamic=tuple(rolled_back_from_json(one) for one in document.get("dynamic", ())),
    )
    sealed = seal_plan(plan)
    if sealed.digest != document["digest"]:
        raise ValueError("the plan has been altered: its digest differs")
    return sealed


def summary_to_json(plan: RerunPlan) -> dict[str, Any]:
    """Return the plan without its jobs, and without the versions that it has read."""
    return {
        "digest": plan.digest,
        "refused": [_refused_to_json(job) for job in plan.refused],
        "warnings": list(plan.warnings),
        "expected": asdict(plan.expected),
        "overwrites": list(plan.overwrites),
        "dynamic": [_taken_to_json(one) for one in plan.dynamic],
    }


def planned_job_to_json(job: PlannedJob) -> dict[str, Any]:
    """Return a planned job as JSON. The keys of its next attempt are beside its own."""
    document = asdict(job)
    del document["next"]
    return {
        **document,
        "before": job.before.label,
        "after": job.after.label,
        "reasons": [{"kind": reason.kind.value, **reason.detail} for reason in job.reasons],
        "archives": list(job.archives),
        "keeps": list(job.keeps),
        "changes": [asdict(change) for change in job.changes],
        "saves": list(job.saves),
        **next_attempt_to_json(job.next),
    }


def rolled_back_from_json(one: Mapping[str, Any]) -> RolledBackActions:
    """Decode a set of rolled-back actions from a plan's JSON."""
    return RolledBackActions(one["attempt"], one["job"], one["name"], tuple(one["retires"]), one["patches"])


def _set_to_json(one: JobSet) -> dict[str, Any]:
    columns = {name: _runs(getattr(one, name)) for name in _COLUMNS}
    near_names = [[job, name] for job, name in one.near_names.items()]
    return {"change": planned_job_to_json(one.change), **columns, "names": one.names, "near_names": near_names}


def _set_from_json(document: Mapping[str, Any]) -> JobSet:
    columns = {name: array("q", _values(document[name])) for name in _COLUMNS}
    if not columns["ids"] or len({*map(len, columns.values()), len(document["names"])}) != 1:
        raise ValueError("a set of jobs lacks values of some jobs")
    near_names = {int(job): str(name) for job, name in document["near_names"]}
    return JobSet(
        _change_from_json(document["change"]), names=list(document["names"]), near_names=near_names, **columns
    )


def _runs(column: Iterable[int]) -> list[list[int]]:
    """Return a column as runs [first value, number of values, step from each to the next: 0 or 1]."""
    runs: list[list[int]] = []
    for value in column:
        if runs:
            first, n, step = runs[-1]
            if n == 1 and value - first in (0, 1):
                runs[-1] = [first, 2, value - first]
                continue
            if n > 1 and value == first + n * step:
                runs[-1][1] += 1
                continue
        runs.append([value, 1, 0])
    return runs


def _values(runs: Sequence[Sequence[int]]) -> list[int]:
    """Return the column of its runs."""
    return [first + at * step for first, n, step in runs for at in range(n)]


def _reads(plan: RerunPlan) -> list[list[list[int]]]:
    return [_runs(job for job, _ in plan.reads), _runs(version for _, version in plan.reads)]


def _taken_to_json(one: RolledBackActions) -> dict[str, Any]:
    return {
        "attempt": one.attempt,
        "job": one.job,
        "name": one.name,
        "retires": list(one.retires),
        "patches": one.patches,
    }


def _refused_to_json(job: RefusedJob) -> dict[str, Any]:
    return {"id": job.id, "name": job.name, "why": job.why, **({"kind": job.kind} if job.kind else {})}


def _change_from_json(document: Mapping[str, Any]) -> PlannedJob:
    values = {name: document[name] for name in PlannedJob.__struct_fields__ if name != "next"}
    values |= {
        "before": State[document["before"].upper()],
        "after": State[document["after"].upper()],
        "reasons": [_reason_values(reason) for reason in document["reasons"]],
        "next": next_attempt_values(document),
    }
    return msgspec.convert(values, PlannedJob)


def _reason_values(document: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": document["kind"], "detail": {key: value for key, value in document.items() if key != "kind"}}
