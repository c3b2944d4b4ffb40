"""Jobs as Ziggy's tasks: each is one unit of work of a node, with a processing step and subtasks."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rekindle.domain.states import ACTIVE, Cause, State
from rekindle.engine.queries import job_queries

if TYPE_CHECKING:
    from rekindle.domain.definition import JobTemplate
    from rekindle.domain.models import Attempt, Job
    from rekindle.engine.session import Session

SINGLE = "[single]"
"""The unit of work of a job without a matrix."""


class ProcessingStep(enum.StrEnum):
    """The processing steps.

    Steps before the fan-out marshal, the fan-out is the algorithm, steps behind it store. A job without a fan-out is an
    algorithm only.
    """

    INITIALIZING = "INITIALIZING"  # a job that it needs is not done
    WAITING_TO_RUN = "WAITING_TO_RUN"
    MARSHALING = "MARSHALING"
    QUEUED = "QUEUED"
    EXECUTING = "EXECUTING"
    WAITING_TO_STORE = "WAITING_TO_STORE"  # every subtask ended, and too many failed
    STORING = "STORING"
    COMPLETE = "COMPLETE"


class SubtaskCounts(msgspec.Struct, frozen=True):
    """Counts of subtasks."""

    total: int = 0
    completed: int = 0
    failed: int = 0

    def __str__(self) -> str:
        """Return `3/4 (1)`: completed, total, and failed if there are any."""
        return f"{self.completed}/{self.total}" + (f" ({self.failed})" if self.failed else "")

    def __add__(self, other: SubtaskCounts) -> SubtaskCounts:
        return SubtaskCounts(self.total + other.total, self.completed + other.completed, self.failed + other.failed)


class Task(msgspec.Struct, frozen=True):
    """A job as a Ziggy task."""

    id: int
    instance: int
    node: str
    unit: str  # `[set-1]`
    state: State
    step: ProcessingStep  # the current step, or the step where the task stopped
    counts: SubtaskCounts = SubtaskCounts()
    cause: Cause | None = None
    started: bool = False  # the task has a live attempt
    resumes: bool = False  # no live attempt; the next one starts where an earlier one stopped
    fans_out: bool = False
    incomplete: str | None = None  # name of the last fan-out with a subtask that has not succeeded
    worker: str = "-"
    cpus: float = 1.0
    began: float | None = None
    ended: float | None = None

    @property
    def error(self) -> bool:
        """Whether the task failed. Its processing step stays at the failure."""
        return self.state is State.FAILED

    @property
    def halted(self) -> bool:
        """Whether the task was halted."""
        return self.state is State.CANCELED

    @property
    def restartable(self) -> bool:
        """Whether the task failed, was halted, or is complete with failed subtasks."""
        return self.error or self.halted or (self.state is State.COMPLETED and self.incomplete is not None)

    @property
    def status(self) -> str:
        """The status: `ERROR - EXECUTING`."""
        flag = "ERROR - " if self.error else "HALTED - " if self.halted else ""
        return flag + self.step

    @property
    def name(self) -> str:
        """The name: `permuter[set-1]`."""
        return self.node if self.unit == SINGLE else self.node + self.unit


def read_tasks(session: Session, ids: Sequence[int]) -> list[Task]:
    """Return the jobs as tasks, in the order of `ids`."""
    rows = job_queries.jobs(session, ids)
    templates = job_queries.templates_of(session, [row.job for row in rows])
    live = {one.job: one for one in job_queries.attempts(session, ids, live=True)} if ids else {}
    counts = job_queries.subtask_counts(session, list(live.values()))
    found = [_task(row.job, templates[row.job.id], live.get(row.job.id), counts) for row in rows]
    return [replace(task, cpus=row.resources.cpus) for task, row in zip(found, rows, strict=True)]


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
        step=_processing_step(job, attempt, fan_outs, known),
        counts=_counts(job, fan_outs, known),
        cause=attempt.cause if attempt else None,
        started=attempt is not None,
        resumes=attempt is None and job.next.resume_attempt is not None,
        fans_out=bool(fan_outs),
        incomplete=template.steps[left[-1]].name if left else None,
        worker=(attempt.worker if attempt else None) or "-",
        began=attempt.started if attempt else None,
        ended=attempt.ended if attempt else None,
    )


def unit_of_work(binding: str) -> str:
    """Return the matrix values of a job in brackets."""
    values: Mapping[str, object] = json.loads(binding)
    if not values:
        return SINGLE
    return f"[{','.join(value if isinstance(value, str) else json.dumps(value) for value in values.values())}]"


def _counts(job: Job, fan_outs: Sequence[int], known: Mapping[int, Mapping[State, int]]) -> SubtaskCounts:
    if not fan_outs:  # one subtask: the job itself
        return SubtaskCounts(1, int(job.state is State.COMPLETED), int(job.state is State.FAILED))
    found = SubtaskCounts()
    for one in known.values():
        found += SubtaskCounts(sum(one.values()), one.get(State.COMPLETED, 0), one.get(State.FAILED, 0))
    return found


def _processing_step(
    job: Job, attempt: Attempt | None, fan_outs: Sequence[int], known: Mapping[int, Mapping[State, int]]
) -> ProcessingStep:
    if job.state is State.COMPLETED:
        return ProcessingStep.COMPLETE
    if attempt is None:
        return ProcessingStep.INITIALIZING if job.unmet else ProcessingStep.WAITING_TO_RUN
    if job.state is State.QUEUED:
        return ProcessingStep.QUEUED
    at = _position(attempt)
    if attempt.state in ACTIVE and known:  # a fan-out with counts has started
        at = max(at, *known)
    if not fan_outs or fan_outs[0] <= at <= fan_outs[-1]:
        return (
            ProcessingStep.WAITING_TO_STORE
            if fan_outs and attempt.cause is Cause.SUBTASKS
            else ProcessingStep.EXECUTING
        )
    return ProcessingStep.MARSHALING if at < fan_outs[0] else ProcessingStep.STORING


def _position(attempt: Attempt) -> int:
    """Return the position of the step where the attempt is, or stopped: the first that is not complete."""
    done = {step.position for step in attempt.steps if step.state is State.COMPLETED or step.kept_from is not None}
    at = attempt.start_step if attempt.state in ACTIVE else 0
    while at in done:
        at += 1
    return at
