"""Reruns that use each job's definition from its earlier attempt."""

from __future__ import annotations

import pytest

from rekindle.domain.errors import PlanRefused
from rekindle.domain.rerun.planner import plan_rerun
from rekindle.domain.rerun.request import How, InternalHow, RequestMode, Requests
from rekindle.domain.states import State
from rekindle.engine.fan_outs import planning_views
from rekindle.engine.queries import job_queries
from rekindle.engine.rerun import rerun

FIRST = """
    name: pinned
    params: {x: 1}
    env: {E: one}
    jobs:
      a:
        steps:
          - {name: old, run: "echo old-${params.x}-$E >> ran"}
          - {name: last, run: "echo last >> ran"}
      b: {needs: [a], run: "echo b1 >> ran"}
"""
SECOND = """
    name: pinned
    params: {x: 2}
    env: {E: two}
    jobs:
      a:
        resources: {time: 7m, cpus: 1}
        steps:
          - {name: new, run: "echo new-${params.x}-$E >> ran"}
      b: {needs: [a], run: "echo b2 >> ran"}
      c: {needs: [b], run: "echo c2 >> ran"}
"""
PINNED = How(definition="pinned")


def ran(project):
    path = project.folder / "ran"
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


@pytest.fixture
def revised(project):
    project.run(FIRST)
    project.submit(SECOND)
    assert ran(project) == ["old-1-one", "last", "b1"]
    return project


def last(project, name):
    return project.attempts(name)[-1]


def test_pinned_jobs_run_what_their_earlier_attempts_had_run_and_new_ones_the_latest(revised):
    applied = revised.rerun("a", how=PINNED)
    assert [job.next.pinned_to for job in applied.plan.jobs] == [1, 2, None]
    revised.work()
    assert ran(revised) == ["old-1-one", "last", "b1", "c2"]
    again = last(revised, "a")
    assert (again.revision, again.pinned_to, again.template) == (1, 1, revised.attempts("a")[0].template)
    assert (last(revised, "c").revision, last(revised, "c").pinned_to) == (2, None)


def test_the_next_rerun_takes_the_latest_again(revised):
    revised.rerun("a", how=PINNED)
    revised.work()
    ran(revised)
    revised.rerun("a")
    revised.work()
    assert ran(revised) == ["new-2-two", "b2", "c2"]
    assert last(revised, "a").pinned_to is None


def test_a_pin_to_a_pinned_attempt_is_a_pin_to_what_that_ran(revised):
    for _ in range(2):
        revised.rerun("a", how=PINNED)
        revised.work()
        assert ran(revised)[:2] == ["old-1-one", "last"]
    revised.submit(SECOND.replace("x: 2", "x: 3"))
    revised.rerun("a", how=PINNED)
    revised.work()
    assert ran(revised)[:2] == ["old-1-one", "last"]


def test_pinned_jobs_start_at_the_steps_that_their_attempts_had(revised):
    with pytest.raises(PlanRefused, match="no step `last`"):
        revised.rerun("a", how=How("last"))
    with pytest.raises(PlanRefused, match="no step `new`"):
        revised.rerun("a", how=How("new", definition="pinned"))
    applied = revised.rerun("a", how=How("last", definition="pinned"))
    assert applied.plan.jobs[0].keeps == ("old",)
    revised.work()
    assert ran(revised) == ["last", "b1", "c2"]


def test_a_revision_leaves_a_pinned_job_where_it_was_to_start(revised):
    revised.rerun("a", how=How("last", definition="pinned"))
    revised.submit(SECOND.replace("new-", "newer-"))
    revised.work()
    assert ran(revised)[0] == "last"


def test_a_pinned_attempt_that_is_made_over_again_is_pinned_still(revised):
    (revised.folder / "ran").mkdir()  # its output is not writable
    revised.rerun("a", how=PINNED)
    revised.work()
    (revised.folder / "ran").rmdir()
    assert revised.states()["a"] is State.FAILED
    again = Requests({revised.job("a"): InternalHow(mode=RequestMode.REPEAT)})
    with revised.session.store.read() as archive:
        views, graph, earlier = planning_views(archive, again)
    decided = plan_rerun(views, graph, again, earlier=earlier)
    assert [job.next.pinned_to for job in decided.jobs] == [1]
    assert earlier[revised.job("a")].steps == ("old", "last")


def test_a_pinned_job_takes_the_resources_of_now(revised):
    revised.rerun("a", how=PINNED)
    number = revised.job("a")
    with revised.session.store.read() as archive:
        one = archive.jobs.get([number])[0]
        assert archive.jobs.resources([one.resource_class])[one.resource_class].time == 420.0
        ready = archive.queue.ready(one.workflow, 1)[0]
        assert archive.workflows.template(ready.latest).resources.time == 420.0
        assert archive.workflows.template(ready.template).resources.time is None


def test_a_reset_job_that_waits_is_pinned_to_its_last_attempt(revised):
    revised.rerun("a")
    applied = revised.rerun("b", how=How(definition="pinned", hold="reset"))
    assert [job.next.pinned_to for job in applied.plan.jobs] == [2, None]


def test_early_cut_off_compares_with_what_a_pinned_job_would_run(project):
    spec = """
        name: cut
        jobs:
          a: {run: "cp raw a.out", inputs: {raw: raw}, outputs: {out: a.out}}
          b: {run: "echo b >> ran", inputs: {in: a.out}}
    """
    (project.folder / "raw").write_text("x")
    project.run(spec)
    project.submit(spec.replace("echo b", "echo B"))
    ran(project)
    project.rerun("a", how=How(downstream="changed", definition="pinned"))
    assert project.work().reinstated == 1
    assert ran(project) == []
    project.rerun("a", how=How(downstream="changed"))
    assert project.work().reinstated == 0
    assert ran(project) == ["B"]


def test_undo_restores_what_a_job_was_pinned_to(revised):
    revised.rerun("a", how=PINNED)
    revised.rerun("b", how=How(hold="reset"))
    assert job_queries.jobs(revised.session, [revised.job("b")])[0].job.next.pinned_to is None
    rerun.undo(revised.session)
    assert job_queries.jobs(revised.session, [revised.job("b")])[0].job.next.pinned_to == 2
