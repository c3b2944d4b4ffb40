"""Supervision of a batch: its options, and the decision after each round: rerun what failed, or end.

A round waits until nothing in the workflow can run, examines the jobs and decides. The decision is stored with the
rerun in one transaction, so that a successor of a dead supervisor does not decide twice."""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from rekindle.domain.definition import Quarantine
from rekindle.domain.errors import BadValue, UnknownWord
from rekindle.domain.models import ProcessIdentity
from rekindle.domain.states import Cause, State
from rekindle.domain.texts.display import did_you_mean
from rekindle.domain.verdicts import Status, VerdictLevel, status_of


class Budget(msgspec.Struct, frozen=True):
    """The limits of all reruns of a supervision together; None: no limit.

    Args:
        attempts: How many attempts.
        core_seconds: Running time multiplied by processors.
        seconds: Wall time since supervision began.
    """

    attempts: int | None = None
    core_seconds: float | None = None
    seconds: float | None = None


class Guards(msgspec.Struct, frozen=True):
    """What a supervision reruns, how often, and when it stops.

    Args:
        max_reruns: The most reruns; 0 reruns nothing.
        max_failure_percent: It ends if more of the jobs match than this.
        on: Jobs with one of these statuses are rerun: `Status.ERROR`, `BLOCKER`, `WARNING`, `CANCELED`.
        on_causes: Of the jobs with a cause, only those with one of these. Empty: any cause.
        group_by: Groups for `max_group_percent`: "host", "signature", "cause", "template" or "matrix.NAME".
        max_group_percent: A group is not rerun any more if more of its jobs match than this.
        canary: Run this many jobs of each signature first, and the rest only if these pass.
        budget: The limits of all reruns together.
    """

    max_reruns: int = 1
    max_failure_percent: float = 50.0
    on: frozenset[Status] = frozenset({Status.ERROR})
    on_causes: frozenset[Cause] = frozenset()
    group_by: str | None = None
    max_group_percent: float | None = None
    canary: int | None = None
    budget: Budget = msgspec.field(default_factory=Budget)


def check_guards(guards: Guards) -> None:
    """Raise BadValue for invalid options."""
    if guards.max_reruns < 0:
        raise BadValue(f"--max-reruns {guards.max_reruns}: it cannot be negative", hint="0 reruns nothing")
    for option, percent in (
        ("--max-failure-percent", guards.max_failure_percent),
        ("--max-group-percent", guards.max_group_percent),
    ):
        if percent is not None and not 0 < percent <= 100:
            raise BadValue(f"{option} {percent:g}: a percentage is above 0 and at most 100", hint=f"{option} 50")
    if guards.max_group_percent is not None and guards.group_by is None:
        raise BadValue("--max-group-percent needs groups", hint="add --group-by signature")
    if guards.canary is not None and guards.canary < 1:
        raise BadValue(f"--canary {guards.canary}: at least one job of each kind runs first", hint="--canary 1")
    if not guards.on:
        raise BadValue("--on names no status", hint="--on error")
    if guards.group_by is not None:
        _check_group_by(guards.group_by)
    _check_budget(guards.budget)


def parse_statuses(option: str, words: Iterable[str]) -> frozenset[Status]:
    """Parse statuses from words, in any case, separated by commas. Raise UnknownWord, or BadValue for a status that
    cannot be rerun."""
    found = set()
    for word in _split(words):
        key = _ALSO.get(word, word)
        if key not in list(Status):
            raise UnknownWord(
                f"{option}: unknown status {word!r}", hint=_HINTS.get(word) or did_you_mean(key, RERUNNABLE)
            )
        if key not in RERUNNABLE:
            raise BadValue(
                f"{option} {key}: jobs with this status cannot be rerun", hint=f"{option} {','.join(RERUNNABLE)}"
            )
        found.add(Status(key))
    return frozenset(found)


def parse_causes(option: str, words: Iterable[str]) -> frozenset[Cause]:
    """Parse causes from words, like `parse_statuses`."""
    known = [cause.value for cause in Cause]
    found = set()
    for word in _split(words):
        key = _ALSO.get(word, word)
        if key not in known:
            raise UnknownWord(f"{option}: unknown cause {word!r}", hint=did_you_mean(key, known))
        found.add(Cause(key))
    return frozenset(found)


def _split(words: Iterable[str]) -> Iterator[str]:
    for text in words:
        yield from (word.strip().lower() for word in text.split(",") if word.strip())


def _check_group_by(by: str) -> None:
    word, _, key = by.partition(".")
    if by in GROUPS or (word in _KEYED and key):
        return
    if word in _KEYED:
        raise BadValue(f"--group-by {by}: which {word} value?", hint=f"--group-by {word}.NAME")
    forms = [*GROUPS, *(f"{one}.NAME" for one in _KEYED)]
    raise UnknownWord(f"--group-by: there are no groups by {by!r}", hint=did_you_mean(by, forms))


def _check_budget(budget: Budget) -> None:
    for option, most in (
        ("--max-attempts", budget.attempts),
        ("--max-core-hours", budget.core_seconds),
        ("--max-time", budget.seconds),
    ):
        if most is not None and not 0 <= most < math.inf:
            raise BadValue(f"{option}: it cannot be negative or endless", hint=f"leave out {option} for no limit")


RERUNNABLE = ("error", "blocker", "warning", "canceled")
"""Statuses that may be rerun."""


GROUPS = ("host", "signature", "cause", "template")


_KEYED = ("matrix",)


_ALSO = {"cancelled": "canceled", "blockers": "blocker", "warnings": "warning", "errors": "error"}


_HINTS = {"failed": "what failed has the status `error`", "fail_block": "did you mean `blocker`?"}


NO_GROUP = ""
"""The group of a job without a value for the grouping key."""


class SupervisionEnd(enum.StrEnum):
    """Why supervision ends."""

    CLEAN = "clean"  # nothing is left to rerun
    MAX_RERUNS = "max_reruns"
    FAILURE_PERCENT = "failure_percent"
    GROUPS = "groups"  # only jobs of stopped groups are left
    BUDGET = "budget"
    CANCELED = "canceled"
    TIMED_OUT = "timed_out"
    REFUSED = "refused"  # no remaining job can be rerun
    GIVEN_UP = "given_up"  # the supervisor died, and a new supervision with other options began


class Supervision(msgspec.Struct, frozen=True):
    """A current or past supervision of a workflow. `asked` is the JSON text of its options."""

    id: int
    workflow: int
    asked: str
    began: float
    owner: ProcessIdentity
    outcome: SupervisionEnd | None = None  # it is ending; the end may not be reported yet
    report: str | None = None  # JSON text of the report
    ended: float | None = None  # the end has been reported


class BatchJob(msgspec.Struct, frozen=True, gc=False):
    """A job of a batch, with the outcome of its live attempt."""

    id: int
    name: str
    state: State
    template: int
    binding: str  # JSON text: the matrix values
    held: bool
    attempts: int
    cause: Cause | None
    host: str | None
    signature: str | None
    found: VerdictLevel | None
    undecided: str | None = None  # what its failure waits for: see domain.judging

    @property
    def status(self) -> Status:
        """State and verdict in one word."""
        return status_of(self.state, self.found)


class RerunCandidate(msgspec.Struct, frozen=True):
    """A job of a batch at rest. An aggregate runs again with the others, and counts in no percentage."""

    job: int
    status: Status
    cause: Cause | None = None
    signature: str | None = None
    group: str = NO_GROUP
    aggregate: bool = False
    quarantine: Quarantine | None = None  # in force
    undecided: str | None = None  # what its failure waits for

    @property
    def covered(self) -> bool:
        """Whether it has failed in quarantine: it counts in no percentage, and is not rerun for itself."""
        return self.quarantine is not None and self.status is Status.ERROR


class GroupKeys(msgspec.Struct, frozen=True):
    """The values by which a job may be grouped."""

    host: str | None = None
    signature: str | None = None
    cause: Cause | None = None
    template: str = ""
    matrix: Mapping[str, Any] = msgspec.field(default_factory=dict)


class SpentBudget(msgspec.Struct, frozen=True):
    """The cost of the reruns so far, and the expected cost of the next one."""

    attempts: int = 0
    core_seconds: float = 0.0
    seconds: float = 0.0
    next_attempts: int = 0
    next_core_seconds: float = 0.0


class RoundDecision(msgspec.Struct, frozen=True):
    """Rerun the jobs in `rerun`, or end. `stopped` are groups that are left as they are, with their percentages."""

    rerun: tuple[int, ...] = ()
    end: SupervisionEnd | None = None
    why: str = ""
    percent: float = 0.0
    matching: int = 0  # of the jobs in `total`
    total: int = 0  # jobs, without aggregates
    aggregates: int = 0  # that match
    stopped: Mapping[str, float] = msgspec.field(default_factory=dict)


def group_of(by: str | None, one: GroupKeys) -> str:
    """Return the group of a job."""
    match (by or "").partition("."):
        case ("host" | "signature" | "cause" | "template" as word, _, _):
            return getattr(one, word) or NO_GROUP
        case ("matrix", _, key):
            return str(one.matrix.get(key, NO_GROUP))
    return NO_GROUP


def decide_round(rerun: int, jobs: Sequence[RerunCandidate], guards: Guards) -> RoundDecision:
    """Decide what to do with a batch at rest after `rerun` reruns. `over_budget` checks the expected cost of the next
    one.

    The rules are ordered as in ReSim's supervise (CLI 0.65): the last round, a canceled batch, no match, the
    percentage; groups come after these."""
    counted = [one for one in jobs if not one.aggregate]
    matching = [one for one in jobs if matches_guards(one, guards)]
    failing = sum(not one.aggregate for one in matching)
    percent = 100.0 * failing / len(counted) if counted else 0.0
    stopped = _stopped(counted, matching, guards)
    found = RoundDecision(
        percent=percent, matching=failing, total=len(counted), aggregates=len(matching) - failing, stopped=stopped
    )
    if not matching:
        end = SupervisionEnd.CANCELED if _canceled(jobs, guards) else SupervisionEnd.CLEAN
        return _end(found, end, "nothing is left to run again")
    if _canceled(jobs, guards):
        return _end(found, SupervisionEnd.CANCELED, "jobs were canceled: a batch that was canceled is not run again")
    if rerun >= guards.max_reruns:
        reruns = "1 rerun" if guards.max_reruns == 1 else f"{guards.max_reruns} reruns"
        return _end(found, SupervisionEnd.MAX_RERUNS, f"the limit of {reruns} is reached")
    if percent > guards.max_failure_percent:
        why = f"{percent:.1f} % fail, more than {guards.max_failure_percent:g} %"
        return _end(found, SupervisionEnd.FAILURE_PERCENT, why)
    left = tuple(sorted(one.job for one in matching if one.group not in stopped or one.aggregate))
    if failing and all(one.group in stopped for one in matching if not one.aggregate):
        why = "every group that fails does so too often: " + ", ".join(f"{name or '(none)'}" for name in stopped)
        return _end(found, SupervisionEnd.GROUPS, why)
    return replace(found, rerun=left)


def matches_guards(one: RerunCandidate, guards: Guards) -> bool:
    """Return whether the options ask for a rerun of the job."""
    return (
        not one.covered
        and one.undecided is None
        and one.status in guards.on
        and (not guards.on_causes or one.cause is None or one.cause in guards.on_causes)
    )


def over_budget(budget: Budget, spent: SpentBudget) -> str | None:
    """Return why the next rerun would exceed the budget; None: it fits."""
    if budget.attempts is not None and spent.attempts + spent.next_attempts > budget.attempts:
        return (
            f"{spent.next_attempts} more attempts would make {spent.attempts + spent.next_attempts}; the limit is "
            f"{budget.attempts}"
        )
    core = spent.core_seconds + spent.next_core_seconds
    if budget.core_seconds is not None and core > budget.core_seconds:
        return f"the reruns would take {core / 3600:.2f} core-hours; the limit is {budget.core_seconds / 3600:.2f}"
    if budget.seconds is not None and spent.seconds >= budget.seconds:
        return f"the time limit of {budget.seconds:g} s has passed"
    return None


def _canceled(jobs: Collection[RerunCandidate], guards: Guards) -> bool:
    return Status.CANCELED not in guards.on and any(one.status is Status.CANCELED for one in jobs)


def _stopped(counted: Sequence[RerunCandidate], matching: Sequence[RerunCandidate], guards: Guards) -> dict[str, float]:
    """Return the groups that fail too often, with their percentages. Groups by signature or cause contain only failed
    jobs, so their percentage is of the whole batch."""
    if guards.max_group_percent is None:
        return {}
    failing = Counter(one.group for one in matching if not one.aggregate)
    sizes = Counter(one.group for one in counted)
    found = {}
    for group, number in sorted(failing.items()):
        percent = 100.0 * number / (len(counted) if guards.group_by in _OF_FAILURES else sizes[group])
        if percent > guards.max_group_percent:
            found[group] = percent
    return found


def _end(found: RoundDecision, end: SupervisionEnd, why: str) -> RoundDecision:
    return replace(found, end=end, why=why)


_OF_FAILURES = frozenset({"signature", "cause"})
"""Grouping keys that only failed jobs have."""
