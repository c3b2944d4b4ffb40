"""The rerun plan: its values, its JSON form and its digest. The decisions are in `planner`."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import asdict, astuple, replace

from rekindle.domain.errors import RefusedJob
from rekindle.domain.rerun.request import FolderReuse
from rekindle.domain.states import State
from rekindle.domain.subtasks import SubtaskChoice


class ReasonKind(enum.StrEnum):
    """Why a job is in a plan."""

    SELECTED = "selected"  # detail: state, cause
    UPSTREAM = "upstream"  # detail: job, name: the nearest selected job upstream
    RECOVERY = "recovery"  # detail: rerun: the rerun that kept the job's resume point
    DYNAMIC = "dynamic"  # detail: job, name: the job whose rolled-back action had held or canceled this one
    SUBTASKS = "subtasks"  # detail: step, run, keep, new, gone (numbers): the job resumes a fan-out
    STAYS = "stays"  # detail: job, name: a needed job runs again and this one does not, so it becomes stale
    RESERVE = "reserve"  # detail: attempt: reused if everything it depends on comes out identical
    RELEASED = "released"  # detail: held: the job was reset by hand
    INPUT = "input"  # detail: name, path, before, after (digests; null: not there). For the files of a pattern also
    # pattern, new, gone, changed (paths, relative as the pattern is, the first 20) and counts (of each of the three);
    # `items` is true where these are the items of a fan-out step, which `name` names
    OUTPUT = "output"  # detail: name, path, before, after (null: it is missing)
    DEFINITION = "definition"  # detail: field, before, after
    PARAMETER = "parameter"  # detail: name, before, after
    ENVIRONMENT = "environment"  # detail: part, name, before, after (of a variable: digests; null: not set)
    CODE = "code"  # detail: module, name, before, after (digests), whole, because
    RESULT = "result"  # detail: job, name, before, after: result digests of a needed job
    OPAQUE = "opaque"  # detail: job, name: a needed job ran again and has no outputs or result to compare
    UNSTABLE = "unstable"  # detail: name, path: an input that changed while the attempt ran
    NEEDS = "needs"  # detail: job, name: a needed job that is not done
    NEVER_RAN = "never_ran"
    FAILED = "failed"  # detail: state, cause
    AGGREGATE = "aggregate"  # detail: job, name: the job runs whenever anything it needs has run
    UNKNOWN = "unknown"  # the attempt has nothing to compare, or nothing was recorded
    ADDED = "added"  # by a revision. detail: revision
    RETIRED = "retired"  # a revision removed the job. detail: revision
    REDEFINED = "redefined"  # by a revision. detail: revision, fields: changed fields and matrix values
    IMPORTED = "imported"  # its attempts were archived before the import
    REWIRED = "rewired"  # by a revision: its needs changed. detail: revision, gained, lost (numbers of jobs)
    RETRY = "retry"  # detail: retry, of (numbers), cause, delay (seconds), avoids (a host; null: none), alone
    CANCELS = "cancels"  # detail: attempt, state: the running attempt is canceled first
    REPEAT = "repeat"  # detail: left: how many more times the job runs
    PARTIAL = "partial"  # detail: step, completed, given_up (numbers): continues with part of a fan-out


class Reason(msgspec.Struct, frozen=True):
    """A typed reason. In JSON: `{"kind": kind, **detail}`."""

    kind: ReasonKind
    detail: Mapping[str, Any] = msgspec.field(default_factory=dict)


class OverrideChange(msgspec.Struct, frozen=True):
    """An override that changes. `name` is `params.NAME`, `env.NAME`, `memory`, `time` or `cpus`; None means not set."""

    name: str
    before: Any
    after: Any


class NextAttempt(msgspec.Struct, frozen=True):
    """How a job's next attempt runs, beside its start point."""

    take: FolderReuse | None = None  # how the attempt takes over an earlier attempt's folder; None: a new folder
    folder: str | None = None  # absolute: the folder taken over
    keep_recovery: int | None = None  # the rerun that kept the resume point; 0: this rerun
    overrides: str | None = None  # JSON text: see domain.overrides
    changes: tuple[OverrideChange, ...] = ()
    saves: tuple[str, ...] = ()  # outputs (absolute) to save with the archived attempt
    not_before: float | None = None
    avoids: str | None = None  # a host
    repeats: int = 0  # how many more times the job runs after that


DEFAULT_NEXT_ATTEMPT = NextAttempt()


class PlannedJob(msgspec.Struct, frozen=True):
    """What a plan does to one job."""

    id: int
    name: str
    version: int  # the job version that the plan was made for
    before: State
    after: State
    start: str  # "beginning" or a step's name
    reasons: tuple[Reason, ...]
    archives: tuple[int, ...] = ()  # attempts
    keeps: tuple[str, ...] = ()  # names of the kept steps
    resume_attempt: int | None = None
    resume_step: int = 0
    unmet: int = 0  # after
    next_attempt: NextAttempt = DEFAULT_NEXT_ATTEMPT
    subtasks: SubtaskChoice | None = None  # the subtasks to run, if a fan-out is resumed
    reserve: int | None = None  # the attempt to reuse if its fingerprint still matches
    pinned_to: int | None = None  # the attempt whose definition is used; None: the latest
    stays: bool = False  # not reset: only its state and unmet count follow its parents
    holds: str | None = None  # the hold reason after the rerun
    releases: bool = False  # the hold is released


class ExpectedCost(msgspec.Struct, frozen=True):
    """The expected cost of a plan, from earlier attempts: see `costs`."""

    attempts: int = 0
    seconds: float = 0.0  # running time, summed over attempts with a known duration
    unknown: int = 0  # attempts without a known duration
    core_seconds: float = 0.0  # running time multiplied by cpus
    wall_seconds: float = 0.0  # lower bound of the time until the last attempt ends
    guessed: int = 0  # attempts estimated from other jobs of the same template
    reserved: int = 0  # further jobs that run only if their attempt cannot be reused
    reserved_seconds: float = 0.0  # running time if all of these run
    cores: float = 1.0  # the number that `wall_seconds` assumes


class RolledBackActions(msgspec.Struct, frozen=True):
    """A set of dynamic actions that a rerun rolls back."""

    attempt: int  # the attempt that made the set
    job: int
    name: str
    retires: tuple[int, ...] = ()  # the jobs that the set had added
    patches: int = 0  # number of changes, holds and cancellations


class RerunPlan(msgspec.Struct, frozen=True):
    """A planned rerun. `jobs` are ordered by id."""

    jobs: tuple[PlannedJob, ...]
    refused: tuple[RefusedJob, ...] = ()
    warnings: tuple[str, ...] = ()
    expected: ExpectedCost = ExpectedCost()
    overwrites: tuple[str, ...] = ()  # declared outputs that exist and will be overwritten
    digest: str = ""  # over all other fields: equal plans have equal digests
    # (job, version): unchanged jobs whose versions must still match when the plan is applied
    reads: tuple[tuple[int, int], ...] = ()
    dynamic: tuple[RolledBackActions, ...] = ()  # sets of dynamic actions that are rolled back


class SavedFile(msgspec.Struct, frozen=True):
    """A declared output, or a file within one, saved by `--keep-outputs`."""

    path: str  # absolute: the original place, to which undo restores the file
    kept: str  # absolute: the copy
    digest: str  # BLAKE3 of the content; of a symbolic link: of its target
    size: int
    mtime_ns: int
    mode: int | None = None  # the original mode; None: the copy's mode, or a symbolic link


class RerunRecord(msgspec.Struct, frozen=True):
    """An applied rerun, as stored."""

    id: int
    kind: str
    at: float
    note: str | None
    undone: float | None
    request: Mapping[str, Any]
    plan: RerunPlan


def plan_to_json(plan: RerunPlan) -> dict[str, Any]:
    """Return the whole plan as a JSON object. `plan_from_json` decodes it to an equal plan."""
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
    """Decode a plan encoded by `plan_to_json`; other keys are ignored.

    Raise KeyError, TypeError or ValueError if the document is not a plan, or if its digest does not match."""
    plan = RerunPlan(
        jobs=tuple(_job_from_json(job) for job in document["jobs"]),
        refused=tuple(RefusedJob(job["id"], job["name"], job["why"]) for job in document["refused"]),
        warnings=tuple(document["warnings"]),
        expected=ExpectedCost(**document["expected"]),
        overwrites=tuple(document["overwrites"]),
        reads=tuple((job, version) for job, version in document["reads"]),
        dynamic=tuple(rolled_back_from_json(one) for one in document.get("dynamic", ())),
    )
    sealed = seal_plan(plan)
    if sealed.digest != document["digest"]:
        raise ValueError("the plan has been altered: its digest differs")
    return sealed


def seal_plan(plan: RerunPlan) -> RerunPlan:
    """Return the plan with its digest: 32 hexadecimal digits over all other fields."""
    from hashlib import blake2b  # loads OpenSSL

    text = json.dumps(_canonical(plan), separators=(",", ":"), sort_keys=True, ensure_ascii=True)
    return replace(plan, digest=blake2b(text.encode(), digest_size=16).hexdigest())


def _canonical(plan: RerunPlan) -> list[Any]:
    """Return the plan as lists: hashing 100,000 jobs takes half the time that objects take."""
    return [
        [_row(job) for job in plan.jobs],
        [(job.id, job.name, job.why) for job in plan.refused],
        plan.warnings,
        astuple(plan.expected),
        plan.overwrites,
        plan.reads,
        *([_taken_to_json(one) for one in plan.dynamic],) * bool(plan.dynamic),
    ]


def _taken_to_json(one: RolledBackActions) -> dict[str, Any]:
    return {
        "attempt": one.attempt,
        "job": one.job,
        "name": one.name,
        "retires": list(one.retires),
        "patches": one.patches,
    }


def rolled_back_from_json(one: Mapping[str, Any]) -> RolledBackActions:
    """Decode a set of rolled-back actions from a plan's JSON."""
    return RolledBackActions(one["attempt"], one["job"], one["name"], tuple(one["retires"]), one["patches"])


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
        *(() if job.next_attempt == DEFAULT_NEXT_ATTEMPT else _next_attempt_row(job.next_attempt)),
        job.subtasks,
        *([(job.reserve, job.pinned_to, job.stays, job.holds, job.releases)] * _is_uncommon(job)),
    )


def _is_uncommon(job: PlannedJob) -> bool:
    return job.reserve is not None or job.pinned_to is not None or job.stays or bool(job.holds) or job.releases


def _next_attempt_row(next_attempt: NextAttempt) -> tuple[Any, ...]:
    changes = [(change.name, change.before, change.after) for change in next_attempt.changes]
    later = (
        ()
        if next_attempt.not_before is None and next_attempt.avoids is None
        else (next_attempt.not_before, next_attempt.avoids)
    )
    kept = (
        next_attempt.take,
        next_attempt.folder,
        next_attempt.keep_recovery,
        next_attempt.overrides,
        changes,
        next_attempt.saves,
    )
    return (*kept, *later, *((("repeats", next_attempt.repeats),) if next_attempt.repeats else ()))


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
        "workdir": job.next_attempt.take or "new",
        "folder": job.next_attempt.folder,
        "keep_recovery": job.next_attempt.keep_recovery,
        "overrides": None if job.next_attempt.overrides is None else json.loads(job.next_attempt.overrides),
        "changes": [
            {"name": change.name, "before": change.before, "after": change.after} for change in job.next_attempt.changes
        ],
        "saves": list(job.next_attempt.saves),
        "not_before": job.next_attempt.not_before,
        "avoids": job.next_attempt.avoids,
        "repeats": job.next_attempt.repeats,
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
        next_attempt=_next_attempt_from_json(job),
        subtasks=tuple(job["subtasks"]) if isinstance(job["subtasks"], list) else job["subtasks"],
        reserve=job["reserve"],
        pinned_to=job["pinned_to"],
        stays=job["stays"],
        holds=job["holds"],
        releases=job["releases"],
    )


def _next_attempt_from_json(job: Mapping[str, Any]) -> NextAttempt:
    overrides = job["overrides"]
    return NextAttempt(
        take=None if job["workdir"] == "new" else job["workdir"],
        folder=job["folder"],
        keep_recovery=job["keep_recovery"],
        overrides=None if overrides is None else json.dumps(overrides, sort_keys=True),
        changes=tuple(OverrideChange(one["name"], one["before"], one["after"]) for one in job["changes"]),
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
