"""The report at the end of a supervision: the outcome of each round, the jobs that were fixed, and those left with the
reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.batches.flakiness import PassHistory
from rekindle.domain.batches.quarantine import QuarantinedJobs, covered_jobs
from rekindle.domain.batches.supervision import (
    BatchJob,
    Guards,
    RerunCandidate,
    RoundDecision,
    SupervisionEnd,
    matches_guards,
)
from rekindle.domain.judging import undecided_text
from rekindle.domain.states import State
from rekindle.domain.verdicts import Status, VerdictLevel, exit_code_for

if TYPE_CHECKING:
    from rekindle.domain.models import FailureGroup

CAUSE_NOT_SELECTED = "its cause is not asked for"


class RoundReport(msgspec.Struct, frozen=True):
    """The state of the batch at rest, and the rerun that followed. The last round reruns nothing."""

    number: int  # from 1
    percent: float
    matching: int  # of the jobs in `total`
    total: int  # jobs, without aggregates
    rerun: int | None = None
    jobs: int = 0  # rerun, without their descendants
    stopped: Mapping[str, float] = msgspec.field(default_factory=dict)  # groups, with their percentages
    aggregates: int = 0  # that match


class FixedJob(msgspec.Struct, frozen=True):
    """A job that was rerun and no longer needs one."""

    id: int
    name: str
    attempts: int  # over its whole history
    status: Status
    passed: PassHistory | None  # how it came to pass; None: unknown


class FailingGroup(msgspec.Struct, frozen=True):
    """Jobs that still fail with the same signature."""

    signature: str
    cause: str
    type: str
    message: str
    jobs: tuple[int, ...]


class RemainingJob(msgspec.Struct, frozen=True):
    """A job that still matches and was not rerun."""

    id: int
    name: str
    why: str


class SupervisionReport(msgspec.Struct, frozen=True):
    """The result of a supervision.

    Attributes:
        supervision: Its number in the store.
        workflow: The id of the workflow.
        name: Of the workflow.
        end: Why it ended: clean, max_reruns, failure_percent, groups, budget, canceled, timed_out, refused or given_up.
        why: The same as a sentence.
        rounds: The state of the batch at each rest, and the rerun that followed.
        statuses: The number of jobs with each status, at the end.
        fixed: Jobs that were rerun and need no more.
        failing: Jobs that still fail, by signature.
        left: Jobs that match and were not rerun, with the reason.
        attempts: Of all reruns.
        core_seconds: Running time of all reruns multiplied by processors.
        seconds: Since supervision began.
        never_fit: Jobs that need more than the runner has, each with the resource.
        held: The number of held jobs.
        quarantined: Failed jobs that have a quarantine, also one that has ended.
        began: When supervision began, in seconds since the epoch.
    """

    supervision: int
    workflow: int
    name: str
    end: SupervisionEnd
    why: str
    rounds: tuple[RoundReport, ...]
    statuses: Mapping[Status, int]
    fixed: tuple[FixedJob, ...]
    failing: tuple[FailingGroup, ...]
    left: tuple[RemainingJob, ...]
    attempts: int
    core_seconds: float
    seconds: float
    never_fit: tuple[tuple[str, str], ...] = ()
    held: int = 0
    quarantined: tuple[QuarantinedJobs, ...] = ()
    began: float = 0.0

    @property
    def reruns(self) -> int:
        """The number of reruns."""
        return sum(one.rerun is not None for one in self.rounds)

    def exit_code(self, asked: Collection[VerdictLevel]) -> int:
        """Return the batch's exit code: timed out 6, errors 2 (those in quarantine do not count), canceled 5, jobs that
        can never fit 1; then 7 for blockers and 8 for warnings of the levels in `asked`; otherwise 0."""
        if self.end is SupervisionEnd.TIMED_OUT:
            return 6
        if self.statuses.get(Status.ERROR, 0) > len(covered_jobs(self.quarantined)):
            return 2
        if self.end is SupervisionEnd.CANCELED or self.statuses.get(Status.CANCELED):
            return 5
        return 1 if self.never_fit else exit_code_for(self.statuses, asked)


def count_statuses(members: Sequence[BatchJob]) -> dict[Status, int]:
    """Count the jobs by status, without zero counts."""
    found = Counter(one.status for one in members)
    return {status: found[status] for status in Status if found[status]}


def fixed_jobs(
    members: Sequence[BatchJob], ran: Collection[int], passed: Mapping[int, PassHistory], guards: Guards
) -> list[FixedJob]:
    """Return the rerun jobs that have completed and no longer match."""
    return [
        FixedJob(one.id, one.name, one.attempts, one.status, passed.get(one.id))
        for one in members
        if one.id in ran and one.state is State.COMPLETED and one.status not in guards.on
    ]


def failing_groups(groups: Sequence[FailureGroup]) -> list[FailingGroup]:
    """Return the remaining failures by signature, the most frequent first."""
    return [FailingGroup(one.signature, one.cause.value, one.type, one.message, one.jobs) for one in groups]


def remaining_jobs(
    jobs: Sequence[RerunCandidate],
    names: Mapping[int, str],
    decision: RoundDecision,
    refused: Mapping[int, str],
    guards: Guards,
) -> list[RemainingJob]:
    """Return the jobs that still match, or fail for a cause that is not selected, with the reason why they are not
    rerun. `refused` are jobs that a rerun refused, with the reasons."""
    found = []
    for one in jobs:
        if one.quarantine is not None and one.covered:
            why = f"it is in quarantine until {one.quarantine.until.isoformat()}: {one.quarantine.why}"
        elif one.undecided is not None:
            why = undecided_text(one.undecided)
        elif matches_guards(one, guards):
            why = refused.get(one.job) or _stopped(one, decision, guards) or decision.why
        elif one.status in guards.on:
            why = CAUSE_NOT_SELECTED
        else:
            continue
        found.append(RemainingJob(one.job, names[one.job], why))
    return found


def _stopped(one: RerunCandidate, decision: RoundDecision, guards: Guards) -> str | None:
    percent = decision.stopped.get(one.group)
    if percent is None or one.aggregate:
        return None
    return f"its {guards.group_by} {one.group or '(none)'} fails too often: {percent:.1f} %"
