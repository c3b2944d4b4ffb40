"""Backtests of supervisions: recorded attempts are replayed under other guards, and missing ones are drawn."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.batches.backtest import Backtest, Policy, backtest
from rekindle.domain.batches.past_attempts import PastAttempt, PastAttempts, PastJob, Source
from rekindle.domain.batches.supervision import Budget, Guards, SupervisionEnd
from rekindle.domain.definition import RetryRule
from rekindle.domain.errors import Refused
from rekindle.domain.states import Cause, State
from rekindle.domain.verdicts import Status, VerdictLevel

PASS = PastAttempt(State.COMPLETED, 10.0, VerdictLevel.PASSED)
FAIL = PastAttempt(State.FAILED, 5.0, None, Cause.EXIT, "broken", "node1", 1)
LOST = PastAttempt(State.FAILED, 1.0, None, Cause.LOST, "lost", "node2")


def draw(job: int, made: int, size: int) -> int:
    return random.Random(f"{job}/{made}").randrange(size)


def job(number: int, *attempts: PastAttempt, **more: object) -> PastJob:
    return PastJob(number, f"test[{number}]", 1, "test", attempts, **more)  # type: ignore[arg-type]


def ran(
    jobs: Sequence[PastJob], guards: Guards | None = None, needs: Sequence[tuple[int, int]] = (), **more: object
) -> Backtest:
    policy = Policy(guards or Guards(), slots=2, **more)  # type: ignore[arg-type]
    return backtest(jobs, needs, policy, draw)


def percentages(found: Backtest) -> list[float]:
    return [one.percent for one in found.rounds]


def test_a_history_is_replayed_attempt_by_attempt() -> None:
    found = ran([job(1, FAIL, PASS), job(2, PASS), job(3, PASS), job(4, FAIL, FAIL)])
    assert (found.end, percentages(found), found.attempts) == (SupervisionEnd.MAX_RERUNS, [50.0, 25.0], 6)
    assert found.statuses == {Status.ERROR: 1, Status.PASSED: 3}
    assert found.drawn == {}


def test_a_failure_percentage_stops_it_before_any_rerun() -> None:
    found = ran([job(1, FAIL, PASS), job(2, FAIL, PASS), job(3, PASS)], Guards(max_failure_percent=50))
    assert (found.end, found.attempts) == (SupervisionEnd.FAILURE_PERCENT, 3)
    assert found.statuses == {Status.ERROR: 2, Status.PASSED: 1}
    assert found.drawn == {}


def test_running_times_and_slots_decide_when_it_ends() -> None:
    found = ran([job(1, FAIL, PASS), job(2, PASS), job(3, PASS, cpus=4.0)])
    # 0-5 s: 1 fails beside 2; 5-15 s: 3; at rest at 15 s; 15-25 s: 1 again
    assert [one.at for one in found.rounds] == [15.0, 25.0]
    assert (found.seconds, found.core_seconds, found.attempts) == (25.0, 5 + 10 + 4 * 10 + 10, 4)
    assert found.end is SupervisionEnd.CLEAN


def test_children_wait_and_descendants_of_a_rerun_run_again() -> None:
    jobs = [job(1, FAIL, PASS), job(2, PASS), job(3, PASS, PASS, when_finished=True, aggregate=True)]
    found = ran(jobs, needs=[(1, 2), (1, 3)])
    assert (found.end, found.attempts) == (SupervisionEnd.CLEAN, 5)
    assert found.statuses == {Status.PASSED: 3}


def test_jobs_below_a_failed_one_never_run_but_one_that_waits_for_ends_does() -> None:
    jobs = [job(1, FAIL), job(2, PASS), job(3, PASS), job(4, PASS, when_finished=True)]
    found = ran(jobs, Guards(max_reruns=0), needs=[(1, 2), (2, 3), (3, 4)])
    assert found.attempts == 2
    assert found.statuses == {Status.ERROR: 1, Status.PASSED: 1, Status.QUEUED: 2}


def test_retries_follow_the_policy_of_the_job_and_its_limit() -> None:
    lost = LOST._replace(rules=(RetryRule(max=2, causes=(Cause.LOST,), delay=60.0),))
    jobs = [job(1, lost, lost, PASS), job(2, PASS)]
    retried = ran(jobs, Guards(max_reruns=0))
    assert (retried.end, retried.attempts, retried.seconds) == (SupervisionEnd.CLEAN, 4, 1 + 60 + 1 + 60 + 10)
    limited = ran(jobs, Guards(max_reruns=0), retries_at_most=1)
    assert (limited.end, limited.attempts) == (SupervisionEnd.MAX_RERUNS, 3)


def test_canaries_release_or_stop_their_group() -> None:
    passing = [job(number, FAIL, PASS) for number in range(1, 5)]
    failing = [job(1, FAIL, FAIL, PASS), *passing[1:]]
    guards = Guards(max_failure_percent=100, canary=1)
    released = ran(passing, guards)
    assert (released.end, released.attempts) == (SupervisionEnd.CLEAN, 8)
    stopped = ran(failing, guards)
    assert (stopped.end, stopped.attempts) == (SupervisionEnd.MAX_RERUNS, 5)
    assert stopped.statuses == {Status.ERROR: 4}


def test_a_budget_that_the_next_rerun_would_exceed_ends_it() -> None:
    jobs = [job(1, FAIL, FAIL, PASS), job(2, PASS), job(3, PASS)]
    guards = Guards(max_reruns=5, budget=Budget(attempts=1))
    assert (ran(jobs, guards).end, ran(jobs, guards).attempts) == (SupervisionEnd.BUDGET, 4)


def test_a_round_that_takes_too_long_ends_it_and_what_runs_goes_on() -> None:
    found = ran([job(1, PASS), job(2, PASS), job(3, PASS)], wait_timeout=9.0)
    assert (found.end, found.attempts, found.seconds) == (SupervisionEnd.TIMED_OUT, 2, 10.0)


def test_jobs_that_must_not_run_twice_are_not_rerun() -> None:
    found = ran([job(1, FAIL, PASS, rerun_forbidden=True), job(2, PASS), job(3, PASS)])
    assert (found.end, found.attempts) == (SupervisionEnd.REFUSED, 3)


def test_unknown_attempts_are_drawn_from_those_after_the_same_failure_first() -> None:
    other = FAIL._replace(signature="other")
    jobs = [job(1, FAIL), job(2, FAIL, PASS), job(3, other, other), job(4)]
    records = PastAttempts(jobs)
    assert records.attempt(jobs[0], 0, FAIL, draw) == (FAIL, None)
    assert records.attempt(jobs[0], 1, FAIL, draw) == (PASS, Source.SAME_SIGNATURE)
    assert records.attempt(jobs[0], 1, FAIL._replace(signature="new"), draw)[1] is Source.SAME_CAUSE
    assert records.attempt(jobs[0], 1, LOST, draw)[1] is Source.ANY_FAILURE
    assert records.attempt(jobs[1], 2, PASS, draw)[1] is Source.SAME_JOB
    assert records.attempt(jobs[3], 0, PASS, draw)[1] is Source.SAME_TEMPLATE
    elsewhere = PastJob(9, "other", 2, "other", ())
    assert records.attempt(elsewhere, 0, PASS, draw)[1] is Source.ANY_JOB


def test_drawn_attempts_follow_the_rate_of_the_history_and_are_counted() -> None:
    known = [job(number, FAIL, PASS if number % 4 else FAIL) for number in range(400)]
    unknown = [job(number, FAIL) for number in range(400, 1400)]
    found = ran([*known, *unknown], Guards(max_failure_percent=100))
    assert found.drawn == {Source.SAME_SIGNATURE: 1000}
    failed = found.statuses[Status.ERROR] - 100
    assert 200 <= failed <= 300  # a quarter of 1,000; the standard deviation is 14


def test_without_any_history_it_is_refused() -> None:
    with pytest.raises(Refused, match="no attempt"):
        ran([job(1)])


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[PastJob], list[tuple[int, int]], Policy]:
    count = draw(st.integers(1, 8))
    attempts = st.lists(st.sampled_from([PASS, FAIL, LOST, FAIL._replace(rules=(RetryRule(max=1),))]), max_size=4)
    jobs = [
        job(number, *draw(attempts), aggregate=draw(st.booleans()), when_finished=draw(st.booleans()))
        for number in range(count)
    ]
    jobs.append(job(count, FAIL, PASS))
    pairs = [(parent, child) for child in range(count) for parent in range(child)]
    needs = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    guards = Guards(
        max_reruns=draw(st.integers(0, 3)),
        max_failure_percent=draw(st.sampled_from([10.0, 50.0, 100.0])),
        canary=draw(st.sampled_from([None, 1, 2])),
    )
    timeout = draw(st.sampled_from([None, 1.0, 12.0]))
    return jobs, needs, Policy(guards, draw(st.integers(1, 3)), draw(st.sampled_from([None, 1])), timeout)


@given(histories())
def test_any_history_ends_and_its_numbers_agree(given: tuple[list[PastJob], list[tuple[int, int]], Policy]) -> None:
    jobs, needs, policy = given
    found = backtest(jobs, needs, policy, draw)
    assert backtest(jobs, needs, policy, draw) == found
    assert sum(found.statuses.values()) == len(jobs)
    assert len(found.rounds) <= policy.guards.max_reruns + 1
    assert [one.attempts for one in found.rounds] == sorted(one.attempts for one in found.rounds)
    assert sum(found.drawn.values()) <= found.attempts
    if found.end is SupervisionEnd.CLEAN:
        assert Status.ERROR not in found.statuses
