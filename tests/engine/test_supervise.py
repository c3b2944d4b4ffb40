"""Supervising: rounds, guards, groups, budgets and continuation after a crash. Processes are scripted."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from msgspec.structs import replace

from rekindle import Client, Workflow
from rekindle.domain.batches.flakiness import PassHistory
from rekindle.domain.batches.supervision import Budget, Guards, SupervisionEnd
from rekindle.domain.batches.supervision_report import SupervisionReport
from rekindle.domain.errors import PlanOutdated, Refused, StoreUnavailable, UsageError
from rekindle.domain.rerun.request import How
from rekindle.domain.states import Cause, State
from rekindle.domain.verdicts import Status
from rekindle.engine.queries import job_queries, selections, workflow_queries
from rekindle.engine.rerun import control, rerun
from rekindle.engine.results import NoLiveRunner, SuperviseOptions, SupervisionStarted, WorkOptions, WorkReport
from rekindle.engine.running.work import work
from rekindle.engine.session import Session
from rekindle.engine.supervising import batch_wait
from rekindle.engine.supervising import supervise as engine
from rekindle.engine.supervising.simulation import SimulationOptions, simulate
from rekindle.engine.supervising.supervise import acknowledge, supervise
from rekindle.journal.orders import Assignment
from rekindle.testing import Crash, CrashingStore, FakeClock, ScriptedExecutor, ScriptedOutcome

ALWAYS = 10**6
G = 2**30


class Batch:
    """A batch of tests: for each number, how many of its first attempts fail."""

    def __init__(self, project) -> None:
        self.project, self.clock = project, FakeClock()
        project.session = Session(project.session.store, self.clock)
        self.fails: Mapping[str, int] = {}
        self.outcome: Callable[[Assignment], ScriptedOutcome] = lambda _: ScriptedOutcome(
            fails_at="run", message="broken"
        )
        self.ran: list[tuple[str, int]] = []
        self.heard: list[object] = []

    def submit(self, tests: int = 4, more: str = "", test: str = "run: x") -> None:
        matrix = f"matrix: {{i: {{range: [0, {tests}]}}}}"
        self.project.submit(f"name: batch\njobs:\n  test: {{{matrix}, {test}}}\n{more}")

    def script(self, one: Assignment) -> ScriptedOutcome:
        self.ran.append((one.name, one.number))
        return self.outcome(one) if one.number <= self.fails.get(one.name, 0) else ScriptedOutcome(result="1")

    def run(self, left: float | None, session: Session | None = None) -> WorkReport:
        executor = ScriptedExecutor(self.project.session.store.folder, self.script, self.clock)
        options = WorkOptions("batch", slots=2, wait_timeout=left, memory=64 * G)
        try:
            return work(session or self.project.session, options, executor=executor)
        finally:
            executor.close(0)

    def supervise(self, guards: Guards | None = None, **more) -> SupervisionReport:
        options = SuperviseOptions("batch", guards or Guards(), **more)
        try:
            report = supervise(self.project.session, options, self.run, self.heard.append)
        finally:
            self.project.check()
        acknowledge(self.project.session, report)
        return report

    def reruns(self) -> list[tuple[str, ...]]:
        """Return the names of the jobs of each rerun by supervise, oldest first."""
        found = [one for one, _ in workflow_queries.reruns(self.project.session) if one.kind == "supervise"]
        plans = [workflow_queries.rerun(self.project.session, one.id).plan for one in reversed(found)]
        return [tuple(job.name for job in plan.jobs) for plan in plans]

    def attempts(self) -> dict[str, int]:
        ids = self.project.session and [self.project.job(name) for name in self.project.states()]
        return {row.job.name: row.job.attempts for row in job_queries.jobs(self.project.session, ids)}


@pytest.fixture
def batch(project):
    return Batch(project)


def test(i: int) -> str:
    return f"test[i={i}]"


test.__test__ = False


# Limits of ReSim's supervise


def test_a_batch_that_passes_is_not_run_again(batch):
    batch.submit()
    report = batch.supervise()
    assert (report.end, report.reruns, report.exit_code(())) == (SupervisionEnd.CLEAN, 0, 0)
    assert batch.reruns() == []


def test_what_failed_is_run_again_to_success(batch):
    batch.submit()
    batch.fails = {test(1): 1}
    report = batch.supervise()
    assert (report.end, report.reruns, report.exit_code(())) == (SupervisionEnd.CLEAN, 1, 0)
    assert batch.reruns() == [(test(1),)]
    (fixed,) = report.fixed
    assert (fixed.name, fixed.attempts, fixed.passed) == (test(1), 2, PassHistory.FLAKY)
    assert [(one.percent, one.matching, one.total) for one in report.rounds] == [(25.0, 1, 4), (0.0, 0, 4)]


def test_jobs_that_fail_again_after_their_rerun_are_an_error(batch):
    batch.submit()
    batch.fails = {test(1): ALWAYS}
    report = batch.supervise()
    assert (report.end, report.reruns, report.exit_code(())) == (SupervisionEnd.MAX_RERUNS, 1, 2)
    assert [(one.name, one.why) for one in report.left] == [(test(1), "the limit of 1 rerun is reached")]
    assert [(one.cause, one.message, one.jobs) for one in report.failing] == [
        ("exit", "broken", (batch.project.job(test(1)),))
    ]


@pytest.mark.parametrize("most", [0, 1, 3])
def test_the_number_of_reruns_is_limited(batch, most):
    batch.submit()
    batch.fails = {test(0): ALWAYS}
    assert batch.supervise(Guards(max_reruns=most)).reruns == most
    assert batch.attempts() == {test(0): 1 + most, test(1): 1, test(2): 1, test(3): 1}


@pytest.mark.parametrize(
    ("tests", "failing", "limit", "end"),
    [
        (2, 1, 50, SupervisionEnd.CLEAN),
        (3, 2, 34, SupervisionEnd.FAILURE_PERCENT),
        (3, 1, 34, SupervisionEnd.CLEAN),
        (3, 2, 67, SupervisionEnd.CLEAN),
    ],
)
def test_a_percentage_strictly_above_the_limit_ends_it(batch, tests, failing, limit, end):
    batch.submit(tests)
    batch.fails = {test(i): 1 for i in range(failing)}
    report = batch.supervise(Guards(max_failure_percent=limit))
    assert (report.end, report.reruns) == (end, 1 if end is SupervisionEnd.CLEAN else 0)
    assert report.exit_code(()) == (0 if end is SupervisionEnd.CLEAN else 2)


def test_a_batch_that_was_canceled_is_not_run_again(batch):
    batch.submit()
    batch.fails = {test(1): 1}
    control.cancel(batch.project.session, [batch.project.job(test(2))])
    report = batch.supervise()
    assert (report.end, report.reruns) == (SupervisionEnd.CANCELED, 0)
    assert report.exit_code(()) == 2  # it does not mask an error
    assert batch.supervise(Guards(on=frozenset({Status.ERROR, Status.CANCELED}))).exit_code(()) == 0


def test_canceled_alone_is_5(batch):
    batch.submit()
    control.cancel(batch.project.session, [batch.project.job(test(2))])
    assert batch.supervise().exit_code(()) == 5


def test_nothing_new_starts_after_the_time_of_a_round(batch):
    batch.submit()
    report = batch.supervise(wait_timeout=0.0)
    assert (report.end, report.reruns, report.exit_code(())) == (SupervisionEnd.TIMED_OUT, 0, 6)
    assert set(report.statuses) <= {Status.QUEUED, Status.PASSED}


@pytest.mark.parametrize("guards", [Guards(max_reruns=-1), Guards(max_failure_percent=0), Guards(group_by="moon")])
def test_impossible_options_are_refused_before_the_run(batch, guards):
    batch.submit()
    with pytest.raises(UsageError):
        batch.supervise(guards)
    assert batch.ran == batch.heard == []


# Which jobs run again


def test_only_the_causes_asked_for_are_run_again(batch):
    batch.submit(8)
    batch.fails = {test(0): ALWAYS, test(1): 1}
    batch.outcome = lambda one: ScriptedOutcome(
        fails_at="run", cause=Cause.EXIT if one.name == test(0) else Cause.TIMEOUT
    )
    report = batch.supervise(Guards(on_causes=frozenset({Cause.TIMEOUT})))
    assert batch.reruns() == [(test(1),)]
    assert [(one.name, one.why) for one in report.left] == [(test(0), "its cause is not asked for")]
    assert report.exit_code(()) == 2


def test_an_aggregate_runs_again_and_counts_in_no_percentage(batch):
    batch.submit(4, '  report: {needs: ["test*"], aggregate: true, run: x}\n')
    batch.fails = {test(1): 1}
    report = batch.supervise()
    assert [one.total for one in report.rounds] == [4, 4]
    assert batch.reruns() == [(test(1), "report")]
    assert batch.attempts()["report"] == 1
    assert batch.project.states()["report"] is State.COMPLETED


def test_earlier_modifications_are_kept(batch):
    batch.submit()
    batch.fails = {test(1): 2}
    batch.run(None)
    how = How(overrides=rerun_memory("2G"))
    batch.project.rerun(test(1), how=how)
    report = batch.supervise()
    assert report.fixed[0].passed is PassHistory.FLAKY or report.fixed[0].passed is PassHistory.MODIFIED
    assert '"memory"' in batch.project.attempts(test(1), live=True)[0].overrides


def rerun_memory(size: str):
    from rekindle.domain.overrides import Overrides

    return Overrides({}, {}, size, None, None)


def test_what_is_held_is_named_with_the_reason(batch):
    batch.submit()
    batch.fails = {test(1): 1, test(2): 1}
    batch.run(None)
    control.hold(batch.project.session, [batch.project.job(test(2))])
    report = batch.supervise()
    assert batch.reruns() == [(test(1),)]
    assert [(one.name, "it is held" in one.why) for one in report.left] == [(test(2), True)]
    assert report.exit_code(()) == 2


def test_it_ends_when_nothing_can_run_again(batch):
    batch.submit()
    batch.fails = {test(2): 1}
    batch.run(None)
    control.hold(batch.project.session, [batch.project.job(test(2))])
    report = batch.supervise(Guards(max_reruns=5))
    assert (report.end, report.reruns) == (SupervisionEnd.REFUSED, 0)
    assert "it is held" in report.left[0].why


# Groups and budgets


def test_one_broken_group_does_not_stop_the_others(batch):
    batch.submit(4, "  other: {matrix: {i: {range: [0, 4]}}, run: x}\n")
    batch.fails = {test(0): ALWAYS, test(1): ALWAYS, test(2): ALWAYS, "other[i=3]": 1}
    report = batch.supervise(Guards(group_by="template", max_group_percent=50))
    assert batch.reruns() == [("other[i=3]",)]
    assert report.rounds[0].stopped == {"test": 75.0}
    assert {one.why for one in report.left} == {"its template test fails too often: 75.0 %"}
    assert (report.end, report.exit_code(())) == (SupervisionEnd.MAX_RERUNS, 2)
    assert [one.name for one in report.fixed] == ["other[i=3]"]


def test_it_ends_when_all_that_fails_is_of_stopped_groups(batch):
    batch.submit(4)
    batch.fails = {test(0): ALWAYS}
    report = batch.supervise(Guards(max_reruns=9, group_by="matrix.i", max_group_percent=50))
    assert (report.end, report.reruns) == (SupervisionEnd.GROUPS, 0)


@pytest.mark.parametrize(("most", "reruns"), [(0, 0), (1, 1), (2, 2), (9, 3)])
def test_reruns_take_no_more_attempts_than_are_given(batch, most, reruns):
    batch.submit()
    batch.fails = {test(0): ALWAYS}
    report = batch.supervise(Guards(max_reruns=3, budget=Budget(attempts=most)))
    assert (report.reruns, report.attempts) == (reruns, reruns)
    assert report.end is (SupervisionEnd.MAX_RERUNS if most == 9 else SupervisionEnd.BUDGET)


def test_reruns_take_no_more_time_than_is_given(batch):
    batch.submit()
    batch.fails = {test(0): ALWAYS}
    batch.outcome = lambda _: batch.clock.advance(100) or ScriptedOutcome(fails_at="run")
    report = batch.supervise(Guards(max_reruns=9, budget=Budget(seconds=250)))
    assert (report.end, report.reruns) == (SupervisionEnd.BUDGET, 2)


def test_reruns_take_no_more_core_hours_than_are_given(batch):
    batch.submit(test="run: x, resources: {cpus: 2}")
    batch.fails = {test(0): ALWAYS}
    batch.clock.tick = 100.0
    report = batch.supervise(Guards(max_reruns=20, budget=Budget(core_seconds=3000)))
    assert report.end is SupervisionEnd.BUDGET
    (failed,) = {one.ended - one.started for one in batch.project.attempts(test(0))}
    (passed,) = {one.ended - one.started for one in batch.project.attempts(test(1))}
    assert report.core_seconds == report.reruns * 2 * failed
    assert report.core_seconds + 2 * passed > 3000 >= report.core_seconds  # such jobs have taken so long


# Concurrent reruns


def test_a_rerun_by_somebody_else_in_between_is_looked_at_again(batch, monkeypatch):
    batch.submit()
    batch.fails = {test(1): 2}
    others = iter([True])
    plan_requests = engine.plan_requests

    def meanwhile(*words, **more):
        proposal = plan_requests(*words, **more)
        if next(others, False):
            batch.project.rerun(test(1))
        return proposal

    monkeypatch.setattr(engine, "plan_requests", meanwhile)
    report = batch.supervise()
    assert (report.end, report.reruns, batch.attempts()[test(1)]) == (SupervisionEnd.CLEAN, 1, 3)


def test_a_lasting_conflict_is_reported_and_can_be_continued(batch, monkeypatch):
    batch.submit()
    batch.fails = {test(1): 1}
    tried = []

    def never(*_, **__):
        tried.append(True)
        raise PlanOutdated("`test[i=1]` has moved since the plan was made")

    with monkeypatch.context() as patched:
        patched.setattr(engine, "apply", never)
        with pytest.raises(Refused, match="5 times"):
            batch.supervise()
    assert len(tried) == 5
    assert batch.supervise().reruns == 1
    assert [one.resumed for one in batch.heard if isinstance(one, SupervisionStarted)] == [False, True]


def test_a_rerun_that_is_taken_back_counts(batch):
    batch.submit()
    batch.fails = {test(1): ALWAYS}
    batch.run(None)
    undone = []

    def run(left):
        if batch.reruns() and not undone:
            undone.append(rerun.undo(batch.project.session, workflow_queries.reruns(batch.project.session)[0][0].id))
        return batch.run(left)

    report = supervise(batch.project.session, SuperviseOptions("batch"), run)
    assert (report.end, report.reruns, batch.attempts()[test(1)]) == (SupervisionEnd.MAX_RERUNS, 1, 1)


def test_a_bare_undo_passes_it_over(batch):
    batch.submit()
    batch.fails = {test(1): ALWAYS}
    batch.run(None)
    batch.project.rerun(test(0))
    manual = workflow_queries.reruns(batch.project.session)[0][0].id
    batch.supervise()
    with batch.project.session.store.read() as archive:
        assert archive.reruns.newest_manual() == manual


# Crashes


class Die:
    """Supervise with a store that dies around a given transaction, then start again until it has reported."""

    def __init__(self, batch: Batch, when: str) -> None:
        self.batch, self.when = batch, when

    def once(self, at: int, guards: Guards) -> bool:
        """Return whether it ended before it died."""
        store = self.batch.project.session.store
        session = Session(CrashingStore(store, at, self.when), self.batch.clock)
        try:
            report = supervise(session, SuperviseOptions("batch", guards), lambda left: self.batch.run(left, session))
            acknowledge(session, report)
        except Crash:
            with store.write() as archive:
                for runner in archive.runners.alive():
                    archive.runners.abandon(runner.id, runner.epoch)
            return False
        return True


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_does_not_change_the_number_of_reruns(project, tmp_path, when):
    guards = Guards(max_reruns=2)
    at, ended = 0, False
    while not ended:
        at += 1
        folder = tmp_path / f"{when}-{at}"
        folder.mkdir()
        batch = Batch(type(project)(folder))
        batch.submit()
        batch.fails = {test(0): ALWAYS, test(1): 1}
        ended = Die(batch, when).once(at, guards)
        if not ended and not _is_told(batch):
            report = batch.supervise(guards)
            assert report.end is SupervisionEnd.MAX_RERUNS
        assert batch.reruns() == [(test(0), test(1)), (test(0),)], at
        assert _is_told(batch), at
        batch.project.session.close()
    assert at > 10


def _is_told(batch: Batch) -> bool:
    with batch.project.session.store.read() as archive:
        every = [archive.supervisions.get(number) for number in range(1, 5)]  # one that was rolled back had a number
    return any(one is not None and one.ended is not None for one in every)


def test_a_crashed_supervision_with_other_options_is_abandoned(batch):
    batch.submit()
    batch.fails = {test(0): ALWAYS}
    report = supervise(batch.project.session, SuperviseOptions("batch"), batch.run)
    assert report.reruns == 1  # and nothing has reported it
    assert batch.supervise(Guards(max_reruns=2)).reruns == 2
    (begun,) = [one for one in batch.heard if isinstance(one, SupervisionStarted)]
    assert (begun.resumed, begun.given_up, begun.reruns) == (False, report.supervision, 0)


def test_an_unreported_end_is_reported_again(batch):
    batch.submit()
    batch.fails = {test(0): ALWAYS}
    first = supervise(batch.project.session, SuperviseOptions("batch"), batch.run)
    before = list(batch.ran)
    assert batch.supervise() == first
    assert batch.ran == before
    assert batch.supervise().supervision != first.supervision  # and this one starts from the beginning


def test_a_supervision_on_an_invisible_host_is_continued_only_if_asked(batch):
    batch.submit()
    store = batch.project.session.store
    supervise(batch.project.session, SuperviseOptions("batch"), batch.run)
    with store.write() as archive:
        one = archive.supervisions.active(1)
        archive.supervisions.take(one.id, replace(one.owner, host="elsewhere", boot_id="another", pid=4711))
    with pytest.raises(Refused, match="pid 4711 on elsewhere") as refused:
        batch.supervise()
    assert "--take-over" in refused.value.hint
    assert batch.supervise(take_over=True).supervision == 1


def test_canaries_run_first_in_each_round(batch):
    batch.submit(tests=20)
    batch.fails = {test(at): ALWAYS for at in range(6)} | {test(at): 1 for at in range(6, 9)}
    said = {test(at): "cold" for at in range(6)}
    batch.outcome = lambda one: ScriptedOutcome(fails_at="run", message=said.get(one.name, "hot"))
    report = batch.supervise(Guards(max_reruns=1, canary=1))
    again = [name for name, number in batch.ran if number > 1]
    assert sorted(again) == sorted([test(0), *(test(at) for at in range(6, 9))])
    assert [one.name for one in report.fixed] == [test(at) for at in range(6, 9)]
    why = {one.name: one.why for one in report.left}
    assert set(why) == {test(at) for at in range(6)}
    assert "canary" in why[test(3)]


def test_jobs_waiting_for_canaries_count_in_the_budget(batch):
    batch.submit(tests=20)
    batch.fails = {test(at): ALWAYS for at in range(6)}
    report = batch.supervise(Guards(max_reruns=1, canary=1, budget=Budget(attempts=5)))
    assert report.end is SupervisionEnd.BUDGET
    assert all(number == 1 for _, number in batch.ran)


class Away:
    """A store that is unavailable at given reads."""

    def __init__(self, store, when: set[int]) -> None:
        self._store, self._when, self.reads = store, when, 0

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def read(self):
        self.reads += 1
        if self.reads in self._when:
            raise StoreUnavailable("the store is locked")
        return self._store.read()


@pytest.mark.parametrize(("when", "ends_well"), [({4, 5, 6}, True), ({4, 5, 6, 7, 8}, False)])
def test_a_store_that_is_away_for_a_moment_is_waited_for(batch, when, ends_well):
    batch.submit()
    batch.run(None)
    session = Session(Away(batch.project.session.store, when), batch.clock)
    options = SuperviseOptions("batch", poll=0.001)
    if ends_well:
        assert supervise(session, options, None).end is SupervisionEnd.CLEAN
    else:
        with pytest.raises(StoreUnavailable):
            supervise(session, options, None)


def test_python_code_supervises_as_the_command_line_does(tmp_path):
    flow = Workflow("batch", directory=tmp_path)
    flow.job("ok", run="true")
    flow.job("flaky", run="test -e seen || { touch seen; exit 3; }")
    with Client(str(tmp_path / ".rekindle")) as client:
        client.submit(flow.definition())
        report = client.supervise("batch", Guards(max_reruns=2), jobs=2)
        assert (report.end, report.reruns, [one.name for one in report.fixed]) == (SupervisionEnd.CLEAN, 1, ["flaky"])
        assert client.supervise("batch").supervision == report.supervision + 1


# Ingesting new tests, and waiting without supervising


def test_new_tests_are_ingested_once_before_each_rerun(batch):
    batch.submit(tests=2)
    batch.fails = {test(0): ALWAYS}
    taken_in = []

    def refresh() -> None:
        taken_in.append(len(batch.reruns()))
        batch.submit(tests=3)

    report = batch.supervise(Guards(max_reruns=2), refresh=refresh)
    assert taken_in == [0, 1]
    assert [one.total for one in report.rounds] == [3, 3, 3]
    assert batch.attempts() == {test(0): 3, test(1): 1, test(2): 1}


def test_nothing_is_ingested_without_a_rerun(batch):
    batch.submit()
    assert batch.supervise(refresh=lambda: pytest.fail("there is no rerun")).reruns == 0


def test_waiting_works_on_the_batch_and_changes_nothing_else(batch):
    batch.submit()
    batch.fails = {test(0): ALWAYS}
    workflow = selections.find_workflow(batch.project.session, "batch")
    assert (
        batch_wait.wait(batch.project.session, workflow, batch_wait.WaitLimits(), batch.run)
        is batch_wait.WaitOutcome.RESTED
    )
    assert batch.attempts() == {test(i): 1 for i in range(4)}
    assert workflow_queries.reruns(batch.project.session) == []
    assert (
        batch_wait.wait(batch.project.session, workflow, batch_wait.WaitLimits(), None) is batch_wait.WaitOutcome.RESTED
    )


def test_waiting_without_a_runner_ends_at_the_timeout(batch):
    batch.submit()
    workflow, events = selections.find_workflow(batch.project.session, "batch"), []
    patience = batch_wait.WaitLimits(poll=60.0, limit=0.0)
    assert (
        batch_wait.wait(batch.project.session, workflow, patience, None, events.append)
        is batch_wait.WaitOutcome.TIMED_OUT
    )
    assert events == [NoLiveRunner(0, 4)]
    with pytest.raises(UsageError):
        batch_wait.wait(batch.project.session, workflow, batch_wait.WaitLimits(poll=0.0), None)


# Simulations: the same guards on the history that a supervision left


@pytest.mark.parametrize(
    ("fails", "guards"),
    [
        ({"test[i=1]": 1}, Guards()),
        ({"test[i=1]": 1, "test[i=2]": 3}, Guards(max_reruns=3)),
        ({"test[i=0]": 1, "test[i=1]": 2, "test[i=2]": 1}, Guards(max_failure_percent=40)),
        ({"test[i=0]": 1, "test[i=1]": 2, "test[i=2]": 1}, Guards(max_reruns=2, max_failure_percent=100, canary=1)),
        ({f"test[i={number}]": 1 for number in range(4)}, Guards(max_failure_percent=100, canary=2)),
        ({"test[i=1]": ALWAYS}, Guards(max_reruns=5, budget=Budget(attempts=2))),
    ],
)
def test_a_simulation_with_the_same_guards_gives_what_the_supervision_did(
    batch: Batch, fails: Mapping[str, int], guards: Guards
) -> None:
    batch.submit(more="  all: {needs: [test], when: finished, aggregate: true, run: y}\n")
    batch.fails = fails
    real = batch.supervise(guards)
    found = simulate(batch.project.session, SimulationOptions("batch", guards, slots=2)).found
    assert (found.end, found.why) == (real.end, real.why)
    assert [(one.percent, one.matching, one.aggregates, one.jobs) for one in found.rounds] == [
        (one.percent, one.matching, one.aggregates, one.jobs) for one in real.rounds
    ]
    assert found.statuses == real.statuses
    assert found.attempts == len(batch.ran)
    assert found.drawn == {}


def test_a_seed_gives_the_same_draws_under_all_guards(batch: Batch) -> None:
    batch.submit()
    batch.fails = {"test[i=1]": 1, "test[i=2]": ALWAYS}
    batch.supervise(Guards(max_reruns=2))

    def failing(seed: int, reruns: int) -> list[int]:
        options = SimulationOptions("batch", Guards(max_reruns=reruns, max_failure_percent=100), seed=seed)
        return [one.matching for one in simulate(batch.project.session, options).found.rounds]

    for seed in range(5):
        assert failing(seed, 6) == failing(seed, 6)
        assert failing(seed, 6)[: len(failing(seed, 4))] == failing(seed, 4)
    assert len({tuple(failing(seed, 6)) for seed in range(20)}) > 1
