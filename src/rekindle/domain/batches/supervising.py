"""What supervising does with a batch that has come to rest: run again what failed, or stop, and why.

One round is: wait until nothing of the workflow can run, look, decide. What is decided is written with the rerun in one
transaction, so that whoever goes on after a death decides nothing twice.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from rekindle.domain.batches.guards import Budget, Guards
from rekindle.domain.causes import Cause
from rekindle.domain.models import Place
from rekindle.domain.states import State
from rekindle.domain.verdicts import Status, Word, status_of

NO_GROUP = ""
"""The group of a job to which the word that groups does not apply."""


class End(enum.StrEnum):
    """Why supervising ends."""

    CLEAN = "clean"  # nothing is left that was to be run again
    MAX_RERUNS = "max_reruns"
    FAILURE_PERCENT = "failure_percent"
    GROUPS = "groups"  # all that is left is of groups that were stopped
    BUDGET = "budget"
    CANCELED = "canceled"
    TIMED_OUT = "timed_out"
    REFUSED = "refused"  # none of what is left can be rerun as it stands
    GIVEN_UP = "given_up"  # it died, and supervising began anew in another way


@dataclass(frozen=True, slots=True)
class Supervision:
    """Somebody supervises a workflow, or has. `asked` is the JSON text of what was asked for."""

    id: int
    workflow: int
    asked: str
    began: float
    owner: Place
    outcome: End | None = None  # it ends, and that may not be told yet
    report: str | None = None  # JSON text: what is to be told
    ended: float | None = None  # it has been told


class Member(NamedTuple):
    """A job of a batch, and what its live attempt came to."""

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
    found: Word | None

    @property
    def status(self) -> Status:
        """State and verdict in one word."""
        return status_of(self.state, self.found)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job of the batch as it came to rest. An aggregate is no test: it runs again with the others, and counts in no
    percentage."""

    job: int
    status: Status
    cause: Cause | None = None
    signature: str | None = None
    group: str = NO_GROUP
    aggregate: bool = False


@dataclass(frozen=True, slots=True)
class Grouped:
    """What a job may be grouped by."""

    host: str | None = None
    signature: str | None = None
    cause: Cause | None = None
    template: str = ""
    matrix: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spent:
    """What the reruns so far have taken, and what the one at hand is expected to."""

    attempts: int = 0
    core_seconds: float = 0.0
    seconds: float = 0.0
    next_attempts: int = 0
    next_core_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """Run `rerun` again, or end. `stopped` are groups that are left as they are, with their percentages."""

    rerun: tuple[int, ...] = ()
    end: End | None = None
    why: str = ""
    percent: float = 0.0
    matching: int = 0
    total: int = 0
    stopped: Mapping[str, float] = field(default_factory=dict)


def group_of(by: str | None, one: Grouped) -> str:
    """The group of a job."""
    match (by or "").partition("."):
        case ("host" | "signature" | "cause" | "template" as word, _, _):
            return getattr(one, word) or NO_GROUP
        case ("matrix", _, key):
            return str(one.matrix.get(key, NO_GROUP))
    return NO_GROUP


def decide_round(rerun: int, jobs: Sequence[Candidate], guards: Guards) -> Decision:
    """What to do with a batch at rest after `rerun` reruns. Guards that depend on what the next rerun is expected to
    cost are `within_budget`'s.

    The order of the rules is that of ReSim's supervise (CLI 0.65): the last round, a canceled batch, nothing that
    matches, the percentage; groups come after."""
    counted = [one for one in jobs if not one.aggregate]
    matching = [one for one in jobs if matches(one, guards)]
    failing = sum(not one.aggregate for one in matching)
    percent = 100.0 * failing / len(counted) if counted else 0.0
    stopped = _stopped(counted, matching, guards)
    found = Decision(percent=percent, matching=len(matching), total=len(counted), stopped=stopped)
    if not matching:
        end = End.CANCELED if _canceled(jobs, guards) else End.CLEAN
        return _ended(found, end, "nothing is left to run again")
    if _canceled(jobs, guards):
        return _ended(found, End.CANCELED, "jobs were canceled: a batch that was canceled is not run again")
    if rerun >= guards.max_reruns:
        times = "once" if guards.max_reruns == 1 else f"{guards.max_reruns} times"
        return _ended(found, End.MAX_RERUNS, f"it has been run again {times}, which is the most")
    if percent > guards.max_failure_percent:
        why = f"{percent:.1f} % fail, more than {guards.max_failure_percent:g} %"
        return _ended(found, End.FAILURE_PERCENT, why)
    left = tuple(sorted(one.job for one in matching if one.group not in stopped or one.aggregate))
    if failing and all(one.group in stopped for one in matching if not one.aggregate):
        why = "every group that fails does so too often: " + ", ".join(f"{name or '(none)'}" for name in stopped)
        return _ended(found, End.GROUPS, why)
    return replace(found, rerun=left)


def matches(one: Candidate, guards: Guards) -> bool:
    """The job is what was asked to be run again."""
    return one.status in guards.on and (not guards.on_causes or one.cause is None or one.cause in guards.on_causes)


def within_budget(budget: Budget, spent: Spent) -> str | None:
    """Why the next rerun would take more than is left; None: it fits."""
    if budget.attempts is not None and spent.attempts + spent.next_attempts > budget.attempts:
        return (
            f"{spent.next_attempts} attempts more would be {spent.attempts + spent.next_attempts}, "
            f"of {budget.attempts} at the most"
        )
    core = spent.core_seconds + spent.next_core_seconds
    if budget.core_seconds is not None and core > budget.core_seconds:
        return f"it would come to {core / 3600:.2f} core-hours, of {budget.core_seconds / 3600:.2f} at the most"
    if budget.seconds is not None and spent.seconds >= budget.seconds:
        return f"the time for it is over ({budget.seconds:g} s)"
    return None


def _canceled(jobs: Collection[Candidate], guards: Guards) -> bool:
    return Status.CANCELED not in guards.on and any(one.status is Status.CANCELED for one in jobs)


def _stopped(counted: Sequence[Candidate], matching: Sequence[Candidate], guards: Guards) -> dict[str, float]:
    """Groups that fail too often, with their percentages. Those that failed alone have a signature and a cause: the
    share of such a group is that of the whole batch."""
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


def _ended(found: Decision, end: End, why: str) -> Decision:
    return replace(found, end=end, why=why)


_OF_FAILURES = frozenset({"signature", "cause"})
"""Groups that only what failed is of."""
