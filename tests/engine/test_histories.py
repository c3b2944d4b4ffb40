"""Stateful test: random histories of runs, failures, reruns, undos, revisions and crashes at any transaction.

The engine and the store are real; only processes are scripted. The invariants of the design must hold after every rule.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from rekindle.domain.batches.canaries import GroupOutcome as Decided
from rekindle.domain.batches.canaries import decide_group
from rekindle.domain.definition import Definition, Each, JobNode, JobTemplate, RetryRule, Step
from rekindle.domain.errors import PlanRefused, Refused
from rekindle.domain.models import Attempt, Job
from rekindle.domain.rerun.request import RESET_HOLD, How, InternalHow, RequestMode
from rekindle.domain.selection import Selection
from rekindle.domain.states import ENDED, Cause, State, derive_state
from rekindle.domain.subtasks import SubtaskEnd
from rekindle.engine.queries import job_queries, workflow_queries
from rekindle.engine.rerun import control, rerun
from rekindle.engine.rerun.accept import accept
from rekindle.engine.rerun.restart import plan_restart, workflow_to_restart
from rekindle.engine.results import PlannedRerun, WorkOptions
from rekindle.engine.running.work import work
from rekindle.engine.session import Session, open_session
from rekindle.engine.staleness.stale_jobs import find_stale_jobs
from rekindle.engine.submit.submit import submit
from rekindle.journal.orders import Assignment, FanOut
from rekindle.testing import Crash, CrashingStore, FakeClock, InlineExecutor, ScriptedExecutor, ScriptedOutcome
from rekindle.testing.simulation.checks import nothing_is_disturbed

STEPS = ("one", "two", "three")

ADDED = st.lists(
    st.builds(
        lambda name, when, needs: {"name": name, "run": "true", "when": when, "needs": needs},
        st.sampled_from(["x", "y", "z"]),
        st.sampled_from(["completed", "completed", "finished"]),
        st.lists(st.sampled_from(["job0", "job1", "job2", "x"]), max_size=1),
    ),
    max_size=2,
)
ACTIONS = st.fixed_dictionaries(
    {},
    optional={
        "add": ADDED,
        "detour": ADDED,
        "set_children": st.just({"alpha": 1}),
        "hold_children": st.just(True),
        "cancel_children": st.just(True),
        "stop_workflow": st.just(True),
        "hold_workflow": st.just(True),
        "set_descendants": st.just({"alpha": 2}),
    },
).map(json.dumps)
"""Some of them name what is not there, or a name twice, or close a circle: those attempts fail."""

BAD = st.frozensets(st.integers(0, 3), max_size=2)

RESULTS = st.builds(ScriptedOutcome, result=st.sampled_from(["1", "1", "2"]))
"""Jobs that leave the same, or something else: what needs them is spared, or runs."""

OUTCOMES = st.one_of(
    st.just(ScriptedOutcome()),
    st.builds(ScriptedOutcome, waits=st.integers(1, 4)),
    RESULTS,
    RESULTS,
    st.builds(ScriptedOutcome, bad=BAD),
    st.just(ScriptedOutcome()),
    st.builds(ScriptedOutcome, action=ACTIONS),
    st.builds(
        ScriptedOutcome, fails_at=st.sampled_from(STEPS), cause=st.sampled_from([Cause.EXIT, Cause.LOST, Cause.TIMEOUT])
    ),
    st.builds(ScriptedOutcome, fails_at=st.sampled_from(STEPS), crash=st.just(True), bad=BAD),
)


HOWS = st.one_of(
    st.builds(
        How,
        start=st.sampled_from(["beginning", "beginning", "failed-step", "one", "two", "three"]),
        downstream=st.sampled_from(["all", "changed", "changed", "none"]),
        definition=st.sampled_from(["latest", "latest", "pinned"]),
        hold=st.sampled_from([None, None, None, RESET_HOLD]),
        cancel_running=st.booleans(),
    ),
    st.builds(
        How,
        start=st.sampled_from(["beginning", "failed-step", "two"]),
        undo_dynamic=st.just(True),
        downstream=st.sampled_from(["all", "changed"]),
        cancel_running=st.booleans(),
    ),
    st.just(InternalHow(mode=RequestMode.RELEASE)),
)


POLICIES = st.sampled_from(
    [
        (),
        (),
        (RetryRule(max=1),),
        (RetryRule(max=2, delay=30.0, backoff=2.0, jitter=0.5, start="failed-step"),),
        (RetryRule(max=1, causes=(Cause.TIMEOUT,)), RetryRule(max=2, causes=(Cause.LOST,), other_host=True)),
    ]
)


def definition(
    jobs: int,
    edges: set[tuple[int, int]],
    steps: int,
    items: int,
    retry: tuple[RetryRule, ...] = (),
    kinds: Sequence[int] = (),
) -> Definition:
    """A workflow whose second step is a fan-out over `items` items, or an ordinary step with none. `kinds`: the
    template of each job: ordinary, needing others only finished, or aggregate."""
    fan_out = (
        Step("two", run="true ${item}", each=Each(items=tuple(range(items)))) if items else Step("two", run="true")
    )
    template = JobTemplate("job", (Step("one", run="true"), fan_out, Step("three", run="true"))[:steps], retry=retry)
    finished = msgspec.structs.replace(template, name="finished", when="finished")
    aggregate = msgspec.structs.replace(template, name="aggregate", aggregate=True)
    nodes = [JobNode(f"job{n}", kinds[n] if kinds else 0) for n in range(jobs)]
    return Definition("random", "/", [template, finished, aggregate], nodes, sorted(edges))


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    jobs = draw(st.integers(1, 7))
    pairs = [(parent, child) for child in range(jobs) for parent in range(child)]
    edges = draw(st.sets(st.sampled_from(pairs), max_size=10)) if pairs else set()
    kinds = draw(st.lists(st.sampled_from([0, 0, 1, 1, 2]), min_size=jobs, max_size=jobs))
    return definition(jobs, edges, draw(st.integers(1, 3)), draw(st.sampled_from([0, 0, 3, 4])), draw(POLICIES), kinds)


class Histories(RuleBasedStateMachine):
    """A store, and the operations on it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="histories-"))
        self.session = open_session(str(self.folder / ".rekindle"))
        self.clock = FakeClock()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("concurrent.futures.ThreadPoolExecutor", InlineExecutor)
        self.session = Session(self.session.store, self.clock)
        self.known: dict[int, Attempt] = {}
        self.most: dict[int, int] = {}  # by job: how many retries any policy of it has allowed
        self.good: dict[int, set[int]] = {}  # by attempt: the subtasks that are complete in it, kept ones too

    def teardown(self) -> None:
        self.session.close()
        self.patch.undo()
        shutil.rmtree(self.folder)

    # --- operations

    @initialize(first=definitions())
    def begin(self, first: Definition) -> None:
        submit(self.session, first)

    @rule(outcomes=st.lists(OUTCOMES, max_size=12), slots=st.integers(1, 3))
    def run(self, outcomes: list[ScriptedOutcome], slots: int) -> None:
        self._work(self.session, outcomes, slots)

    @rule(
        outcomes=st.lists(OUTCOMES, max_size=12),
        slots=st.integers(1, 3),
        at=st.integers(1, 12),
        when=st.sampled_from(["before", "after"]),
    )
    def run_and_crash(self, outcomes: list[ScriptedOutcome], slots: int, at: int, when: str) -> None:
        store = CrashingStore(self.session.store, at, when)  # type: ignore[arg-type]
        self._work(Session(store, self.clock), outcomes, slots)

    @rule(
        data=st.data(),
        outcomes=st.lists(OUTCOMES.map(lambda one: msgspec.structs.replace(one, waits=3)), max_size=12),
        slots=st.integers(1, 3),
        at=st.integers(1, 3),
        downstream=st.sampled_from(["all", "changed", "none"]),
        crash=st.integers(0, 12),
        undo=st.booleans(),
    )
    def run_and_cancel_what_runs(
        self,
        data: st.DataObject,
        outcomes: list[ScriptedOutcome],
        slots: int,
        at: int,
        downstream: Literal["all", "changed", "none"],
        crash: int,
        undo: bool,
    ) -> None:
        """During a run, rerun some of its jobs and cancel those that run, or run below them; the runner may die
        then."""
        jobs, ran = self._some(data), 0

        def amid() -> None:
            nonlocal ran
            ran += 1
            if ran != at:
                return
            try:
                rerun.plan_and_apply(self.session, [(jobs, How(downstream=downstream, cancel_running=True))], {})
                if undo:
                    rerun.undo(self.session)
            except Refused:
                return

        store = CrashingStore(self.session.store, crash, "after") if crash else self.session.store
        self._work(Session(store, self.clock), outcomes, slots, amid)  # type: ignore[arg-type]

    def _work(
        self, session: Session, outcomes: list[ScriptedOutcome], slots: int, amid: Callable[[], None] | None = None
    ) -> None:
        script = iter(outcomes)

        def next_outcome(one: Assignment) -> ScriptedOutcome:
            nothing_is_disturbed(self.session)
            if amid is not None:
                amid()
                nothing_is_disturbed(self.session)
            return next(script, ScriptedOutcome())

        executor = ScriptedExecutor(self.session.store.folder, next_outcome, self.clock)
        reserved = {
            job.id: job.next.reuse_candidate for job in self._jobs().values() if job.next.reuse_candidate is not None
        }
        finished = {job.name for job in self._jobs().values() if job.state is State.COMPLETED and not job.retired}
        try:
            work(session, WorkOptions(slots=slots, executor="scripted"), executor=executor)
        except Crash:
            executor.close(0)
            self._bury()
        assert amid or not {name for name, _, _ in executor.ran} & finished, "a completed job ran again unasked"
        self._what_was_reinstated_still_holds(reserved)
        for attempt, earlier, ends in executor.fanned:
            self._no_good_subtask_ran_again(attempt, earlier, ends)

    def _what_was_reinstated_still_holds(self, reserved: dict[int, int]) -> None:
        """A reused attempt matches the current definition and the current results of its needs."""
        jobs, attempts = self._jobs(), {one.id: one for one in self._attempts()}
        for number, reserve in reserved.items():
            job = jobs[number]
            if job.attempt != reserve or job.retired:
                continue
            defined = attempts[reserve if job.next.pinned_to is None else job.next.pinned_to]
            assert attempts[reserve].template == (job.template if job.next.pinned_to is None else defined.template)
            with self.session.store.read() as archive:
                then = archive.fingerprints.needed([reserve]).get(reserve, {})
                needs = archive.jobs.parents([number]).get(number, [])
            assert then.keys() == set(needs)
            for parent, seen in then.items():
                live = jobs[parent].attempt
                assert live is not None
                assert attempts[live].state is State.COMPLETED
                assert live == seen or attempts[live].result == attempts[seen].result

    def _no_good_subtask_ran_again(self, attempt: int, earlier: FanOut | None, ends: list[SubtaskEnd]) -> None:
        good = set(self.good.get(earlier.base, ())) if earlier and earlier.choice == "failed" else set()
        if earlier is not None and earlier.choice == "failed":
            assert {one.index for one in earlier.known if one.complete} == good
            assert not good & {one.index for one in ends}, "a subtask that succeeded ran again unasked"
        for one in ends:
            (good.add if one.state is State.COMPLETED else good.discard)(one.index)
        self.good[attempt] = good

    def _bury(self) -> None:
        """Hide the crashed runner's process: it would be this process."""
        with self.session.store.write() as archive:
            for runner in archive.runners.alive():
                archive.runners.abandon(runner.id, runner.epoch)

    @rule(
        data=st.data(),
        how=HOWS,
    )
    def plan_and_apply(self, data: st.DataObject, how: How) -> None:
        jobs = self._some(data)
        try:
            proposal = rerun.plan(self.session, [(jobs, how)], {})
            again = rerun.plan(self.session, [(jobs, how)], {})
        except Refused:
            return
        assert proposal.plan == again.plan
        before, acts = self._jobs(), self._in_force()
        applied = rerun.apply(self.session, proposal)
        self._holds_what_was_planned(proposal.plan, before)
        with pytest.raises(Refused):
            rerun.apply(self.session, proposal)
        if data.draw(st.booleans(), label="undo at once"):
            assert rerun.undo(self.session).rerun == applied.rerun
            assert _essences(self._jobs()) == _essences(before)
            assert self._in_force() == acts

    @rule(only_uninitialized=st.booleans(), undo=st.booleans())
    def restart(self, only_uninitialized: bool, undo: bool) -> None:
        """One restart is enough: the next finds nothing to do, except for refused jobs."""
        before, acts = self._jobs(), self._in_force()
        if (proposal := self._planned_restart(only_uninitialized)) is None:
            return
        applied = rerun.apply(self.session, proposal)
        self._holds_what_was_planned(proposal.plan, before)
        assert self._planned_restart(only_uninitialized) is None
        if undo:
            assert rerun.undo(self.session).rerun == applied.rerun
            assert _essences(self._jobs()) == _essences(before)
            assert self._in_force() == acts

    def _planned_restart(self, only_uninitialized: bool) -> PlannedRerun | None:
        workflow = workflow_to_restart(self.session, None)
        try:
            return plan_restart(self.session, workflow, only_uninitialized=only_uninitialized).proposal
        except PlanRefused:
            return None

    @rule(data=st.data(), undo=st.booleans())
    def accept(self, data: st.DataObject, undo: bool) -> None:
        """Accepted jobs are current, and only versions have changed."""
        before, jobs = self._jobs(), self._some(data)
        try:
            done = accept(self.session, jobs, {})
        except PlanRefused:
            return
        taken = {job.id for job in done.plan.jobs}
        assert not taken & find_stale_jobs(self.session, jobs).stale.keys()
        if done.rerun is not None and undo:
            assert rerun.undo(self.session).rerun == done.rerun
            assert find_stale_jobs(self.session, sorted(taken)).stale.keys() == taken
        assert _essences(self._jobs()) == _essences(before)

    @rule(outcomes=st.lists(OUTCOMES, max_size=12))
    def resume_what_failed_and_run(self, outcomes: list[ScriptedOutcome]) -> None:
        failed = [job.id for job in self._jobs().values() if job.state is State.FAILED and not job.retired]
        try:
            rerun.apply(self.session, rerun.plan(self.session, [(failed, How(start="failed-step"))], {}))
        except Refused:
            return
        self._work(self.session, outcomes, slots=2)

    @rule(outcomes=st.lists(OUTCOMES, max_size=12), n=st.integers(1, 2), at=st.integers(0, 15))
    def try_canaries_of_what_failed(self, outcomes: list[ScriptedOutcome], n: int, at: int) -> None:
        failed = [job.id for job in self._jobs().values() if job.state is State.FAILED and not job.retired]
        try:
            proposal = rerun.plan(self.session, [(failed, How(keep_modified=True))], {}, canary=n)
        except Refused:
            return
        before = self._jobs()
        applied = rerun.apply(self.session, proposal)
        self._holds_what_was_planned(proposal.plan, before)
        waits = {job: group.id for job, group in job_queries.canary_groups_of(self.session, failed).items()}
        assert waits.keys() == {job for one in proposal.canaries for job, _ in one.waits}
        session = Session(CrashingStore(self.session.store, at, "before"), self.clock) if at else self.session  # type: ignore[arg-type]
        self._work(session, outcomes, slots=2)
        groups, now = {one.id: one for one in workflow_queries.canary_groups(self.session, applied.rerun)}, self._jobs()
        for job, number in waits.items():
            if groups[number].outcome is not Decided.RELEASED:
                assert now[job].attempt == before[job].attempt, "what waits ran though its canaries had not passed"

    @invariant()
    def whatever_can_be_decided_of_canaries_is(self) -> None:
        with self.session.store.read() as archive:
            assert [one for one in archive.canaries.open() if decide_group(one) is not None] == []

    @rule(
        data=st.data(),
        results=st.lists(RESULTS, max_size=3),
        at=st.integers(0, 15),
        when=st.sampled_from(["before", "after"]),
    )
    def rerun_and_spare(self, data: st.DataObject, results: list[ScriptedOutcome], at: int, when: str) -> None:
        """Run everything, rerun some jobs, then their descendants as far as their inputs changed."""
        well = [ScriptedOutcome(result="1")] * 30
        self._work(self.session, well, slots=2)
        completed = sorted(job.id for job in self._jobs().values() if job.state is State.COMPLETED and not job.retired)
        if not completed:
            return
        jobs = sorted(data.draw(st.sets(st.sampled_from(completed), min_size=1, max_size=2), label="jobs"))
        how = How(downstream="changed", definition=data.draw(st.sampled_from(["latest", "latest", "pinned"])))
        try:
            rerun.apply(self.session, rerun.plan(self.session, [(jobs, how)], {}))
        except Refused:
            return
        if data.draw(st.booleans(), label="hold one"):
            control.hold(self.session, self._some(data)[:1])
        session = Session(CrashingStore(self.session.store, at, when), self.clock) if at else self.session  # type: ignore[arg-type]
        self._work(session, results + well, slots=2)

    def _holds_what_was_planned(self, plan: rerun.RerunPlan, before: dict[int, Job]) -> None:
        now = self._jobs()
        planned = {job.id for job in plan.jobs}
        for job in plan.jobs:
            was, standing = before[job.id], now[job.id]
            assert standing.state is job.after
            assert standing.attempt == (was.attempt if job.stays else None)
            held = None if job.releases else job.holds or was.held
            assert plan.dynamic or standing.held == held
            assert (standing.next.reuse_candidate, standing.next.pinned_to) == (
                job.next.reuse_candidate,
                job.next.pinned_to,
            )
        for number in now.keys() - planned:
            # A parent that loses its edge to a retired job has a new version, and is otherwise unchanged.
            same = replace(now[number], version=before[number].version)
            if same.retired:  # effects of an action may be lost if a revision restores it
                same = replace(same, canceled=before[number].canceled, held=before[number].held)
            assert same == before[number], "what the plan does not name was touched"
            assert plan.dynamic or same == now[number]

    @precondition(lambda self: self._has_reruns())
    @rule()
    def undo(self) -> None:
        try:
            rerun.undo(self.session)
        except Refused:
            return

    @rule(data=st.data(), what=st.sampled_from(["hold", "release", "cancel"]))
    def control(self, data: st.DataObject, what: str) -> None:
        getattr(control, what)(self.session, self._some(data))

    @rule(revised=definitions())
    def revise(self, revised: Definition) -> None:
        try:
            submit(self.session, revised)
        except Refused:  # it would retire a job that is recorded as running
            return

    # --- invariants

    @invariant()
    def the_archive_agrees_with_itself(self) -> None:
        with self.session.store.read() as archive:
            assert archive.check() == []

    @invariant()
    def nothing_runs_beside_what_it_would_disturb(self) -> None:
        nothing_is_disturbed(self.session)

    @invariant()
    def states_follow_from_pointers(self) -> None:
        attempts = {one.id: one for one in self._attempts()}
        for job in self._jobs().values():
            live = attempts[job.attempt].state if job.attempt is not None else None
            if not job.retired:
                assert job.state is derive_state(live, job.canceled, job.unmet)

    @invariant()
    def no_attempt_is_ever_lost_or_rewritten(self) -> None:
        now = {one.id: one for one in self._attempts()}
        for number, one in self.known.items():
            assert number in now, f"attempt {number} of job {one.job} is gone"
            assert _deed(now[number]) == _deed(one), "what an attempt did was rewritten"
        self.known = {number: one for number, one in now.items() if one.state in ENDED}

    @invariant()
    def every_attempt_that_did_not_succeed_has_a_cause(self) -> None:
        for one in self._attempts():
            assert (one.cause is not None) == (one.state in (State.FAILED, State.CANCELED))

    @invariant()
    def what_was_added_is_there_while_its_set_is_in_force(self) -> None:
        jobs, sets = self._jobs(), self._in_force()
        adders = {attempt: job for job, (attempt, *_) in sets.items()}
        for job in jobs.values():
            if job.added_by is not None:
                assert job.retired == (job.added_by not in adders), f"{job.name}: added by {job.added_by}"
        assert not any(jobs[job].retired for job in sets)

    @invariant()
    def what_is_pinned_ran_what_the_earlier_attempt_had_run(self) -> None:
        attempts = {one.id: one for one in self._attempts()}
        for one in attempts.values():
            if one.pinned_to is not None:
                earlier = attempts[one.pinned_to]
                assert earlier.job == one.job
                assert (earlier.template, earlier.revision) == (one.template, one.revision)

    @invariant()
    def retries_stay_within_their_bounds(self) -> None:
        jobs = self._jobs()
        with self.session.store.read() as archive:
            retried = archive.reruns.retries(sorted(jobs))
            policies = {job.id: archive.workflows.template(job.template).retry for job in jobs.values()}
        bounds = {number: max((rule.max for rule in policies[number]), default=0) for number in jobs}
        for number, job in jobs.items():
            self.most[number] = max(self.most.get(number, 0), bounds[number])  # a revision may have lowered it
            assert retried.get(number, 0) <= self.most[number]
            assert job.next.not_before is None or job.attempt is None

    @invariant()
    def a_job_has_at_most_one_live_attempt(self) -> None:
        live = [one.job for one in self._attempts() if one.archived_by is None]
        assert len(live) == len(set(live))

    # --- queries

    def _jobs(self) -> dict[int, Job]:
        with self.session.store.read() as archive:
            ids = archive.jobs.select(Selection().where, None, retired=True)
            return {job.id: job for job in archive.jobs.get(ids)}

    def _states(self) -> dict[str, State]:
        return {job.name: job.state for job in self._jobs().values()}

    def _in_force(self) -> dict[int, tuple[object, ...]]:
        with self.session.store.read() as archive:
            ids = archive.jobs.select(Selection().where, None, retired=True)
            sets = archive.dynamic_actions.in_force(ids)
            return {job: (one.attempt, one.names, one.edges, one.patches) for job, one in sets.items()}

    def _attempts(self) -> list[Attempt]:
        return job_queries.attempts(self.session, None)

    def _has_reruns(self) -> bool:
        with self.session.store.read() as archive:
            return archive.reruns.newest_manual() is not None

    def _some(self, data: st.DataObject) -> list[int]:
        with self.session.store.read() as archive:
            ids = archive.jobs.select(Selection().where, None)
        return sorted(data.draw(st.sets(st.sampled_from(ids), min_size=1), label="jobs"))


def _essences(jobs: dict[int, Job]) -> dict[int, tuple[object, ...]]:
    """Return the jobs that are not retired before and after. Effects of an action on a retired job need not be
    restored."""
    return {number: _essence(job) for number, job in jobs.items() if not job.retired}


def _essence(job: Job) -> tuple[object, ...]:
    """Return a job without its version, which only grows."""
    flags = (job.canceled, job.held, job.retired, job.added_by)
    pointers = (job.attempt, job.next.reuse_candidate, job.next.pinned_to)
    return (job.state, job.unmet, *pointers, *flags, job.next.resume_attempt, job.next.resume_step)


def _deed(one: Attempt) -> tuple[object, ...]:
    """Return the record of an attempt, which no rerun may change."""
    return (one.job, one.number, one.token, one.state, one.cause, one.started, one.ended, one.steps)


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
