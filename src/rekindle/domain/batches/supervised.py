"""What is said when supervising ends: what came of each round, what a rerun has fixed, and what is left and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from rekindle.domain.batches.flakiness import Passed
from rekindle.domain.batches.guards import Guards
from rekindle.domain.batches.supervising import Candidate, Decision, End, Member, matches
from rekindle.domain.models import FailureGroup
from rekindle.domain.states import State
from rekindle.domain.verdicts import Status, Word, exit_code_for

NOT_ASKED_FOR = "its cause is not asked for"


@dataclass(frozen=True, slots=True)
class Round:
    """What was found and done when the batch had come to rest. The last one reruns nothing."""

    number: int  # from 1
    percent: float
    matching: int
    total: int
    rerun: int | None = None
    jobs: int = 0  # that were run again, without what is below them
    stopped: Mapping[str, float] = field(default_factory=dict)  # groups, with their percentages


@dataclass(frozen=True, slots=True)
class Fixed:
    """A job that was run again, and is well now."""

    id: int
    name: str
    attempts: int  # in all its history
    status: Status
    passed: Passed | None  # how it came to that; None: nobody can say


@dataclass(frozen=True, slots=True)
class Failing:
    """Jobs that fail alike still."""

    signature: str
    cause: str
    type: str
    message: str
    jobs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Left:
    """A job that matches still and was left as it is."""

    id: int
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Report:
    """How supervising ended."""

    supervision: int
    workflow: int
    name: str
    end: End
    why: str
    rounds: tuple[Round, ...]
    statuses: Mapping[Status, int]  # of all jobs, as they stand now
    fixed: tuple[Fixed, ...]
    failing: tuple[Failing, ...]
    left: tuple[Left, ...]
    attempts: int  # that the reruns have taken
    core_seconds: float
    seconds: float  # since supervising began
    never_fit: tuple[tuple[str, str], ...] = ()  # (job, what it asks that the runner does not have)
    held: int = 0  # jobs that are held

    @property
    def reruns(self) -> int:
        """How often the batch was run again."""
        return sum(one.rerun is not None for one in self.rounds)

    def exit_code(self, asked: Collection[Word]) -> int:
        """The batch's: timed out 6, errors 2, canceled 5, jobs that can never fit 1; then 7 for blockers and 8 for
        warnings, as far as they are asked for; else 0."""
        if self.end is End.TIMED_OUT:
            return 6
        if self.statuses.get(Status.ERROR):
            return 2
        if self.end is End.CANCELED or self.statuses.get(Status.CANCELED):
            return 5
        return 1 if self.never_fit else exit_code_for(self.statuses, asked)


def statuses_now(members: Sequence[Member]) -> dict[Status, int]:
    """How many jobs have which status; only those that occur."""
    found = Counter(one.status for one in members)
    return {status: found[status] for status in Status if found[status]}


def fixed_ones(
    members: Sequence[Member], ran: Collection[int], passed: Mapping[int, Passed], guards: Guards
) -> list[Fixed]:
    """Those of the jobs that were run again that have completed and match no more."""
    return [
        Fixed(one.id, one.name, one.attempts, one.status, passed.get(one.id))
        for one in members
        if one.id in ran and one.state is State.COMPLETED and one.status not in guards.on
    ]


def failing_ones(groups: Sequence[FailureGroup]) -> list[Failing]:
    """The failures that stand, by how they failed, the most frequent first."""
    return [Failing(one.signature, one.cause.value, one.type, one.message, one.jobs) for one in groups]


def left_ones(
    jobs: Sequence[Candidate],
    names: Mapping[int, str],
    decision: Decision,
    refused: Mapping[int, str],
    guards: Guards,
) -> list[Left]:
    """What matches still, or fails for a cause that is not asked for, and why it is not run again. `refused` are jobs
    that a rerun could not take, with the reasons."""
    found = []
    for one in jobs:
        if matches(one, guards):
            why = refused.get(one.job) or _stopped(one, decision, guards) or decision.why
        elif one.status in guards.on:
            why = NOT_ASKED_FOR
        else:
            continue
        found.append(Left(one.job, names[one.job], why))
    return found


def _stopped(one: Candidate, decision: Decision, guards: Guards) -> str | None:
    percent = decision.stopped.get(one.group)
    if percent is None or one.aggregate:
        return None
    return f"its {guards.group_by} {one.group or '(none)'} fails too often: {percent:.1f} %"
