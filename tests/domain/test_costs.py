"""Expected cost of plans."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace
from rerun_views import C, F, graph, job, plan, plan_pairs, ran, world

from rekindle.domain.definition import Resources
from rekindle.domain.next_attempt import NextAttempt
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerun.costs import DurationHistory, expected_cost
from rekindle.domain.rerun.plan import ExpectedCost, planned_jobs
from rekindle.domain.rerun.request import How
from rekindle.domain.rerun.views import JobGraph, JobTable, JobView


def cost(
    jobs: Sequence[JobView], edges: JobGraph, past: DurationHistory, selected: int = 1, how: How | None = None
) -> ExpectedCost:
    return plan_pairs(world(jobs, edges), edges, [([selected], how or How())], past=past).expected


def test_cost_comes_from_own_attempts_then_the_template():
    edges = graph((1, 2), (1, 3))
    past = DurationHistory(jobs={1: 4.0}, alike={1: 9.0, 2: 2.5})
    assert cost([job(1, C, template=1), job(2, C, template=2), job(3, C)], edges, past) == ExpectedCost(
        attempts=3, seconds=6.5, unknown=1, core_seconds=6.5, wall_seconds=6.5, guessed=1
    )


def test_wall_time_is_the_longest_chain_or_the_work_per_core():
    edges = graph((1, 2), (1, 3), (2, 4), (3, 4))
    jobs = [job(number, C) for number in (1, 2, 3, 4)]
    past = DurationHistory(jobs={1: 1.0, 2: 5.0, 3: 2.0, 4: 1.0})
    assert cost(jobs, edges, replace(past, cores=8.0)).wall_seconds == 7.0
    assert cost(jobs, edges, replace(past, cores=1.0)).wall_seconds == 9.0


def test_unknown_costs_do_not_break_a_chain():
    edges = graph((1, 2), (2, 3))
    expected = cost([job(1, C), job(2, C), job(3, C)], edges, DurationHistory(jobs={1: 3.0, 3: 4.0}, cores=8.0))
    assert (expected.wall_seconds, expected.unknown) == (7.0, 1)


def test_work_is_counted_with_the_cpus_that_the_next_attempt_takes():
    two = job(1, C, resources=Resources(cpus=2.0))
    past = DurationHistory(jobs={1: 10.0}, cores=4.0)
    asked = cost([two], graph(), past)
    assert (asked.seconds, asked.core_seconds, asked.wall_seconds) == (10.0, 20.0, 10.0)
    more = cost([two], graph(), past, how=How(overrides=Overrides(cpus=8.0)))
    assert (more.core_seconds, more.wall_seconds) == (80.0, 20.0)


def test_a_job_that_keeps_steps_costs_the_steps_that_run():
    stopped = job(1, F, steps=("a", "b", "c"), attempt=ran(C, F))
    past = DurationHistory(jobs={1: 60.0}, steps={1: {"a": 50.0, "b": 7.0}}, steps_alike={1: {"b": 9.0, "c": 3.0}})
    expected = cost([stopped], graph(), past, how=How("failed-step"))
    assert (expected.seconds, expected.guessed, expected.unknown) == (10.0, 1, 0)
    nothing = cost([stopped], graph(), DurationHistory(jobs={1: 60.0}), how=How("failed-step"))
    assert (nothing.seconds, nothing.unknown) == (0.0, 1)


def test_reusable_jobs_are_counted_apart_and_unchanged_ones_not():
    edges = graph((1, 2), (1, 3))
    jobs = [job(1, C), job(2, C), job(3, C)]
    root, below, stays = plan(jobs, edges, 1).jobs
    planned = [root, replace(below, next=NextAttempt(reuse_candidate=102)), replace(stays, stays=True)]
    views = JobTable.of(world(jobs, edges))
    expected = expected_cost(planned_jobs(planned), (), views, edges, DurationHistory(jobs={1: 1.0, 2: 2.0, 3: 4.0}))
    assert (expected.attempts, expected.seconds, expected.wall_seconds) == (1, 1.0, 1.0)
    assert (expected.reserved, expected.reserved_seconds) == (1, 2.0)
