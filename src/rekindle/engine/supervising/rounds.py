"""The rounds of supervising: wait until the batch is at rest, look, decide, and run it again; or end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from rekindle.domain.batches.supervised import Report, Round
from rekindle.domain.batches.supervising import Decision, End, Spent, Supervision, decide_round, within_budget
from rekindle.domain.errors import PlanOutdated, PlanRefused, Refused, StoreUnavailable
from rekindle.domain.models import Workflow
from rekindle.domain.rerunning.rerun import How, RerunPlan
from rekindle.engine.planning.prospects import decide, survey
from rekindle.engine.presence import alive
from rekindle.engine.rerunning.rerun import apply
from rekindle.engine.results import Begun, Idle, Proposal, SuperviseOptions, WorkReport
from rekindle.engine.session import Session
from rekindle.engine.supervising.batches import Unrest, batch, unrest
from rekindle.engine.supervising.supervised import report_of, round_of, spent_so_far
from rekindle.engine.wake import Bell
from rekindle.store.port import Archive

CONFLICTS = 5
"""So often somebody else may get in first, one time after the other."""

FAILED_LOOKS = 5
"""So often the store may be away, one time after the other, each of which has waited for it."""

BREATH_SECONDS = 0.05
"""Between two looks, however often somebody rings."""

HOW = How(keep_modified=True)
"""Nobody looks at each job again: what somebody had modified to make it run stays so."""

Run = Callable[[float | None], WorkReport]
"""Works on the batch until nothing of it is left to run; nothing new after so many seconds."""

Tell = Callable[[Begun | Round | Idle], None]


class Rounds:
    """One process's part of a supervision: its rounds, from wherever it stands."""

    def __init__(
        self,
        session: Session,
        workflow: Workflow,
        supervision: Supervision,
        options: SuperviseOptions,
        bell: Bell,
        run: Run | None,
        tell: Tell,
    ) -> None:
        self._session, self._workflow, self._supervision = session, workflow, supervision
        self._options, self._bell, self._run, self._tell = options, bell, run, tell
        self._guards = options.guards
        self._never_fit: tuple[tuple[str, str], ...] = ()

    def go(self) -> Report:
        """Round after round, until one ends it."""
        conflicts = 0
        while True:
            ended = self._wait()
            try:
                ended = ended or self._round()
            except PlanOutdated as outdated:
                conflicts += 1
                if conflicts == CONFLICTS:
                    raise Refused(
                        f"others have changed {self._workflow.name} {CONFLICTS} times just before it was run again: "
                        f"{outdated.message}",
                        hint="start it again when they have done: it goes on where it is",
                    ) from outdated
                continue
            conflicts = 0
            if ended is not None:
                return self._conclude(ended)

    # --- waiting

    def _wait(self) -> Decision | None:
        """Until the batch is at rest; else what ends it."""
        limit = self._options.wait_timeout
        deadline = None if limit is None else time.monotonic() + limit
        if self._run is None:
            return None if self._at_rest_by(deadline) else _timed_out(limit)
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            report = self._run(left)
            self._never_fit = report.never_fit
            if report.interrupted:
                return Decision(end=End.CANCELED, why="it was interrupted")
            # What cannot run here may run elsewhere: that is waited for as long as anybody else works.
            again = time.monotonic() + self._options.poll
            if self._at_rest_by(again if deadline is None else min(again, deadline), deserted=bool(self._never_fit)):
                return None
            if deadline is not None and time.monotonic() >= deadline:
                return _timed_out(limit)

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
                time.sleep(min(1.0, self._options.poll))
                continue
            failed = 0
            if not left or (deserted and not worked_on):
                return True
            if not worked_on and not idle and self._run is None:
                self._tell(Idle(left.active, left.claimable))
            idle = not worked_on
            seconds = self._options.poll if deadline is None else min(self._options.poll, deadline - time.monotonic())
            if seconds <= 0:
                return False
            self._bell.wait(seconds)
            time.sleep(BREATH_SECONDS)

    def _look(self) -> tuple[Unrest, bool]:
        """What may still happen, and whether any runner is there."""
        with self._session.store.read() as archive:
            return unrest(archive, self._workflow.id), bool(alive(archive, self._session.clock()))

    # --- deciding

    def _round(self) -> Decision | None:
        """Look at the batch and run it again; what ends it, where that is not done. None, too, when it has not come to
        rest after all."""
        with self._session.store.read() as archive:
            left = unrest(archive, self._workflow.id)
            if left.active or (left.claimable and not self._never_fit):
                return None
            _, jobs = batch(archive, self._workflow, self._guards.group_by)
            done = archive.supervisions.reruns(self._supervision.id)
            decision = decide_round(len(done), jobs, self._guards)
            if decision.end is not None:
                return decision
            requests = [(decision.rerun, HOW)]
            prospect = survey(archive, requests, canary=self._guards.canary)
            spent = spent_so_far(archive, self._supervision, done, self._session.clock())
            first = archive.queue.next_attempt()
        try:
            proposal = decide(prospect, requests, {}, self._options.note)
        except PlanRefused as refused:
            return replace(decision, rerun=(), end=End.REFUSED, why=refused.message)
        if (why := within_budget(self._guards.budget, _with_next(spent, proposal))) is not None:
            return replace(decision, rerun=(), end=End.BUDGET, why=why)
        request = self._request(decision, proposal.plan, len(done) + 1, first)
        self._apply(replace(proposal, kind="supervise", request=request))
        return None

    def _apply(self, proposal: Proposal) -> None:
        applied = apply(self._session, proposal, first=self._refuse_taken_over)
        self._tell(round_of(applied.rerun, proposal.request))

    def _request(self, decision: Decision, plan: RerunPlan, number: int, first: int) -> dict[str, Any]:
        """What the rerun's row says: enough to tell of the round, and to count on from it."""
        refused = {job.id for job in plan.refused}
        asked: dict[str, Any] = {"workflow": self._workflow.name, "status": sorted(self._guards.on)}
        if self._guards.on_causes:
            asked["cause"] = sorted(self._guards.on_causes)
        return {
            "selection": asked,
            "supervision": self._supervision.id,
            "round": number,
            "jobs": [job for job in decision.rerun if job not in refused],
            "percent": decision.percent,
            "matching": decision.matching,
            "total": decision.total,
            "stopped": dict(decision.stopped),
            "first_attempt": first,
        }

    def _refuse_taken_over(self, archive: Archive) -> None:
        if not archive.supervisions.is_of(self._supervision.id, self._supervision.owner):
            raise Refused(
                f"another process has taken over supervising {self._workflow.name}; nothing was changed",
                hint="`rekindle events list` tells when",
            )

    # --- ending

    def _conclude(self, decision: Decision) -> Report:
        """Write how it ends, before anybody is told."""
        assert decision.end is not None
        known = (self._workflow, self._supervision, self._guards)
        report = report_of(self._session, *known, decision, decision.end, self._never_fit)
        with self._session.store.write() as archive:
            self._refuse_taken_over(archive)
            archive.supervisions.conclude(self._supervision.id, report.end, msgspec.json.encode(report).decode())
            detail = {"supervision": report.supervision, "end": report.end.value, "reruns": report.reruns}
            archive.events.add(self._session.clock(), "supervised", self._workflow.id, detail)
        return report


def _with_next(spent: Spent, proposal: Proposal) -> Spent:
    """With what comes next; what waits for canaries counts as an attempt each, of which nothing more is known."""
    expected = proposal.plan.expected
    attempts = expected.attempts + sum(len(one.waits) for one in proposal.canaries)
    return replace(spent, next_attempts=attempts, next_core_seconds=expected.core_seconds)


def _timed_out(limit: float | None) -> Decision:
    return Decision(end=End.TIMED_OUT, why=f"it had not come to rest after {limit:g} s; what runs goes on to its end")
