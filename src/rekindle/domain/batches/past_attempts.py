"""The recorded attempts of a workflow, as a backtest replays them, and what is drawn where there is no record."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from rekindle.domain.definition import Quarantine, RetryRule
from rekindle.domain.errors import Refused
from rekindle.domain.states import Cause, State

if TYPE_CHECKING:
    from rekindle.domain.verdicts import VerdictLevel


class PastAttempt(NamedTuple):
    """How an attempt ended: completed or failed. A tuple, since there may be millions.

    `rules` are those of its retry policy whose error text it contains, or that ask for none."""

    state: State
    seconds: float
    found: VerdictLevel | None = None
    cause: Cause | None = None
    signature: str | None = None
    host: str | None = None
    exit_code: int | None = None
    rules: tuple[RetryRule, ...] = ()


Draw = Callable[[int, int, int], int]
"""Draws a position below a size, from (job, number of its attempts so far, size). It depends on nothing else, so that
policies are compared under equal luck."""

NO_RECORD = PastAttempt(State.WAITING, 0.0)
"""Of a job that has not run."""


class PastJob(msgspec.Struct, frozen=True):
    """A job with its recorded attempts, oldest first."""

    id: int
    name: str
    template: int
    template_name: str
    attempts: tuple[PastAttempt, ...]
    binding: str = ""  # JSON text: the matrix values
    priority: int = 0
    cpus: float = 1.0
    aggregate: bool = False
    when_finished: bool = False
    quarantine: Quarantine | None = None  # in force
    rerun_forbidden: bool = False


class Source(enum.StrEnum):
    """Which recorded attempts an outcome was drawn from, nearest first."""

    SAME_SIGNATURE = "same_signature"  # attempts that followed a failure with the same signature
    SAME_CAUSE = "same_cause"  # … with the same cause
    ANY_FAILURE = "any_failure"  # … with any cause
    SAME_JOB = "same_job"  # attempts of the job
    SAME_TEMPLATE = "same_template"  # attempts of jobs with the same template
    ANY_JOB = "any_job"


class PastAttempts:
    """The attempts of all jobs, grouped by their circumstances."""

    def __init__(self, jobs: Iterable[PastJob]) -> None:
        self._pools: dict[tuple[Source, object], list[PastAttempt]] = {}
        for job in jobs:
            for one in job.attempts:
                self._add(Source.SAME_TEMPLATE, job.template, one)
                self._add(Source.ANY_JOB, None, one)
            for before, one in zip(job.attempts, job.attempts[1:], strict=False):
                if before.state is State.FAILED:
                    self._add(Source.SAME_SIGNATURE, before.signature, one)
                    self._add(Source.SAME_CAUSE, before.cause, one)
                    self._add(Source.ANY_FAILURE, None, one)

    def _add(self, source: Source, key: object, one: PastAttempt) -> None:
        self._pools.setdefault((source, key), []).append(one)

    def attempt(self, job: PastJob, made: int, last: PastAttempt, draw: Draw) -> tuple[PastAttempt, Source | None]:
        """Return how the attempt after `made` ones ends, and where it was drawn from (None: it is recorded)."""
        if made < len(job.attempts):
            return job.attempts[made], None
        source, pool = self._pool(job, last)
        return pool[draw(job.id, made, len(pool))], source

    def _pool(self, job: PastJob, last: PastAttempt) -> tuple[Source, Sequence[PastAttempt]]:
        keys: list[tuple[Source, object]] = []
        if last.state is State.FAILED:
            keys += [
                (Source.SAME_SIGNATURE, last.signature),
                (Source.SAME_CAUSE, last.cause),
                (Source.ANY_FAILURE, None),
            ]
        elif job.attempts:
            return Source.SAME_JOB, job.attempts
        keys += [(Source.SAME_TEMPLATE, job.template), (Source.ANY_JOB, None)]
        for source, key in keys:
            if found := self._pools.get((source, key)):
                return source, found
        raise Refused("no attempt of the workflow has completed or failed", hint="run it first: there is no history")

    def expected(self, job: PastJob) -> float:
        """Return the mean seconds of an attempt: of the job, or else of its template; 0 if unknown."""
        known = job.attempts or self._pools.get((Source.SAME_TEMPLATE, job.template), ())
        return sum(one.seconds for one in known) / len(known) if known else 0.0
