"""A workflow in ReSim's words: a batch, its tests, the stage of batch metrics, and their statuses."""

from __future__ import annotations

import enum
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rekindle.dialects.resim.asked import Asked, asked_of
from rekindle.domain.errors import BadValue, UnknownWord
from rekindle.domain.models import Attempt, Job, Workflow
from rekindle.domain.selection import Selection
from rekindle.domain.states import ACTIVE, ENDED, State
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.domain.verdicts import Status, Verdict, Word, status_of
from rekindle.engine.looking import look
from rekindle.engine.session import Session


class TestStatus(enum.StrEnum):
    """How far a test is."""

    SUBMITTED = "SUBMITTED"
    EXPERIENCE_RUNNING = "EXPERIENCE_RUNNING"
    METRICS_QUEUED = "METRICS_QUEUED"
    METRICS_RUNNING = "METRICS_RUNNING"
    SUCCEEDED = "SUCCEEDED"
    ERROR = "ERROR"
    CANCELLED = "CANCELLED"


class BatchStatus(enum.StrEnum):
    """How far a batch is."""

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
"""Of `batches get --exit-status`, and of whatever waits for the end."""

TERMINAL = (BatchStatus.SUCCEEDED, BatchStatus.ERROR, BatchStatus.CANCELLED)

_STATES = {"WARNING": Status.WARNING, "ERROR": Status.ERROR, "BLOCKER": Status.BLOCKER}
_METRICS = {Word.PASSED: "PASSED", Word.WARNING: "FAIL_WARN", Word.BLOCKER: "FAIL_BLOCK"}


@dataclass(frozen=True, slots=True)
class Member:
    """A test, or the stage of batch metrics (`aggregate`), with its live attempt. `stages`: the names of its steps."""

    job: Job
    attempt: Attempt | None
    stages: tuple[str, ...]
    aggregate: bool

    @property
    def status(self) -> TestStatus:
        """How far it is."""
        state = self.job.state
        if state in ENDED:
            return _ENDED[state]
        if state is State.RUNNING and self.attempt is not None:
            at = max((one.position + 1 for one in self.attempt.steps if one.state in ENDED), default=0)
            return _RUNNING[max(at, self.attempt.start_step) > 0]
        return TestStatus.METRICS_QUEUED if self.job.resume_step else TestStatus.SUBMITTED

    @property
    def verdict(self) -> Verdict | None:
        """What its live attempt found."""
        return self.attempt.verdict if self.attempt else None

    @property
    def metrics_status(self) -> str:
        """The verdict, as ReSim's metrics say it."""
        return _METRICS[self.verdict.word] if self.verdict else "NOT_APPLICABLE"

    @property
    def experience(self) -> str:
        """The name of its experience; of a job that came another way, its own."""
        binding: Mapping[str, Any] = json.loads(self.job.binding)
        found = binding.get("experience")
        return found if isinstance(found, str) else self.job.name


_RUNNING = {False: TestStatus.EXPERIENCE_RUNNING, True: TestStatus.METRICS_RUNNING}
_ENDED = {
    State.COMPLETED: TestStatus.SUCCEEDED,
    State.FAILED: TestStatus.ERROR,
    State.CANCELED: TestStatus.CANCELLED,
}


def conflated(member: Member) -> str:
    """Status and metrics in one word."""
    found = status_of(member.job.state, member.verdict.word if member.verdict else None)
    return "CANCELLED" if found is Status.CANCELED else found.value.upper()


@dataclass(frozen=True, slots=True)
class Batch:
    """A workflow, its tests and its batch metrics, as they stand. `asked`: it was created by this dialect."""

    workflow: Workflow
    tests: Sequence[Member]
    metrics: Sequence[Member]
    params: Mapping[str, Any]
    asked: Asked | None = None

    @property
    def status(self) -> BatchStatus:
        """The batch's one word. What is held, or waits behind what has ended badly, counts as ended."""
        if (going := _going(self.tests)) is not None:
            begun = any(one.attempt is not None or one.job.attempts for one in self.tests)
            return BatchStatus.EXPERIENCES_RUNNING if going or begun else BatchStatus.SUBMITTED
        if (going := _going(self.metrics)) is not None:
            return BatchStatus.BATCH_METRICS_RUNNING if going else BatchStatus.BATCH_METRICS_QUEUED
        tests = Counter(one.status for one in self.tests)
        metrics = Counter(one.status for one in self.metrics)
        if metrics[TestStatus.ERROR] or not self.allows(tests[TestStatus.ERROR]):
            return BatchStatus.ERROR
        if tests[TestStatus.CANCELLED] or metrics[TestStatus.CANCELLED]:
            return BatchStatus.CANCELLED
        ended = tests[TestStatus.SUCCEEDED] + tests[TestStatus.ERROR] == len(self.tests)
        done = ended and metrics[TestStatus.SUCCEEDED] == len(self.metrics)
        return BatchStatus.SUCCEEDED if done else BatchStatus.SUBMITTED

    def allows(self, errors: int) -> bool:
        """So many tests may have an error, and the batch is none for that."""
        percent = self.asked.allowable_failure_percent if self.asked else 0
        return 100 * errors <= percent * len(self.tests)

    @property
    def name(self) -> str:
        """For messages: `batch 3 merry-indigo-otter`."""
        return f"batch {self.workflow.id} {self.workflow.name}"


def _going(members: Sequence[Member]) -> bool | None:
    """Whether any of them runs; None: nor will any by itself."""
    if any(one.job.state in ACTIVE for one in members):
        return True
    return False if any(one.job.state is State.READY and one.job.held is None for one in members) else None


def read_batch(session: Session, workflow: Workflow) -> Batch:
    """A workflow as a batch. Jobs that a revision left out are not of it."""
    ids = look.select(session, Selection(workflow=str(workflow.id)))
    rows = [row for row in look.jobs(session, ids) if not row.job.retired]
    templates = look.templates_of(session, [row.job for row in rows])
    members = [
        Member(
            row.job,
            row.attempt,
            tuple(step.name for step in templates[row.job.id].steps),
            templates[row.job.id].aggregate,
        )
        for row in rows
    ]
    params = look.params(session, workflow)
    return Batch(
        workflow,
        [one for one in members if not one.aggregate],
        [one for one in members if one.aggregate],
        params,
        asked_of(params),
    )


def read_states(option: str, text: str) -> frozenset[Status]:
    """`Error, Warning,Blocker` in any case; none, for an empty text."""
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
    """Ids, several in one text with commas; BadValue names what is none."""
    words = [word.strip() for text in texts for word in text.split(",")]
    wrong = [word for word in words if not (word.isascii() and word.isdecimal())]
    if wrong and any(texts):
        raise BadValue(f"{option}: unable to parse the ID {wrong[0]!r:.60}", hint="`resim batches tests` lists them")
    return tuple(dict.fromkeys(int(word) for word in words)) if any(texts) else ()
