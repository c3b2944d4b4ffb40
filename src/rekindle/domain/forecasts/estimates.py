"""How long the attempts of unfinished jobs will take, from those of the past.

A job takes as long as one of its own completed attempts; without any, as one of a job with the same template; without
these, as the assumption says, or as any attempt that is known. Attempts that were retried are drawn at their measured
rate, for templates that have some."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import msgspec

MOST_RETRIES = 20
"""The most retries that are drawn for one job, whatever its policy allows."""


class EstimateSource(StrEnum):
    """Where the duration of a job comes from."""

    OWN = "own"  # completed attempts of the job
    ALIKE = "alike"  # completed attempts of jobs with the same template
    ASSUMED = "assumed"  # the caller's assumption
    OTHERS = "others"  # any completed attempt that is known: there is no history
    UNKNOWN = "unknown"  # nothing is known


class PastRetries(msgspec.Struct, frozen=True):
    """The retries of a template: the seconds of each attempt that was retried, how many attempts completed, and what
    its policy says now."""

    seconds: Sequence[float]
    completed: int
    most: int
    delay: float

    @property
    def rate(self) -> float:
        """The share of attempts that were retried."""
        return len(self.seconds) / max(1, len(self.seconds) + self.completed)

    @property
    def expected(self) -> float:
        """The seconds that retries cost a job on average."""
        number = sum(self.rate**one for one in range(1, min(self.most, MOST_RETRIES) + 1))
        return number * (math.fsum(self.seconds) / len(self.seconds) + self.delay) if self.seconds else 0.0


class PastDurations(msgspec.Struct, frozen=True):
    """The seconds of completed attempts, by job and by template; see `DurationHistory`, which has their medians.

    `rest`: by job that resumes at a later step, the seconds of the steps that it will run."""

    own: Mapping[int, Sequence[float]] = msgspec.field(default_factory=dict)
    alike: Mapping[int, Sequence[float]] = msgspec.field(default_factory=dict)
    rest: Mapping[int, float] = msgspec.field(default_factory=dict)
    retries: Mapping[int, PastRetries] = msgspec.field(default_factory=dict)


class Estimates:
    """The durations of some jobs, in the order in which they are given: (job, template, seconds that its running
    attempt has taken already, or None)."""

    def __init__(
        self,
        jobs: Sequence[tuple[int, int, float | None]],
        past: PastDurations,
        assumed: float | None = None,
    ) -> None:
        self._past = past
        templates = {template for _, template, _ in jobs}
        every = sorted(one for template in templates for one in past.alike.get(template, ()))
        self._others: Sequence[float] = every
        self._pools: list[Sequence[float]] = []
        self._retries: list[PastRetries | None] = []
        self.sources: list[EstimateSource] = []
        self.overdue = 0  # running attempts that take longer than each before
        for job, template, elapsed in jobs:
            source, pool = self._pool(job, template, assumed)
            if elapsed is not None:
                pool = self._remaining(pool, elapsed)
            self.sources.append(source)
            self._pools.append(pool)
            self._retries.append(past.retries.get(template))

    def _pool(self, job: int, template: int, assumed: float | None) -> tuple[EstimateSource, Sequence[float]]:
        if job in self._past.rest:
            return EstimateSource.OWN, (self._past.rest[job],)
        if own := self._past.own.get(job):
            return EstimateSource.OWN, own
        if alike := self._past.alike.get(template):
            return EstimateSource.ALIKE, alike
        if assumed is not None:
            return EstimateSource.ASSUMED, (assumed,)
        if self._others:
            return EstimateSource.OTHERS, self._others
        return EstimateSource.UNKNOWN, ()

    def _remaining(self, pool: Sequence[float], elapsed: float) -> Sequence[float]:
        """Return how long an attempt will go on that has taken `elapsed`: as those did that took longer. If none did,
        it is assumed to take as much longer as it has taken more than the longest."""
        if not pool:
            return pool
        longer = [one - elapsed for one in pool if one > elapsed]
        if longer:
            return longer
        self.overdue += 1
        return (elapsed - max(pool),)

    def count(self, *sources: EstimateSource) -> int:
        """Return how many durations come from these sources."""
        return sum(one in sources for one in self.sources)

    def expected(self) -> list[float]:
        """Return the expected seconds of each job: the mean of its durations, since the sum counts, and what retries
        cost on average. 0 where nothing is known."""
        means: dict[int, float] = {}
        found = []
        for pool, retries in zip(self._pools, self._retries, strict=True):
            seconds = means.get(id(pool))
            if seconds is None:
                seconds = means[id(pool)] = max(0.0, math.fsum(pool) / len(pool)) if pool else 0.0
            found.append(seconds if retries is None else seconds + retries.expected)
        return found

    def draw(self, random: Callable[[], float]) -> tuple[list[float], dict[int, list[tuple[float, float]]]]:
        """Draw a duration for each job, and by position the attempts before it that fail and are retried: (seconds,
        delay afterwards). `random` returns numbers from 0 to 1; each job takes the same ones whatever the others do."""
        found = [pool[int(random() * len(pool))] if pool else 0.0 for pool in self._pools]
        failing: dict[int, list[tuple[float, float]]] = {}
        for position, past in enumerate(self._retries):
            if past is None:
                continue
            most = min(past.most, MOST_RETRIES)
            rate = past.rate
            before: list[tuple[float, float]] = []
            while len(before) < most and random() < rate:
                before.append((past.seconds[int(random() * len(past.seconds))], past.delay))
            if before:
                failing[position] = before
        return found, failing
