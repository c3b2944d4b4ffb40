"""Which failures a quarantine covers, and which counts decide about a batch."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.batches.quarantine import QuarantinedJobs, covered_jobs, failed_counts, is_in_force, utc_day
from rekindle.domain.definition import Quarantine
from rekindle.domain.states import State

DAY = date(2030, 1, 31)
KNOWN = Quarantine(DAY, "slow machines")


def group(*jobs: int, ended: bool = False) -> QuarantinedJobs:
    return QuarantinedJobs("t", KNOWN, ended, jobs)


@pytest.mark.parametrize(
    ("time", "covered"),
    [
        (datetime(2030, 1, 30, 12, tzinfo=UTC), True),
        (datetime(2030, 1, 31, 0, tzinfo=UTC), True),
        (datetime(2030, 1, 31, 23, 59, 59, tzinfo=UTC), True),
        (datetime(2030, 2, 1, 0, tzinfo=UTC), False),
    ],
)
def test_the_last_day_belongs_to_the_quarantine(time: datetime, covered: bool) -> None:
    assert is_in_force(KNOWN, utc_day(time.timestamp())) == covered


def test_no_quarantine_covers_nothing() -> None:
    assert not is_in_force(None, DAY)
    assert covered_jobs([]) == frozenset()


def test_an_ended_quarantine_covers_nothing() -> None:
    assert covered_jobs([group(1, 2), group(3, ended=True)]) == {1, 2}
    assert failed_counts({State.FAILED: 1}, [group(3, ended=True)]) == {State.FAILED: 1}


@pytest.mark.parametrize(
    ("counts", "covered", "left"),
    [
        ({State.FAILED: 2, State.WAITING: 3}, 2, {}),
        ({State.FAILED: 2, State.WAITING: 3}, 1, {State.FAILED: 1, State.WAITING: 3}),
        ({State.FAILED: 1, State.WAITING: 3, State.CANCELED: 1}, 1, {State.WAITING: 3, State.CANCELED: 1}),
        ({State.FAILED: 1, State.READY: 1}, 1, {State.READY: 1}),
        ({State.FAILED: 1, State.WAITING: 3}, 0, {State.FAILED: 1, State.WAITING: 3}),
    ],
)
def test_jobs_that_wait_are_left_out_only_if_nothing_else_failed(counts, covered, left) -> None:
    assert failed_counts(counts, [group(*range(covered))] if covered else []) == left


@given(st.dictionaries(st.sampled_from(list(State)), st.integers(1, 9)), st.integers(0, 9))
def test_a_quarantine_never_adds_to_what_fails(counts: dict[State, int], covered: int) -> None:
    covered = min(covered, counts.get(State.FAILED, 0))
    left = failed_counts(counts, [group(*range(covered))])
    assert all(0 < number <= counts[state] for state, number in left.items())
    assert left.get(State.FAILED, 0) == counts.get(State.FAILED, 0) - covered
