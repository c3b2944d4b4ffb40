"""Restarting a workflow: interrupted, stale and reset jobs run again with their descendants, and no others."""

from __future__ import annotations

import json
import os

import pytest
from engine_project import settle

from rekindle.domain.errors import NotFound, PlanRefused, Refused
from rekindle.domain.models import NewAttempt
from rekindle.domain.overrides import Overrides, decode_overrides
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.rerun.request import RESET_HOLD, How
from rekindle.domain.selection import Selection
from rekindle.domain.states import Cause, State
from rekindle.engine.queries import job_queries, selections, workflow_queries
from rekindle.engine.rerun import control, rerun
from rekindle.engine.rerun.accept import accept
from rekindle.engine.rerun.restart import check_inputs, plan_reset, plan_restart, workflow_to_restart
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.claims import give_back
from rekindle.engine.running.work import work
from rekindle.testing import ScriptedExecutor, ScriptedOutcome
from stores import every_row

W, R, Q, X, C, F, K = State

DIAMOND = """
    name: diamond
    params: {alpha: 1, beta: 2}
    jobs:
      top: {run: "tr a b < ${inputs.raw} > ${outputs.o}; echo top >> ran", inputs: {raw: raw}, outputs: {o: top.txt}}
      left:
        run: "echo ${params.alpha} | cat ${inputs.i} - > ${outputs.o}; echo left >> ran"
        inputs: {i: top.txt}
        outputs: {o: left.txt}
      right:
        run: "wc -c < ${inputs.i} > ${outputs.o}; echo right >> ran"
        inputs: {i: top.txt}
        outputs: {o: right.txt}
      bottom:
        run: "cat ${inputs.l} ${inputs.r} > ${outputs.o}; echo bottom >> ran"
        inputs: {l: left.txt, r: right.txt}
        outputs: {o: bottom.txt}
      alone: {run: "cat ${inputs.p} > ${outputs.o}; echo alone >> ran", inputs: {p: private}, outputs: {o: alone.txt}}
"""
EVERY = {"top", "left", "right", "bottom", "alone"}


@pytest.fixture
def diamond(project):
    (project.folder / "raw").write_text("aaa\n")
    (project.folder / "private").write_text("zzz\n")
    assert project.run(DIAMOND).exit_code == 0
    (project.folder / "ran").unlink()
    return project


def planned(project, **asked):
    return plan_restart(project.session, workflow_to_restart(project.session, None), **asked)


def restart(project, **asked):
    """Return the jobs that the restart resets or releases, by name, with their new state; empty if there is nothing to
    do."""
    found = planned(project, **asked)
    if found.proposal is None:
        return {}
    applied = rerun.apply(project.session, found.proposal)
    project.check()
    return {job.name: job.after for job in applied.plan.jobs}


def ids(project):
    return selections.select(project.session, Selection(everything=True))


def ran(project):
    """Return the jobs that have run since the last call."""
    path = project.folder / "ran"
    names = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return names


def dump(project, *, files=True):
    """Return every row; without `files`, what only saves reading files again is left out."""
    return every_row(project.session.store, without=() if files else ("file", "assessment"))


def edit(project, name, text=None):
    path = project.folder / name
    path.unlink() if text is None else path.write_text(text)


# Nothing to do


def test_a_restart_with_nothing_to_do_writes_nothing(diamond):
    settle(*diamond.folder.glob("*.txt"))
    before = dump(diamond, files=False)
    assert restart(diamond) == {}
    again = dump(diamond)  # digests of files are known by now
    assert restart(diamond) == {}
    assert dump(diamond) == again
    assert dump(diamond, files=False) == before
    os.utime(diamond.folder / "raw")
    assert restart(diamond) == {}
    assert diamond.work().completed == 0


def test_a_restart_that_is_only_planned_changes_nothing(diamond):
    edit(diamond, "raw", "other")
    rerun.apply(diamond.session, plan_reset(diamond.session, [diamond.job("alone")], {}))
    before = dump(diamond, files=False)
    assert planned(diamond).proposal == planned(diamond).proposal
    plan_reset(diamond.session, [diamond.job("right")], {})
    assert dump(diamond, files=False) == before


# Stale jobs


@pytest.mark.parametrize(
    ("edited", "stale", "follows", "runs"),
    [
        ({"raw": "abc\n"}, {"top"}, {"left", "right", "bottom"}, {"top", "left", "right", "bottom"}),
        ({"private": "y"}, {"alone"}, set(), {"alone"}),
        ({"top.txt": "edited"}, {"top", "left", "right"}, {"bottom"}, {"top"}),
        ({"top.txt": None}, {"top", "left", "right"}, {"bottom"}, {"top"}),
        ({"right.txt": None}, {"right", "bottom"}, set(), {"right"}),
        ({"bottom.txt": None, "private": "y"}, {"bottom", "alone"}, set(), {"bottom", "alone"}),
        ({"alone.txt": "zzz\n"}, set(), set(), set()),
    ],
    ids=["input", "other input", "edited between", "gone between", "gone", "two", "same content"],
)
def test_stale_jobs_and_their_descendants_are_reset_and_run_unless_equal(diamond, edited, stale, follows, runs):
    for name, text in edited.items():
        edit(diamond, name, text)
    found = planned(diamond)
    jobs = found.proposal.plan.jobs if found.proposal else ()
    roots = {job.name for job in jobs if any(reason.kind in ("input", "output") for reason in job.reasons)}
    assert (roots, {job.name for job in jobs} - roots) == (stale, follows)
    restart(diamond)
    assert diamond.work().exit_code == 0
    assert sorted(ran(diamond)) == sorted(runs)
    assert restart(diamond) == {}


@pytest.mark.parametrize(
    ("old", "new", "again"),
    [
        ("tr a b", "tr a c", {"top", "left", "right", "bottom"}),
        ("alpha: 1", "alpha: 5", {"left", "bottom"}),
        ("beta: 2", "beta: 5", set()),
        ("right: {run", "right: {priority: 9, resources: {cpus: 2}, retry: {max: 3}, grace: 1m, run", set()),
        ("alone: {run", "alone: {env: {A: b}, run", {"alone"}),
    ],
)
def test_a_revision_restarts_what_it_made_stale(diamond, old, new, again):
    diamond.submit(DIAMOND.replace(old, new))
    assert set(restart(diamond)) == again
    assert diamond.work().exit_code == 0
    assert set(ran(diamond)) == again
    assert restart(diamond) == {}


def test_what_the_caller_names_runs_again_for_the_reason_that_it_gives(diamond):
    left = selections.select(diamond.session, Selection(jobs=("left",)))[0]
    reason = Reason(ReasonKind.OUTPUT, {"name": "o", "path": "left.txt", "before": None, "after": None})
    workflow = workflow_to_restart(diamond.session, None)
    found = plan_restart(diamond.session, workflow, also={left: (reason,)})
    assert found.proposal is not None
    planned = {job.name: job.reasons for job in found.proposal.plan.jobs}
    assert set(planned) == {"left", "bottom"}
    assert reason in planned["left"]
    reset = plan_restart(diamond.session, workflow, only_uninitialized=True, also={left: (reason,)})
    assert reset.proposal is None


def test_inputs_that_no_job_makes_are_checked_before_anything_runs(diamond):
    workflow = workflow_to_restart(diamond.session, None)
    check_inputs(diamond.session, workflow)
    (diamond.folder / "private").unlink()
    check_inputs(diamond.session, workflow)  # the completed job no longer needs it
    rerun.apply(
        diamond.session, rerun.plan(diamond.session, [(selections.select(diamond.session, Selection()), How())], {})
    )
    with pytest.raises(Refused, match=r"alone reads .*private"):
        check_inputs(diamond.session, workflow)


def test_what_was_modified_is_kept_through_a_restart(diamond):
    diamond.rerun("left", how=How(overrides=Overrides({"alpha": 7})))
    diamond.work()
    assert restart(diamond) == {}
    edit(diamond, "raw", "abc\n")
    restart(diamond)
    diamond.work()
    assert decode_overrides(diamond.attempts("left")[-1].overrides).params == {"alpha": 7}
    assert (diamond.folder / "left.txt").read_text() == "bbc\n7\n"


# Interrupted jobs


CHAIN = "{name: chain, jobs: {a: {run: 'true'}, b: {needs: [a], run: 'true'}, c: {needs: [b], run: 'true'}}}"


def ended(project, text, **outcomes):
    """Submit and run with a scripted executor that ends jobs of these names as given."""
    project.submit(text)
    executor = ScriptedExecutor(
        project.session.store.folder, lambda one: outcomes.get(one.name, ScriptedOutcome()), project.session.clock
    )
    work(project.session, WorkOptions(slots=1, executor="scripted"), executor=executor)


@pytest.mark.parametrize("cause", [Cause.SIGNAL, Cause.OOM, Cause.TIMEOUT, Cause.START, Cause.MISSING_INPUT])
def test_interrupted_jobs_and_their_descendants_run_again(project, cause):
    ended(project, CHAIN, b=ScriptedOutcome(fails_at="run", cause=cause))
    assert project.states() == {"a": C, "b": F, "c": W}
    assert restart(project) == {"b": R, "c": W}
    assert project.work().exit_code == 0


@pytest.mark.parametrize("cause", [Cause.EXIT, Cause.EXCEPTION, Cause.MISSING_OUTPUT, Cause.SUBTASKS])
def test_failed_jobs_stay_and_are_named(project, cause):
    ended(project, CHAIN, b=ScriptedOutcome(fails_at="run", cause=cause))
    found = planned(project)
    assert (found.proposal, [job.name for job in found.stays]) == (None, ["b"])


def test_failed_jobs_run_again_below_rerun_jobs(diamond):
    diamond.submit(DIAMOND.replace("echo bottom >> ran", "echo bottom >> ran; test -e ok"))
    restart(diamond)
    diamond.work()
    assert diamond.states()["bottom"] is F
    edit(diamond, "raw", "abc\n")
    found = planned(diamond)
    assert {job.name for job in found.proposal.plan.jobs} == {"top", "left", "right", "bottom"}
    assert found.stays == ()


def test_jobs_lost_repeatedly_are_restarted(project):
    ended(project, CHAIN, b=ScriptedOutcome(fails_at="run", cause=Cause.LOST))
    lost = project.attempts("b")
    assert {one.cause for one in lost} == {Cause.LOST}
    assert restart(project) == {"b": R, "c": W}


def test_canceled_jobs_run_again_whether_or_not_they_had_started(project):
    project.submit(CHAIN)
    control.cancel(project.session, [project.job("b")])
    project.work()
    assert project.states() == {"a": C, "b": K, "c": W}
    assert restart(project) == {"b": R, "c": W}
    project.work()
    ended(project, CHAIN.replace("chain", "other"), a=ScriptedOutcome(fails_at="run", cause=Cause.CANCELED))
    assert plan_restart(project.session, selections.find_workflow(project.session, "other")).proposal is not None


def test_stale_failed_jobs_run_again(project):
    (project.folder / "data").write_text("bad")
    text = "{name: one, jobs: {a: {run: 'grep good data', inputs: {d: data}}, b: {needs: [a], run: 'true'}}}"
    assert project.run(text).exit_code == 2
    assert restart(project) == {}
    (project.folder / "data").write_text("good")
    assert restart(project) == {"a": R, "b": W}
    assert project.work().exit_code == 0


FAN = """
    name: fan
    jobs:
      a:
        workdir: WORKDIR
        steps: [{name: one, run: "true"}, {name: two, each: [x, y], run: "true"}, {name: three, run: "true"}]
      b: {needs: [a], run: "true"}
      c: {run: "true"}
"""


@pytest.mark.parametrize(("workdir", "start"), [("project", "two"), ("attempt", "beginning")])
def test_a_job_interrupted_in_a_fan_out_resumes_there_if_possible(project, workdir, start):
    """A scripted attempt has no folder, so it counts as gone."""
    out = ScriptedOutcome(fails_at="two", cause=Cause.TIMEOUT)
    ended(project, FAN.replace("WORKDIR", workdir), a=out, c=ScriptedOutcome(fails_at="run", cause=Cause.OOM))
    plan = planned(project).proposal.plan
    assert {job.name: job.start for job in plan.jobs} == {"a": start, "b": "beginning", "c": "beginning"}
    assert plan.refused == ()


def test_running_jobs_are_left_alone_and_conflicting_reruns_refused(diamond):
    """`right` runs, while `top` and `alone` are stale and `left` is held by a reset."""
    rerun.apply(diamond.session, plan_reset(diamond.session, [diamond.job("left")], {}))
    diamond.rerun("right")
    edit(diamond, "raw", "abc\n")
    edit(diamond, "private", "y")
    attempt = claimed(diamond)
    found = planned(diamond)
    assert [job.name for job in found.running] == ["right"]
    plan = found.proposal.plan
    assert {job.name for job in plan.jobs} == {"left", "alone"}
    [refused] = plan.refused
    assert (refused.name, "`right` is queued, and it needs `top`" in refused.why) == ("top", True)
    assert restart(diamond) == {"left": R, "alone": R}
    give_up(diamond, attempt)


def claimed(project):
    """Claim ready jobs without reporting an end."""
    workflow = workflow_to_restart(project.session, None).id
    with project.session.store.write() as archive:
        jobs = archive.queue.ready(workflow, 9)
        first = archive.queue.next_attempt()
        attempts = [NewAttempt(first + at, f"t{first + at}", job, "/nowhere") for at, job in enumerate(jobs)]
        archive.queue.claim(attempts, 1, 0.0)
    return attempts


def give_up(project, attempts):
    with project.session.store.write() as archive:
        give_back(archive, [one.id for one in attempts], 0.0)


# Reset jobs


def test_a_reset_archives_and_holds_exactly_the_job_and_resets_what_is_below(diamond):
    applied = rerun.apply(diamond.session, plan_reset(diamond.session, [diamond.job("left")], {}))
    diamond.check()
    assert (applied.ready, applied.held) == (0, 1)
    rows = {row.job.name: row.job for row in job_queries.jobs(diamond.session, ids(diamond))}
    assert {name: (one.state, one.held) for name, one in rows.items()} == {
        "top": (C, None),
        "left": (R, RESET_HOLD),
        "right": (C, None),
        "bottom": (W, None),
        "alone": (C, None),
    }
    report = diamond.work()
    assert (report.completed, report.held) == (0, {RESET_HOLD: 1})
    assert restart(diamond) == {"left": R}
    diamond.work()
    assert ran(diamond) == ["left", "bottom"]


def test_only_uninitialized_releases_only_reset_jobs(diamond):
    rerun.apply(diamond.session, plan_reset(diamond.session, [diamond.job("alone"), diamond.job("bottom")], {}))
    edit(diamond, "raw", "abc\n")
    assert restart(diamond, only_uninitialized=True) == {"alone": R, "bottom": R}
    assert restart(diamond, only_uninitialized=True) == {}
    diamond.work()
    assert sorted(ran(diamond)) == ["alone", "bottom"]
    assert set(restart(diamond)) == {"top", "left", "right", "bottom"}


def test_a_reset_job_below_a_stale_one_is_released_and_waits(diamond):
    rerun.apply(diamond.session, plan_reset(diamond.session, [diamond.job("right")], {}))
    edit(diamond, "raw", "abcd\n")
    assert restart(diamond) == {"top": R, "left": W, "right": W, "bottom": W}
    diamond.work()
    assert sorted(ran(diamond)) == ["bottom", "left", "right", "top"]


def test_release_lets_a_reset_job_go_too_and_a_user_hold_is_not_let_go_by_a_restart(diamond):
    rerun.apply(diamond.session, plan_reset(diamond.session, [diamond.job("alone")], {}))
    control.release(diamond.session, [diamond.job("alone")])
    diamond.work()
    assert ran(diamond) == ["alone"]
    control.hold(diamond.session, [diamond.job("alone")], "waiting")
    assert restart(diamond) == {}


def test_a_job_that_has_never_run_is_held_by_a_reset(project):
    project.submit(CHAIN)
    rerun.apply(project.session, plan_reset(project.session, [project.job("b")], {}))
    project.work()
    assert project.states() == {"a": C, "b": R, "c": W}
    restart(project)
    assert project.work().exit_code == 0


def test_what_cannot_be_reset_is_refused_by_name(diamond):
    rerun.apply(diamond.session, plan_reset(diamond.session, [diamond.job("left")], {}))
    with pytest.raises(PlanRefused, match=r"left: it is held \(reset\)"):
        plan_reset(diamond.session, [diamond.job("left")], {})
    some = plan_reset(diamond.session, [diamond.job("left"), diamond.job("alone")], {})
    assert ([job.name for job in some.plan.jobs], [job.name for job in some.plan.refused]) == (["alone"], ["left"])


# Undo


def test_each_kind_is_undone_and_a_bare_undo_means_the_newest_of_them(diamond):
    first = essence(diamond)
    rerun.apply(diamond.session, plan_reset(diamond.session, [diamond.job("left")], {}))
    second = essence(diamond)
    edit(diamond, "private", "y")
    restart(diamond)
    third = essence(diamond)
    edit(diamond, "right.txt", "other")
    accept(diamond.session, [diamond.job("right")], {})
    assert essence(diamond) == third
    kinds = [record.kind for record, _ in workflow_queries.reruns(diamond.session)]
    assert kinds == ["accept", "restart", "reset"]
    for number, before in [(3, third), (2, second), (1, first)]:
        assert rerun.undo(diamond.session).rerun == number
        assert essence(diamond) == before
        diamond.check()
    with pytest.raises(NotFound, match="no rerun to undo"):
        rerun.undo(diamond.session)


def essence(project):
    """Return the jobs without their versions, which only grow."""
    rows = job_queries.jobs(project.session, ids(project))
    return {row.job.name: (row.job.state, row.job.held, row.job.attempt, row.job.unmet) for row in rows}


# Refused restarts


def test_a_missing_input_that_no_job_makes_refuses_the_restart_before_anything_is_done(diamond):
    edit(diamond, "private")
    edit(diamond, "raw", "abc\n")
    before = dump(diamond, files=False)
    with pytest.raises(Refused, match=f"alone reads {diamond.folder / 'private'}"):
        planned(diamond)
    assert dump(diamond, files=False) == before
    edit(diamond, "private", "back")
    edit(diamond, "top.txt")  # a job produces it
    assert set(restart(diamond)) == EVERY


def test_released_jobs_need_their_inputs_and_held_ones_do_not(diamond):
    rerun.apply(diamond.session, plan_reset(diamond.session, [diamond.job("alone")], {}))
    edit(diamond, "private")
    for only in (True, False):
        with pytest.raises(Refused, match="alone reads"):
            planned(diamond, only_uninitialized=only)
    control.release(diamond.session, [diamond.job("alone")])
    control.hold(diamond.session, [diamond.job("alone")], "no data yet")
    edit(diamond, "raw", "abc\n")
    assert set(restart(diamond)) == {"top", "left", "right", "bottom"}


def test_a_missing_input_of_a_waiting_job_refuses_the_restart(project):
    project.submit("{name: one, jobs: {a: {run: 'kill -9 $$'}, b: {needs: [a], run: 'true', inputs: {i: gone}}}}")
    project.work()
    with pytest.raises(Refused, match="b reads"):
        planned(project)
    (project.folder / "gone").touch()
    assert set(restart(project)) == {"a", "b"}


def test_inputs_in_a_folder_that_a_job_makes_and_those_named_by_values_are_looked_for_where_they_will_be(project):
    (project.folder / "raw-1").touch()
    project.submit(
        """
        name: folders
        params: {n: 1}
        jobs:
          make: {run: "kill -9 $$", outputs: {d: d}, inputs: {r: "raw-${params.n}"}}
          use: {run: "cat ${inputs.x}", inputs: {x: d/x}, needs: [make]}
        """
    )
    project.work()
    assert set(restart(project)) == {"make", "use"}
    rerun.undo(project.session)
    project.submit((project.folder / "spec.yaml").read_text().replace("params: {n: 1}", "params: {n: 2}"))
    with pytest.raises(Refused, match="raw-2"):
        planned(project)


def test_without_a_key_the_only_workflow_is_restarted(project):
    with pytest.raises(NotFound, match="holds no workflow"):
        workflow_to_restart(project.session, None)
    project.submit(CHAIN)
    assert workflow_to_restart(project.session, None).name == "chain"
    project.submit(CHAIN.replace("chain", "other"), "other.yaml")
    with pytest.raises(Refused, match="2 workflows: 1 chain, 2 other"):
        workflow_to_restart(project.session, None)
    assert workflow_to_restart(project.session, "2").name == "other"


def test_a_restart_is_recorded_with_why_each_job_ran_again(diamond):
    edit(diamond, "raw", "abc\n")
    restart(diamond, note="new data")
    record = workflow_queries.rerun(diamond.session, 1)
    assert (record.kind, record.note, json.dumps(dict(record.request))) == (
        "restart",
        "new data",
        '{"selection": {"workflow": "diamond"}}',
    )
    assert {job.name: [reason.kind.value for reason in job.reasons] for job in record.plan.jobs} == {
        "top": ["selected", "input"],
        "left": ["upstream"],
        "right": ["upstream"],
        "bottom": ["upstream"],
    }
