"""Jobs that must not run twice (`manual: {rerun: forbidden}`). j1, j2, … are jobs; attempts are 101, 102, …"""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace
from rerun_views import C, F, K, Q, R, W, X, graph, job, plan, plan_pairs, ran, world

from rekindle.domain.rerun.plan import ReasonKind
from rekindle.domain.rerun.plan_json import plan_from_json, plan_to_json, planned_job_to_json
from rekindle.domain.rerun.request import RESET_HOLD, How, InternalHow, RequestMode

CHAIN = graph((1, 2), (2, 3))
ONCE = {"rerun_forbidden": "it pays the invoices"}


def pays(number, state, **more):
    return job(number, state, **ONCE, **more)


def planned(decided):
    return [one.id for one in decided.jobs if not one.stays]


@pytest.mark.parametrize("state", [C, F, K, Q, X])
@pytest.mark.parametrize(
    "how",
    [
        How(),
        InternalHow("failed-step", keep_modified=True, mode=RequestMode.RESUME),
        InternalHow(mode=RequestMode.REPEAT),
        How(hold=RESET_HOLD),
        How(cancel_running=True),
        How(downstream="none"),
        How(definition="pinned"),
    ],
)
def test_no_request_runs_it_again_once_it_has_started(state, how):
    jobs = [pays(1, state)]
    decided = plan_pairs(world(jobs, CHAIN), CHAIN, [([1], how)])
    assert decided.jobs == ()
    assert [(one.id, one.kind) for one in decided.refused] == [(1, "forbidden")]
    assert decided.refused[0].why.startswith("it must not run twice (it pays the invoices), and ")


def test_it_runs_again_if_its_attempt_ended_before_it_started():
    never = replace(ran(F, number=101), started=False)
    decided = plan([pays(1, F, attempt=never), job(2, W)], graph((1, 2)), 1)
    assert planned(decided) == [1, 2]
    assert decided.refused == ()


def test_the_others_of_a_selection_run_again():
    decided = plan([job(1, F), pays(2, F)], graph(), 1, 2)
    assert planned(decided) == [1]
    assert [one.name for one in decided.refused] == ["j2"]


def test_a_rerun_above_keeps_its_attempt_and_what_only_it_leads_to():
    decided = plan([job(1, C), pays(2, C), job(3, C)], CHAIN, 1)
    assert planned(decided) == [1]
    [kept] = [one for one in decided.jobs if one.stays]
    assert (kept.id, kept.before, kept.after, kept.archives, kept.unmet) == (2, C, C, (), 1)
    assert [one.kind for one in kept.reasons] == [ReasonKind.FORBIDDEN, ReasonKind.STAYS]
    assert dict(kept.reasons[0].detail) == {"reason": "it pays the invoices"}
    [warning] = decided.warnings
    assert warning == (
        "`j2` must not run twice (it pays the invoices): its completed attempt stays, and becomes stale if a job "
        "upstream changes. Jobs that depend on this plan only by it stay too"
    )


def test_a_job_below_it_that_another_path_reaches_runs_again():
    edges = graph((1, 2), (2, 3), (1, 3))
    decided = plan([job(1, C), pays(2, C), job(3, C)], edges, 1)
    assert planned(decided) == [1, 3]
    assert {one.id: one.unmet for one in decided.jobs} == {1: 0, 2: 1, 3: 1}


def test_a_rerun_far_above_lowers_nothing_that_it_counts_wrongly():
    edges = graph((1, 2), (2, 3), (3, 4))
    decided = plan([job(1, C), job(2, C), pays(3, C), job(4, C)], edges, 1)
    assert {one.id: (one.unmet, one.stays) for one in decided.jobs} == {1: (0, False), 2: (1, False), 3: (1, True)}


def test_a_failed_one_below_stays_failed():
    decided = plan([job(1, C), pays(2, F), job(3, W)], CHAIN, 1)
    assert {one.id: one.after for one in decided.jobs} == {1: R, 2: F}
    assert "its failed attempt stays. Jobs that depend on this plan only by it stay too" in decided.warnings[0]


@pytest.mark.parametrize("state", [W, R])
def test_one_that_has_not_started_waits_for_the_rerun_above(state):
    decided = plan([job(1, C), pays(2, state), job(3, W)], CHAIN, 1)
    assert planned(decided) == [1, 2, 3]
    assert decided.refused == ()


@pytest.mark.parametrize("how", [How(cancel_running=True), How(cancel_running=True, downstream="none"), How()])
def test_nothing_that_it_needs_runs_again_while_it_runs(how):
    jobs = [job(1, C), pays(2, X), job(3, W)]
    decided = plan_pairs(world(jobs, CHAIN), CHAIN, [([1], how)])
    assert decided.jobs == ()
    [refused] = decided.refused
    assert (refused.id, refused.kind) == (1, "")
    assert refused.why == (
        "`j2` is running, needs `j1`, and must not run twice (it pays the invoices); wait for its end"
    )


def test_a_running_job_below_a_kept_one_is_not_disturbed():
    decided = plan([job(1, C), pays(2, C), job(3, X)], CHAIN, 1)
    assert planned(decided) == [1]
    assert decided.refused == ()


def test_a_stale_job_below_a_kept_one_is_not_left_to_be_checked():
    jobs = [job(1, C), pays(2, C), job(3, C)]
    how = How(downstream="changed", keep_modified=True)
    decided = plan_pairs(world(jobs, CHAIN), CHAIN, [([1, 3], how)], why={1: (), 3: ()})
    assert planned(decided) == [1, 3]


def test_the_plan_keeps_its_typed_reasons_in_json():
    decided = plan([job(1, C), pays(2, C), pays(3, F)], graph((1, 2)), 1, 3)
    document = json.loads(json.dumps(plan_to_json(decided)))
    assert document["refused"] == [{"id": 3, "name": "j3", "why": decided.refused[0].why, "kind": "forbidden"}]
    assert {"kind": "forbidden", "reason": "it pays the invoices"} in planned_job_to_json(decided.jobs[1])["reasons"]
    assert plan_from_json(document) == decided
