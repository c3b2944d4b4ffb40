"""Flakiness: how jobs came to pass (at once, flaky, or after a change), and how often they fail.

Attempts count as made under the same conditions if everything recorded about their dependencies is equal: the fields of
the definition that matter to the result, resources, parameters, matrix values, overrides, inputs, outer variables,
modules, and the results of needed jobs. Undeclared dependencies cannot count. Attempts that were lost or canceled say
nothing about the job and are only counted."""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

Z = 1.959963984540054
"""95 % of the standard normal distribution lie within this many deviations of the mean."""


class PassHistory(enum.StrEnum):
    """How a job came to its current outcome, by its whole history."""

    PLAIN = "plain"  # it never failed
    FLAKY = "flaky"  # it passed, and has failed under conditions under which it passes
    MODIFIED = "modified"  # it passed after a change: it did not pass before, or has overrides now
    MIXED = "mixed"  # it failed last, and has passed under the same conditions
    FAILING = "failing"  # it failed last, and has never passed under the same conditions


class ConditionStatistics(msgspec.Struct, frozen=True):
    """The outcomes of a job's attempts under the same conditions. Attempts are identified by their ids, in creation
    order."""

    job: int
    conditions: Hashable
    passes: int = 0
    failures: int = 0
    first_failure: int | None = None
    newest: int = 0  # attempt
    newest_passed: bool = False
    modified: bool = False  # with the overrides of a rerun

    def __add__(self, other: ConditionStatistics) -> ConditionStatistics:
        """Add statistics of the same job and conditions."""
        newest = max(self, other, key=lambda one: one.newest)
        firsts = [one for one in (self.first_failure, other.first_failure) if one is not None]
        return replace(
            newest,
            passes=self.passes + other.passes,
            failures=self.failures + other.failures,
            first_failure=min(firsts, default=None),
        )

    @property
    def mixed(self) -> bool:
        """Whether some attempts passed and some failed."""
        return bool(self.passes and self.failures)


class FailureKind(msgspec.Struct, frozen=True):
    """One failure signature of a job."""

    signature: str
    cause: str
    type: str
    message: str
    count: int
    newest: int  # attempt
    newest_message: str = ""  # as written by that attempt, in one line; `message` is normalized


class HostStatistics(msgspec.Struct, frozen=True):
    """The outcomes of a job on one host."""

    host: str
    passes: int
    failures: int


VerifiedWord = Literal["reproducible", "differs", "unknown"]
"""How a completed attempt came out when it was made again aside: as recorded, with another
result, or not comparable."""


class Verification(msgspec.Struct, frozen=True):
    """A completed attempt that was made again aside."""

    attempt: int
    at: float
    outcome: VerifiedWord
    detail: Mapping[str, Any]


class Flakiness(msgspec.Struct, frozen=True):
    """How often a job fails under conditions under which it can pass.

    `passes` and `failures` count attempts under conditions under which it has ever passed, or all attempts if it never
    has. `elsewhere` counts the failures under other conditions."""

    job: int
    passed: PassHistory
    passes: int
    failures: int
    elsewhere: int
    lost: int = 0  # attempts that were lost or canceled
    last: float | None = None  # the end of its last attempt
    last_failure: float | None = None
    signatures: tuple[FailureKind, ...] = ()  # most frequent first
    hosts: tuple[HostStatistics, ...] = ()  # most failures first
    interval: tuple[float, float] = msgspec.field(default=(0.0, 1.0))
    verified: Verification | None = None  # the newest

    @property
    def rate(self) -> float:
        """The share of failures among the counted attempts."""
        return self.failures / (self.failures + self.passes)

    @property
    def mixed(self) -> bool:
        """Whether it has failed under conditions under which it passes."""
        return bool(self.passes and self.failures)


def merge_statistics(tried: Iterable[ConditionStatistics]) -> dict[int, list[ConditionStatistics]]:
    """Merge statistics by job and conditions. The entries of a job are ordered by their newest attempt."""
    found: dict[int, dict[Hashable, ConditionStatistics]] = {}
    for one in tried:
        known = found.setdefault(one.job, {})
        known[one.conditions] = known[one.conditions] + one if one.conditions in known else one
    return {job: sorted(known.values(), key=lambda one: one.newest) for job, known in found.items()}


def pass_history(tried: Sequence[ConditionStatistics]) -> PassHistory:
    """Return how a job came to its current outcome, from the statistics of all its conditions (at least one), ordered
    as by `merge_statistics`."""
    now, earlier = tried[-1], tried[:-1]
    if not now.newest_passed:
        return PassHistory.MIXED if now.passes else PassHistory.FAILING
    if now.failures:
        return PassHistory.FLAKY
    if now.modified or any(one.failures and not one.passes for one in earlier):
        return PassHistory.MODIFIED
    return PassHistory.FLAKY if any(one.failures for one in earlier) else PassHistory.PLAIN


def measure_flakiness(tried: Sequence[ConditionStatistics]) -> Flakiness:
    """Return a job's failure rate, with its confidence interval."""
    able = [one for one in tried if one.passes]
    counted = able or tried
    passes, failures = sum(one.passes for one in counted), sum(one.failures for one in counted)
    return Flakiness(
        job=tried[-1].job,
        passed=pass_history(tried),
        passes=passes,
        failures=failures,
        elsewhere=sum(one.failures for one in tried) - failures,
        interval=wilson_interval(failures, passes + failures),
    )


def sort_by_certainty(found: Mapping[int, Flakiness]) -> list[Flakiness]:
    """Sort by the lower bound of the failure rate, highest first: one failure in two attempts says less than ten in
    twenty."""
    return sorted(found.values(), key=lambda one: (-one.interval[0], -one.rate, -one.failures, one.job))


def wilson_interval(hits: int, of: int) -> tuple[float, float]:
    """Return the 95 % score interval of the share `hits` / `of`; (0, 1) for no observations.
    Unlike the normal approximation, it holds for small counts: it has a width at 0 of n and stays within [0, 1].

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
    Statistical Association 22 (1927), 209-212."""
    if of == 0:
        return 0.0, 1.0
    share, square = hits / of, Z * Z / of
    middle = (share + square / 2) / (1 + square)
    reach = Z / (1 + square) * math.sqrt(share * (1 - share) / of + square / of / 4)
    low, high = max(0.0, middle - reach), min(1.0, middle + reach)
    return (0.0 if hits == 0 else low, 1.0 if hits == of else high)
