"""Effects of dynamic actions on the graph, checked by a small model after every success."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekindle.domain.actions import (
    CANCEL,
    HOLD,
    SET,
    Action,
    ActionContext,
    ActionSet,
    AddedJob,
    BadAction,
    ChildChange,
    Patch,
    decide_effects,
    retire_sets,
)
from rekindle.domain.graph import find_cycle

A, B, C = 1, 2, 3  # an acting job and its two children


def scene(**more) -> ActionContext:
    return ActionContext(**{"job": A, "name": "a", "attempt": 10, "children": (B, C), "next_job": 4, **more})


def test_added_jobs_come_after_the_adding_one_and_detours_before_its_children():
    effects = decide_effects(
        scene(), Action(), [], [AddedJob("x", needs=(C,)), AddedJob("y", detour=True, siblings=("z",)), AddedJob("z")]
    )
    assert effects.ids == {"x": 4, "y": 5, "z": 6}
    assert effects.new == (4, 5, 6)
    assert set(effects.edges) == {(A, 4), (C, 4), (A, 5), (6, 5), (5, B), (5, C), (A, 6)}


def test_jobs_added_again_keep_their_ids_and_others_are_retired():
    before = ActionSet(9, A, {4: "x", 5: "y"}, ((A, 4), (A, 5)))
    deeper, deepest = ActionSet(8, 5, {6: "z"}), ActionSet(7, 6, {7: "w"})
    kept = ActionSet(6, 4, {8: "v"})
    effects = decide_effects(
        scene(in_force=before, own={"x": 4, "y": 5}, sets={5: deeper, 6: deepest, 4: kept}, next_job=9),
        Action(),
        [],
        [AddedJob("x"), AddedJob("new")],
    )
    assert (effects.ids, effects.new, effects.redefined) == ({"x": 4, "new": 9}, (9,), (4,))
    assert (effects.retired, effects.ended) == ((5, 6, 7), (7, 8, 9))


def test_patches_apply_to_children_and_holds_and_cancels_to_idle_ones():
    change = {"x": 1}
    action = Action(hold_children=True, cancel_children=True)
    effects = decide_effects(scene(held=[C], idle=[B]), action, [ChildChange(change)], [AddedJob("x")])
    assert effects.patches == (
        Patch(B, SET, change),
        Patch(C, SET, change),
        Patch(4, SET, change),
        Patch(B, HOLD, "by an action of a, attempt 10"),
        Patch(B, CANCEL, True),
    )
    everything = decide_effects(scene(idle=[2, 3, 7]), Action(stop_workflow=True), [], [])
    assert [patch.job for patch in everything.patches] == [2, 3, 7]
    held = decide_effects(scene(held=[3], idle=[2, 3, 7]), Action(hold_workflow=True), [], [])
    assert [(patch.job, patch.kind) for patch in held.patches] == [(2, HOLD), (7, HOLD)]


def test_a_change_for_descendants_applies_to_each_once():
    near, far = {"x": 1}, {"x": 2}
    effects = decide_effects(scene(descendants=(C, 7)), Action(), [ChildChange(far, deep=True), ChildChange(near)], [])
    assert [(patch.job, patch.content) for patch in effects.patches] == [
        *((job, far) for job in (B, C, 7)),
        *((job, near) for job in (B, C)),
    ]


def test_a_name_of_another_job_is_refused():
    with pytest.raises(BadAction, match="'b' is taken by a job of the spec"):
        decide_effects(scene(taken={"b": "a job of the spec"}), Action(), [], [AddedJob("b")])


def test_a_cycle_with_existing_jobs_is_refused():
    edges = [(A, B), (B, C)]
    with pytest.raises(BadAction, match=r"cycle: job 2 before job 3 before `x` before job 2"):
        decide_effects(scene(children=(B,), edges=edges), Action(), [], [AddedJob("x", detour=True, needs=(C,))])
    decide_effects(scene(children=(B,), edges=edges), Action(), [], [AddedJob("x", needs=(C,))])


SETS = st.dictionaries(st.sampled_from("vwxyz"), st.booleans(), max_size=4)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), SETS), max_size=12))
def test_the_graph_matches_the_sets_in_force(successes):
    """Jobs act repeatedly, added jobs too: each job's last set is in force, nothing is duplicated, and no set of a
    retired job is in force."""
    names: dict[int, dict[str, int]] = {}  # of all jobs that each job has added
    sets: dict[int, ActionSet] = {}
    spec_edges = {(A, B), (A, C), (B, C)}
    retired: set[int] = set()
    attempt, total = 100, 3
    for who, adds in successes:
        alive = [job for job in range(1, total + 1) if job not in retired]
        job = alive[who % len(alive)]
        attempt += 1
        own = names.setdefault(job, {})
        edges = spec_edges | {edge for one in sets.values() for edge in one.edges}
        children = tuple(sorted(c for p, c in edges if p == job and c not in own.values() and c not in retired))
        effects = decide_effects(
            ActionContext(
                job,
                f"j{job}",
                attempt,
                in_force=sets.get(job),
                own=own,
                sets={other: one for other, one in sets.items() if other != job},
                children=children,
                next_job=total + 1,
            ),
            Action(),
            [],
            [AddedJob(name, detour) for name, detour in adds.items()],
        )
        assert set(effects.new) | set(effects.redefined) == set(effects.ids.values())
        own |= effects.ids
        total = max([total, *effects.ids.values()])
        retired |= set(effects.retired)
        retired -= set(effects.ids.values())
        sets = {other: one for other, one in sets.items() if one.attempt not in effects.ended}
        sets = {
            other: ActionSet(
                one.attempt, one.job, one.added, tuple(edge for edge in one.edges if not retired.intersection(edge))
            )
            for other, one in sets.items()
        }
        sets[job] = ActionSet(attempt, job, {number: name for name, number in effects.ids.items()}, effects.edges)

        present = {number for one in sets.values() for number in one.added}
        assert not present & retired
        assert present | retired == set(range(4, total + 1))
        assert not retired & sets.keys()
        edges = spec_edges | {edge for one in sets.values() for edge in one.edges}
        assert not {end for edge in edges for end in edge} & retired
        assert find_cycle(total + 1, sorted(edges)) is None
        assert len({(job, name) for job, own in names.items() for name in own}) == total - 3


def test_sets_of_retired_jobs_end_recursively():
    sets = {4: ActionSet(2, 4, {5: "y"}), 5: ActionSet(3, 5, {6: "z"})}
    assert retire_sets([ActionSet(1, A, {4: "x"})], sets) == ((4, 5, 6), (1, 2, 3))
    assert retire_sets([ActionSet(1, A, {4: "x"})], sets, keep={4}) == ((), (1,))
