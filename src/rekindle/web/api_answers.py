"""The answers of the API, as far as scripts may rely on their keys: the OpenAPI document is made from these types.
The documents themselves are those of the command line (rekindle.presentation) and have more keys. The types are not
decoded or encoded."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

State = Literal["waiting", "ready", "queued", "running", "completed", "failed", "canceled"]
Cause = Literal[
    "exit",
    "exception",
    "signal",
    "oom",
    "timeout",
    "lost",
    "start",
    "missing_input",
    "missing_output",
    "subtasks",
    "canceled",
]
Verdict = Literal["passed", "warning", "blocker"]
Time = Annotated[str, Meta(description="ISO 8601 in UTC.", extra_json_schema={"format": "date-time"})]
Counts = Annotated[dict[str, int], Meta(description="Jobs by state.")]


class Refused(msgspec.Struct):
    """A selected job that is left alone."""

    id: int
    name: str
    why: str
    kind: str = ""


class Error(msgspec.Struct):
    """What is wrong, and what to do."""

    error: str
    hint: str | msgspec.UnsetType = msgspec.UNSET
    refused: list[Refused] | msgspec.UnsetType = msgspec.UNSET
    plan: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    problems: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET


class Workflow(msgspec.Struct):
    """A workflow."""

    id: int
    name: str
    project: str | None
    revision: int
    submitted: Time
    archived: bool
    counts: Counts


class Workflows(msgspec.Struct):
    """Workflows."""

    workflows: list[Workflow]


class Failure(msgspec.Struct):
    """Attempts that failed with one signature."""

    signature: str
    cause: Cause
    type: str
    message: str
    count: int
    jobs: list[int]


class Failures(msgspec.Struct):
    """Groups of failures."""

    failures: list[Failure]


class WorkflowStatus(Workflow):
    """A workflow with its state and failures."""

    state: str
    failures: list[Failure]
    runners: list[dict[str, Any]]


class WorkflowDetails(WorkflowStatus):
    """A workflow with its templates and revisions."""

    on: dict[str, str]
    templates: list[dict[str, Any]]
    revisions: list[dict[str, Any]]


class Status(msgspec.Struct):
    """Workflows at a glance."""

    workflows: list[WorkflowStatus]


class Job(msgspec.Struct):
    """A job."""

    id: int
    workflow: int
    name: str
    state: State
    held: bool
    verdict: Verdict | None
    cause: Cause | None
    attempts: int
    retired: bool
    stale: bool | None


class Jobs(msgspec.Struct):
    """A page of jobs."""

    jobs: list[Job]
    next: Annotated[int | None, Meta(description="`after` of the next page; null: this is the last one.")]


class JobDetails(Job):
    """A job with its needs and attempts."""

    needs: list[dict[str, Any]]
    needed_by: list[dict[str, Any]]
    attempt_ids: list[int]


class Step(msgspec.Struct):
    """A step of an attempt."""

    name: str
    state: State
    exit_code: int | None
    subtasks: Counts


class Attempt(msgspec.Struct):
    """An attempt."""

    id: int
    job: int
    number: int
    state: State
    cause: Cause | None
    exit_code: int | None
    signal: int | None
    error: dict[str, Any] | None
    signature: str | None
    host: str | None
    workdir: str | None
    started: Time | None
    ended: Time | None
    cpu_seconds: float | None
    max_rss_bytes: int | None
    archived: bool
    partial: bool
    modified: bool
    steps: list[Step]


class Attempts(msgspec.Struct):
    """Attempts."""

    attempts: list[Attempt]


class AttemptDetails(Attempt):
    """An attempt with its subtasks, inputs and outputs."""

    subtasks: list[dict[str, Any]]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]


class AttemptDiff(msgspec.Struct):
    """What differs between two attempts."""

    a: int
    b: int
    differences: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    logs: list[dict[str, Any]]


class RunComparison(msgspec.Struct):
    """Where two workflows part."""

    a: int
    b: int
    same: int
    parted: list[dict[str, Any]]
    only_a: list[str]
    only_b: list[str]
    not_compared: list[str]


class Forecast(msgspec.Struct):
    """When unfinished jobs will be done, and which decide it. `end` is null where it is unknown."""

    at: Time
    jobs: int
    running: int
    end: dict[str, Time] | None
    seconds: dict[str, float] | None
    workflows: list[dict[str, Any]]
    slots: int
    path: list[dict[str, Any]]
    left_out: dict[str, int]
    past: dict[str, Any] | None


class Flaky(msgspec.Struct):
    """How often jobs fail."""

    flaky: list[dict[str, Any]]


class PlannedJob(msgspec.Struct):
    """A job of a plan."""

    id: int
    name: str
    before: State
    after: State
    start: str
    reasons: list[dict[str, Any]]
    archives: list[int]


class Plan(msgspec.Struct):
    """A planned rerun; `rerun` null: not applied."""

    rerun: int | None
    digest: str
    jobs: list[PlannedJob]
    refused: list[Refused]
    warnings: list[Any]
    expected: dict[str, Any]


class Rerun(msgspec.Struct):
    """A rerun that was applied. `request` holds who asked for it as `by`, if that was over HTTP."""

    rerun: int
    kind: str
    at: Time
    note: str | None
    undone: Time | None
    request: dict[str, Any]


class ListedRerun(Rerun):
    """A rerun in a list, with the number of its jobs."""

    jobs: int


class Reruns(msgspec.Struct):
    """Reruns, newest first."""

    reruns: list[ListedRerun]


class RerunDetails(Rerun):
    """A rerun with its plan."""

    digest: str
    jobs: list[PlannedJob]
    refused: list[Refused]


class Event(msgspec.Struct):
    """Something that happened. `detail` holds who did it as `by`, if that was over HTTP."""

    id: int
    at: Time
    kind: str
    workflow: int | None
    detail: dict[str, Any]


class Events(msgspec.Struct):
    """Events, oldest first."""

    events: list[Event]


class Why(msgspec.Struct):
    """Whether jobs would run again, and why."""

    jobs: list[dict[str, Any]]


class Undone(msgspec.Struct):
    """A rerun that is undone."""

    rerun: int
    jobs: list[dict[str, Any]]
    restored: list[str]


class Held(msgspec.Struct):
    """Jobs that are held now."""

    held: list[int]
    already: list[int]


class Released(msgspec.Struct):
    """Jobs that may start again."""

    released: list[int]
    already: list[int]


class Canceled(msgspec.Struct):
    """Jobs that are canceled; `asked`: running ones, which their runner ends."""

    canceled: list[int]
    asked: list[int]
    ended: list[int]


class Accepted(Plan):
    """Changes that are accepted; `current`: jobs that were not stale."""

    current: list[int]


class CopiedOutput(msgspec.Struct):
    """An output that was copied into place."""

    source: str
    target: str


class Completed(Plan):
    """Jobs that are recorded as completed; `completed`: jobs that had completed already."""

    completed: list[int]
    copied: list[CopiedOutput]


class Submitted(msgspec.Struct):
    """A workflow that is stored."""

    workflow: int
    name: str
    revision: int
    jobs: int
    created: bool
    unchanged: bool
    warnings: list[str]
