"""What runs and would be reset under its process: canceled first, where that was asked for."""

from __future__ import annotations

import json

import pytest
from rerun_views import C, F, K, Q, W, X, graph, job, ran, world

from rekindle.domain.rerunning.asking import how_to_json
from rekindle.domain.rerunning.planning import plan_from_json, plan_rerun, plan_to_json
from rekindle.domain.rerunning.rerun import RESET_HOLD, How, Reason, ReasonKind
from rekindle.domain.states import State

CANCEL = How(cancel_running=True)
CHAIN = graph((1, 2), (2, 3), (3, 4))


def planned(jobs, edges, *requests):
    return plan_rerun(world(jobs, edges), edges, [([number], how) for number, how in requests])


def canceled(decided):
    """By job: the attempts that end first."""
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
def test_what_runs_below_is_canceled_and_runs_again_whatever_comes_out(downstream):
    jobs = [job(1, C), job(2, C), job(3, X), job(4, W)]
    decided = planned(jobs, CHAIN, (1, How(downstream=downstream, cancel_running=True)))
    assert [one.id for one in decided.jobs] == [1, 2, 3, 4]
    assert canceled(decided) == {3: (103, "running")}
    assert [one.after for one in decided.jobs] == [State.READY, W, W, W]
    assert decided.jobs[2].reserve is None


def test_with_none_only_what_runs_on_what_is_taken_away_is_canceled():
    edges = graph((1, 2), (1, 3), (3, 4))
    jobs = [job(1, C), job(2, X), job(3, C), job(4, X)]
    decided = planned(jobs, edges, (1, How(downstream="none", cancel_running=True)))
    assert canceled(decided) == {2: (102, "running")}
    by_id = {one.id: one for one in decided.jobs}
    assert by_id.keys() == {1, 2, 3}
    assert (by_id[2].after, by_id[2].unmet, by_id[2].stays) == (W, 1, False)
    assert Reason(ReasonKind.UPSTREAM, {"job": 1, "name": "j1"}) in by_id[2].reasons
    assert (by_id[3].after, by_id[3].stays) == (C, True)


def test_only_those_asked_for_so_cancel():
    jobs = [job(1, C), job(2, C), job(3, X), job(4, F)]
    decided = planned(jobs, graph((1, 3), (2, 4)), (1, How()), (2, CANCEL))
    assert [one.id for one in decided.refused] == [1]
    assert canceled(decided) == {}


def test_a_job_that_runs_and_is_held_is_refused_for_that():
    decided = planned([job(1, X, held="held")], graph(), (1, CANCEL))
    assert decided.jobs == ()
    assert "release it first" in decided.refused[0].why


def test_a_job_that_runs_resumes_at_the_step_that_it_is_at():
    one = job(1, X, steps=("a", "b", "c"), attempt=ran(C, number=7, state=X))
    decided = planned([one], graph(), (1, How("failed-step", cancel_running=True)))
    assert (decided.jobs[0].start, decided.jobs[0].keeps, decided.jobs[0].resume_attempt) == ("b", ("a",), 7)


def test_outputs_of_what_runs_are_not_saved():
    """It is still at them."""
    jobs = [job(1, C, outputs=("out",), declared=("out",), directory="/p"), job(2, X, outputs=("o",), directory="/p")]
    how = How(cancel_running=True, keep_outputs=True)
    decided = planned(jobs, graph((1, 2)), (1, how))
    assert [one.manner.saves for one in decided.jobs] == [("/p/out",), ()]


def test_a_reset_may_cancel_too_and_it_is_recorded():
    how = How(hold=RESET_HOLD, cancel_running=True)
    decided = planned([job(1, X)], graph(), (1, how))
    assert (decided.jobs[0].holds, canceled(decided)) == (RESET_HOLD, {1: (101, "running")})
    assert how_to_json(how)["cancel_running"] is True
    assert "cancel_running" not in how_to_json(How())


def test_the_rest_is_planned_as_without_it():
    jobs = [job(1, F), job(2, W), job(3, K), job(4, W)]
    with_it, without = (planned(jobs, CHAIN, (1, how)) for how in (CANCEL, How()))
    assert with_it == without
