"""Repeats: jobs run a given number of times. Processes are scripted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rekindle.domain.batches.flakiness import PassHistory
from rekindle.domain.errors import BadValue, UndoRefused
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerun.request import How
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries, workflow_queries
from rekindle.engine.queries.flaky_queries import flaky_jobs, pass_conditions
from rekindle.engine.rerun import control, rerun
from rekindle.engine.results import WorkOptions, WorkReport
from rekindle.engine.running.work import work
from rekindle.engine.session import Session
from rekindle.journal.orders import Assignment
from rekindle.testing import Crash, CrashingStore, FakeClock, ScriptedExecutor, ScriptedOutcome

FAILS = ScriptedOutcome(fails_at="run", exit_code=3)
PAIR = "{name: pair, jobs: {a: {run: x}, b: {needs: [a], run: x}}}"

Script = Callable[[Assignment], ScriptedOutcome]


def fails_at(*numbers: int) -> Script:
    """Fail the attempts of `a` with these numbers."""
    return lambda one: FAILS if one.name == "a" and one.number in numbers else ScriptedOutcome()


@pytest.fixture
def run(project) -> Callable[..., WorkReport | None]:
    clock = FakeClock()
    project.session = Session(project.session.store, clock)

    def worked(script: Script, crash_at: int = 0) -> WorkReport | None:
        store = project.session.store
        executor = ScriptedExecutor(store.folder, script, clock)
        session = Session(CrashingStore(store, crash_at, "before"), clock) if crash_at else project.session
        try:
            return work(session, WorkOptions(slots=2), executor=executor)
        except Crash:
            executor.close(0)
            with store.write() as archive:
                for runner in archive.runners.alive():
                    archive.runners.abandon(runner.id, runner.epoch)
            return None
        finally:
            project.check()

    return worked


def ends(project, name: str) -> str:
    return "".join("+" if one.state is State.COMPLETED else "-" for one in project.attempts(name))


def test_it_repeats_whatever_the_outcome_and_descendants_wait_for_the_last(project, run):
    project.submit(PAIR)
    run(fails_at())
    project.rerun("a", how=How(repeats=4))
    seen = []

    def script(one: Assignment) -> ScriptedOutcome:
        seen.append(one.name)
        return fails_at(3, 5)(one)

    assert run(script).exit_code == 0
    assert ends(project, "a") == "++-+-+"
    assert seen == ["a"] * 5 + ["b"]
    kinds = [record.kind for record, _ in workflow_queries.reruns(project.session)]
    assert kinds == ["repeat"] * 4 + ["manual"]
    (found,) = flaky_jobs(project.session, [project.job("a"), project.job("b")])
    assert (found.job, found.passed, found.passes, found.failures) == (project.job("a"), PassHistory.FLAKY, 4, 2)


def test_the_last_one_counts(project, run):
    project.submit(PAIR)
    run(fails_at())
    project.rerun("a", how=How(repeats=1))
    assert run(fails_at(3)).exit_code == 2
    assert project.states() == {"a": State.FAILED, "b": State.WAITING}
    assert pass_conditions(project.session, [project.job("a"), project.job("b")]) == {
        project.job("a"): PassHistory.MIXED,
        project.job("b"): PassHistory.PLAIN,
    }


@pytest.mark.parametrize(("downstream", "runs"), [("all", 2), ("changed", 2), ("none", 1)])
def test_the_downstream_option_applies_after_the_last_repeat(project, run, downstream, runs):
    project.submit(PAIR)
    run(fails_at())
    project.rerun("a", how=How(repeats=2, downstream=downstream))
    assert run(fails_at(2)).exit_code == 0
    assert (ends(project, "a"), len(ends(project, "b"))) == ("+-++", runs)
    assert project.states() == {"a": State.COMPLETED, "b": State.COMPLETED}


def test_a_policy_retries_only_the_last(project, run):
    project.submit("{name: r, jobs: {a: {run: x, retry: {max: 5}}}}")
    run(fails_at())
    project.rerun("a", how=How(repeats=2))
    assert run(fails_at(2, 3, 4, 5)).exit_code == 0
    assert ends(project, "a") == "+----+"
    kinds = [record.kind for record, _ in workflow_queries.reruns(project.session)]
    assert kinds == ["retry"] * 2 + ["repeat"] * 2 + ["manual"]


def test_modifications_last_through_all_repeats_only(project, run):
    project.submit("{name: m, params: {alpha: 1}, jobs: {a: {run: 'x ${params.alpha}'}}}")
    run(fails_at(1))
    project.rerun("a", how=How(repeats=2, overrides=Overrides({"alpha": 2})))
    run(fails_at(1))
    assert [one.overrides is not None for one in project.attempts("a")] == [False, True, True, True]
    assert pass_conditions(project.session, [1]) == {1: PassHistory.MODIFIED}
    (told,) = flaky_jobs(project.session, [1], every=True)
    assert (told.passes, told.failures, told.elsewhere) == (3, 0, 1)
    assert flaky_jobs(project.session, [1]) == []
    project.rerun("a")
    run(fails_at(1))
    assert len(project.attempts("a")) == 5


def test_canceling_ends_the_repeats(project, run):
    project.submit(PAIR)
    run(fails_at())
    project.rerun("a", how=How(repeats=9))

    def script(one: Assignment) -> ScriptedOutcome:
        if one.number == 4:
            control.cancel(project.session, [one.job])
        return ScriptedOutcome()

    run(script)
    assert (ends(project, "a"), project.states()["a"]) == ("++++", State.COMPLETED)


def test_undo_of_repeats_is_possible_only_before_the_first_starts(project, run):
    project.submit(PAIR)
    run(fails_at())
    applied = project.rerun("a", how=How(repeats=3))
    (row,) = job_queries.jobs(project.session, [project.job("a")])
    assert row.job.next.repeats == 3
    rerun.undo(project.session)
    (row,) = job_queries.jobs(project.session, [project.job("a")])
    assert (row.job.next.repeats, row.job.state) == (0, State.COMPLETED)
    project.rerun("a", how=How(repeats=3))
    run(fails_at())
    with pytest.raises(UndoRefused):
        rerun.undo(project.session, applied.rerun + 1)


@pytest.mark.parametrize("crash_at", range(1, 12))
def test_none_is_forgotten_or_doubled_whenever_the_runner_dies(project, run, crash_at):
    project.submit("{name: s, jobs: {a: {run: x}}}")
    run(fails_at())
    project.rerun("a", how=How(repeats=3))
    run(fails_at(), crash_at=crash_at)
    assert run(fails_at()).exit_code == 0
    counted = [one for one in project.attempts("a") if one.cause != "lost"]
    assert len(counted) == 5
    (told,) = flaky_jobs(project.session, [project.job("a")], every=True)
    assert (told.passes, told.failures, told.passed) == (5, 0, PassHistory.PLAIN)
    assert told.lost == len(project.attempts("a")) - 5, "what was lost says nothing of the job"
    assert project.states() == {"a": State.COMPLETED}


@pytest.mark.parametrize("repeats", [-1, 10_000])
def test_an_invalid_number_of_repeats_is_refused(project, run, repeats):
    project.submit(PAIR)
    with pytest.raises(BadValue):
        project.rerun("a", how=How(repeats=repeats))


def test_a_plan_counts_each_time(project, run):
    project.submit(PAIR)
    run(fails_at())
    plan = rerun.plan(project.session, [([project.job("a")], How(repeats=9))], {}).plan
    assert plan.expected.attempts == 11
