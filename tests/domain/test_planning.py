"""One test for each rule of the rerun planner. j1, j2, … are jobs; attempts are 101, 102, …"""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace
from rerun_views import C, F, K, Q, R, W, X, graph, job, plan, plan_pairs, ran, world

from rekindle.domain.errors import NotFound
from rekindle.domain.next_attempt import NextAttempt
from rekindle.domain.rerun.plan import Reason, ReasonKind, seal_plan
from rekindle.domain.rerun.plan_json import plan_from_json, plan_to_json, planned_job_to_json
from rekindle.domain.rerun.request import RESET_HOLD, How, InternalHow, RequestMode
from rekindle.domain.rerun.undo import JobPointers, pointers_after, pointers_before
from rekindle.domain.rerun.views import JobGraph, StepView

DIAMOND = graph((1, 2), (1, 3), (2, 4), (3, 4))


def states(plan):
    return {planned.id: (planned.before.label, planned.after.label) for planned in plan.jobs}


def refusals(plan):
    return {refused.id: refused.why for refused in plan.refused}


# Reset jobs and their states


def test_the_failed_branch_of_a_diamond_runs_again_and_the_other_does_not():
    decided = plan([job(1, C), job(2, F), job(3, C), job(4, W)], DIAMOND, 2)
    assert states(decided) == {2: ("failed", "ready"), 4: ("waiting", "waiting")}
    assert decided.refused == ()


def test_all_descendants_are_archived_and_wait():
    decided = plan([job(1, C), job(2, C), job(3, C), job(4, C)], DIAMOND, 2)
    assert states(decided) == {2: ("completed", "ready"), 4: ("completed", "waiting")}
    assert [planned.archives for planned in decided.jobs] == [(102,), (104,)]
    assert [planned.unmet for planned in decided.jobs] == [0, 1]


def test_a_job_waits_for_all_reset_jobs_upstream():
    decided = plan([job(1, C), job(2, C), job(3, C), job(4, C)], DIAMOND, 1)
    assert {planned.id: planned.unmet for planned in decided.jobs} == {1: 0, 2: 1, 3: 1, 4: 2}


def test_a_selected_job_below_another_selected_one_waits_and_carries_both_reasons():
    decided = plan([job(1, C), job(2, F)], graph((1, 2)), 1, 2)
    assert states(decided) == {1: ("completed", "ready"), 2: ("failed", "waiting")}
    assert [(reason.kind, dict(reason.detail)) for reason in decided.jobs[1].reasons] == [
        (ReasonKind.SELECTED, {"state": "failed", "cause": "exit"}),
        (ReasonKind.UPSTREAM, {"job": 1, "name": "j1"}),
    ]


def test_a_selected_job_waits_for_unfinished_jobs_outside_the_plan():
    decided = plan([job(1, X), job(2, K)], graph((1, 2)), 2)
    assert states(decided) == {2: ("canceled", "waiting")}
    assert decided.reads == ((1, 11),)


def test_the_nearest_selected_job_above_is_the_reason():
    chain = graph((1, 2), (2, 3), (3, 4), (1, 4))
    decided = plan([job(1, C), job(2, C), job(3, C), job(4, C)], chain, 1, 2)
    upstream = {planned.id: planned.reasons[-1].detail["name"] for planned in decided.jobs[1:]}
    assert upstream == {2: "j1", 3: "j2", 4: "j1"}


def test_a_ready_descendant_waits_again():
    decided = plan([job(1, C), job(2, R)], graph((1, 2)), 1)
    assert states(decided) == {1: ("completed", "ready"), 2: ("ready", "waiting")}
    assert decided.jobs[1].archives == ()


def test_a_waiting_descendant_whose_need_was_done_has_one_more_to_wait_for():
    decided = plan([job(1, C), job(2, F), job(3, W)], graph((1, 3), (2, 3)), 1)
    assert [(planned.id, planned.unmet) for planned in decided.jobs] == [(1, 0), (3, 2)]


def test_a_waiting_descendant_is_planned():
    decided = plan([job(1, F), job(2, W), job(3, W)], graph((1, 2), (2, 3)), 1)
    assert states(decided) == {1: ("failed", "ready"), 2: ("waiting", "waiting"), 3: ("waiting", "waiting")}
    assert [planned.archives for planned in decided.jobs[1:]] == [(), ()]
    assert (decided.expected.attempts, decided.reads) == (3, ())


def test_a_descendant_that_was_to_resume_starts_at_the_beginning():
    resuming = job(2, W, resume_attempt=90, resume_step=1)
    decided = plan([job(1, F), resuming], graph((1, 2)), 1)
    assert [(planned.id, planned.next.resume_attempt, planned.next.resume_step) for planned in decided.jobs] == [
        (1, None, 0),
        (2, None, 0),
    ]


def test_a_descendant_canceled_before_its_start_waits_again_with_a_warning():
    decided = plan([job(1, F), job(2, K, canceled=True)], graph((1, 2)), 1)
    assert states(decided) == {1: ("failed", "ready"), 2: ("canceled", "waiting")}
    assert decided.warnings == ("`j2` was canceled and will run again",)


def test_a_selected_job_that_was_canceled_before_its_start_becomes_ready():
    decided = plan([job(1, K, canceled=True)], graph(), 1, start="failed-step")
    assert states(decided) == {1: ("canceled", "ready")}
    assert decided.warnings == ()


def test_held_descendants_are_reset_and_stay_held_with_a_warning():
    jobs = [job(1, C), job(2, C, held="held"), job(3, C, held="looks odd")]
    decided = plan(jobs, graph((1, 2), (2, 3)), 1)
    assert states(decided)[2] == ("completed", "waiting")
    assert decided.warnings == ("`j2`, `j3` stay held: release with rekindle release",)
    assert pointers_after(decided.jobs[2], pointers_before(jobs[2])).held == "looks odd"


# Downstream: changed, none


def asked(how, jobs, edges, *selected):
    return plan_pairs(world(jobs, edges), edges, [(selected, how)])


CHANGED, LEFT = How(downstream="changed"), How(downstream="none")
CHAIN = graph((1, 2), (2, 3))


def test_only_completed_descendants_may_be_reused():
    jobs = [job(1, F), job(2, C), job(3, F), job(4, W, reuse_candidate=90), job(5, C, aggregate=True)]
    decided = asked(CHANGED, jobs, graph((1, 2), (1, 3), (1, 4), (1, 5)), 1)
    assert {planned.id: planned.next.reuse_candidate for planned in decided.jobs} == {
        1: None,
        2: 102,
        3: None,
        4: 90,
        5: None,
    }
    assert [planned.after for planned in decided.jobs[1:]] == [W] * 4
    assert [reason.kind for reason in decided.jobs[1].reasons] == [ReasonKind.UPSTREAM, ReasonKind.REUSE]


def test_a_stale_job_below_a_stale_job_may_be_reused():
    jobs, why = [job(1, C), job(2, C), job(3, F)], {n: (Reason(ReasonKind.INPUT, {"name": "i"}),) for n in (1, 2, 3)}
    views, stale = world(jobs, CHAIN), How(downstream="changed", keep_modified=True)
    decided = plan_pairs(views, CHAIN, [([1, 2, 3], stale)], why=why)
    assert [planned.next.reuse_candidate for planned in decided.jobs] == [None, 102, None]
    kinds = [{reason.kind for reason in planned.reasons} for planned in decided.jobs]
    assert [ReasonKind.SELECTED in one for one in kinds] == [True, False, True]
    assert all(ReasonKind.INPUT in one for one in kinds)
    for named, reasons in ((stale, {}), (replace(stale, downstream="all"), why)):
        picked = plan_pairs(views, CHAIN, [([1, 2, 3], named)], why=reasons)
        assert [planned.next.reuse_candidate for planned in picked.jobs] == [None, None, None]


def test_all_beats_changed_and_changed_beats_none():
    jobs, edges = [job(n, C) for n in (1, 2, 3, 4)], graph((1, 4), (2, 4), (3, 4))
    views = world(jobs, edges)
    everything = plan_pairs(views, edges, [([1], How()), ([2], CHANGED), ([3], LEFT)])
    assert (everything.jobs[3].archives, everything.jobs[3].next.reuse_candidate) == ((104,), None)
    changed = plan_pairs(views, edges, [([2], CHANGED), ([3], LEFT)])
    assert (changed.jobs[2].archives, changed.jobs[2].next.reuse_candidate) == ((104,), 104)


def test_with_none_finished_children_stay_and_ready_ones_wait():
    jobs, edges = [job(1, C), job(2, C), job(3, C), job(4, R)], graph((1, 2), (2, 3), (1, 4))
    decided = asked(LEFT, jobs, edges, 1)
    assert states(decided) == {1: ("completed", "ready"), 2: ("completed", "completed"), 4: ("ready", "waiting")}
    assert [(planned.stays, planned.unmet, planned.archives) for planned in decided.jobs[1:]] == [(True, 1, ())] * 2
    assert [planned.reasons[0].kind for planned in decided.jobs[1:]] == [ReasonKind.STAYS, ReasonKind.UPSTREAM]
    assert decided.warnings[0].startswith("`j2`, `j3` stay as they are, and become stale if")
    assert decided.expected.attempts == 1


def test_with_none_unchanged_descendants_are_not_written():
    assert states(asked(LEFT, [job(1, F), job(2, C)], graph((1, 2)), 1)) == {1: ("failed", "ready")}


def test_with_none_a_distant_running_job_is_no_obstacle():
    jobs = [job(1, C), job(2, C), job(3, X)]
    assert states(asked(LEFT, jobs, CHAIN, 1))[1] == ("completed", "ready")
    decided = asked(LEFT, jobs, CHAIN, 2)
    assert "`j3` is running, and it needs `j2`" in refusals(decided)[2]
    assert "`j3` is running" in refusals(asked(CHANGED, jobs, CHAIN, 1))[1]


# Hold and release


def test_hold_applies_to_selected_jobs_only():
    decided = asked(How(hold=RESET_HOLD), [job(1, R), job(2, C), job(3, C)], CHAIN, 1, 2)
    assert [planned.holds for planned in decided.jobs] == [RESET_HOLD, RESET_HOLD, None]
    before = pointers_before(job(2, C))
    assert [pointers_after(planned, before).held for planned in decided.jobs] == [RESET_HOLD, RESET_HOLD, None]


def test_release_only_releases_jobs_reset_by_hand():
    resuming = job(
        1, R, held=RESET_HOLD, resume_attempt=90, resume_step=1, reuse_candidate=None, pinned_to=90, steps=("a", "b")
    )
    jobs = [resuming, job(2, C, held="looks odd"), job(3, F)]
    decided = asked(InternalHow(mode=RequestMode.RELEASE), jobs, graph(), 1, 2, 3)
    assert states(decided) == {1: ("ready", "ready")}
    assert (decided.jobs[0].releases, decided.jobs[0].archives, decided.jobs[0].start) == (True, (), "b")
    before = pointers_before(resuming)
    assert pointers_after(decided.jobs[0], before) == replace(before, held=None)
    assert refusals(decided)[3] == "it is not held, so it cannot be released"
    assert "looks odd" in refusals(decided)[2]


# Definition


def test_jobs_are_pinned_as_the_nearest_selected_job_is():
    edges = graph((1, 2), (2, 3), (3, 4), (1, 5))
    jobs = [job(1, C), job(2, C), job(3, C), job(4, W, last=77), job(5, W)]
    decided = plan_pairs(world(jobs, edges), edges, [([1], How()), ([3], How(definition="pinned"))])
    assert {planned.id: planned.next.pinned_to for planned in decided.jobs} == {
        1: None,
        2: None,
        3: 103,
        4: 77,
        5: None,
    }


def test_a_rerun_uses_the_latest_definition_and_a_repeat_does_not():
    pinned = job(1, F, pinned_to=90)
    assert asked(How(), [pinned], graph(), 1).jobs[0].next.pinned_to is None
    assert asked(InternalHow(mode=RequestMode.REPEAT), [pinned], graph(), 1).jobs[0].next.pinned_to == 90


def test_steps_and_outputs_follow_the_pinned_definition():
    view = job(1, F, attempt=ran(C, F), steps=("x", "y"), outputs=("new",))
    earlier = replace(view, steps=("a", "b"), outputs=("old",))
    decided = plan_pairs({1: view}, graph(), [([1], How("failed-step", definition="pinned"))], earlier={1: earlier})
    assert (decided.jobs[0].start, decided.jobs[0].keeps, decided.overwrites) == ("b", ("a",), ("old",))


# Refusals


def test_a_job_that_has_not_run_is_refused_naming_its_needs():
    jobs = [job(1, F), job(2, X), job(3, C), job(4, W), job(5, R)]
    decided = plan(jobs, graph((1, 4), (2, 4), (3, 4)), 4, 5)
    assert decided.jobs == ()
    assert refusals(decided) == {
        4: "it has not run yet: it is waiting for `j1`, `j2`",
        5: "it has not run yet: it is ready",
    }


def test_a_job_that_was_already_reset_is_refused():
    decided = plan([job(1, R, resume_attempt=9, resume_step=1)], graph(), 1)
    assert refusals(decided) == {1: "it has not run yet since it was reset: it is ready"}


def test_a_waiting_job_below_another_selected_one_is_simply_part_of_the_plan():
    decided = plan([job(1, C), job(2, W), job(3, F)], graph((1, 2), (3, 2)), 1, 2)
    assert decided.refused == ()
    assert [reason.kind for reason in decided.jobs[1].reasons] == [ReasonKind.UPSTREAM]


@pytest.mark.parametrize(("state", "word"), [(Q, "queued"), (X, "running")])
def test_a_job_that_runs_is_refused(state, word):
    decided = plan([job(1, state), job(2, F)], graph(), 1, 2)
    assert refusals(decided) == {1: f"it is {word}; cancel it first: --cancel-running, or rekindle cancel j1"}
    assert states(decided) == {2: ("failed", "ready")}


def test_commands_in_refusals_are_quoted_for_the_shell():
    decided = plan([replace(job(1, X), name="train[seed=0]")], graph(), 1)
    assert refusals(decided)[1].endswith("rekindle cancel 'train[seed=0]'")


def test_a_job_above_a_running_one_is_refused_and_the_rest_planned():
    jobs = [job(1, C), job(2, C), job(3, X), job(4, F)]
    decided = plan(jobs, graph((1, 2), (2, 3)), 1, 4)
    why = "`j3` is running, and it needs `j1`; cancel it first: --cancel-running, or rekindle cancel j3"
    assert refusals(decided) == {1: why}
    assert [planned.id for planned in decided.jobs] == [4]


def test_the_nearest_running_job_is_named():
    jobs = [job(1, C), job(2, X), job(3, C), job(4, X)]
    decided = plan(jobs, graph((1, 3), (3, 2), (1, 4)), 1)
    assert "`j4` is running" in refusals(decided)[1]


def test_a_held_job_is_refused_with_its_reason():
    decided = plan([job(1, F, held="looks odd"), job(2, F, held="held")], graph(), 1, 2)
    assert refusals(decided) == {
        1: "it is held (looks odd); release it first: rekindle release j1",
        2: "it is held; release it first: rekindle release j2",
    }


def test_a_held_job_below_another_selected_one_is_reset_and_stays_held():
    decided = plan([job(1, C), job(2, F, held="held")], graph((1, 2)), 1, 2)
    assert decided.refused == ()
    assert states(decided)[2] == ("failed", "waiting")
    assert decided.warnings == ("`j2` stays held: release with rekindle release",)


def test_retired_jobs_and_archived_workflows_are_refused():
    decided = plan([job(1, F, retired=True), job(2, F, archived_workflow=True)], graph(), 1, 2)
    assert decided.jobs == ()
    assert "retired" in refusals(decided)[1]
    assert refusals(decided)[2] == "its workflow is archived"


def test_a_job_that_is_not_there_is_named():
    with pytest.raises(NotFound, match="no such job: 9"):
        plan([job(1, F)], graph(), 1, 9)


# Start points


def steps(*names):
    return {"steps": names}


def test_from_failed_step_keeps_what_completed():
    decided = plan([job(1, F, attempt=ran(C, F), **steps("a", "b", "c"))], graph(), 1, start="failed-step")
    (planned,) = decided.jobs
    assert (planned.start, planned.keeps, planned.next.resume_attempt, planned.next.resume_step) == ("b", ("a",), 7, 1)


def test_a_step_that_was_lost_or_canceled_is_where_it_starts():
    attempt = replace(ran(C, C, K), state=F, cause="lost")
    (planned,) = plan([job(1, F, attempt=attempt, **steps("a", "b", "c"))], graph(), 1, start="failed-step").jobs
    assert (planned.start, planned.keeps) == ("c", ("a", "b"))


def test_steps_kept_from_earlier_attempts_count_as_completed():
    attempt = replace(ran(F), steps=(StepView(1, "b", F), StepView(0, "a", W, kept_from=3)))
    (planned,) = plan([job(1, F, attempt=attempt, **steps("a", "b"))], graph(), 1, start="failed-step").jobs
    assert (planned.start, planned.next.resume_attempt) == ("b", 7)


@pytest.mark.parametrize("attempt", [ran(F), ran(F, C, state=F), replace(ran(F), steps=())])
def test_without_a_completed_first_step_the_failed_step_is_the_beginning(attempt):
    (planned,) = plan([job(1, F, attempt=attempt, **steps("a", "b"))], graph(), 1, start="failed-step").jobs
    assert (planned.start, planned.keeps, planned.next.resume_attempt, planned.next.resume_step) == (
        "beginning",
        (),
        None,
        0,
    )


def test_a_step_that_completed_behind_a_gap_is_not_kept():
    attempt = replace(ran(F), steps=(StepView(1, "b", C), StepView(2, "c", F)))
    (planned,) = plan([job(1, F, attempt=attempt, **steps("a", "b", "c"))], graph(), 1, start="failed-step").jobs
    assert planned.start == "beginning"


def test_a_completed_job_has_no_failed_step():
    decided = plan([job(1, C)], graph(), 1, start="failed-step")
    assert "every step of it completed" in refusals(decided)[1]


def test_when_all_steps_completed_and_the_attempt_failed_the_last_one_is_repeated():
    attempt = replace(ran(C, C, state=F), cause="missing_output")
    decided = plan([job(1, F, attempt=attempt, **steps("a", "b"))], graph(), 1, start="failed-step")
    assert (decided.jobs[0].start, decided.jobs[0].keeps) == ("b", ("a",))
    assert "(missing_output): its last step, `b`, runs again" in decided.warnings[0]


def test_a_stop_at_a_removed_step_is_refused():
    decided = plan([job(1, F, attempt=ran(C, F), **steps("a"))], graph(), 1, start="failed-step")
    assert "stopped at step `b`, which its definition does not have any more" in refusals(decided)[1]


@pytest.mark.parametrize("start", ["failed-step", "c"])
@pytest.mark.parametrize("now", [("a", "x", "c"), ("b", "a", "c")])
def test_steps_are_not_kept_when_the_definition_before_them_has_changed(start, now):
    decided = plan([job(1, F, attempt=ran(C, C, F), **steps(*now))], graph(), 1, start=start)
    assert decided.jobs == ()
    assert "its first steps were `a`, `b`" in refusals(decided)[1]


def test_changes_behind_the_start_point_do_not_matter():
    (planned,) = plan([job(1, F, attempt=ran(C, F), **steps("a", "x"))], graph(), 1, start="failed-step").jobs
    assert planned.start == "x"


def test_a_named_step_of_a_completed_job_can_be_where_it_starts():
    (planned,) = plan([job(1, C, attempt=ran(C, C, C), **steps("a", "b", "c"))], graph(), 1, start="b").jobs
    assert (planned.start, planned.keeps, planned.next.resume_step) == ("b", ("a",), 1)


def test_the_first_step_by_name_is_the_beginning():
    (planned,) = plan([job(1, C, **steps("run"))], graph(), 1, start="run").jobs
    assert (planned.start, planned.next.resume_attempt) == ("beginning", None)


def test_an_unknown_step_is_answered_with_the_known_ones():
    decided = plan([job(1, F, **steps("a", "b"))], graph(), 1, start="metrics")
    assert refusals(decided) == {1: "it has no step `metrics`; its steps are `a`, `b`"}


@pytest.mark.parametrize("view", [job(1, F, attempt=ran(C, F), steps=("a", "b", "c")), job(1, K, canceled=True)])
def test_a_named_step_behind_one_that_has_not_completed_is_refused(view):
    decided = plan([replace(view, steps=("a", "b", "c"))], graph(), 1, start="c")
    assert "which comes before, has not completed" in refusals(decided)[1]


def test_descendants_start_at_the_beginning():
    jobs = [job(1, F, attempt=ran(C, F), **steps("a", "b")), job(2, F, attempt=ran(C, F), **steps("a", "b"))]
    decided = plan(jobs, graph((1, 2)), 1, start="failed-step")
    assert [planned.start for planned in decided.jobs] == ["b", "beginning"]


def test_resuming_below_a_job_that_runs_again_is_warned_about():
    jobs = [job(1, F), job(2, F, attempt=ran(C, F), **steps("a", "b"))]
    decided = plan(jobs, graph((1, 2)), 1, 2, start="failed-step")
    assert decided.jobs[1].start == "b"
    assert decided.warnings == ("`j2` starts at `b` and keeps `a`, though `j1`, which it needs, runs again",)


def test_a_refused_start_below_another_selected_job_becomes_the_beginning_with_a_warning():
    decided = plan([job(1, F), job(2, C)], graph((1, 2)), 1, 2, start="failed-step")
    assert decided.refused == ()
    assert decided.jobs[1].start == "beginning"
    assert decided.warnings[0].startswith("`j2` runs from the beginning, because `j1` runs again: every step")


# Several requests


def test_the_same_options_twice_are_one_request():
    views = world([job(1, F), job(2, F)], graph())
    decided = plan_pairs(views, graph(), [([1, 2], How()), ([2, 2], How())])
    assert decided == plan_pairs(views, graph(), [([2, 1], How())])


def test_each_request_has_its_own_options():
    views = world([job(n, F, attempt=ran(C, F, number=n), **steps("a", "b")) for n in (1, 2)], graph())
    decided = plan_pairs(views, graph(), [([1], How("failed-step")), ([2], How())])
    assert [planned.start for planned in decided.jobs] == ["b", "beginning"]


def test_a_job_requested_with_different_options_is_refused():
    views = world([job(1, F), job(2, F)], graph())
    decided = plan_pairs(views, graph(), [([1, 2], How("failed-step")), ([2], How())])
    assert refusals(decided) == {2: "it is requested in different ways, from beginning and from failed-step: name one"}
    assert [planned.id for planned in decided.jobs] == [1]


# Outputs and JSON


def test_overwritten_outputs_are_listed_once():
    jobs = [job(1, C, outputs=("b.txt", "a.txt")), job(2, C, outputs=("a.txt",)), job(3, R, outputs=("never",))]
    assert plan(jobs, graph((1, 2), (1, 3)), 1).overwrites == ("b.txt", "a.txt")


def test_a_selection_drops_overrides_and_a_descendant_keeps_them():
    jobs = [job(1, F, overrides="{}", reuse_candidate=5, not_before=9.0), job(2, C, overrides="{}", reuse_candidate=6)]
    selected, below = plan(jobs, graph((1, 2)), 1).jobs
    assert pointers_before(jobs[0]) == JobPointers(attempt=101, next=jobs[0].next)
    assert pointers_after(selected, pointers_before(jobs[0])) == JobPointers()
    assert pointers_after(below, pointers_before(jobs[1])) == JobPointers(next=NextAttempt(overrides="{}"))


RICH = [job(1, C), job(2, F, attempt=ran(C, F), steps=("a", "b"), outputs=("o",)), job(3, K), job(4, X), job(5, W)]


def test_a_plan_survives_json():
    decided = plan(RICH, graph((1, 2), (2, 3), (2, 5)), 2, 4, start="failed-step")
    document = json.loads(json.dumps(plan_to_json(decided)))
    assert plan_from_json(document) == decided
    assert planned_job_to_json(decided.jobs[0]) == {
        "id": 2,
        "name": "j2",
        "before": "failed",
        "after": "ready",
        "start": "b",
        "reasons": [{"kind": "selected", "state": "failed", "cause": "exit"}],
        "archives": [7],
        "keeps": ["a"],
        "version": 12,
        "unmet": 0,
        "resume_attempt": 7,
        "resume_step": 1,
        "workdir": "new",
        "folder": None,
        "keep_recovery": None,
        "overrides": None,
        "changes": [],
        "saves": [],
        "not_before": None,
        "avoids": None,
        "repeats": 0,
        "subtasks": None,
        "reserve": None,
        "pinned_to": None,
        "stays": False,
        "holds": None,
        "releases": False,
    }
    assert document["refused"] == [{"id": 4, "name": "j4", "why": decided.refused[0].why}]
    assert document["expected"] == {
        "attempts": 3,
        "seconds": 0.0,
        "unknown": 3,
        "core_seconds": 0.0,
        "wall_seconds": 0.0,
        "guessed": 0,
        "reserved": 0,
        "reserved_seconds": 0.0,
        "cores": 1.0,
    }


def test_a_plan_with_reuse_pins_and_holds_survives_json():
    edges = graph((1, 2), (3, 4), (5, 6))
    jobs = [*(job(n, C) for n in range(1, 7)), job(7, R, held=RESET_HOLD)]
    decided = plan_pairs(
        world(jobs, edges),
        edges,
        [
            ([1], replace(CHANGED, definition="pinned")),
            ([3], LEFT),
            ([5], How(hold="reset")),
            ([7], InternalHow(mode=RequestMode.RELEASE)),
        ],
    )
    assert plan_from_json(json.loads(json.dumps(plan_to_json(decided)))) == decided
    flags = [(one.next.reuse_candidate, one.next.pinned_to, one.stays, one.holds, one.releases) for one in decided.jobs]
    assert len(set(flags)) == 6


def test_a_plan_that_was_altered_is_not_read():
    document = plan_to_json(plan(RICH, graph(), 2))
    document["sets"][0]["versions"][0][0] += 1
    with pytest.raises(ValueError, match="altered"):
        plan_from_json(document)


def test_the_digest_follows_the_plan():
    first = plan([job(1, F), job(2, F)], graph(), 1)
    assert first.digest == plan([job(2, F), job(1, F)], graph(), 1).digest
    assert first.digest != plan([job(1, F), job(2, F)], graph(), 1, 2).digest
    assert first.digest != plan([replace(job(1, F), version=99)], graph(), 1).digest
    dearer = replace(first, expected=replace(first.expected, seconds=99.0))  # other jobs have shown how long it takes
    assert seal_plan(dearer).digest == first.digest


# Wide and deep graphs (`make bench` measures the time of a plan)


def test_failures_alone_are_planned_among_many_jobs_between_two():
    edges = graph(*((1, n) for n in range(2, 10_001)), *((n, 10_001) for n in range(2, 10_001)))
    jobs = [job(1, C), *(job(n, F if n % 10 == 0 else C) for n in range(2, 10_001)), job(10_001, W)]
    views = world(jobs, edges)
    failed = [view.id for view in jobs if view.state is F]
    decided = plan_pairs(views, edges, [(failed, How("failed-step"))])
    assert len(decided.jobs) == 1001


def test_every_descendant_of_a_long_chain_is_planned():
    n = 10_000  # ten times the depth at which recursion fails
    edges = JobGraph({k: [k + 1] for k in range(1, n)})
    views = {k: job(k, C) for k in range(1, n + 1)}
    decided = plan_pairs(views, edges, [([1], How())])
    assert len(decided.jobs) == n


def test_an_automatic_repeat_keeps_completed_descendants():
    edges = graph((1, 2))
    decided = plan_pairs(world([job(1, F), job(2, C)], edges), edges, [([1], InternalHow(mode=RequestMode.REPEAT))])
    assert states(decided) == {1: ("failed", "ready")}
