"""Supervise a workflow: wait until it is at rest, rerun its failed jobs within guards, and repeat until it ends.

A round's decision is written with its rerun in one transaction, and the end of supervising is written before it is
reported. A process that resumes after a crash finds the state in the store, and reruns nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.domain.batches.canaries import GroupOutcome
from rekindle.domain.batches.quarantine import is_in_force, utc_day
from rekindle.domain.batches.supervision import (
    BatchJob,
    GroupKeys,
    Guards,
    RerunCandidate,
    RoundDecision,
    SpentBudget,
    Supervision,
    SupervisionEnd,
    check_guards,
    decide_round,
    group_of,
    over_budget,
)
from rekindle.domain.batches.supervision_report import (
    RoundReport,
    SupervisionReport,
    count_statuses,
    failing_groups,
    fixed_jobs,
    remaining_jobs,
)
from rekindle.domain.errors import PlanOutdated, PlanRefused, Refused
from rekindle.domain.rerun.request import How, Requests
from rekindle.engine.hooks import add_deliveries, deliver, run_end
from rekindle.engine.notify import Notifier
from rekindle.engine.plan_inputs import plan_requests, read_plan_inputs
from rekindle.engine.preconditions import refuse_inside_job
from rekindle.engine.presence import is_process_alive, this_process
from rekindle.engine.queries.flaky_queries import pass_conditions
from rekindle.engine.queries.selections import find_workflow, find_workflow_in
from rekindle.engine.queries.workflow_queries import quarantined_jobs, remaining_work
from rekindle.engine.rerun.rerun import apply
from rekindle.engine.results import NoLiveRunner, PlannedRerun, SuperviseOptions, SupervisionStarted
from rekindle.engine.supervising.batch_wait import BatchWaiter, RunBatch, WaitLimits, WaitOutcome
from rekindle.journal.encoding import to_json

if TYPE_CHECKING:
    from rekindle.domain.definition import JobTemplate
    from rekindle.domain.models import ProcessIdentity, Workflow
    from rekindle.domain.rerun.plan import RerunPlan
    from rekindle.engine.running.signals import StopHandle
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot

MAX_CONFLICTS = 5
"""Consecutive rounds whose plan another process has outdated, after which supervising is refused."""

HOW = How(keep_modified=True)
"""Rerun options of a round. Modified parameters and resources are kept, because no user reviews each job."""

Listener = Callable[[SupervisionStarted | RoundReport | NoLiveRunner], None]
"""Called with each event of a supervision."""

AppliedReruns = Sequence[tuple[int, Mapping[str, Any]]]
"""The reruns of a supervision: (rerun, its request)."""


def supervise(
    session: Session,
    options: SuperviseOptions,
    run: RunBatch | None,
    listen: Listener | None = None,
    stop: StopHandle | None = None,
) -> SupervisionReport:
    """Supervise a workflow to the end. Without `run`, other runners run its jobs, and `stop` ends it from another
    thread. `listen` is called with each event.

    The caller acknowledges the report with `acknowledge`; until then another call returns the same report. Raise
    Refused while another process supervises the workflow, or if others change it repeatedly."""
    check_guards(options.guards)
    workflow = find_workflow(session, options.workflow)
    if workflow.archived is not None:
        raise Refused(f"{workflow.name} is archived", hint=f"rekindle workflows archive --undo {workflow.id}")
    refuse_inside_job(session, workflow.id)
    owner, listen = this_process(), listen or _ignore
    supervision, started = _start(session, workflow, options, owner)
    listen(started)
    if supervision.report is not None:
        deliver(session, workflow.id)
        return _REPORT.decode(supervision.report)
    notifier = Notifier(session.store.folder, supervision.id, "supervisor")
    try:
        return SupervisionRounds(session, workflow, supervision, options, notifier, run, listen, stop).run()
    finally:
        notifier.close()


def acknowledge(session: Session, report: SupervisionReport) -> None:
    """Close a supervision whose report the user has received."""
    with session.store.write() as archive:
        archive.supervisions.close(report.supervision, session.clock())


def retries_left(session: Session, workflow: str, most: int | None) -> int | None:
    """Return how many of `most` retries the policies of a workflow's jobs may still make while it is supervised: those
    since the supervision began are taken, whichever process made them. None: any number."""
    if most is None:
        return None
    with session.store.read() as archive:
        found = archive.supervisions.active(find_workflow_in(archive, workflow).id)
        made = 0 if found is None else archive.supervisions.policy_retries(found.workflow, found.began)
    return max(0, most - made)


class WatchedSupervision(msgspec.Struct, frozen=True):
    """A supervision, its rounds so far, and whether its process is alive (None: not visible from here)."""

    supervision: Supervision
    name: str  # the workflow's
    guards: Guards
    rounds: tuple[RoundReport, ...]
    alive: bool | None
    report: SupervisionReport | None = None  # of one that has ended


def watch(session: Session, limit: int) -> list[WatchedSupervision]:
    """Return the supervisions that run, then those that have ended, newest first."""
    with session.store.read() as archive:
        found = archive.supervisions.listing(limit)
        done = {one.id: archive.supervisions.reruns(one.id) for one in found}
        workflows = {one.workflow: archive.workflows.find(one.workflow) for one in found}
    return [
        WatchedSupervision(
            one,
            workflow.name if (workflow := workflows[one.workflow]) else f"workflow {one.workflow}",
            _GUARDS.decode(one.asked),
            tuple(_round_of(rerun, request) for rerun, request in done[one.id]),
            None if one.ended is not None else is_process_alive(one.owner),
            None if one.report is None else _REPORT.decode(one.report),
        )
        for one in found
    ]


def _start(
    session: Session, workflow: Workflow, options: SuperviseOptions, owner: ProcessIdentity
) -> tuple[Supervision, SupervisionStarted]:
    """Begin a supervision, or resume one whose process died."""
    asked, now, given_up = _SORTED.encode(options.guards).decode(), session.clock(), None
    while True:
        with session.store.read() as archive:
            seen = archive.supervisions.active(workflow.id)
        if seen is not None:
            _refuse_second(workflow, seen, owner, take_over=options.take_over)
        with session.store.write() as archive:
            current = archive.supervisions.active(workflow.id)
            if current != seen:  # another process has begun, ended or taken over a supervision meanwhile
                continue
            if current is not None:
                if current.asked == asked:
                    archive.supervisions.take(current.id, owner)
                    reruns = len(archive.supervisions.reruns(current.id))
                    archive.events.add(now, "supervise", workflow.id, {"supervision": current.id, "resumed": True})
                    return replace(current, owner=owner), SupervisionStarted(current.id, reruns, resumed=True)
                if current.outcome is None:
                    archive.supervisions.conclude(current.id, SupervisionEnd.GIVEN_UP, None)
                archive.supervisions.close(current.id, now)
                given_up = current.id
            begun = archive.supervisions.begin(workflow.id, asked, owner, now)
            archive.events.add(now, "supervise", workflow.id, {"supervision": begun.id})
            break
    return begun, SupervisionStarted(begun.id, 0, resumed=False, given_up=given_up)


def _refuse_second(workflow: Workflow, current: Supervision, owner: ProcessIdentity, *, take_over: bool) -> None:
    """Raise Refused unless the process that supervises the workflow is dead, or is this one."""
    alive = current.owner != owner and is_process_alive(current.owner)
    if alive is False or (alive is None and take_over):
        return
    who = f"pid {current.owner.pid} on {current.owner.host}"
    if alive:
        raise Refused(f"{workflow.name} is supervised already, by {who}", hint="wait for its end, or end it first")
    raise Refused(
        f"{workflow.name} is supervised by {who}, and nobody can see from here whether that is alive",
        hint="once it is not, go on with --take-over",
    )


def _ignore(_: SupervisionStarted | RoundReport | NoLiveRunner) -> None:
    """Ignore an event."""


_SORTED = msgspec.json.Encoder(order="deterministic")
_GUARDS: msgspec.json.Decoder[Guards] = msgspec.json.Decoder(Guards)
_REPORT: msgspec.json.Decoder[SupervisionReport] = msgspec.json.Decoder(SupervisionReport)


class SupervisionRounds:
    """The rounds of a supervision that one process runs, from the state in the store."""

    def __init__(
        self,
        session: Session,
        workflow: Workflow,
        supervision: Supervision,
        options: SuperviseOptions,
        notifier: Notifier,
        run: RunBatch | None,
        listen: Listener,
        stop: StopHandle | None = None,
    ) -> None:
        self._session, self._workflow, self._supervision = session, workflow, supervision
        self._options, self._listen, self._guards = options, listen, options.guards
        self._refreshed = False  # `refresh` was called since the last rerun
        limits = WaitLimits(options.poll, options.wait_timeout)
        self._waiter = BatchWaiter(session, workflow.id, limits, notifier, run, listen, stop)

    def run(self) -> SupervisionReport:
        """Run rounds until one ends the supervision."""
        conflicts = 0
        while True:
            ended = self._wait()
            try:
                ended = ended or self._round()
            except PlanOutdated as outdated:
                conflicts += 1
                if conflicts == MAX_CONFLICTS:
                    raise Refused(
                        f"others have changed {self._workflow.name} {MAX_CONFLICTS} times just before it was run "
                        f"again: {outdated.message}",
                        hint="start it again when they have done: it goes on where it is",
                    ) from outdated
                continue
            conflicts = 0
            if ended is not None:
                return self._conclude(ended)

    def _wait(self) -> RoundDecision | None:
        """Wait until the workflow is at rest. Return a decision if a timeout or an interrupt ends the supervision."""
        outcome = self._waiter.until_rest()
        if outcome is WaitOutcome.TIMED_OUT:
            return _timed_out(self._options.wait_timeout)
        if outcome is WaitOutcome.INTERRUPTED:
            return RoundDecision(end=SupervisionEnd.CANCELED, why="it was interrupted")
        return None

    def _round(self) -> RoundDecision | None:
        """Decide about a rerun and apply it. Return the decision if it ends the supervision.

        Do nothing if the workflow is not at rest any more, or only `refresh` before the rerun."""
        with self._session.store.read() as archive:
            left = remaining_work(archive, self._workflow.id)
            if left.active or (left.claimable and not self._waiter.never_fit):
                return None
            _, jobs = _members(archive, self._workflow, self._guards.group_by, self._session.clock())
            done = archive.supervisions.reruns(self._supervision.id)
            decision = decide_round(len(done), jobs, self._guards)
            if decision.end is not None:
                return decision
            requests = Requests(dict.fromkeys(decision.rerun, HOW))
            inputs = read_plan_inputs(archive, requests, canary=self._guards.canary)
            spent = _spent(archive, self._supervision, done, self._session.clock())
            first = archive.queue.next_attempt()
        if self._options.refresh is not None and not self._refreshed:
            self._refreshed = True
            self._options.refresh()
            return None
        try:
            planned = plan_requests(inputs, requests, {}, self._options.note)
        except PlanRefused as refused:
            return replace(decision, rerun=(), end=SupervisionEnd.REFUSED, why=refused.message)
        if (why := over_budget(self._guards.budget, _with_next(spent, planned))) is not None:
            return replace(decision, rerun=(), end=SupervisionEnd.BUDGET, why=why)
        request = self._request(decision, planned.plan, len(done) + 1, first)
        applied = apply(
            self._session,
            replace(planned, kind="supervise", request=request),
            first=lambda archive, _: self._refuse_taken_over(archive),
        )
        self._refreshed = False
        self._listen(_round_of(applied.rerun, request))
        return None

    def _request(self, decision: RoundDecision, plan: RerunPlan, number: int, first: int) -> dict[str, Any]:
        """Return the request stored with the rerun, from which the round is reported and resumed."""
        refused = {job.id for job in plan.refused}
        selection: dict[str, Any] = {"workflow": self._workflow.name, "status": sorted(self._guards.on)}
        if self._guards.on_causes:
            selection["cause"] = sorted(self._guards.on_causes)
        return {
            "selection": selection,
            "supervision": self._supervision.id,
            "round": number,
            "jobs": [job for job in decision.rerun if job not in refused],
            "percent": decision.percent,
            "matching": decision.matching,
            "total": decision.total,
            "aggregates": decision.aggregates,
            "stopped": dict(decision.stopped),
            "first_attempt": first,
        }

    def _refuse_taken_over(self, archive: Snapshot) -> None:
        if not archive.supervisions.is_of(self._supervision.id, self._supervision.owner):
            raise Refused(
                f"another process has taken over supervising {self._workflow.name}; nothing was changed",
                hint="`rekindle events list` tells when",
            )

    def _conclude(self, decision: RoundDecision) -> SupervisionReport:
        """Write the end of the supervision and return the report."""
        report = _report(
            self._session, self._workflow, self._supervision, self._guards, decision, self._waiter.never_fit
        )
        with self._session.store.write() as archive:
            self._refuse_taken_over(archive)
            archive.supervisions.conclude(self._supervision.id, report.end, to_json(report).decode())
            detail = {"supervision": report.supervision, "end": report.end.value, "reruns": report.reruns}
            archive.events.add(self._session.clock(), "supervised", self._workflow.id, detail)
            workflow, left = archive.workflows.find(self._workflow.id), remaining_work(archive, self._workflow.id)
            if workflow is not None:
                why = None if report.end is SupervisionEnd.CLEAN else report.why or report.end.value
                rests = not left.active and (not left.claimable or bool(self._waiter.never_fit))
                now = self._session.clock()
                add_deliveries(archive, workflow.id, run_end(archive, workflow, rests, why, now), now)
        deliver(self._session, self._workflow.id)
        return report


def _with_next(spent: SpentBudget, planned: PlannedRerun) -> SpentBudget:
    """Add the expected cost of a rerun. Each job that waits for canaries counts as one attempt of unknown cost."""
    expected = planned.plan.expected
    attempts = expected.attempts + sum(len(one.waits) for one in planned.canaries)
    return replace(spent, next_attempts=attempts, next_core_seconds=expected.core_seconds)


def _timed_out(limit: float | None) -> RoundDecision:
    return RoundDecision(
        end=SupervisionEnd.TIMED_OUT, why=f"it had not come to rest after {limit:g} s; what runs goes on to its end"
    )


# --- the workflow's jobs, and the report


def _members(
    archive: Snapshot, workflow: Workflow, group_by: str | None, now: float
) -> tuple[list[BatchJob], list[RerunCandidate]]:
    """Return the workflow's jobs, and for each the facts that decide about a rerun."""
    members = archive.supervisions.batch(workflow.id)
    templates = dict(archive.workflows.templates(workflow.id))
    today = utc_day(now)
    quarantines = {number: one.quarantine for number, one in templates.items() if is_in_force(one.quarantine, today)}
    candidates = [
        RerunCandidate(
            one.id,
            one.status,
            one.cause,
            one.signature,
            group_of(group_by, _grouped(one, templates[one.template], group_by)),
            templates[one.template].aggregate,
            quarantines.get(one.template),
            one.undecided,
        )
        for one in members
    ]
    return members, candidates


def _grouped(one: BatchJob, template: JobTemplate, group_by: str | None) -> GroupKeys:
    matrix = json.loads(one.binding or "{}") if group_by and group_by.startswith("matrix.") else {}
    return GroupKeys(one.host, one.signature, one.cause, template.name, matrix)


def _report(
    session: Session,
    workflow: Workflow,
    supervision: Supervision,
    guards: Guards,
    decision: RoundDecision,
    never_fit: tuple[tuple[str, str], ...],
) -> SupervisionReport:
    """Return the report of a supervision that `decision` ends, read from the store."""
    assert decision.end is not None
    with session.store.read() as archive:
        members, jobs = _members(archive, workflow, guards.group_by, session.clock())
        done = archive.supervisions.reruns(supervision.id)
        groups = archive.attempts.failures(workflow.id)
        spent = _spent(archive, supervision, done, session.clock())
        last = archive.reruns.get(done[-1][0]) if done else None
        stopped = archive.canaries.of_jobs([one.job for one in jobs])
        quarantined = quarantined_jobs(archive, workflow.id, session.clock())
    ran = {job for _, request in done for job in request["jobs"]}
    refused = {job.id: job.why for job in last.plan.refused} if last else {}
    refused |= {job: group.why for job, group in stopped.items() if group.outcome is GroupOutcome.STOPPED}
    rounds = [_round_of(number, request) for number, request in done]
    if decision.total:
        found = (decision.percent, decision.matching, decision.total)
        rounds.append(RoundReport(len(done) + 1, *found, stopped=decision.stopped, aggregates=decision.aggregates))
    return SupervisionReport(
        supervision=supervision.id,
        workflow=workflow.id,
        name=workflow.name,
        end=decision.end,
        why=decision.why,
        rounds=tuple(rounds),
        statuses=count_statuses(members),
        fixed=tuple(fixed_jobs(members, ran, pass_conditions(session, ran), guards)),
        failing=tuple(failing_groups(groups)),
        left=tuple(remaining_jobs(jobs, {one.id: one.name for one in members}, decision, refused, guards)),
        attempts=spent.attempts,
        core_seconds=spent.core_seconds,
        seconds=spent.seconds,
        never_fit=never_fit,
        held=sum(one.held or one.undecided is not None for one in members),
        quarantined=quarantined,
        began=supervision.began,
    )


def _spent(archive: Snapshot, supervision: Supervision, done: AppliedReruns, now: float) -> SpentBudget:
    """Return the attempts and times that a supervision has taken so far."""
    seconds = now - supervision.began
    if not done:
        return SpentBudget(seconds=seconds)
    attempts, core_seconds = archive.supervisions.usage(supervision.workflow, done[0][1]["first_attempt"])
    return SpentBudget(attempts, core_seconds, seconds)


def _round_of(rerun: int, request: Mapping[str, Any]) -> RoundReport:
    """Return the round of a rerun, from its stored request."""
    return RoundReport(
        request["round"],
        request["percent"],
        request["matching"],
        request["total"],
        rerun,
        len(request["jobs"]),
        request["stopped"],
        request.get("aggregates", 0),
    )
