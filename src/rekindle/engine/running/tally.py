"""What a run has done so far, and the exit code that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rekindle.domain.states import State
from rekindle.engine.results import Inherited, WorkReport


@dataclass(slots=True)
class Tally:
    """Counts attempts as they end; a job's last end is what counts for it."""

    completed: int = 0
    failures: int = 0
    cancels: int = 0
    retried: int = 0
    reinstated: int = 0
    inherited: Inherited = field(default_factory=Inherited)
    damaged: list[str] = field(default_factory=list)
    failed_jobs: set[int] = field(default_factory=set)
    canceled_jobs: set[int] = field(default_factory=set)
    never_fit: dict[int, tuple[str, str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def ended(self, job: int, state: State, *, again: bool) -> None:
        """One more attempt of a job ended; `again`: it runs again by itself, and has not failed until then."""
        self.failed_jobs.discard(job)
        self.canceled_jobs.discard(job)
        if state is State.COMPLETED:
            self.completed += 1
        elif again:
            self.retried += 1
        elif state is State.FAILED:
            self.failures += 1
            self.failed_jobs.add(job)
        else:
            self.cancels += 1
            self.canceled_jobs.add(job)

    def report(self, counts: Mapping[State, int], *, interrupted: bool, timed_out: bool) -> WorkReport:
        """How the run ended: interrupted is 5, timed out 6, failed jobs 2, canceled ones 5, else 0; jobs that can
        never fit here are 1."""
        if interrupted:
            code = 5
        elif timed_out:
            code = 6
        elif self.failed_jobs:
            code = 2
        elif self.canceled_jobs:
            code = 5
        else:
            code = 1 if self.never_fit else 0
        return WorkReport(
            exit_code=code,
            completed=self.completed,
            failed=len(self.failed_jobs),
            canceled=len(self.canceled_jobs),
            counts=dict(counts),
            never_fit=tuple(self.never_fit.values()),
            interrupted=interrupted,
            recovered=self.inherited.again,
            inherited=self.inherited,
            reinstated=self.reinstated,
            retried=self.retried,
            damaged=tuple(self.damaged),
            warnings=tuple(self.warnings),
        )
