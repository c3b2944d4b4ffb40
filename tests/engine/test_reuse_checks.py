"""Early cut-off: jobs below a rerun do not run if their inputs come out the same. Commands are real."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rekindle.domain.rerun.plan import ReasonKind
from rekindle.domain.rerun.request import How
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries, workflow_queries
from rekindle.engine.rerun import control, rerun
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.reuse_checks import ReuseChecker
from rekindle.engine.running.work import work
from rekindle.engine.session import Session
from rekindle.testing import Crash, CrashingStore

CHAIN = """
    name: chain
    jobs:
      a: {run: "echo a >> ran; cp raw a.out", inputs: {raw: raw}, outputs: {out: a.out}}
      b: {run: "echo b >> ran; head -n 1 a.out > b.out", inputs: {in: a.out}, outputs: {out: b.out}}
      c: {run: "echo c >> ran; cp b.out c.out", inputs: {in: b.out}, outputs: {out: c.out}}
      d: {run: "echo d >> ran; cp c.out d.out", inputs: {in: c.out}, outputs: {out: d.out}}
"""

CHANGED = How(downstream="changed")


def write(project, name, text):
    (project.folder / name).write_text(text)


def ran(project):
    """Return the jobs that have run since the last call."""
    path = project.folder / "ran"
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


@pytest.fixture
def chain(project):
    write(project, "raw", "first\nsecond\n")
    assert project.run(CHAIN).exit_code == 0
    assert ran(project) == ["a", "b", "c", "d"]
    return project


def reinstated(project):
    return [one.detail for one in workflow_queries.events(project.session) if one.kind == "reinstated"]


def job(project, name):
    return job_queries.jobs(project.session, [project.job(name)])[0].job


def checked(project, number, name):
    return workflow_queries.reuse_checks(project.session, number).get(project.job(name))


def test_an_equal_result_reuses_everything_below_it(chain):
    write(chain, "raw", "first\nother\n")
    applied = chain.rerun("a", how=CHANGED)
    before = {name: job(chain, name).next.reuse_candidate for name in "bcd"}
    report = chain.work()
    assert ran(chain) == ["a", "b"]
    assert (report.exit_code, report.completed, report.reinstated) == (0, 2, 2)
    assert set(chain.states().values()) == {State.COMPLETED}
    assert [job(chain, name).attempt for name in "cd"] == [before["c"], before["d"]]
    assert [(one["names"], one["to_run"]) for one in reinstated(chain)] == [(["c"], 0), (["d"], 0)]
    assert checked(chain, applied.rerun, "c")["result"] == "reinstated"
    told = checked(chain, applied.rerun, "b")
    assert told["result"] == "runs"
    assert {reason["kind"] for reason in told["reasons"]} >= {"input"}


def test_a_job_whose_own_output_is_gone_or_altered_runs(chain):
    (chain.folder / "c.out").unlink()
    chain.rerun("a", how=CHANGED)
    chain.work()
    assert ran(chain) == ["a", "c"]
    write(chain, "c.out", "by hand\n")
    applied = chain.rerun("a", how=CHANGED)
    chain.work()
    assert ran(chain) == ["a", "c"]
    assert (chain.folder / "c.out").read_text() == "first\n"
    assert [reason["kind"] for reason in checked(chain, applied.rerun, "c")["reasons"]] == ["output"]


def test_a_selected_job_runs_whatever_comes_out_above_it(chain):
    chain.rerun("a", "c", how=CHANGED)
    chain.work()
    assert ran(chain) == ["a", "c"]


def test_jobs_without_declarations_and_aggregates_run(project):
    write(project, "raw", "x\n")
    project.run("""
        name: mixed
        jobs:
          a: {run: "echo a >> ran; cp raw a.out", inputs: {raw: raw}, outputs: {out: a.out}}
          mute: {run: "echo mute >> ran", needs: [a]}
          below: {run: "echo below >> ran", needs: [mute]}
          all: {run: "echo all >> ran", needs: [a], inputs: {in: a.out}, aggregate: true}
          like: {run: "echo like >> ran", needs: [a], inputs: {in: a.out}}
    """)
    ran(project)
    project.rerun("a", how=CHANGED)
    project.work()
    assert sorted(ran(project)) == ["a", "all", "below"]  # `a` left something to compare, `mute` did not


def test_one_changed_parent_of_two_is_enough(project):
    write(project, "one", "1\n")
    write(project, "two", "2\n")
    project.run("""
        name: two
        jobs:
          left: {run: "cp one left.out", inputs: {in: one}, outputs: {out: left.out}}
          right: {run: "cp two right.out", inputs: {in: two}, outputs: {out: right.out}}
          join:
            run: "echo join >> ran; cat left.out right.out > j"
            inputs: {l: left.out, r: right.out}
            outputs: {o: j}
    """)
    ran(project)
    project.rerun("left", "right", how=CHANGED)
    project.work()
    assert ran(project) == []
    write(project, "two", "3\n")
    project.rerun("left", "right", how=CHANGED)
    project.work()
    assert ran(project) == ["join"]
    assert (project.folder / "j").read_text() == "1\n3\n"


def test_results_are_compared_too(project):
    write(project, "n", "1")
    project.run("""
        name: results
        jobs:
          ask: {run: "cp n $REKINDLE_RESULT"}
          use: {run: "echo use >> ran", needs: [ask]}
    """)
    ran(project)
    project.rerun("ask", how=CHANGED)
    project.work()
    assert ran(project) == []
    write(project, "n", "2")
    project.rerun("ask", how=CHANGED)
    project.work()
    assert ran(project) == ["use"]


def test_a_failed_descendant_has_nothing_to_reuse_and_runs(project):
    write(project, "raw", "x\n")
    spec = CHAIN.replace("echo c >> ran; cp b.out c.out", "echo c >> ran; test -e ok && cp b.out c.out")
    project.run(spec)
    write(project, "ok", "")
    ran(project)
    project.rerun("a", how=CHANGED)
    assert (job(project, "b").next.reuse_candidate is not None, job(project, "c").next.reuse_candidate) == (True, None)
    project.work()
    assert ran(project) == ["a", "c", "d"]


# Changes before the check


def waiting_to_be_checked(project, name="b"):
    """A rerun of `a` whose child is ready and has not been checked yet."""
    project.rerun("a", how=CHANGED)
    control.hold(project.session, [project.job(name)])
    project.work()
    assert ran(project) == ["a"]
    assert project.states()[name] is State.READY
    return project.job(name)


def test_a_held_job_is_checked_after_its_release(chain):
    held = waiting_to_be_checked(chain)
    assert job(chain, "b").next.reuse_candidate is not None
    control.release(chain.session, [held])
    assert chain.work().reinstated == 3
    assert ran(chain) == []


def test_a_canceled_job_keeps_its_reuse_candidate(chain):
    canceled = waiting_to_be_checked(chain)
    control.release(chain.session, [canceled])
    control.cancel(chain.session, [canceled])
    assert chain.work().reinstated == 0
    assert chain.states()["b"] is State.CANCELED
    chain.rerun("a", how=CHANGED)
    assert chain.work().reinstated == 3
    assert ran(chain) == ["a"]


def test_a_revision_of_its_command_makes_it_run_and_one_of_another_job_does_not(chain):
    held = waiting_to_be_checked(chain)
    chain.submit(CHAIN.replace("cp c.out d.out", "cat c.out > d.out"))
    control.release(chain.session, [held])
    assert chain.work().reinstated == 2
    assert ran(chain) == ["d"]


def test_a_rerun_of_everything_runs_reuse_candidates(chain):
    waiting_to_be_checked(chain)
    control.release(chain.session, [chain.job("b")])
    chain.rerun("a", how=How())
    assert job(chain, "b").next.reuse_candidate is None
    chain.work()
    assert ran(chain) == ["a", "b", "c", "d"]


def test_undo_restores_reuse_candidates(chain):
    waiting_to_be_checked(chain)
    control.release(chain.session, [chain.job("b")])
    before = {name: job(chain, name) for name in "bcd"}
    chain.rerun("a", how=How())
    rerun.undo(chain.session)
    chain.check()
    now = {name: job(chain, name) for name in "bcd"}
    assert [now[name].next.reuse_candidate for name in "bcd"] == [before[name].next.reuse_candidate for name in "bcd"]
    assert chain.work().reinstated == 3
    assert ran(chain) == []


# Changes between a check and the write of its result


@pytest.fixture
def looking(chain):
    """Three reuse candidates; the check of `b` is done, and its result is not written."""
    held = waiting_to_be_checked(chain)
    control.release(chain.session, [held])
    return chain


def look_at(project):
    checks = ReuseChecker(project.session, None, os.environ, lambda: None)
    checks.begin()
    while not checks.done:
        pass
    return checks


def settle(project, checks):
    with project.session.store.write() as archive:
        found = checks.record(archive, 1.0, os.path.exists)
    checks.committed()
    checks.close()
    project.check()
    return found


def held_now(project):
    control.hold(project.session, [project.job("b")])


def canceled_now(project):
    control.cancel(project.session, [project.job("b")])


def rerun_now(project):
    project.rerun("a", how=How())


def revised_now(project):
    project.submit(CHAIN.replace("head -n 1 a.out", "head -n 2 a.out"))


@pytest.mark.parametrize("meanwhile", [held_now, canceled_now, rerun_now, revised_now])
def test_a_check_of_a_job_that_changed_meanwhile_is_dropped(looking, meanwhile):
    checks = look_at(looking)
    meanwhile(looking)
    before = job(looking, "b")
    assert settle(looking, checks) == 0
    assert job(looking, "b") == before


def test_two_runners_may_check_the_same_job(looking):
    first, second = look_at(looking), look_at(looking)
    assert settle(looking, first) == 1
    assert settle(looking, second) == 0
    assert looking.work().reinstated == 2
    assert ran(looking) == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", range(1, 9))
def test_a_runner_that_dies_during_a_check_strands_no_job(looking, at, when):
    store = CrashingStore(looking.session.store, at, when)
    session = Session(store, looking.session.clock)
    try:
        work(session, WorkOptions(slots=1))
    except Crash:
        with looking.session.store.write() as archive:
            for runner in archive.runners.alive():
                archive.runners.abandon(runner.id, runner.epoch)
    looking.check()
    looking.work()
    assert set(looking.states().values()) == {State.COMPLETED}
    assert ran(looking) == []


def test_jobs_are_claimed_while_files_are_read(project, monkeypatch):
    """The check of `b` cannot end before `later` has run, which becomes ready only after the check has begun."""
    write(project, "raw", "x\n")
    project.run("""
        name: busy
        jobs:
          a: {run: "cp raw a.out", inputs: {raw: raw}, outputs: {out: a.out}}
          b: {run: "echo b >> ran", inputs: {in: a.out}}
          mute: {run: "true", needs: [a]}
          next: {run: "true", needs: [mute]}
          later: {run: "touch later.done", needs: [next]}
    """)
    ran(project)
    done = project.folder / "later.done"
    done.unlink()
    waited = []

    class Late(ThreadPoolExecutor):
        def submit(self, look, /, jobs, *others):
            def late():
                deadline = time.monotonic() + 60
                while not done.exists() and time.monotonic() < deadline and "b" in [job.name for job in jobs]:
                    time.sleep(0.005)
                waited.append(done.exists())
                return look(jobs, *others)

            return super().submit(late)

    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor", Late)
    project.rerun("a", "mute", "next", "later", how=CHANGED)
    assert project.work().reinstated == 1
    assert waited == [True]
    assert ran(project) == []


def test_jobs_of_an_archived_workflow_are_not_checked(looking):
    with looking.session.store.write() as archive:
        archive.workflows.archive(1, 1.0)
    assert looking.work().reinstated == 0
    with looking.session.store.write() as archive:
        archive.workflows.archive(1, None)
    assert looking.work().reinstated == 3


# Below a rerun with `downstream: none`


def test_descendants_left_by_a_rerun_keep_their_attempts_and_become_stale(chain):
    write(chain, "raw", "other\n")
    applied = chain.rerun("a", how=How(downstream="none"))
    kinds = {planned.name: planned.reasons[0].kind for planned in applied.plan.jobs}
    assert kinds == {"a": ReasonKind.SELECTED, "b": ReasonKind.STAYS}
    assert "`b`, `c`, `d` stay as they are" in applied.plan.warnings[0]
    assert chain.states() == {"a": State.READY, **dict.fromkeys("bcd", State.COMPLETED)}
    chain.work()
    assert ran(chain) == ["a"]
    assert set(chain.states().values()) == {State.COMPLETED}


def test_undo_of_a_rerun_that_left_descendants(chain):
    before = {name: job(chain, name) for name in "abcd"}
    chain.rerun("a", how=How(downstream="none"))
    rerun.undo(chain.session)
    chain.check()
    assert chain.states() == dict.fromkeys("abcd", State.COMPLETED)
    assert [job(chain, name).attempt for name in "abcd"] == [before[name].attempt for name in "abcd"]


def test_a_path_without_a_value_blocks_no_job(project):
    write(project, "raw", "x\n")
    project.run("""
        name: parts
        params: {p: {part: raw}}
        jobs:
          a:
            run: "cp raw a.out; test ! -e act || cp act $REKINDLE_ACTION"
            inputs: {raw: raw}
            outputs: {out: a.out}
          b: {run: "echo b >> ran", needs: [a], inputs: {in: "${params.p.part}"}}
          c: {run: "echo c >> ran", inputs: {in: a.out}}
    """)
    ran(project)
    write(project, "act", '{"set_children": {"p": 1}}')
    project.rerun("a", how=CHANGED)
    report = project.work()
    assert report.reinstated == 1
    assert project.states() == {"a": State.COMPLETED, "b": State.FAILED, "c": State.COMPLETED}
    assert ran(project) == []
