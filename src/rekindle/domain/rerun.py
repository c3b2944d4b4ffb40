"""What a rerun is: the request, the plan, and what the planner reads. See domain.planning for the decision."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rekindle.domain.overrides import Overrides
from rekindle.domain.states import State

FROM_BEGINNING = "beginning"
FROM_FAILED_STEP = "failed-step"


@dataclass(frozen=True, slots=True)
class How:
    """The manner of a rerun, for the jobs of one selection."""

    start: str = FROM_BEGINNING  # or "failed-step", or a step's name
    downstream: Literal["all"] = "all"
    workdir: Literal["new", "copy", "same"] | None = None  # None: new from the beginning, copy when steps are kept
    subtasks: Literal["failed", "all"] | tuple[int, ...] | None = None  # None: failed, where a fan-out is resumed
    accept_partial: bool = False  # start behind the fan-out that failed, with the subtasks that succeeded
    keep_outputs: bool = False  # save declared outputs with the attempt that made them
    recovery: Literal["keep", "clear"] | None = None  # the resume point: keep it for later plain reruns, or drop it
    undo_dynamic: bool = False  # take the actions of the archived attempts out of force
    overrides: Overrides | None = None
    keep_modified: bool = False  # let earlier overrides last, under the new ones


class ReasonKind(enum.StrEnum):
    """Why a job is in a plan."""

    SELECTED = "selected"  # detail: state, cause
    UPSTREAM = "upstream"  # detail: job, name: the nearest selected job above it


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
class AttemptView:
    """What the planner knows of a job's live attempt."""

    id: int
    state: State
    cause: str | None = None
    seconds: float | None = None
    steps: tuple[StepView, ...] = ()


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


@dataclass(frozen=True, slots=True)
class RefusedJob:
    """A selected job that is not rerun."""

    id: int
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What the plan will cost, from earlier attempts."""

    attempts: int = 0
    seconds: float = 0.0  # of running time, summed over attempts that are known
    unknown: int = 0  # attempts of which nothing is known


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


@dataclass(frozen=True, slots=True)
class Graph:
    """Edges among the jobs at hand: `children[parent]` and `parents[child]`, both complete for the jobs that a
    plan touches."""

    children: Mapping[int, Sequence[int]]
    parents: Mapping[int, Sequence[int]]
