"""What planning a rerun reads and returns: views of jobs and edges; the plan, with its JSON form and its digest. The
decisions are in `planner`."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import asdict, astuple, replace

from rekindle.domain.definition import Resources
from rekindle.domain.errors import RefusedJob
from rekindle.domain.next_attempt import (
    DEFAULT_NEXT_ATTEMPT,
    NextAttempt,
    next_attempt_to_json,
    next_attempt_values,
)
from rekindle.domain.rerun.request import Workdir
from rekindle.domain.states import State
from rekindle.domain.subtasks import KnownSubtask

if TYPE_CHECKING:
    from rekindle.domain.actions import ActionSet  # noqa: TC004  a JobView is never decoded

_ANY = Resources()


class StepView(msgspec.Struct, frozen=True):
    """A step of an attempt."""

    position: int
    name: str
    state: State
    kept_from: int | None = None


class FanOutView(msgspec.Struct, frozen=True):
    """A fan-out step: the subtasks of the live attempt, and the current items."""

    step: int  # position
    known: tuple[KnownSubtask, ...] = ()
    now: tuple[str, ...] | None = None  # None: the items are known only when the step starts
    changed: frozenset[str] = frozenset()  # completed items (JSON texts) whose files have changed


class AttemptView(msgspec.Struct, frozen=True):
    """The live attempt of a job."""

    id: int
    state: State
    cause: str | None = None
    steps: tuple[StepView, ...] = ()
    # candidates for the folder with the results of its steps; the first that exists is used
    folders: tuple[str, ...] = ()
    started: bool = True  # False: it ended before any of its processes started


class JobView(msgspec.Struct, frozen=True):
    """A job in the planner's input. The input has the selected jobs, their descendants, and the parents of both."""

    id: int
    name: str
    state: State
    version: int
    steps: tuple[str, ...] = ()  # names of the latest definition's steps, in order
    held: str | None = None
    canceled: bool = False
    retired: bool = False
    unmet: int = 0
    attempt: AttemptView | None = None  # the live attempt
    next: NextAttempt = DEFAULT_NEXT_ATTEMPT
    outputs: tuple[str, ...] = ()  # declared by the latest definition
    archived_workflow: bool = False
    workdir: Workdir = "project"
    directory: str = ""  # the project's folder, absolute
    binding: str = "{}"  # JSON text: the matrix values
    resources: Resources = _ANY  # of the job's template
    params: Mapping[str, Any] = msgspec.field(default_factory=dict)  # of the latest revision
    env: Mapping[str, str] = msgspec.field(default_factory=dict)  # of the job's template
    declared: tuple[str, ...] = ()  # the unrendered texts of `outputs`
    action_set: ActionSet | None = None  # the dynamic actions in force
    added: bool = False  # by a dynamic action
    fan_outs: tuple[FanOutView, ...] = ()  # of the latest definition, in order; read if a rerun may resume one
    last: int | None = None  # the newest attempt; read if no attempt is live
    aggregate: bool = False
    when_finished: bool = False  # its parents need only be finished, not completed
    given_up: bool = False  # of a job that is only a parent: it failed, was canceled, or is unreachable
    template: int = 0  # the row of the definition in this view
    source: AttemptView | None = None  # the attempt named by the request to resume from
    recovered: bool = False  # the job runs again because its attempt was lost, without a user's request
    rerun_forbidden: str = ""  # why the job must not run twice; "": it may

    @property
    def runs_once(self) -> bool:
        """Whether the job must not run again: reruns are forbidden, and its live attempt has started."""
        return bool(self.rerun_forbidden) and self.attempt is not None and self.attempt.started

    @property
    def runs_whenever(self) -> bool:
        """Whether the job runs again whenever anything it needs has run. Its attempts are never reused."""
        return self.aggregate or self.when_finished


class JobGraph(msgspec.Struct, frozen=True):
    """Edges: `children[parent]` and `parents[child]`, both complete for the jobs that a plan changes."""

    children: Mapping[int, Sequence[int]]
    parents: Mapping[int, Sequence[int]]


class ReasonKind(enum.StrEnum):
    """Why a job is in a plan."""

    SELECTED = "selected"  # detail: state, cause
    UPSTREAM = "upstream"  # detail: job, name: the nearest selected job upstream
    RECOVERY = "recovery"  # detail: rerun: the rerun that kept the job's resume point
    DUPLICATE = "duplicate"  # detail: job, name: the job whose result this one shares; it was selected
    DYNAMIC = "dynamic"  # detail: job, name: the job whose rolled-back action had held or canceled this one
    SUBTASKS = "subtasks"  # detail: step, run, keep, new, gone (numbers): the job resumes a fan-out
    STAYS = "stays"  # detail: job, name: a needed job runs again and this one does not, so it becomes stale
    REUSE = "reserve"  # detail: attempt: reused if everything it depends on comes out identical
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
    FORBIDDEN = "forbidden"  # detail: reason: the job must not run twice, so its attempt stays
    TEMPORARY = (
        "temporary"  # detail: outputs (names), path of the first, since (seconds since the epoch), job, name: the
    )
    # job needs temporary outputs of this one that were removed
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


class PlannedJob(msgspec.Struct, frozen=True):
    """What a plan does to one job, `id` with `name`.

    - `before`, `after`: its states. `unmet`: how many needs keep it from starting afterwards.
    - `start`: "beginning" or a step's name. `keeps`: the steps whose results are kept.
    - `reasons`: why it is in the plan. `archives`: its attempts that are archived.
    - `changes`: overrides that change. `saves`: outputs (absolute) that are saved with the archived attempt.
    - `stays`: it is not reset: only its state and `unmet` follow its parents.
    - `holds`: the reason for which it is held; `releases`: a hold ends.
    - `next`: what its next attempt does. `version`: the job's, for which the plan was made."""

    id: int
    name: str
    version: int
    before: State
    after: State
    start: str
    reasons: tuple[Reason, ...]
    archives: tuple[int, ...] = ()
    keeps: tuple[str, ...] = ()
    unmet: int = 0
    next: NextAttempt = DEFAULT_NEXT_ATTEMPT
    changes: tuple[OverrideChange, ...] = ()
    saves: tuple[str, ...] = ()
    stays: bool = False
    holds: str | None = None
    releases: bool = False


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
    """A planned rerun.

    - `jobs`: what it does, by id. `refused`: selected jobs that are not rerun, with the reason.
    - `warnings`, `expected`: what it costs. `overwrites`: declared outputs that exist and will be overwritten.
    - `dynamic`: sets of dynamic actions that are rolled back.
    - `digest`: plans that do the same have equal ones. `reads`: (job, version) of unchanged jobs, which must still
      match when the plan is applied."""

    jobs: tuple[PlannedJob, ...]
    refused: tuple[RefusedJob, ...] = ()
    warnings: tuple[str, ...] = ()
    expected: ExpectedCost = ExpectedCost()
    overwrites: tuple[str, ...] = ()
    digest: str = ""
    # (job, version): unchanged jobs whose versions must still match when the plan is applied
    reads: tuple[tuple[int, int], ...] = ()
    dynamic: tuple[RolledBackActions, ...] = ()


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

    @property
    def by(self) -> str | None:
        """Who asked for the rerun over HTTP; None: a command, or rekindle itself."""
        return self.request.get("by")


def plan_to_json(plan: RerunPlan) -> dict[str, Any]:
    """Return the whole plan as a JSON object. `plan_from_json` decodes it to an equal plan."""
    return {
        "digest": plan.digest,
        "jobs": [_job_to_json(job) for job in plan.jobs],
        "refused": [_refused_to_json(job) for job in plan.refused],
        "warnings": list(plan.warnings),
        "expected": asdict(plan.expected),
        "overwrites": list(plan.overwrites),
        "reads": [list(read) for read in plan.reads],
        "dynamic": [_taken_to_json(one) for one in plan.dynamic],
    }


def plan_from_json(document: Mapping[str, Any]) -> RerunPlan:
    """Decode a plan encoded by `plan_to_json`; other keys are ignored.

    Raise KeyError, TypeError, ValueError or msgspec.ValidationError if the document is not a plan, or ValueError if its
    digest does not match."""
    plan = RerunPlan(
        jobs=tuple(_job_from_json(job) for job in document["jobs"]),
        refused=tuple(
            RefusedJob(job["id"], job["name"], job["why"], job.get("kind", "")) for job in document["refused"]
        ),
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
    """Return the plan with its digest: 32 hexadecimal digits over all other fields except the expected cost, which
    varies while other jobs run."""
    from hashlib import blake2b  # loads OpenSSL

    values = astuple(replace(plan, digest="", expected=ExpectedCost()))
    text = json.dumps(values, default=astuple, separators=(",", ":"), sort_keys=True, check_circular=False)
    return replace(plan, digest=blake2b(text.encode(), digest_size=16).hexdigest())


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


def _refused_to_json(job: RefusedJob) -> dict[str, Any]:
    return {"id": job.id, "name": job.name, "why": job.why, **({"kind": job.kind} if job.kind else {})}


def _job_to_json(job: PlannedJob) -> dict[str, Any]:
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


def _job_from_json(document: Mapping[str, Any]) -> PlannedJob:
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
