"""Fan-outs over several attempts: identity, kept subtasks, and their combined state."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rerun_views import C, F, graph, job, plan_pairs, ran, world

from rekindle.domain.rerun.plan_json import plan_from_json, plan_to_json
from rekindle.domain.rerun.request import How
from rekindle.domain.rerun.undo import pointers_after, pointers_before
from rekindle.domain.rerun.views import FanOutView
from rekindle.domain.states import State
from rekindle.domain.subtasks import (
    KnownSubtask,
    Subtask,
    SubtaskLayer,
    divide_subtasks,
    format_ranges,
    item_text,
    known_subtasks,
    merge_layers,
)

ITEMS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)
ENDS = st.sampled_from([State.COMPLETED, State.FAILED, State.CANCELED, State.WAITING])


@settings(deadline=None)
@given(data=st.data())
def test_attempts_that_build_on_each_other_are_merged(data):
    """Compare with a model that keeps, by item, the last outcome and the number of runs."""
    layers: list[SubtaskLayer] = []
    model: dict[str, tuple[State, int, int]] = {}  # item -> state, times run, index
    for attempt in range(data.draw(st.integers(1, 5))):
        items = [item_text(item) for item in data.draw(ITEMS)]
        known = known_subtasks(merge_layers(layers))
        indices = [one.index for one in known]
        some = st.sets(st.sampled_from(indices)).map(lambda chosen: tuple(sorted(chosen))) if indices else st.nothing()
        choice = data.draw(st.sampled_from(["failed", "all"]) | some)
        division = divide_subtasks(items, known, choice)
        before = dict(model)
        model = {item: before[item] for item in items if item in before}
        own = []
        for one in division.run:
            end = data.draw(ENDS)
            times = before[one.item][1] if one.item in before else 0
            assert one.attempts == times
            if one.item in before and before[one.item][0] is State.COMPLETED:
                assert choice == "all" or one.index in choice  # 7: completed subtasks run again only if requested
            model[one.item] = end, times + (end is not State.WAITING), one.index
            own.append(Subtask(one.index, one.item, end, model[one.item][1], attempt))
        assert {one.item for one in division.run} | {one.item for one in division.kept} == set(items)
        assert {one.item for one in division.gone} == set(before) - set(items)
        assert {one.item for one in division.new} == set(items) - set(before)
        base = layers if division.kept else []
        layers = [SubtaskLayer(own, [one.index for one in division.gone] if base else ()), *base]
        told = {one.item: (one.state, one.attempts, one.index) for one in merge_layers(layers)}
        assert told == model
        assert len({index for _, _, index in told.values()}) == len(told)


def stopped(*complete: bool, now: tuple[str, ...] | None = None, state: State = F, **more):
    """Return a job `a, b, c` whose fan-out `b` has these subtasks."""
    known = tuple(KnownSubtask(at, f'"i{at}"', done, 1) for at, done in enumerate(complete))
    attempt = ran(C, state) if state is F else ran(C, C, C)
    return job(1, state, steps=("a", "b", "c"), attempt=attempt, fan_outs=(FanOutView(1, known, now),), **more)


def planned(view, how):
    plan = plan_pairs(world([view], graph()), graph(), [([1], how)])
    assert plan_from_json(plan_to_json(plan)) == plan
    return plan


@given(st.lists(st.booleans(), min_size=1, max_size=6), st.sampled_from(["failed-step", "b"]))
def test_a_resumed_fan_out_runs_what_is_not_complete_and_undo_restores_the_choice(complete, start):
    view = stopped(*complete, overrides=None)
    plan = planned(view, How(start))
    if all(complete) and start == "failed-step":
        assert "every subtask of step `b` is complete" in plan.refused[0].why
        return
    (one,) = plan.jobs
    assert (one.start, one.next.resume_step, one.keeps, one.next.resume_attempt) == ("b", 1, ("a",), 7)
    assert one.next.subtasks == ("all" if all(complete) else "failed")
    assert one.reasons[1].detail["run"] == (len(complete) if all(complete) else complete.count(False))
    after = pointers_after(one, pointers_before(view))
    assert after.next.subtasks == one.next.subtasks
    waiting = replace(view, next=after.next, attempt=None)
    assert pointers_before(waiting).next.subtasks == one.next.subtasks


@given(st.lists(st.booleans(), min_size=1, max_size=6))
def test_a_part_is_accepted_where_there_is_one(complete):
    plan = planned(stopped(*complete), How(accept_partial=True))
    if not any(complete):
        assert "no subtask of step `b` succeeded" in plan.refused[0].why
        return
    (one,) = plan.jobs
    assert (one.start, one.next.resume_step, one.keeps, one.next.subtasks) == ("c", 2, ("a", "b"), None)
    assert bool(plan.warnings) == (not all(complete))


def test_a_completed_job_with_a_part_has_its_fan_out_as_failed_step():
    assert planned(stopped(True, False, state=C), How("failed-step")).jobs[0].start == "b"
    assert "every subtask is complete" in planned(stopped(True, True, state=C), How("failed-step")).refused[0].why


def test_a_plan_names_items_that_are_new_and_gone():
    plan = planned(stopped(True, False, now=('"i1"', '"new"')), How("failed-step"))
    assert plan.warnings == ('the items of `b` of `j1` have changed: 1 new ("new"), 1 gone ("i0")',)


def test_numbers_are_told_in_ranges():
    assert format_ranges([5, 0, 3, 4, 9]) == "0, 3-5, 9"
    assert format_ranges([]) == ""
