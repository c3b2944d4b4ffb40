"""`--from failed-step-or-beginning`, and the refusals that are listed without a plan."""

from __future__ import annotations

from rerun_views import C, F, K, R, graph, job, plan, plan_pairs, ran, world

from rekindle.domain.rerun.planner import find_refused
from rekindle.domain.rerun.request import KEEP_MOST, How, normalize_requests
from rekindle.domain.rerun.views import FanOutView
from rekindle.domain.subtasks import KnownSubtask

STEPS = ("a", "b", "c")
SUBTASKS = tuple(KnownSubtask(index, str(index), index != 1) for index in range(3))


def starts(*views, how=None):
    edges = graph()
    pairs = [([view.id for view in views], how or How(KEEP_MOST))]
    return {one.id: one.start for one in plan_pairs(world(views, edges), edges, pairs).jobs}


def test_a_failed_job_starts_at_its_failed_step_and_a_completed_one_at_the_beginning():
    failed = job(1, F, steps=STEPS, attempt=ran(C, F))
    done = job(2, C, steps=STEPS, attempt=ran(C, C, C))
    never = job(3, K, steps=STEPS, canceled=True, attempt=None)
    renamed = job(4, F, steps=("x", "y"), attempt=ran(C, F))
    assert starts(failed, done, never, renamed) == {1: "b", 2: "beginning", 3: "beginning", 4: "beginning"}


def test_subtasks_apply_to_the_jobs_that_resume_a_fan_out_and_the_others_keep_their_steps():
    fans_out = job(1, F, steps=STEPS, attempt=ran(C, F), fan_outs=(FanOutView(1, SUBTASKS),))
    plain = job(2, F, steps=STEPS, attempt=ran(C, F))
    assert starts(fans_out, plain, how=How(KEEP_MOST, subtasks="all")) == {1: "b", 2: "b"}


def test_subtasks_by_number_must_exist():
    fans_out = job(1, F, steps=STEPS, attempt=ran(C, F), fan_outs=(FanOutView(1, SUBTASKS),))
    refused = plan_pairs(world([fans_out], graph()), graph(), [([1], How(KEEP_MOST, subtasks=(9,)))]).refused
    assert [one.why for one in refused] == ["step `b` has no subtask 9: it has 0-2"]


def test_the_refusals_that_are_listed_are_those_of_the_plan():
    jobs = [job(1, F), job(2, R), job(3, F, held="held"), job(4, C, steps=STEPS, attempt=ran(C, C, C))]
    edges = graph((1, 4))
    for start in ("beginning", "failed-step", "b", KEEP_MOST):
        requests = normalize_requests([([one.id for one in jobs], How(start))])
        listed = find_refused(world(jobs, edges), edges, requests)
        planned = plan(jobs, edges, 1, 2, 3, 4, start=start)
        below = {4}  # a plan does not refuse a job that runs again because of another
        assert {one.id: one.why for one in planned.refused}.items() <= listed.items()
        assert listed.keys() - {one.id for one in planned.refused} <= below
