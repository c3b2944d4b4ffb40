"""Which jobs a restart runs again."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rerun_views import graph, plan_pairs
from rerun_views import job as planned
from rerun_views import world as settled

from rekindle.domain.models import Job
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.rerun.request import RESET_HOLD
from rekindle.domain.rerun.undo import pointers_after, pointers_before
from rekindle.domain.rerun.views import JobGraph, JobView
from rekindle.domain.restart_choice import RELEASE, RERUN_INTERRUPTED, RERUN_STALE, choose_for_restart, ended_by_itself
from rekindle.domain.states import Cause, State, derive_state

W, R, Q, X, C, F, K = State

CHANGED = (Reason(ReasonKind.INPUT, {"name": "raw"}),)

CUT = [Cause.SIGNAL, Cause.OOM, Cause.TIMEOUT, Cause.LOST, Cause.START, Cause.MISSING_INPUT]
OWN = [Cause.EXIT, Cause.EXCEPTION, Cause.MISSING_OUTPUT, Cause.SUBTASKS]


def job(number: int, state: State, **more: object) -> Job:
    ran = {"attempt": 100 + number} if state not in (W, R) else {}
    fixed = {"workflow": 1, "template": 1, "binding": "{}", "version": 1, "unmet": 0, "priority": 0}
    return Job(id=number, name=f"j{number}", state=state, resource_class=1, **{**fixed, **ran, **more})  # type: ignore[arg-type]


def test_every_cause_is_sorted() -> None:
    assert {*CUT, *OWN, Cause.CANCELED} == set(Cause)


@pytest.mark.parametrize("cause", CUT)
def test_what_was_cut_off_runs_again(cause: Cause) -> None:
    begun = choose_for_restart([job(1, F)], {1: cause}, {})
    assert (begun.requests, begun.stays) == ([([1], RERUN_INTERRUPTED)], ())


@pytest.mark.parametrize("cause", OWN)
def test_what_failed_by_itself_stays_unless_it_is_stale(cause: Cause) -> None:
    begun = choose_for_restart([job(1, F)], {1: cause}, {})
    assert (begun.requests, [one.id for one in begun.stays]) == ([], [1])
    begun = choose_for_restart([job(1, F)], {1: cause}, {1: CHANGED})
    assert (begun.requests, begun.stays, begun.why) == ([([1], RERUN_STALE)], (), {1: CHANGED})


@pytest.mark.parametrize("attempt", [None, 7])
def test_what_was_canceled_runs_again_whether_or_not_it_had_started(attempt: int | None) -> None:
    causes = {} if attempt is None else {1: Cause.CANCELED}
    assert choose_for_restart([job(1, K, attempt=attempt)], causes, {}).requests == [([1], RERUN_INTERRUPTED)]


def test_what_runs_or_is_retired_or_completed_is_left_alone() -> None:
    jobs = [job(1, X), job(2, Q), job(3, F, retired=True), job(4, C)]
    begun = choose_for_restart(jobs, {3: Cause.LOST}, {})
    assert (begun.requests, [one.id for one in begun.running], begun.stays) == ([], [1, 2], ())


def test_only_what_was_reset_by_hand_is_let_go() -> None:
    jobs = [job(1, R, held=RESET_HOLD), job(2, W, held="licence"), job(3, W, held=RESET_HOLD)]
    assert choose_for_restart(jobs, {}, {}).requests == [([1, 3], RELEASE)]


def test_one_restart_does_all_of_it_and_only_reset_nothing_else() -> None:
    jobs = [job(1, F), job(2, C), job(3, R, held=RESET_HOLD), job(4, X), job(5, F)]
    causes = {1: Cause.OOM, 5: Cause.EXIT}
    begun = choose_for_restart(jobs, causes, {2: CHANGED})
    assert begun.requests == [([1], RERUN_INTERRUPTED), ([2], RERUN_STALE), ([3], RELEASE)]
    begun = choose_for_restart(jobs, causes, {2: CHANGED}, only_reset=True)
    assert (begun.requests, begun.why, begun.stays) == ([([3], RELEASE)], {}, ())
    assert [one.id for one in begun.running] == [4]


# The choice compared with a brute-force computation


@dataclass(frozen=True)
class Scene:
    """A workflow in a possible state."""

    edges: JobGraph
    views: dict[int, JobView]
    causes: dict[int, Cause | None]
    stale: dict[int, tuple[Reason, ...]]

    def jobs(self) -> list[Job]:
        return [
            job(one.id, one.state, held=one.held, canceled=one.canceled, attempt=one.attempt and one.attempt.id)
            for one in self.views.values()
        ]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    n = draw(st.integers(1, 8))
    pairs = [(parent, child) for child in range(1, n) for parent in range(child)]
    edges = graph(*(draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else ()))
    views: dict[int, JobView] = {}
    causes: dict[int, Cause | None] = {}
    for number in range(n):
        able = all(views[parent].state is C for parent in edges.parents.get(number, ()))
        state = draw(st.sampled_from([C, C, F, K, R, X, Q] if able else [W, W, W, K, C, F]))
        ran = state in (C, F, X, Q) or (state is K and draw(st.booleans()))
        view = planned(number, state, canceled=state is K and not ran)
        holds = [None, None, "licence"] + [RESET_HOLD] * (state in (R, W))
        held = draw(st.sampled_from(holds)) if state not in (X, Q) else None
        views[number] = replace(view, held=held, attempt=view.attempt if ran else None)
        if ran:
            causes[number] = draw(st.sampled_from(CUT + OWN)) if state is F else Cause.CANCELED if state is K else None
    ended = [number for number in causes if views[number].state in (C, F, K)]
    stale = draw(st.lists(st.sampled_from(ended), unique=True)) if ended else []
    return Scene(edges, settled(list(views.values()), edges), causes, dict.fromkeys(stale, CHANGED))


def below(edges: JobGraph, starts: set[int]) -> set[int]:
    found, pending = set(), list(starts)
    while pending:
        for child in edges.children.get(pending.pop(), ()):
            if child not in found:
                found.add(child)
                pending.append(child)
    return found


def by_brute_force(scene: Scene, only_reset: bool) -> tuple[set[int], set[int], set[int]]:
    """Return (reset jobs, released jobs, jobs that are refused and not reset)."""
    views = scene.views
    let_go = {job for job, view in views.items() if view.held == RESET_HOLD}
    if only_reset:
        return set(), let_go, set()
    wanted = {
        number
        for number, view in views.items()
        if number in scene.stale
        or view.state is K
        or (view.state is F and not ended_by_itself(view.state, scene.causes[number]))
    }
    disturbs = {one for one in wanted if any(views[job].state in (Q, X) for job in below(scene.edges, {one}))}
    refused = disturbs | {one for one in wanted if views[one].held is not None}
    roots = wanted - refused
    reset = roots | below(scene.edges, roots)
    return reset, let_go, refused - reset


@given(scenes(), st.booleans())
@settings(max_examples=400, deadline=None)
def test_a_restart_is_what_brute_force_finds(scene: Scene, only_reset: bool) -> None:
    reset, let_go, refused = by_brute_force(scene, only_reset)
    begun = choose_for_restart(scene.jobs(), scene.causes, scene.stale, only_reset=only_reset)
    decided = plan_pairs(scene.views, scene.edges, begun.requests, why=begun.why)
    assert {one.id for one in decided.jobs} == reset | let_go
    assert {one.id for one in decided.refused} == refused
    assert {one.id for one in begun.running} == {job for job, view in scene.views.items() if view.state in (Q, X)}
    after = {number: view.state for number, view in scene.views.items()}
    after |= {one.id: one.after for one in decided.jobs}
    for one in decided.jobs:
        view = scene.views[one.id]
        pointers = pointers_after(one, pointers_before(view))
        assert (pointers.attempt is None) == (view.attempt is None or one.id in reset)
        assert pointers.held == (None if one.id in let_go else view.held)
        assert set(one.archives) == ({view.attempt.id} if view.attempt and one.id in reset else set())
    for number in scene.views:  # states derived from attempts and edges only
        unmet = sum(after[parent] is not C for parent in scene.edges.parents.get(number, ()))
        view = scene.views[number]
        live = view.attempt.state if view.attempt and number not in reset else None
        assert after[number] is derive_state(live, view.canceled and number not in reset, unmet)
    told = {one.id: one.reasons for one in decided.jobs if one.id in scene.stale and one.reasons[0].kind == "selected"}
    assert all(CHANGED[0] in reasons for reasons in told.values())
