"""The rounds of supervising: wait until the batch is at rest, look, decide, and run it again; or end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rekindle.domain.batches.supervised import Report, Round
from rekindle.domain.batches.supervising import Decision, End, Spent, Supervision, decide_round, within_budget
from rekindle.domain.errors import PlanOutdated, PlanRefused, Refused
from rekindle.domain.models import Workflow
from rekindle.domain.rerunning.rerun import How, RerunPlan
from rekindle.engine.planning.prospects import decide, survey
from rekindle.engine.rerunning.rerun import apply
from rekindle.engine.results import Begun, Idle, Proposal, SuperviseOptions
from rekindle.engine.session import Session
from rekindle.engine.supervising.batches import batch, unrest
from rekindle.engine.supervising.supervised import report_of, round_of, spent_so_far
from rekindle.engine.supervising.waiting import Patience, Rest, Run, Waiting
from rekindle.engine.wake import Bell
from rekindle.journal.encoding import to_json
from rekindle.store.port import Archive

CONFLICTS = 5
"""So often somebody else may get in first, one time after the other."""

HOW = How(keep_modified=True)
"""Nobody looks at each job again: what somebody had modified to make it run stays so."""

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
        self._options, self._tell, self._guards = options, tell, options.guards
        self._fresh = False  # what is new has been taken in for the rerun that comes next
        patience = Patience(options.poll, options.wait_timeout)
        self._waiting = Waiting(session, workflow.id, patience, bell, run, tell)

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
        rest = self._waiting.until_rest()
        if rest is Rest.TIMED_OUT:
            return _timed_out(self._options.wait_timeout)
        if rest is Rest.INTERRUPTED:
            return Decision(end=End.CANCELED, why="it was interrupted")
        return None

    # --- deciding

    def _round(self) -> Decision | None:
        """Look at the batch and run it again; what ends it, where that is not done. None, too, when it has not come to
        rest after all, or something new has been taken in."""
        with self._session.store.read() as archive:
            left = unrest(archive, self._workflow.id)
            if left.active or (left.claimable and not self._waiting.never_fit):
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
        if self._options.refresh is not None and not self._fresh:
            self._fresh = True
            self._options.refresh()
            return None
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
        self._fresh = False
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
        report = report_of(self._session, *known, decision, decision.end, self._waiting.never_fit)
        with self._session.store.write() as archive:
            self._refuse_taken_over(archive)
            archive.supervisions.conclude(self._supervision.id, report.end, to_json(report).decode())
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
