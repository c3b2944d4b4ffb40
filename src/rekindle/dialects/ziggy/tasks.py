"""Jobs as Ziggy tells of them: tasks, each one unit of work of a node, with a processing step and subtasks."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rekindle.domain.causes import Cause
from rekindle.domain.definition import JobTemplate
from rekindle.domain.models import Attempt, Job
from rekindle.domain.states import ACTIVE, State
from rekindle.engine.looking import look
from rekindle.engine.session import Session

SINGLE = "[single]"
"""The unit of work of a job that has no matrix."""


class Step(enum.StrEnum):
    """The processing steps. What runs before the fan-out marshals, the fan-out is the algorithm, what runs behind it
    stores; a job without a fan-out is an algorithm and nothing else."""

    INITIALIZING = "INITIALIZING"  # something that it needs is not done
    WAITING_TO_RUN = "WAITING_TO_RUN"
    MARSHALING = "MARSHALING"
    QUEUED = "QUEUED"
    EXECUTING = "EXECUTING"
    WAITING_TO_STORE = "WAITING_TO_STORE"  # every subtask has ended, and too many of them failed
    STORING = "STORING"
    COMPLETE = "COMPLETE"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many subtasks there are, and how they stand."""

    total: int = 0
    completed: int = 0
    failed: int = 0

    def __str__(self) -> str:
        """`3/4 (1)`: completed, in all, and those that failed where there are any."""
        return f"{self.completed}/{self.total}" + (f" ({self.failed})" if self.failed else "")

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.total + other.total, self.completed + other.completed, self.failed + other.failed)


@dataclass(frozen=True, slots=True)
class Task:
    """A job as Ziggy shows it. `incomplete`: its last fan-out of which some subtask has not succeeded."""

    id: int
    instance: int
    node: str
    unit: str  # `[set-1]`
    state: State
    step: Step  # where it is, or where it stopped
    counts: Counts = Counts()
    cause: Cause | None = None
    started: bool = False  # it has an attempt
    goes_on: bool = False  # it has none yet, and its next one goes on where an earlier one stopped
    fans_out: bool = False
    incomplete: str | None = None
    worker: str = "-"
    begun: float | None = None
    ended: float | None = None

    @property
    def error(self) -> bool:
        """It failed. The step at which it did stays visible beside that."""
        return self.state is State.FAILED

    @property
    def halted(self) -> bool:
        """Somebody has halted it."""
        return self.state is State.CANCELED

    @property
    def restartable(self) -> bool:
        """In error, halted, or complete with subtasks that failed."""
        return self.error or self.halted or (self.state is State.COMPLETED and self.incomplete is not None)

    @property
    def status(self) -> str:
        """`ERROR - EXECUTING`."""
        flag = "ERROR - " if self.error else "HALTED - " if self.halted else ""
        return flag + self.step

    @property
    def name(self) -> str:
        """`permuter[set-1]`."""
        return self.node if self.unit == SINGLE else self.node + self.unit


def read_tasks(session: Session, ids: Sequence[int]) -> list[Task]:
    """These jobs as tasks, in their order."""
    rows = look.jobs(session, ids)
    templates = look.templates_of(session, [row.job for row in rows])
    live = {one.job: one for one in look.attempts(session, ids, live=True)} if ids else {}
    counts = look.subtask_counts(session, list(live.values()))
    return [_task(row.job, templates[row.job.id], live.get(row.job.id), counts) for row in rows]


def _task(
    job: Job, template: JobTemplate, attempt: Attempt | None, counts: Mapping[tuple[int, int], Mapping[State, int]]
) -> Task:
    fan_outs = [position for position, step in enumerate(template.steps) if step.each is not None]
    known = {at: counts[attempt.id, at] for at in fan_outs if attempt and (attempt.id, at) in counts}
    left = [at for at, found in known.items() if sum(found.values()) > found.get(State.COMPLETED, 0)]
    return Task(
        id=job.id,
        instance=job.workflow,
        node=template.name,
        unit=unit_of_work(job.binding),
        state=job.state,
        step=_step(job, attempt, fan_outs, known),
        counts=_counts(job, fan_outs, known),
        cause=attempt.cause if attempt else None,
        started=attempt is not None,
        goes_on=attempt is None and job.resume_attempt is not None,
        fans_out=bool(fan_outs),
        incomplete=template.steps[left[-1]].name if left else None,
        worker=(attempt.worker if attempt else None) or "-",
        begun=attempt.started if attempt else None,
        ended=attempt.ended if attempt else None,
    )


def unit_of_work(binding: str) -> str:
    """The matrix values of a job, in brackets."""
    values: Mapping[str, object] = json.loads(binding)
    if not values:
        return SINGLE
    return f"[{','.join(value if isinstance(value, str) else json.dumps(value) for value in values.values())}]"


def _counts(job: Job, fan_outs: Sequence[int], known: Mapping[int, Mapping[State, int]]) -> Counts:
    if not fan_outs:  # one subtask: the job itself
        return Counts(1, int(job.state is State.COMPLETED), int(job.state is State.FAILED))
    found = Counts()
    for one in known.values():
        found += Counts(sum(one.values()), one.get(State.COMPLETED, 0), one.get(State.FAILED, 0))
    return found


def _step(job: Job, attempt: Attempt | None, fan_outs: Sequence[int], known: Mapping[int, Mapping[State, int]]) -> Step:
    if job.state is State.COMPLETED:
        return Step.COMPLETE
    if attempt is None:
        return Step.INITIALIZING if job.unmet else Step.WAITING_TO_RUN
    if job.state is State.QUEUED:
        return Step.QUEUED
    at = _position(attempt)
    if attempt.state in ACTIVE and known:  # a fan-out that is known has begun
        at = max(at, *known)
    if not fan_outs or fan_outs[0] <= at <= fan_outs[-1]:
        return Step.WAITING_TO_STORE if fan_outs and attempt.cause is Cause.SUBTASKS else Step.EXECUTING
    return Step.MARSHALING if at < fan_outs[0] else Step.STORING


def _position(attempt: Attempt) -> int:
    """The step that it is at, or at which it stopped: the one behind those that are complete."""
    done = {step.position for step in attempt.steps if step.state is State.COMPLETED or step.kept_from is not None}
    at = attempt.start_step if attempt.state in ACTIVE else 0
    while at in done:
        at += 1
    return at
