"""Waiting until a batch is at rest: nothing of it runs, and nothing will by itself."""

from __future__ import annotations

import enum
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from rekindle.domain.errors import BadValue, StoreUnavailable
from rekindle.domain.models import Workflow
from rekindle.engine.nesting import refuse_inside_job
from rekindle.engine.presence import alive
from rekindle.engine.results import Idle, WorkReport
from rekindle.engine.running.reconciling import WATCH_SECONDS, DeadRunnerWatch
from rekindle.engine.session import Session
from rekindle.engine.supervising.batches import Unrest, unrest
from rekindle.engine.wake import Bell

FAILED_LOOKS = 5
"""So often the store may be away, one time after the other, each of which has waited for it."""

BREATH_SECONDS = 0.05
"""Between two looks, however often somebody rings."""

Run = Callable[[float | None], WorkReport]
"""Works on the batch until nothing of it is left to run; nothing new after so many seconds."""


class Rest(enum.Enum):
    """How the waiting ended."""

    RESTED = "rested"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Patience:
    """How to wait, in seconds."""

    poll: float = 30.0  # at the latest so long after another look, should nobody ring
    limit: float | None = None  # of each waiting


class Waiting:
    """Waits for one workflow, as often as it is asked to."""

    def __init__(
        self,
        session: Session,
        workflow: int,
        patience: Patience,
        bell: Bell,
        run: Run | None,
        tell: Callable[[Idle], None],
    ) -> None:
        """Without `run` somebody else works on it; `tell` hears when nobody does."""
        self._session, self._workflow, self._patience = session, workflow, patience
        self._bell, self._run, self._tell = bell, run, tell
        self._watch = DeadRunnerWatch(session)
        self.never_fit: tuple[tuple[str, str], ...] = ()

    def until_rest(self) -> Rest:
        """Wait. What can never fit here is waited for as long as anybody else works."""
        limit = self._patience.limit
        deadline = None if limit is None else time.monotonic() + limit
        if self._run is None:
            return Rest.RESTED if self._at_rest_by(deadline) else Rest.TIMED_OUT
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            report = self._run(left)
            self.never_fit = report.never_fit
            if report.interrupted:
                return Rest.INTERRUPTED
            # What cannot run here may run elsewhere: that is waited for as long as anybody else works.
            again = time.monotonic() + self._patience.poll
            if self._at_rest_by(again if deadline is None else min(again, deadline), deserted=bool(self.never_fit)):
                return Rest.RESTED
            if deadline is not None and time.monotonic() >= deadline:
                return Rest.TIMED_OUT

    def _at_rest_by(self, deadline: float | None, *, deserted: bool = False) -> bool:
        """Wait for the batch to come to rest, until `deadline` (None: however long that takes). `deserted`: what
        is left once nobody works on it will not be run."""
        idle, failed = False, 0
        while True:
            self._bell.hush()
            try:
                left, worked_on = self._look()
            except StoreUnavailable:
                failed += 1
                if failed == FAILED_LOOKS:
                    raise
                time.sleep(min(1.0, self._patience.poll))
                continue
            failed = 0
            if not left or (deserted and not worked_on):
                return True
            if not worked_on and not idle and self._run is None:
                self._tell(Idle(left.active, left.claimable))
            idle = not worked_on
            poll = self._patience.poll
            if left.active and not worked_on:  # nobody notifies this process of the end of these
                poll = min(poll, WATCH_SECONDS)
            seconds = poll if deadline is None else min(poll, deadline - time.monotonic())
            if seconds <= 0:
                return False
            self._bell.wait(seconds)
            time.sleep(BREATH_SECONDS)

    def _look(self) -> tuple[Unrest, bool]:
        """Return what may still happen, and whether any runner is alive. If none is, reconcile with dead ones."""
        with self._session.store.read() as archive:
            left, worked_on = unrest(archive, self._workflow), bool(alive(archive, self._session.clock()))
        if left.active and not worked_on:
            self._watch.look()
            with self._session.store.read() as archive:
                left = unrest(archive, self._workflow)
        return left, worked_on


def wait(
    session: Session,
    workflow: Workflow,
    patience: Patience,
    run: Run | None,
    tell: Callable[[Idle], None] = lambda _: None,
) -> Rest:
    """Wait until a workflow is at rest, and change nothing of it but what `run` does."""
    if patience.poll <= 0:
        raise BadValue("between two looks there has to be more than no time", hint="30s")
    refuse_inside_job(session, workflow.id)
    bell = Bell(session.store.folder, os.getpid(), "waiter")
    try:
        return Waiting(session, workflow.id, patience, bell, run, tell).until_rest()
    finally:
        bell.close()
