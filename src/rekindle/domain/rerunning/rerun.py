"""What a rerun is: the request, the plan, and what the planner reads. See domain.planning for the decision."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rekindle.domain.acting import ActingSet
from rekindle.domain.definition import Resources
from rekindle.domain.overrides import Overrides
from rekindle.domain.states import State
from rekindle.domain.subtasks import Choice, Known

FROM_BEGINNING = "beginning"
FROM_FAILED_STEP = "failed-step"

RESET_HOLD = "reset"
"""Why a job is held that was reset by hand: a restart releases it."""

_ANY = Resources()

Workdir = Literal["project", "attempt"]
"""Where a job runs, as its spec says."""

Take = Literal["copy", "same"]
"""How an attempt takes over the folder of an earlier one."""


@dataclass(frozen=True, slots=True)
class How:
    """The manner of a rerun, for the jobs of one selection."""

    start: str = FROM_BEGINNING  # or "failed-step", or a step's name
    downstream: Literal["all", "changed", "none"] = "all"
    definition: Literal["latest", "pinned"] = "latest"  # or that of each job's earlier attempt
    hold: str | None = None  # hold what is reset, for this reason, until it is released
    release: bool = False  # nothing but let go what was reset by hand: see RESET_HOLD
    workdir: Literal["new", "copy", "same"] | None = None  # None: new from the beginning, copy when steps are kept
    subtasks: Literal["failed", "all"] | tuple[int, ...] | None = None  # None: failed, where a fan-out is resumed
    accept_partial: bool = False  # start behind the fan-out that failed, with the subtasks that succeeded
    keep_outputs: bool = False  # save declared outputs with the attempt that made them
    recovery: Literal["keep", "clear"] | None = None  # the resume point: keep it for later plain reruns, or drop it
    undo_dynamic: bool = False  # take the actions of the archived attempts out of force
    overrides: Overrides | None = None
    keep_modified: bool = False  # let earlier overrides last, under the new ones
    again: bool = False  # as it was to be: from where it last started, with what was modified (retries, recovery)
    not_before: float | None = None  # a retry that is delayed
    avoids: str | None = None  # the host where it failed: not there, as long as another works
    cancel_running: bool = False  # what runs, and would be reset under its process, is canceled first
    repeats: int | None = None  # how often more they run after that, whatever comes of it; None: not at all, and what
    # runs again by itself as often as it was to
    attempt: int | None = None  # go on from this one of the job's attempts; None: from the live one
    automatic: bool = False  # nobody asked: what has completed below did so without this attempt, and stays


class ReasonKind(enum.StrEnum):
    """Why a job is in a plan."""

    SELECTED = "selected"  # detail: state, cause
    UPSTREAM = "upstream"  # detail: job, name: the nearest selected job above it
    RECOVERY = "recovery"  # detail: rerun: that kept the resume point where the job starts
    DYNAMIC = "dynamic"  # detail: job, name: whose action had held or canceled it, and does so no more
    SUBTASKS = "subtasks"  # detail: step, run, keep, new, gone (numbers): it resumes a fan-out
    STAYS = "stays"  # detail: job, name: what it needs runs again, and it does not: it is stale from now on
    RESERVE = "reserve"  # detail: attempt: reinstated when what it depends on comes out identical
    RELEASED = "released"  # detail: held: it was reset by hand
    INPUT = "input"  # detail: name, path, before, after (digests; null: not there). For the files of a pattern also
    # pattern, new, gone, changed (paths, relative as the pattern is, the first 20) and counts (of each of the three);
    # `items` is true where these are the items of a fan-out step, which `name` names
    OUTPUT = "output"  # detail: name, path, before, after (null: it is missing)
    DEFINITION = "definition"  # detail: field, before, after
    PARAMETER = "parameter"  # detail: name, before, after
    ENVIRONMENT = "environment"  # detail: part, name, before, after (of a variable: digests; null: not set)
    CODE = "code"  # detail: module, name, before, after (digests), whole, because
    RESULT = "result"  # detail: job, name, before, after: what a job that it needs came to (digests)
    OPAQUE = "opaque"  # detail: job, name: it ran again, and declares neither outputs nor a result to compare
    UNSTABLE = "unstable"  # detail: name, path: an input that changed while the attempt ran
    NEEDS = "needs"  # detail: job, name: it needs this job, which is not done
    NEVER_RAN = "never_ran"
    FAILED = "failed"  # detail: state, cause
    AGGREGATE = "aggregate"  # detail: job, name: it runs whenever anything it needs has run
    UNKNOWN = "unknown"  # it has nothing to compare, or ran before anything was recorded
    ADDED = "added"  # by a revision. detail: revision
    RETIRED = "retired"  # a revision leaves it out. detail: revision
    REDEFINED = "redefined"  # by a revision. detail: revision, fields: of its definition and its matrix values
    IMPORTED = "imported"  # its earlier attempts were archived before it came here
    REWIRED = "rewired"  # by a revision: it needs others. detail: revision, gained, lost (numbers of jobs)
    RETRY = "retry"  # detail: retry, of (numbers), cause, delay (seconds), avoids (a host; null: none), alone
    CANCELS = "cancels"  # detail: attempt, state: it runs, and is canceled first
    REPEAT = "repeat"  # detail: left: how often more it runs after that
    PARTIAL = "partial"  # detail: step, completed, given_up (numbers): it goes on with a part of a fan-out


@dataclass(frozen=True, slots=True)
class Reason:
    """One typed reason. In JSON: `{"kind": kind, **detail}`."""

    kind: ReasonKind
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepView:
    """What the planner knows of a step of an attempt."""

    position: int
    name: str
    state: State
    kept_from: int | None = None


@dataclass(frozen=True, slots=True)
class FanOutView:
    """What the planner knows of a fan-out step: its subtasks by the live attempt, and its items as they are now."""

    step: int  # position
    known: tuple[Known, ...] = ()
    now: tuple[str, ...] | None = None  # None: they are known only once the step starts
    changed: frozenset[str] = frozenset()  # complete items (JSON texts) whose files hold something else by now


@dataclass(frozen=True, slots=True)
class AttemptView:
    """What the planner knows of a job's live attempt."""

    id: int
    state: State
    cause: str | None = None
    steps: tuple[StepView, ...] = ()
    folders: tuple[str, ...] = ()  # that may hold what the attempt's steps and those it keeps left: the first there is


@dataclass(frozen=True, slots=True)
class JobView:
    """What the planner knows of a job: those selected, all their descendants, and the parents of both."""

    id: int
    name: str
    state: State
    version: int
    steps: tuple[str, ...] = ()  # names, in order, of the latest definition
    held: str | None = None
    canceled: bool = False
    retired: bool = False
    unmet: int = 0
    attempt: AttemptView | None = None  # the live one
    reserve: int | None = None
    resume_attempt: int | None = None
    resume_step: int = 0
    overrides: str | None = None
    not_before: float | None = None
    outputs: tuple[str, ...] = ()  # declared, as the latest definition has them
    archived_workflow: bool = False
    keep_recovery: int | None = None  # the rerun that kept its resume point
    workdir: Workdir = "project"
    take: Take | None = None  # how the next attempt gets its folder, as an earlier rerun has set it …
    folder: str | None = None  # … and whose that is
    directory: str = ""  # the project's folder, absolute
    binding: str = "{}"  # JSON text: the matrix values
    resources: Resources = _ANY  # as its template asks for them
    params: Mapping[str, Any] = field(default_factory=dict)  # of the latest revision
    env: Mapping[str, str] = field(default_factory=dict)  # as its template sets it
    declared: tuple[str, ...] = ()  # the texts that `outputs` are made from
    acting: ActingSet | None = None  # what its actions brought, in force
    added: bool = False  # by an action
    fan_outs: tuple[FanOutView, ...] = ()  # of the latest definition, in order; read where a rerun may resume one
    subtasks: Choice | None = None  # that the next attempt would run
    pinned_to: int | None = None
    last: int | None = None  # the newest attempt that it has had; read where none is live
    aggregate: bool = False
    when_finished: bool = False  # it needs others only finished
    given_up: bool = False  # of a job that is only a parent: it failed, was canceled, or cannot be reached
    template: int = 0  # the row of the definition told here
    avoids: str | None = None  # the host that its next attempt keeps away from
    repeats: int = 0  # how often more it runs after its live, or its next, attempt
    source: AttemptView | None = None  # the attempt of it that a rerun names to go on from
    recovered: bool = False  # it runs again because its attempt was lost; nobody has asked for that

    @property
    def runs_whenever(self) -> bool:
        """It runs again whenever anything that it needs has run: nothing spares it."""
        return self.aggregate or self.when_finished


@dataclass(frozen=True, slots=True)
class Change:
    """Something that runs otherwise than before. `name` is `params.NAME`, `env.NAME`, `memory`, `time` or `cpus`;
    None: it is not there."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Manner:
    """How a job's next attempts are made, beside where they start."""

    take: Take | None = None  # the folder: a copy of an earlier attempt's, or the very same; None: a new one
    folder: str | None = None  # absolute: that earlier attempt's
    keep_recovery: int | None = None  # the rerun that kept the resume point; 0: this one
    overrides: str | None = None  # JSON text: see domain.overrides
    changes: tuple[Change, ...] = ()
    saves: tuple[str, ...] = ()  # outputs, absolute, that are saved with the attempt that is archived
    not_before: float | None = None
    avoids: str | None = None  # a host
    repeats: int = 0  # how often more it runs after its next attempt


PLAIN = Manner()


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """What happens to one job."""

    id: int
    name: str
    version: int  # that the plan is bound to
    before: State
    after: State
    start: str  # "beginning" or a step's name
    reasons: tuple[Reason, ...]
    archives: tuple[int, ...] = ()  # attempts
    keeps: tuple[str, ...] = ()  # steps that are kept
    resume_attempt: int | None = None
    resume_step: int = 0
    unmet: int = 0  # after
    manner: Manner = PLAIN
    subtasks: Choice | None = None  # which run, where it starts at a fan-out that it resumes
    reserve: int | None = None  # the attempt that is reinstated when it still holds
    pinned_to: int | None = None  # the attempt whose definition it takes; None: the latest
    stays: bool = False  # it is not reset: only its state and its unmet count follow what it needs
    holds: str | None = None  # the reason for which it is held afterwards
    releases: bool = False  # it is held no more


@dataclass(frozen=True, slots=True)
class RefusedJob:
    """A selected job that is not rerun."""

    id: int
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What the plan will cost, from earlier attempts: see domain.costs."""

    attempts: int = 0
    seconds: float = 0.0  # of running time, summed over attempts of which something is known
    unknown: int = 0  # attempts of which nothing is known
    core_seconds: float = 0.0  # running time, times the cpus taken
    wall_seconds: float = 0.0  # at least so long it takes until the last has ended
    guessed: int = 0  # attempts that are told by what others of the same template took
    reserved: int = 0  # jobs more that run only if what they depend on comes out changed
    reserved_seconds: float = 0.0  # of running time, should all of these run
    cores: float = 1.0  # that `wall_seconds` reckons with


@dataclass(frozen=True, slots=True)
class TakenOut:
    """A set of dynamic actions that a rerun takes out of force."""

    attempt: int  # whose it is
    job: int
    name: str
    retires: tuple[int, ...] = ()  # jobs that it had added
    patches: int = 0  # how many changes, holds and cancellations


@dataclass(frozen=True, slots=True)
class RerunPlan:
    """A rerun, decided and not done. `jobs` are in the order of ids."""

    jobs: tuple[PlannedJob, ...]
    refused: tuple[RefusedJob, ...] = ()
    warnings: tuple[str, ...] = ()
    expected: Expected = Expected()
    overwrites: tuple[str, ...] = ()  # declared outputs that exist after an earlier attempt and will be written again
    digest: str = ""  # over everything else here: the same plan has the same digest
    reads: tuple[tuple[int, int], ...] = ()  # (job, version): not changed, and the plan holds only while they stand
    dynamic: tuple[TakenOut, ...] = ()  # sets of actions that are taken out of force


@dataclass(frozen=True, slots=True)
class Pointers:
    """What a rerun changes of a job and undo puts back."""

    attempt: int | None = None
    reserve: int | None = None
    held: str | None = None
    canceled: bool = False
    not_before: float | None = None
    resume_attempt: int | None = None
    resume_step: int = 0
    overrides: str | None = None
    keep_recovery: int | None = None
    take: Take | None = None
    folder: str | None = None
    subtasks: Choice | None = None
    pinned_to: int | None = None
    avoids: str | None = None
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A declared output, or a file within one, as `--keep-outputs` saved it."""

    path: str  # absolute: where it was, and where undo puts it
    kept: str  # absolute: the copy
    digest: str  # BLAKE3 of its content; of a symbolic link: of its target
    size: int
    mtime_ns: int
    mode: int | None = None  # that it had; None: the copy's, or it is a symbolic link


@dataclass(frozen=True, slots=True)
class RerunRecord:
    """An applied rerun, as the archive has it."""

    id: int
    kind: str
    at: float
    note: str | None
    undone: float | None
    request: Mapping[str, Any]
    plan: RerunPlan


@dataclass(frozen=True, slots=True)
class UndoView:
    """What undo knows of one job of a rerun."""

    id: int
    name: str
    version: int
    state: State
    attempt: int | None  # live now: not None means that it has started since
    restore: Pointers
    restored_state: State | None  # of the attempt that comes back; None: none does
    archives: tuple[int, ...] = ()
    later_reruns: tuple[int, ...] = ()  # not undone, newer, touching the same job
    saved: tuple[SavedFile, ...] = ()  # that undo puts back


@dataclass(frozen=True, slots=True)
class Graph:
    """Edges among the jobs at hand: `children[parent]` and `parents[child]`, both complete for the jobs that a
    plan touches."""

    children: Mapping[int, Sequence[int]]
    parents: Mapping[int, Sequence[int]]
