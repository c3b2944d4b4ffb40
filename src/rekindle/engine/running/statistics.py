"""Run statistics: attempts counted as they end, progress reports, and the exit code."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.batches.quarantine import covered_jobs
from rekindle.domain.states import State
from rekindle.engine.queries.workflow_queries import quarantined_jobs
from rekindle.engine.results import OrphanCounts, Progress, WorkReport

if TYPE_CHECKING:
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot

REPORT_SECONDS = 0.2
"""Time between two progress reports of a run of one workflow."""

REPORT_ALL_SECONDS = 1.0
"""Time between two progress reports of a run of all workflows, whose counts take longer to read."""


class RunStatistics(msgspec.Struct):
    """Counts of attempts, and the jobs whose last attempt in this run failed or was canceled."""

    completed: int = 0
    failures: int = 0
    cancels: int = 0
    retried: int = 0
    reinstated: int = 0
    orphan_counts: OrphanCounts = msgspec.field(default_factory=OrphanCounts)
    damaged: list[str] = msgspec.field(default_factory=list)
    failed_jobs: set[int] = msgspec.field(default_factory=set)
    canceled_jobs: set[int] = msgspec.field(default_factory=set)
    never_fit: dict[int, tuple[str, str]] = msgspec.field(default_factory=dict)
    warnings: list[str] = msgspec.field(default_factory=list)
    quarantined: set[int] = msgspec.field(default_factory=set)  # of `failed_jobs`
    retries: int = 0  # by policies
    not_retried: int = 0  # because there were enough retries in this run

    def count_end(self, job: int, state: State, *, requeued: bool) -> None:
        """Count the end of an attempt. `requeued`: its job runs again automatically, so it has not failed yet."""
        self.failed_jobs.discard(job)
        self.canceled_jobs.discard(job)
        if state is State.COMPLETED:
            self.completed += 1
        elif requeued:
            self.retried += 1
        elif state is State.FAILED:
            self.failures += 1
            self.failed_jobs.add(job)
        else:
            self.cancels += 1
            self.canceled_jobs.add(job)

    def retries_left(self, most: int | None) -> int | None:
        """Return how many retries are left of `most` in this run; None: any number."""
        return None if most is None else max(0, most - self.retries)

    def count_ends(self, ended: Iterable[tuple[int, State, bool]], retries: int, not_retried: int) -> None:
        """Count ends as (job, state, requeued), jobs that run again as their policies say, and those that do not
        because there were enough retries."""
        for job, state, requeued in ended:
            self.count_end(job, state, requeued=requeued)
        self.retries += retries
        self.not_retried += not_retried

    def find_quarantined(self, archive: Snapshot, now: float) -> None:
        """Find out which of the failed jobs are in quarantine."""
        failed = sorted(self.failed_jobs)
        for workflow in archive.workflows.of_jobs(failed) if failed else ():
            self.quarantined |= covered_jobs(quarantined_jobs(archive, workflow.id, now)) & self.failed_jobs

    def report(self, counts: Mapping[State, int], *, interrupted: bool, timed_out: bool) -> WorkReport:
        """Return the report of the run.

        Its exit code is 5 if interrupted, 6 if timed out, 2 with failed jobs that are not in quarantine, 5 with
        canceled jobs, 1 with jobs that can never fit here, else 0."""
        if interrupted:
            code = 5
        elif timed_out:
            code = 6
        elif self.failed_jobs - self.quarantined:
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
            recovered=self.orphan_counts.again,
            orphan_counts=self.orphan_counts,
            reinstated=self.reinstated,
            retried=self.retried,
            damaged=tuple(self.damaged),
            warnings=tuple(self.warnings),
            not_retried=self.not_retried,
            quarantined=len(self.quarantined & self.failed_jobs),
        )


class ProgressReporter:
    """Calls `show` with the progress of a run of one workflow, or of all."""

    def __init__(self, session: Session, workflow: int | None, show: Callable[[Progress], None]) -> None:
        self._session, self._workflow, self._show = session, workflow, show
        self._began = self.reported = time.monotonic()

    @property
    def due(self) -> float:
        """Return the time of the next report (monotonic)."""
        return self.reported + (REPORT_ALL_SECONDS if self._workflow is None else REPORT_SECONDS)

    def report(self, statistics: RunStatistics, running: Iterable[str], *, delayed: bool) -> None:
        """Report. `running`: names of running jobs; `delayed`: some jobs wait for their retry."""
        self.reported = now = time.monotonic()
        with self._session.store.read() as archive:
            counts = counts_of(archive, self._workflow)
            waiting = archive.overviews.delayed(self._session.clock()) if delayed else {}
        workflows = {self._workflow} if self._workflow is not None else waiting.keys()
        one = statistics
        ended = one.completed + one.failures + one.cancels + one.retried
        later = sum(n for workflow, n in waiting.items() if workflow in workflows)
        seconds = now - self._began
        progress = Progress(
            counts, tuple(running), ended, one.failures, seconds, one.reinstated, one.retried, delayed=later
        )
        self._show(progress)


def counts_of(archive: Snapshot, workflow: int | None) -> dict[State, int]:
    """Return how many jobs are in each state, of one workflow or of all that are not archived."""
    if workflow is None:
        return archive.workflows.total_counts()
    found = archive.workflows.find(workflow)
    return {} if found is None else dict(found.counts)
