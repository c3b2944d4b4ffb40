"""Reruns with `cancel_running`: running jobs are canceled before they are reset."""

from __future__ import annotations

import json

import pytest
from rerun_views import C, F, K, Q, W, X, graph, job, plan_pairs, ran, world

from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.rerun.plan_json import plan_from_json, plan_to_json
from rekindle.domain.rerun.request import RESET_HOLD, How, how_to_json
from rekindle.domain.states import State

CANCEL = How(cancel_running=True)
CHAIN = graph((1, 2), (2, 3), (3, 4))


def planned(jobs, edges, *requests):
    return plan_pairs(world(jobs, edges), edges, [([number], how) for number, how in requests])


def canceled(decided):
    """Return the attempts that end first, by job."""
    return {
        one.id: (reason.detail["attempt"], reason.detail["state"])
        for one in decided.jobs
        for reason in one.reasons
        if reason.kind is ReasonKind.CANCELS
    }


@pytest.mark.parametrize(("state", "word"), [(Q, "queued"), (X, "running")])
def test_a_job_that_runs_is_canceled_archived_and_ready_again(state, word):
    decided = planned([job(1, state)], graph(), (1, CANCEL))
    (one,) = decided.jobs
    assert (one.before, one.after, one.archives) == (state, State.READY, (101,))
    assert canceled(decided) == {1: (101, word)}
    assert decided.warnings == ("`j1` runs now and is canceled first: nothing that would disturb it starts before",)
    assert decided.expected.attempts == 1
    assert plan_from_json(json.loads(json.dumps(plan_to_json(decided)))) == decided


@pytest.mark.parametrize("downstream", ["all", "changed"])
def test_running_descendants_are_canceled_and_run_again(downstream):
    jobs = [job(1, C), job(2, C), job(3, X), job(4, W)]
    decided = planned(jobs, CHAIN, (1, How(downstream=downstream, cancel_running=True)))
    assert [one.id for one in decided.jobs] == [1, 2, 3, 4]
    assert canceled(decided) == {3: (103, "running")}
    assert [one.after for one in decided.jobs] == [State.READY, W, W, W]
    assert decided.jobs[2].next.reuse_candidate is None


def test_with_none_only_running_children_are_canceled():
    edges = graph((1, 2), (1, 3), (3, 4))
    jobs = [job(1, C), job(2, X), job(3, C), job(4, X)]
    decided = planned(jobs, edges, (1, How(downstream="none", cancel_running=True)))
    assert canceled(decided) == {2: (102, "running")}
    by_id = {one.id: one for one in decided.jobs}
    assert by_id.keys() == {1, 2, 3}
    assert (by_id[2].after, by_id[2].unmet, by_id[2].stays) == (W, 1, False)
    assert Reason(ReasonKind.UPSTREAM, {"job": 1, "name": "j1"}) in by_id[2].reasons
    assert (by_id[3].after, by_id[3].stays) == (C, True)


def test_only_requests_with_cancel_running_cancel():
    jobs = [job(1, C), job(2, C), job(3, X), job(4, F)]
    decided = planned(jobs, graph((1, 3), (2, 4)), (1, How()), (2, CANCEL))
    assert [one.id for one in decided.refused] == [1]
    assert canceled(decided) == {}


def test_a_running_held_job_is_refused():
    decided = planned([job(1, X, held="held")], graph(), (1, CANCEL))
    assert decided.jobs == ()
    assert "release it first" in decided.refused[0].why


def test_a_running_job_resumes_at_its_current_step():
    one = job(1, X, steps=("a", "b", "c"), attempt=ran(C, number=7, state=X))
    decided = planned([one], graph(), (1, How("failed-step", cancel_running=True)))
    assert (decided.jobs[0].start, decided.jobs[0].keeps, decided.jobs[0].next.resume_attempt) == ("b", ("a",), 7)


def test_outputs_of_running_jobs_are_not_saved():
    """The attempt is still writing them."""
    jobs = [job(1, C, outputs=("out",), declared=("out",), directory="/p"), job(2, X, outputs=("o",), directory="/p")]
    how = How(cancel_running=True, keep_outputs=True)
    decided = planned(jobs, graph((1, 2)), (1, how))
    assert [one.saves for one in decided.jobs] == [("/p/out",), ()]


def test_a_reset_may_cancel_and_records_it():
    how = How(hold=RESET_HOLD, cancel_running=True)
    decided = planned([job(1, X)], graph(), (1, how))
    assert (decided.jobs[0].holds, canceled(decided)) == (RESET_HOLD, {1: (101, "running")})
    assert how_to_json(how)["cancel_running"] is True
    assert "cancel_running" not in how_to_json(How())


def test_other_jobs_are_planned_as_without_cancel_running():
    jobs = [job(1, F), job(2, W), job(3, K), job(4, W)]
    with_it, without = (planned(jobs, CHAIN, (1, how)) for how in (CANCEL, How()))
    assert with_it == without
