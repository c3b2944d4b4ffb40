"""Which attempts may be pruned: rules of age and number, and what others build on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from rekindle.domain.errors import UsageError
from rekindle.domain.states import State

PrunedLogs = Literal["removed", "compressed"]
"""What a prune does with logs."""

Kept = Literal["newest", "young", "last", "needed"]
"""Why an archived attempt is not pruned: it is the newest of its job, which undo may restore; it is not old enough; it
is among the last ones that are kept of each job; or another attempt or job builds on it."""


class RetentionRules(msgspec.Struct, frozen=True):
    """What is pruned: attempts that ended more than `older_than` seconds ago, but for the last `keep_last` of each job.
    None: no such rule; one of both is required."""

    older_than: float | None = None
    keep_last: int | None = None
    logs: PrunedLogs = "removed"

    def check(self) -> None:
        """Raise UsageError without any rule, or for a number below 0."""
        if self.older_than is None and self.keep_last is None:
            raise UsageError("say what to prune", hint="--older-than 30d, --keep-last 3, or both")
        if self.keep_last is not None and self.keep_last < 0:
            raise UsageError(f"--keep-last {self.keep_last} is below 0", hint="--keep-last 3 keeps the last three")


class ArchivedAttempt(msgspec.Struct, frozen=True):
    """An archived attempt that has ended, as pruning reads it."""

    id: int
    job: int
    name: str  # the job's
    version: int  # the job's
    workflow: int
    number: int  # from 1, within the job
    state: State
    cause: str | None
    ended: float | None
    logs: PrunedLogs | None  # what an earlier prune did with its logs; None: it has not been pruned
    later: int  # the number of later attempts of its job


class PruneChoice(msgspec.Struct, frozen=True):
    """The attempts to prune, and how many others are kept, by reason."""

    chosen: tuple[ArchivedAttempt, ...]
    kept: Mapping[Kept, int]


def choose_pruned(
    attempts: Sequence[ArchivedAttempt],
    rules: RetentionRules,
    now: float,
    held: Collection[int],
    links: Iterable[tuple[int, int]],
) -> PruneChoice:
    """Choose the attempts to prune. `held`: attempts that must stay; `links`: (an attempt, an earlier one that it
    builds on). What an attempt that stays builds on stays too."""
    kept: dict[int, Kept] = {}
    for one in attempts:
        if (why := _rule_that_keeps(one, rules, now)) is not None:
            kept[one.id] = why
    candidates = {one.id for one in attempts if one.id not in kept}
    for attempt in needed_among(candidates, held, links):
        kept[attempt] = "needed"
    chosen = tuple(one for one in attempts if one.id not in kept)
    again = {one.id for one in attempts if one.logs is not None}  # kept as what a prune has left of them
    return PruneChoice(chosen, Counter(why for attempt, why in kept.items() if attempt not in again))


def needed_among(candidates: Collection[int], held: Collection[int], links: Iterable[tuple[int, int]]) -> set[int]:
    """Return which candidates must stay: the held ones, and each that an attempt builds on that stays itself."""
    builds_on: dict[int, list[int]] = {}
    for later, earlier in links:
        builds_on.setdefault(later, []).append(earlier)
    reached = [earlier for later, several in builds_on.items() if later not in candidates for earlier in several]
    frontier = [*(one for one in held if one in candidates), *reached]
    needed: set[int] = set()
    while frontier:
        attempt = frontier.pop()
        if attempt in candidates and attempt not in needed:
            needed.add(attempt)
            frontier += builds_on.get(attempt, ())
    return needed


def _rule_that_keeps(one: ArchivedAttempt, rules: RetentionRules, now: float) -> Kept | None:
    if one.later == 0:
        return "newest"
    if rules.keep_last is not None and one.later < rules.keep_last:
        return "last"
    if rules.older_than is not None and (one.ended or 0.0) > now - rules.older_than:
        return "young"
    return "young" if one.logs is not None and rules.logs == "compressed" else None
