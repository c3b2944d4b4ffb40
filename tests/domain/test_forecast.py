"""Forecasts of unfinished jobs: bounds, chains, slots, retries, what is left out, and how long they take."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.definition import Resources
from rekindle.domain.forecasts.estimates import Estimates, EstimateSource, PastDurations, PastRetries
from rekindle.domain.forecasts.forecast import MOST_STEPS, Forecast, ForecastInputs, LeftOut, OpenJob, forecast
from rekindle.domain.forecasts.schedule import Place
from rekindle.domain.packing import Capacity
from rekindle.domain.states import State

NOW = 1_000_000.0
PLENTY = Capacity(1e6, 1 << 50, 1000)
ONE_CPU = Resources()


def job(number: int, **changes: object) -> OpenJob:
    given = {
        "id": number, "workflow": 1, "template": number, "state": State.WAITING, "priority": 0, "resource_class": 1,
        "held": False, "canceled": False, "when_finished": False, "not_before": None, "resume_step": 0,
        "started": None, "runner": None, **changes,
    }  # fmt: skip
    return OpenJob(**given)  # type: ignore[arg-type]


def draws(number: int) -> Callable[[], float]:
    return random.Random(number).random


def predict(
    jobs: Sequence[OpenJob],
    needs: Sequence[tuple[int, int]] = (),
    seconds: Mapping[int, Sequence[float]] | None = None,
    slots: int = 1,
    **more: object,
) -> Forecast:
    """Forecast jobs that took `seconds` in the past (each 10 by default), on one place."""
    past = PastDurations(own={one.id: (10.0,) for one in jobs} if seconds is None else seconds)
    options = {
        "past": past,
        "resources": {1: ONE_CPU},
        "places": (Place(slots, PLENTY),),
        "steps": 1000,
        "draws": draws,
        **more,
    }
    return forecast(ForecastInputs(jobs=jobs, needs=needs, now=NOW, **options))  # type: ignore[arg-type]


def end_of(found: Forecast) -> float:
    assert found.end is not None
    return found.end.expected


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[OpenJob], list[tuple[int, int]], dict[int, list[float]], int]:
    size = draw(st.integers(1, 25))
    jobs = [job(one, priority=draw(st.integers(0, 2))) for one in range(1, size + 1)]
    pairs = st.tuples(st.integers(1, size), st.integers(1, size)).filter(lambda pair: pair[0] < pair[1])
    needs = draw(st.lists(pairs, unique=True, max_size=40)) if size > 1 else []
    seconds = {
        one: draw(st.lists(st.integers(0, 100).map(float), min_size=1, max_size=3)) for one in range(1, size + 1)
    }
    return jobs, needs, seconds, draw(st.integers(1, 6))


@given(graphs())
def test_no_forecast_is_below_its_bounds_or_above_one_job_after_another(case: object) -> None:
    jobs, needs, seconds, slots = case  # type: ignore[misc]
    found = predict(jobs, needs, seconds, slots)
    least = max(found.by_needs, found.by_capacity)
    assert least - 1e-6 <= end_of(found) <= found.work + 1e-6
    assert found.end is not None
    assert found.end.p10 <= found.end.p50 <= found.end.p90 <= sum(map(max, seconds.values())) + 1e-6


@given(graphs())
def test_the_path_leads_without_a_gap_from_now_to_the_end(case: object) -> None:
    jobs, needs, seconds, slots = case  # type: ignore[misc]
    found = predict(jobs, needs, seconds, slots)
    at = 0.0
    for before, one in zip([None, *found.path], found.path, strict=False):
        assert one.start == pytest.approx(at)
        assert one.waits == ("nothing" if before is None else "needs" if (before.id, one.id) in needs else "slot")
        at = one.end
    assert at == pytest.approx(end_of(found))


@given(graphs())
def test_equal_inputs_give_equal_forecasts(case: object) -> None:
    jobs, needs, seconds, slots = case  # type: ignore[misc]
    assert predict(jobs, needs, seconds, slots) == predict(list(reversed(jobs)), needs, seconds, slots)


@given(st.lists(st.integers(1, 50).map(float), min_size=1, max_size=30))
def test_a_chain_takes_the_sum_however_many_slots_there_are(seconds: list[float]) -> None:
    jobs = [job(one) for one in range(1, len(seconds) + 1)]
    needs = [(one, one + 1) for one in range(1, len(seconds))]
    found = predict(jobs, needs, {one: [each] for one, each in enumerate(seconds, 1)}, slots=4)
    assert end_of(found) == pytest.approx(sum(seconds)) == pytest.approx(found.by_needs)
    assert [one.id for one in found.path] == [one.id for one in jobs]
    assert all(one.slack == pytest.approx(0.0) for one in found.path)
    assert all(one.hour_costs in (None, pytest.approx(3600.0)) for one in found.path)


@given(st.lists(st.integers(1, 50).map(float), min_size=1, max_size=30), st.integers(1, 8))
def test_independent_jobs_take_what_list_scheduling_guarantees(seconds: list[float], slots: int) -> None:
    jobs = [job(one) for one in range(1, len(seconds) + 1)]
    found = predict(jobs, (), {one: [each] for one, each in enumerate(seconds, 1)}, slots)
    least = max(max(seconds), sum(seconds) / slots)
    assert least - 1e-6 <= end_of(found) <= sum(seconds) / slots + (1 - 1 / slots) * max(seconds) + 1e-6


@given(st.lists(st.integers(1, 50).map(float), min_size=1, max_size=30), st.integers(1, 8))
def test_a_slot_more_never_makes_independent_jobs_later(seconds: list[float], slots: int) -> None:
    jobs = [job(one) for one in range(1, len(seconds) + 1)]
    pools = {one: [each, each / 2] for one, each in enumerate(seconds, 1)}
    fewer, more = (predict(jobs, (), pools, one, steps=MOST_STEPS) for one in (slots, slots + 1))
    assert fewer.end is not None
    assert more.end is not None
    assert more.end.p50 <= fewer.end.p50 + 1e-6
    assert fewer.slot_more == pytest.approx(more.end.expected)


@given(graphs())
def test_many_slots_reach_the_bound_of_the_needs(case: object) -> None:
    jobs, needs, seconds, _ = case  # type: ignore[misc]
    found = predict(jobs, needs, seconds, slots=len(jobs))
    assert end_of(found) == pytest.approx(found.by_needs)


def test_equal_jobs_fill_the_slots_in_turns() -> None:
    found = predict([job(one) for one in range(1, 11)], slots=4)
    assert end_of(found) == 30.0
    assert found.by_capacity == 25.0


def test_the_highest_priority_starts_first() -> None:
    jobs = [job(1), job(2), job(3, priority=5)]
    found = predict(jobs, seconds={1: [10.0], 2: [10.0], 3: [1000.0]}, slots=1)
    assert [one.id for one in found.path] == [3, 1, 2]
    late = predict([job(1), job(2), job(3)], seconds={1: [10.0], 2: [10.0], 3: [1000.0]}, slots=2)
    assert end_of(late) == 1010.0


def test_memory_decides_how_many_run_at_once() -> None:
    jobs = [job(one) for one in range(1, 5)]
    place = Place(4, Capacity(8.0, 2 << 30))
    found = predict(jobs, resources={1: Resources(memory=1 << 30)}, places=(place,))
    assert end_of(found) == 20.0 == found.by_capacity


def test_small_jobs_start_beside_one_that_does_not_fit() -> None:
    jobs = [job(1), job(2, resource_class=2), job(3)]
    places = (Place(4, Capacity(2.0, 0)),)
    found = predict(jobs, resources={1: ONE_CPU, 2: Resources(cpus=2.0)}, places=places)
    assert end_of(found) == 20.0


def test_a_running_attempt_counts_for_what_is_left_of_it() -> None:
    running = job(1, state=State.RUNNING, started=NOW - 4.0)
    assert end_of(predict([running, job(2)], [(1, 2)])) == 16.0


def test_of_a_running_attempt_only_longer_ones_are_compared() -> None:
    running = job(1, state=State.RUNNING, started=NOW - 20.0)
    found = predict([running], seconds={1: [10.0, 10.0, 50.0]})
    assert end_of(found) == 30.0
    assert found.overdue == 0


def test_an_attempt_that_takes_longer_than_all_before_is_overdue() -> None:
    running = job(1, state=State.RUNNING, started=NOW - 25.0)
    found = predict([running])
    assert (found.overdue, end_of(found)) == (1, 15.0)


def test_a_running_job_occupies_its_runner_and_no_other() -> None:
    places = (Place(1, PLENTY, runner=7), Place(1, PLENTY, runner=8))
    running = job(1, state=State.RUNNING, started=NOW, runner=8)
    assert end_of(predict([running, job(2), job(3)], places=places)) == 20.0


def test_a_runner_of_one_workflow_takes_no_job_of_another() -> None:
    places = (Place(1, PLENTY, workflow=1), Place(1, PLENTY, workflow=2))
    jobs = [job(1), job(2), job(3), job(4, workflow=2)]
    found = predict(jobs, places=places)
    assert found.ends[1].expected == 30.0
    assert found.ends[2].expected == 10.0


def test_a_delayed_job_starts_when_it_is_due() -> None:
    found = predict([job(1, state=State.READY, not_before=NOW + 100.0)])
    assert end_of(found) == 110.0
    assert found.path[0].waits == "delay"


def test_retries_are_drawn_at_their_measured_rate() -> None:
    past = PastDurations(own={1: (10.0,)}, retries={1: PastRetries((10.0,) * 50, completed=50, most=3, delay=5.0)})
    found = predict([job(1)], past=past)
    assert end_of(found) == pytest.approx(10.0 + (0.5 + 0.25 + 0.125) * 15.0)
    assert found.end is not None
    # Half of the jobs are not retried, a quarter twice or more.
    assert found.end.p10 == 10.0
    assert found.end.p90 in (40.0, 55.0)


def test_one_of_many_kinds_that_does_not_fit_lets_others_start() -> None:
    kinds = {one: Resources(memory=one << 20) for one in range(1, 301)}
    jobs = [job(one, resource_class=one) for one in range(300, 0, -1)]
    found = predict(jobs, resources=kinds, places=(Place(300, Capacity(300.0, 300 << 20)),))
    work = sum(range(1, 301)) / 300 * 10.0
    assert work <= end_of(found) <= 2 * work


def test_what_failed_or_is_held_and_all_below_is_left_out() -> None:
    jobs = [
        *(job(1, state=State.FAILED), job(2), job(3, when_finished=True)),
        *(job(4, state=State.READY, held=True), job(5), job(6, resource_class=2), job(7), job(8)),
    ]
    needs = [(1, 2), (2, 3), (4, 5), (6, 7)]
    places = (Place(1, Capacity(1.0, 0)),)
    found = predict(jobs, needs, resources={1: ONE_CPU, 2: Resources(cpus=64.0)}, places=places)
    assert found.left_out == LeftOut(failed=2, held=2, unfit=2)
    assert found.jobs == 2


def test_without_any_history_nothing_is_forecast_unless_it_is_assumed() -> None:
    jobs = [job(1), job(2)]
    found = predict(jobs, [(1, 2)], {})
    assert found.end is None
    assert found.sources == {EstimateSource.UNKNOWN: 2}
    assert end_of(predict(jobs, [(1, 2)], {}, assumed=30.0)) == 60.0


def test_a_template_without_history_is_taken_for_any_other() -> None:
    jobs = [job(1), job(2), job(3)]
    found = predict(jobs, past=PastDurations(alike={1: (10.0, 30.0), 2: (20.0,)}))
    assert found.sources == {EstimateSource.ALIKE: 2, EstimateSource.OTHERS: 1}
    assert end_of(found) == 60.0


def test_nothing_to_do_ends_at_once() -> None:
    found = predict([])
    assert end_of(found) == 0.0
    assert found.path == ()


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_draws_for_a_job_do_not_depend_on_slots(seed: int, size: int) -> None:
    pools = {one: [1.0, 2.0, 3.0] for one in range(size)}
    one = Estimates([(at, at, None) for at in range(size)], PastDurations(own=pools))
    assert one.draw(random.Random(seed).random) == one.draw(random.Random(seed).random)
    assert math.fsum(one.expected()) == pytest.approx(2.0 * size)


def test_a_hundred_thousand_jobs_take_seconds() -> None:
    size = 100_000
    jobs = [job(one, template=one % 7, resource_class=one % 3) for one in range(1, size + 1)]
    needs = [(one, one + 1000) for one in range(1, size - 1000)]
    past = PastDurations(alike={one: [float(each) for each in range(1, 100)] for one in range(7)})
    resources = {one: Resources(cpus=1.0 + one, memory=1 << 30) for one in range(3)}
    began = time.process_time()
    found = predict(
        jobs, needs, past=past, resources=resources, steps=MOST_STEPS, places=(Place(64, Capacity(64.0, 96 << 30)),)
    )
    assert time.process_time() - began < 20.0  # two on a machine with nothing else to do
    assert found.jobs == size
    assert end_of(found) >= found.by_capacity
