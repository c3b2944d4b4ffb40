"""Jobs with `when: finished`: which parents count as finished, and how a rerun changes that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rerun_views import C, F, K, R, W, X, graph, job, plan_pairs

from rekindle.domain.graph import unreachable_jobs
from rekindle.domain.rerun.plan import RerunPlan
from rekindle.domain.rerun.request import How
from rekindle.domain.rerun.views import JobGraph, JobView


@st.composite
def worlds(draw: st.DrawFn) -> tuple[int, set[tuple[int, int]], set[int], set[int]]:
    n = draw(st.integers(1, 9))
    pairs = [(parent, child) for child in range(n) for parent in range(child)]
    edges = draw(st.sets(st.sampled_from(pairs), max_size=16)) if pairs else set()
    kinds = draw(st.lists(st.sampled_from(["badly", "idle", "idle", "other"]), min_size=n, max_size=n))
    badly = {one for one in range(n) if kinds[one] == "badly"}
    return n, edges, badly, {one for one in range(n) if kinds[one] == "idle"}


@given(worlds())
def test_unreachable_jobs_failed_or_wait_for_an_unreachable_job(world) -> None:
    n, edges, badly, idle = world
    expected: set[int] = set()
    for one in range(n):  # parents come first
        if one in badly or (one in idle and any((parent, one) in edges for parent in expected)):
            expected.add(one)
    assert unreachable_jobs(badly, idle, graph(*edges).children) == expected


def planned(jobs: list[JobView], edges: JobGraph, how: How, *selected: int) -> dict[int, tuple[object, int]]:
    plan = made(jobs, edges, how, *selected)
    return {one.id: (one.after, one.unmet) for one in plan.jobs}


def made(jobs: list[JobView], edges: JobGraph, how: How, *selected: int) -> RerunPlan:
    return plan_pairs({view.id: view for view in jobs}, edges, [(selected, how)])


CHAIN = graph((1, 2), (2, 3))


def chain(report: JobView) -> list[JobView]:
    """Return three jobs: 1 failed, 2 waits for 1, 3 needs 2 only finished."""
    return [job(1, F), job(2, W, unmet=1), replace(report, when_finished=True)]


def test_unreachable_jobs_are_unfinished_again_after_a_rerun() -> None:
    assert planned(chain(job(3, C)), CHAIN, How(), 1) == {1: (R, 0), 2: (W, 1), 3: (W, 1)}


def test_unreset_jobs_behind_an_unreachable_one_are_planned() -> None:
    none = How(downstream="none")
    assert planned(chain(job(3, R)), CHAIN, none, 1) == {1: (R, 0), 3: (W, 1)}
    assert planned(chain(job(3, C)), CHAIN, none, 1) == {1: (R, 0), 3: (C, 1)}


def test_a_job_running_after_an_unreachable_one_is_not_disturbed() -> None:
    plan = made(chain(job(3, X)), CHAIN, How(downstream="none"), 1)
    assert plan.jobs == ()
    assert "`j3` is running" in plan.refused[0].why


def test_a_job_reset_below_another_failure_stays_unreachable() -> None:
    edges = graph((1, 2), (4, 2), (2, 3))
    jobs = [job(1, C), job(2, W, unmet=1), job(3, C, when_finished=True), job(4, F)]
    assert planned(jobs, edges, How(), 1) == {1: (R, 0), 2: (W, 2), 3: (R, 0)}


def test_a_job_that_is_only_a_parent_counts_as_stored() -> None:
    edges = graph((5, 3), (6, 3))
    outside = [JobView(5, "j5", W, 1, given_up=True), JobView(6, "j6", K, 1)]
    report = job(3, C, when_finished=True)
    assert planned([report, *outside], edges, How(), 3) == {3: (R, 0)}
    assert planned([report, replace(outside[0], given_up=False), outside[1]], edges, How(), 3) == {3: (W, 1)}


def test_a_job_that_needs_others_finished_is_never_reused() -> None:
    edges = graph((1, 3))
    [_, report] = made([job(1, C), job(3, C, when_finished=True)], edges, How(downstream="changed"), 1).jobs
    assert report.next.reuse_candidate is None
