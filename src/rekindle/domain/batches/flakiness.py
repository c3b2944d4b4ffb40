"""How jobs came to pass: at once, flaky, or only after something had been changed; and how often they fail.

Attempts count as made under the same conditions when all that is recorded of what they depended on is the same: the
fields of the definition that matter to the result, resources, parameters, matrix values, what a rerun had modified,
inputs, outer variables, modules, and what the jobs that they need came to. What nobody declared cannot count. An
attempt that was lost or canceled says nothing of its job, and is only counted.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

Z = 1.959963984540054
"""Of the standard normal distribution, 95 % lie within so many deviations of the mean."""


class Passed(enum.StrEnum):
    """How a job came to where it stands, by its whole history."""

    PLAIN = "plain"  # it never failed
    FLAKY = "flaky"  # it passed, and has failed under conditions under which it passes
    MODIFIED = "modified"  # it passed once something was changed: what it had before did not pass, or is modified now
    MIXED = "mixed"  # it failed last, and has passed under the same conditions
    FAILING = "failing"  # it failed last, and has never passed under the same conditions


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a job's attempts under the same conditions. Attempts are known by their ids, in the order of
    which they were made."""

    job: int
    conditions: Hashable
    passes: int = 0
    failures: int = 0
    first_failure: int | None = None
    newest: int = 0  # attempt
    newest_passed: bool = False
    modified: bool = False  # a rerun had modified them

    def __add__(self, other: Tried) -> Tried:
        """Both, told to be of one job and under the same conditions."""
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
        """Some passed, and some did not."""
        return bool(self.passes and self.failures)


@dataclass(frozen=True, slots=True)
class Failing:
    """One way in which a job has failed."""

    signature: str
    cause: str
    type: str
    message: str
    count: int
    newest: int  # attempt
    newest_message: str = ""  # as that attempt wrote it, in one line; `message` is normalised


@dataclass(frozen=True, slots=True)
class OnHost:
    """How a job has gone on a host."""

    host: str
    passes: int
    failures: int


@dataclass(frozen=True, slots=True)
class Flakiness:
    """How often a job fails under conditions under which it can pass.

    `passes` and `failures` are those under conditions under which it has ever passed; where it never has, all of them.
    `elsewhere` are the failures under other conditions, of which nothing can be said."""

    job: int
    passed: Passed
    passes: int
    failures: int
    elsewhere: int
    lost: int = 0  # attempts that were lost or canceled
    last: float | None = None  # when its last attempt ended
    last_failure: float | None = None
    signatures: tuple[Failing, ...] = ()  # most frequent first
    hosts: tuple[OnHost, ...] = ()  # most failures first
    interval: tuple[float, float] = field(default=(0.0, 1.0))

    @property
    def rate(self) -> float:
        """Failures among all that count."""
        return self.failures / (self.failures + self.passes)

    @property
    def mixed(self) -> bool:
        """It has failed under conditions under which it passes."""
        return bool(self.passes and self.failures)


def merged(tried: Iterable[Tried]) -> dict[int, list[Tried]]:
    """By job, one for each of its conditions, in the order in which they were last met."""
    found: dict[int, dict[Hashable, Tried]] = {}
    for one in tried:
        known = found.setdefault(one.job, {})
        known[one.conditions] = known[one.conditions] + one if one.conditions in known else one
    return {job: sorted(known.values(), key=lambda one: one.newest) for job, known in found.items()}


def passed(tried: Sequence[Tried]) -> Passed:
    """How a job came to where it stands, from all of its conditions (at least one), in the order of `merged`."""
    now, earlier = tried[-1], tried[:-1]
    if not now.newest_passed:
        return Passed.MIXED if now.passes else Passed.FAILING
    if now.failures:
        return Passed.FLAKY
    if now.modified or any(one.failures and not one.passes for one in earlier):
        return Passed.MODIFIED
    return Passed.FLAKY if any(one.failures for one in earlier) else Passed.PLAIN


def flakiness(tried: Sequence[Tried]) -> Flakiness:
    """The same as a rate, with the interval in which it lies."""
    able = [one for one in tried if one.passes]
    counted = able or tried
    passes, failures = sum(one.passes for one in counted), sum(one.failures for one in counted)
    return Flakiness(
        job=tried[-1].job,
        passed=passed(tried),
        passes=passes,
        failures=failures,
        elsewhere=sum(one.failures for one in tried) - failures,
        interval=wilson(failures, passes + failures),
    )


def by_certainty(found: Mapping[int, Flakiness]) -> list[Flakiness]:
    """Those that fail most often for certain first: one failure in two says less than ten in twenty."""
    return sorted(found.values(), key=lambda one: (-one.interval[0], -one.rate, -one.failures, one.job))


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % score interval for a share, of which `hits` among `of` were seen; (0, 1) when nothing was. It holds for
    small counts too, where the textbook's interval has no width at 0 of n and leaves [0, 1].

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
    Statistical Association 22 (1927), 209-212."""
    if of == 0:
        return 0.0, 1.0
    share, square = hits / of, Z * Z / of
    middle = (share + square / 2) / (1 + square)
    reach = Z / (1 + square) * math.sqrt(share * (1 - share) / of + square / of / 4)
    low, high = max(0.0, middle - reach), min(1.0, middle + reach)
    return (0.0 if hits == 0 else low, 1.0 if hits == of else high)
