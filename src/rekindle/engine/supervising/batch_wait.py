"""Wait until a workflow is at rest: no job of it runs, and none will start by itself."""

from __future__ import annotations

import enum
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.errors import BadValue, StoreUnavailable
from rekindle.engine.notify import Notifier
from rekindle.engine.preconditions import refuse_inside_job
from rekindle.engine.presence import live_runners
from rekindle.engine.queries.workflow_queries import RemainingWork, remaining_work
from rekindle.engine.results import NoLiveRunner, WorkReport
from rekindle.engine.running.reconcile import WATCH_SECONDS, DeadRunnerWatch

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.engine.running.signals import StopHandle
    from rekindle.engine.session import Session

MAX_FAILED_READS = 5
"""Consecutive reads of an unavailable store after which waiting fails."""

MIN_POLL_SECONDS = 0.05
"""The least time between two reads of the store, however many notifications arrive."""

RunBatch = Callable[[float | None], WorkReport]
"""Runs the workflow's jobs until none is left to run. Starts nothing new after that many seconds (None: no limit)."""


class WaitOutcome(enum.Enum):
    """How a wait ended."""

    RESTED = "rested"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"


class WaitLimits(msgspec.Struct, frozen=True):
    """Times of a wait, in seconds."""

    poll: float = 30.0  # the longest time between two reads of the store
    limit: float | None = None  # of the whole wait


class BatchWaiter:
    """Waits for one workflow, any number of times."""

    def __init__(
        self,
        session: Session,
        workflow: int,
        limits: WaitLimits,
        notifier: Notifier,
        run: RunBatch | None,
        report_idle: Callable[[NoLiveRunner], None],
        stop: StopHandle | None = None,
    ) -> None:
        """`run`: runs the workflow's jobs; None: other runners do. `report_idle`: called when no runner is alive.
        `stop` ends the wait from another thread."""
        self._stop = stop
        self._session, self._workflow, self._limits = session, workflow, limits
        self._notifier, self._run, self._report_idle = notifier, run, report_idle
        self._watch = DeadRunnerWatch(session)
        self.never_fit: tuple[tuple[str, str], ...] = ()

    def until_rest(self) -> WaitOutcome:
        """Run the jobs or let other runners run them, until the workflow is at rest."""
        limit = self._limits.limit
        deadline = None if limit is None else time.monotonic() + limit
        if self._run is None:
            rested = self._rests_by(deadline)
            if self._is_stopped:
                return WaitOutcome.INTERRUPTED
            return WaitOutcome.RESTED if rested else WaitOutcome.TIMED_OUT
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            report = self._run(left)
            self.never_fit = report.never_fit
            if report.interrupted:
                return WaitOutcome.INTERRUPTED
            # Jobs that never fit here may run elsewhere: wait for them as long as any runner is alive.
            again = time.monotonic() + self._limits.poll
            rests_without_runner = bool(self.never_fit)
            if self._rests_by(
                again if deadline is None else min(again, deadline), rests_without_runner=rests_without_runner
            ):
                return WaitOutcome.RESTED
            if deadline is not None and time.monotonic() >= deadline:
                return WaitOutcome.TIMED_OUT

    @property
    def _is_stopped(self) -> bool:
        return self._stop is not None and self._stop.is_stopped

    def _rests_by(self, deadline: float | None, *, rests_without_runner: bool = False) -> bool:
        """Wait until the workflow is at rest, at most until `deadline`. Return whether it is.

        `rests_without_runner`: it also counts as at rest once no runner is alive."""
        idle, failed = False, 0
        while True:
            self._notifier.drain()
            try:
                left, has_runner = self._look()
            except StoreUnavailable:
                failed += 1
                if failed == MAX_FAILED_READS:
                    raise
                time.sleep(min(1.0, self._limits.poll))
                continue
            failed = 0
            if not left or (rests_without_runner and not has_runner):
                return True
            if not has_runner and not idle and self._run is None:
                self._report_idle(NoLiveRunner(left.active, left.claimable))
            idle = not has_runner
            poll = self._limits.poll
            if left.active and not has_runner:  # no process notifies this one when orphans end
                poll = min(poll, WATCH_SECONDS)
            if self._stop is not None:
                poll = min(poll, WATCH_SECONDS)
            seconds = poll if deadline is None else min(poll, deadline - time.monotonic())
            if seconds <= 0 or self._is_stopped:
                return False
            self._notifier.wait(seconds)
            time.sleep(MIN_POLL_SECONDS)

    def _look(self) -> tuple[RemainingWork, bool]:
        """Return the remaining work, and whether any runner is alive. If none is, reconcile with dead ones."""
        with self._session.store.read() as archive:
            left = remaining_work(archive, self._workflow)
            has_runner = bool(live_runners(archive.runners.alive(), self._session.clock()))
        if left.active and not has_runner:
            self._watch.look()
            with self._session.store.read() as archive:
                left = remaining_work(archive, self._workflow)
        return left, has_runner


def wait(
    session: Session,
    workflow: Workflow,
    limits: WaitLimits,
    run: RunBatch | None,
    report_idle: Callable[[NoLiveRunner], None] = lambda _: None,
) -> WaitOutcome:
    """Wait until a workflow is at rest, running its jobs with `run` if given."""
    if limits.poll <= 0:
        raise BadValue("between two looks there has to be more than no time", hint="30s")
    refuse_inside_job(session, workflow.id)
    notifier = Notifier(session.store.folder, os.getpid(), "waiter")
    try:
        return BatchWaiter(session, workflow.id, limits, notifier, run, report_idle).until_rest()
    finally:
        notifier.close()
