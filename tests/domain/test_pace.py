"""The rate of a run, and how long it still takes: reports with their times are arguments."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from random import Random

import pytest

from rekindle.domain.pace import Pace


def reports(durations: list[float], slots: int, every: float = 0.2) -> Iterator[tuple[float, int, int]]:
    """Yield the reports of a run with these durations: (seconds, ended, left)."""
    busy, ends = [0.0] * slots, []
    for duration in durations:
        heapq.heappush(busy, end := heapq.heappop(busy) + duration)
        ends.append(end)
    ends.sort()
    done = 0
    for number in itertools.count(1):
        now = number * every
        while done < len(ends) and ends[done] <= now:
            done += 1
        yield now, done, len(ends) - done
        if done == len(ends):
            return


@pytest.mark.parametrize("mean", [0.05, 1, 30, 900])
@pytest.mark.parametrize("seed", range(3))
def test_a_steady_run_is_estimated_within_a_third_once_a_fifth_has_ended(mean: float, seed: int) -> None:
    random = Random(seed)
    durations = [random.uniform(0.5, 1.5) * mean for _ in range(400)]
    every = max(0.2, mean / 20)
    *_, (whole, _, _) = reports(durations, 4, every)
    pace = Pace()
    for now, ended, left in reports(durations, 4, every):
        pace.report(now, ended, left)
        if 80 <= ended <= 360 and now > 5:
            assert pace.left == pytest.approx(whole - now, rel=1 / 3)
            assert pace.rate == pytest.approx(4 / mean, rel=1 / 3)


def test_nothing_is_estimated_without_history_before_some_jobs_have_ended() -> None:
    pace = Pace()
    for seconds in range(1, 60):
        pace.report(seconds, min(2, seconds), 100)
        assert (pace.rate, pace.left) == (None, None)


def test_the_history_gives_an_estimate_at_once_and_the_run_corrects_it() -> None:
    pace = Pace(job_seconds=0.5)
    pace.report(0.2, 0, 100)
    assert pace.left == pytest.approx(50, rel=0.05)
    assert pace.rate is None
    for now, ended, left in reports([8.0] * 100, 4):  # each takes four times as long as it did
        pace.report(now + 0.2, ended, left)
        if 140 < now < 180:
            assert pace.left == pytest.approx(200 - now, rel=1 / 3)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("every", [0.2, 1.0])
def test_the_estimate_never_jumps(seed: int, every: float) -> None:
    """Short jobs, then a stall, then long ones."""
    random = Random(seed)
    durations = (
        [random.expovariate(10) for _ in range(300)] + [60.0] * 4 + [random.expovariate(0.5) for _ in range(100)]
    )
    pace, before = Pace(), None
    for now, ended, left in reports(durations, 4, every):
        pace.report(now, ended, left)
        if before is not None and pace.left is not None:
            expected = max(1.0, before - every)
            assert abs(pace.left - expected) <= 0.25 * every * expected + 1e-6
        before = pace.left
    assert pace.left is None


def test_jobs_that_are_reset_during_a_run_do_not_make_the_rate_negative() -> None:
    pace = Pace()
    for seconds, ended in enumerate([0, 5, 10, 4, 8]):
        pace.report(float(seconds), ended, 20 - ended)
    assert pace.rate is not None
    assert pace.rate > 0
    assert pace.left is not None
    assert pace.left > 0
