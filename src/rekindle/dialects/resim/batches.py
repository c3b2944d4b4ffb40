"""A workflow as a ReSim batch: its tests, its batch metrics, their statuses, and the request that created it."""

from __future__ import annotations

import enum
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.errors import BadValue, UnknownWord
from rekindle.domain.models import Attempt, Job, Workflow
from rekindle.domain.selection import Selection
from rekindle.domain.states import ACTIVE, ENDED, State
from rekindle.domain.texts.display import did_you_mean
from rekindle.domain.verdicts import Status, Verdict, VerdictLevel, status_of
from rekindle.engine.queries import job_queries, selections, workflow_queries

if TYPE_CHECKING:
    from rekindle.engine.session import Session

REQUEST_PARAM = "resim"
"""The workflow parameter that holds the request. Only batches created by this dialect have it."""


class BatchRequest(msgspec.Struct, frozen=True):
    """The options with which a batch was created, except its experiences. Stored in the workflow's parameters."""

    config: str  # the experience file, relative to the workflow's folder
    build: str
    metrics_build: str | None = None
    test_suite: str | None = None
    parameters: Mapping[str, str] = msgspec.field(default_factory=dict)
    allowable_failure_percent: int = 0
    account: str = ""
    pool_labels: tuple[str, ...] = ()


def request_to_params(request: BatchRequest) -> dict[str, Any]:
    """Encode a request as workflow parameters."""
    return {
        REQUEST_PARAM: {
            **msgspec.structs.asdict(request),
            "parameters": dict(request.parameters),
            "pool_labels": list(request.pool_labels),
        }
    }


def request_from_params(params: Mapping[str, Any]) -> BatchRequest | None:
    """Decode the request from workflow parameters. Return None if this dialect did not create the workflow."""
    found = params.get(REQUEST_PARAM)
    if not isinstance(found, dict) or "config" not in found:
        return None
    return BatchRequest(**{**found, "pool_labels": tuple(found["pool_labels"])})


class TestStatus(enum.StrEnum):
    """The statuses of a test."""

    SUBMITTED = "SUBMITTED"
    EXPERIENCE_RUNNING = "EXPERIENCE_RUNNING"
    METRICS_QUEUED = "METRICS_QUEUED"
    METRICS_RUNNING = "METRICS_RUNNING"
    SUCCEEDED = "SUCCEEDED"
    ERROR = "ERROR"
    CANCELLED = "CANCELLED"


class BatchStatus(enum.StrEnum):
    """The statuses of a batch."""

    SUBMITTED = "SUBMITTED"
    EXPERIENCES_RUNNING = "EXPERIENCES_RUNNING"
    BATCH_METRICS_QUEUED = "BATCH_METRICS_QUEUED"
    BATCH_METRICS_RUNNING = "BATCH_METRICS_RUNNING"
    SUCCEEDED = "SUCCEEDED"
    ERROR = "ERROR"
    CANCELLED = "CANCELLED"


EXIT_CODES = {
    BatchStatus.SUCCEEDED: 0,
    BatchStatus.ERROR: 2,
    BatchStatus.SUBMITTED: 3,
    BatchStatus.EXPERIENCES_RUNNING: 4,
    BatchStatus.BATCH_METRICS_QUEUED: 4,
    BatchStatus.BATCH_METRICS_RUNNING: 4,
    BatchStatus.CANCELLED: 5,
}
"""Exit codes of `batches get --exit-status`, `wait` and `supervise`."""

_REMAINING_EXIT_CODES = {Status.ERROR: 2, Status.BLOCKER: 7, Status.WARNING: 8}
"""Exit codes for statuses that remain, the first of them first."""

FINAL_STATUSES = (BatchStatus.SUCCEEDED, BatchStatus.ERROR, BatchStatus.CANCELLED)

_STATES = {"WARNING": Status.WARNING, "ERROR": Status.ERROR, "BLOCKER": Status.BLOCKER}
_METRICS = {VerdictLevel.PASSED: "PASSED", VerdictLevel.WARNING: "FAIL_WARN", VerdictLevel.BLOCKER: "FAIL_BLOCK"}


class BatchJob(msgspec.Struct, frozen=True):
    """A test, or a batch-metrics job (`aggregate`), with its live attempt. `stages` are its step names."""

    job: Job
    attempt: Attempt | None
    stages: tuple[str, ...]
    aggregate: bool

    @property
    def status(self) -> TestStatus:
        """The status of the test."""
        state = self.job.state
        if state in ENDED:
            return _END_STATUS[state]
        if state is State.RUNNING and self.attempt is not None:
            at = max((one.position + 1 for one in self.attempt.steps if one.state in ENDED), default=0)
            return _RUNNING_STATUS[max(at, self.attempt.start_step) > 0]
        return TestStatus.METRICS_QUEUED if self.job.next.resume_step else TestStatus.SUBMITTED

    @property
    def verdict(self) -> Verdict | None:
        """The verdict of the live attempt."""
        return self.attempt.verdict if self.attempt else None

    @property
    def metrics_status(self) -> str:
        """The verdict in ReSim's terms."""
        return _METRICS[self.verdict.word] if self.verdict else "NOT_APPLICABLE"

    @property
    def experience(self) -> str:
        """The name of the experience, or of the job if it has none."""
        binding: Mapping[str, Any] = json.loads(self.job.binding)
        found = binding.get("experience")
        return found if isinstance(found, str) else self.job.name


_RUNNING_STATUS = {False: TestStatus.EXPERIENCE_RUNNING, True: TestStatus.METRICS_RUNNING}
_END_STATUS = {
    State.COMPLETED: TestStatus.SUCCEEDED,
    State.FAILED: TestStatus.ERROR,
    State.CANCELED: TestStatus.CANCELLED,
}


def conflated_status(member: BatchJob) -> str:
    """Return status and metrics status as one word."""
    found = status_of(member.job.state, member.verdict.word if member.verdict else None)
    return "CANCELLED" if found is Status.CANCELED else found.value.upper()


class ResimBatch(msgspec.Struct, frozen=True):
    """A workflow with its tests and batch metrics. `request` is None if this dialect did not create it."""

    workflow: Workflow
    tests: Sequence[BatchJob]
    metrics: Sequence[BatchJob]
    params: Mapping[str, Any]
    request: BatchRequest | None = None

    @property
    def status(self) -> BatchStatus:
        """The status of the batch. Held jobs, and jobs behind failed ones, count as ended."""
        if (going := _is_active(self.tests)) is not None:
            begun = any(one.attempt is not None or one.job.attempts for one in self.tests)
            return BatchStatus.EXPERIENCES_RUNNING if going or begun else BatchStatus.SUBMITTED
        if (going := _is_active(self.metrics)) is not None:
            return BatchStatus.BATCH_METRICS_RUNNING if going else BatchStatus.BATCH_METRICS_QUEUED
        tests = Counter(one.status for one in self.tests)
        metrics = Counter(one.status for one in self.metrics)
        if metrics[TestStatus.ERROR] or not self.allows_errors(tests[TestStatus.ERROR]):
            return BatchStatus.ERROR
        if tests[TestStatus.CANCELLED] or metrics[TestStatus.CANCELLED]:
            return BatchStatus.CANCELLED
        ended = tests[TestStatus.SUCCEEDED] + tests[TestStatus.ERROR] == len(self.tests)
        done = ended and metrics[TestStatus.SUCCEEDED] == len(self.metrics)
        return BatchStatus.SUCCEEDED if done else BatchStatus.SUBMITTED

    def allows_errors(self, errors: int) -> bool:
        """Return whether the batch succeeds with this number of failed tests."""
        percent = self.request.allowable_failure_percent if self.request else 0
        return 100 * errors <= percent * len(self.tests)

    @property
    def name(self) -> str:
        """The name for messages: `batch 3 merry-indigo-otter`."""
        return f"batch {self.workflow.id} {self.workflow.name}"


def exit_code(batch: ResimBatch, fail_on: Collection[Status] = ()) -> int:
    """Return the exit code of a batch.

    An error, a cancellation or an unfinished batch comes first, then the statuses in `fail_on` that remain.
    """
    if (code := EXIT_CODES[batch.status]) != 0:
        return code
    left = {conflated_status(one) for one in (*batch.tests, *batch.metrics)}
    remaining = (status for status in _REMAINING_EXIT_CODES if status in fail_on and status.value.upper() in left)
    return next((_REMAINING_EXIT_CODES[status] for status in remaining), 0)


def _is_active(members: Sequence[BatchJob]) -> bool | None:
    """Return True if a job runs, False if one is ready, and None if nothing runs or will start."""
    if any(one.job.state in ACTIVE for one in members):
        return True
    return False if any(one.job.state is State.READY and one.job.held is None for one in members) else None


def read_batch(session: Session, workflow: Workflow) -> ResimBatch:
    """Read a workflow as a batch. Jobs that a revision removed are left out."""
    ids = selections.select(session, Selection(workflow=str(workflow.id)))
    rows = [row for row in job_queries.jobs(session, ids) if not row.job.retired]
    templates = job_queries.templates_of(session, [row.job for row in rows])
    members = [
        BatchJob(
            row.job,
            row.attempt,
            tuple(step.name for step in templates[row.job.id].steps),
            templates[row.job.id].aggregate,
        )
        for row in rows
    ]
    params = workflow_queries.params(session, workflow)
    return ResimBatch(
        workflow,
        [one for one in members if not one.aggregate],
        [one for one in members if one.aggregate],
        params,
        request_from_params(params),
    )


def read_states(option: str, text: str) -> frozenset[Status]:
    """Parse states such as `Error, Warning,Blocker`, in any case. An empty text gives no states."""
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    found = set()
    for word in words:
        if word.upper() not in _STATES:
            known = [one.capitalize() for one in _STATES]
            hint = did_you_mean(word.capitalize(), known) or "states are Warning, Error and Blocker"
            raise UnknownWord(f"{option}: unsupported state {word!r}", hint=hint)
        found.add(_STATES[word.upper()])
    return frozenset(found)


def read_ids(option: str, texts: Sequence[str]) -> tuple[int, ...]:
    """Parse comma-separated ids. Raise BadValue, naming an invalid id."""
    words = [word.strip() for text in texts for word in text.split(",")]
    wrong = [word for word in words if not (word.isascii() and word.isdecimal())]
    if wrong and any(texts):
        raise BadValue(f"{option}: unable to parse the ID {wrong[0]!r:.60}", hint="`resim batches tests` lists them")
    return tuple(dict.fromkeys(int(word) for word in words)) if any(texts) else ()
