"""Retries: whether a job is retried, when, and with which resources."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.definition import Resources, RetryRule
from rekindle.domain.models import Failure
from rekindle.domain.retry import (
    MAX_DELAY,
    NOT_RETRIED,
    FailedAttempt,
    decide_retry,
    match_errors,
    retry_delay,
    rule_to_json,
)
from rekindle.domain.states import Cause
from rekindle.domain.texts.patterns import compile_pattern
from rekindle.domain.texts.quantities import Amount

G = 2**30

RULES = st.builds(
    RetryRule,
    max=st.integers(0, 50),
    delay=st.floats(0, 1e6),
    backoff=st.floats(1, 1000),
    max_delay=st.none() | st.floats(0.001, 1e7),
    jitter=st.floats(0, 1),
    memory=st.none() | st.builds(Amount, factor=st.floats(1, 100)) | st.builds(Amount, value=st.floats(1, 1e12)),
    time=st.none() | st.builds(Amount, factor=st.floats(1, 100)) | st.builds(Amount, value=st.floats(1, 1e7)),
    max_memory=st.none() | st.integers(1, 10**12),
    max_time=st.none() | st.floats(1, 1e7),
)
TOKENS = st.text(min_size=1, max_size=16)
RESOURCES = st.builds(Resources, memory=st.integers(0, 10**12), time=st.none() | st.floats(0.1, 1e7))
FAILED = st.builds(
    FailedAttempt,
    token=TOKENS,
    cause=st.sampled_from(Cause),
    retries=st.integers(0, 60),
    had=RESOURCES,
    memory=st.none() | st.integers(0, 10**12),
    seconds=st.none() | st.floats(0, 1e7),
)


@given(RULES, FAILED)
def test_a_job_is_retried_so_often_and_no_more(rule: RetryRule, failed: FailedAttempt) -> None:
    decided = decide_retry([rule], failed)
    if failed.retries >= rule.max or failed.cause in {*NOT_RETRIED, Cause.CANCELED}:
        assert decided is None
    else:
        assert decided is not None
        assert decided.number == failed.retries + 1 <= rule.max
        assert decided == decide_retry([rule], failed)


@given(RULES, st.integers(1, 10_000), TOKENS)
def test_a_delay_stays_within_its_bounds(rule: RetryRule, number: int, token: str) -> None:
    delay = retry_delay(rule, number, token)
    most = min(rule.max_delay or MAX_DELAY, MAX_DELAY)
    assert 0 <= delay <= most
    assert delay <= rule.delay * (1 + rule.jitter) * (1 + 1e-9) or number > 1
    assert delay >= min(rule.delay * (1 - rule.jitter) * (1 - 1e-9), most)


@given(RULES, st.integers(1, 100), TOKENS)
def test_delays_do_not_shrink(rule: RetryRule, number: int, token: str) -> None:
    assert retry_delay(rule, number, token) <= retry_delay(rule, number + 1, token) * (1 + 1e-9)


@given(RULES, FAILED)
def test_what_grows_is_never_below_what_was_given_or_used_and_stops_at_its_cap(
    rule: RetryRule, failed: FailedAttempt
) -> None:
    decided = decide_retry([rule], failed)
    asked = decided.overrides if decided else None
    if asked is not None and asked.memory is not None:
        assert rule.memory is not None
        value, most = asked.memory.value or 0, rule.max_memory or float("inf")
        assert value > failed.had.memory
        assert value >= min(most, failed.memory or 0)
        assert value <= max(most, failed.had.memory)
        if rule.memory.factor is not None:
            assert value >= min(most, max(failed.had.memory, failed.memory or 0) * rule.memory.factor)
    if asked is not None and asked.time is not None:
        value, longest = asked.time.value or 0, rule.max_time or float("inf")
        assert value > (failed.had.time or 0)
        assert value >= min(longest, failed.seconds or 0)
        assert value <= max(longest, failed.had.time or 0)


def grown(rule: RetryRule, had: int, used: int) -> float | None:
    decided = decide_retry([rule], FailedAttempt("t", Cause.OOM, had=Resources(memory=had), memory=used))
    asked = decided.overrides if decided else None
    return asked.memory.value if asked and asked.memory else None


def test_memory_grows_from_the_larger_of_its_limit_and_its_peak():
    rule = RetryRule(max=1, memory=Amount(factor=1.5))
    assert grown(rule, 2 * G, 1 * G) == 3 * G
    assert grown(rule, 2 * G, 3 * G) == 4.5 * G
    assert grown(RetryRule(max=1, memory=Amount(factor=1.5), max_memory=4 * G), 2 * G, 3 * G) == 4 * G
    assert grown(RetryRule(max=1, memory=Amount(factor=1.5), max_memory=1 * G), 2 * G, 3 * G) is None
    assert grown(RetryRule(max=1, memory=Amount(value=8 * G)), 2 * G, 3 * G) == 8 * G
    assert grown(rule, 0, 3 * G) is None, "it has no limit that could grow"


def fits(rule: RetryRule, cause: Cause, exit_code: int | None = None, failure: Failure | None = None) -> bool:
    policy = match_errors([rule], failure or Failure(), lambda pattern, text: compile_pattern(pattern).found_in(text))
    return decide_retry(policy, FailedAttempt("t", cause, exit_code)) is not None


def test_a_rule_that_asks_for_nothing_fits_all_but_what_cannot_be_mended():
    rule = RetryRule(max=1)
    assert {cause for cause in Cause if not fits(rule, cause)} == {*NOT_RETRIED, Cause.CANCELED}
    assert fits(RetryRule(max=1, causes=(Cause.MISSING_INPUT,)), Cause.MISSING_INPUT)
    assert not fits(RetryRule(max=1, causes=(Cause.TIMEOUT,)), Cause.EXIT)


def test_what_a_rule_asks_for_holds_together():
    rule = RetryRule(max=1, exit_codes=(10, 75))
    assert fits(rule, Cause.EXIT, 75)
    assert not fits(rule, Cause.EXIT, 1)
    assert not fits(rule, Cause.TIMEOUT)
    both = RetryRule(max=1, exit_codes=(75,), error="temporar")
    assert fits(both, Cause.EXIT, 75, Failure(stderr="a temporary failure"))
    assert not fits(both, Cause.EXIT, 75, Failure(stderr="a failure"))


@pytest.mark.parametrize("where", ["type", "message", "traceback", "stderr"])
def test_an_error_is_looked_for_in_all_that_was_said(where):
    rule = RetryRule(max=1, error="Time(d )?out")
    assert fits(rule, Cause.EXCEPTION, None, Failure(**{where: "a Timeout happened"}))
    assert not fits(rule, Cause.EXCEPTION, None, Failure(**{where: "a timeout happened"}))


def test_the_first_rule_that_fits_decides_even_when_it_is_used_up():
    rules = [RetryRule(max=1, causes=(Cause.EXIT,)), RetryRule(max=5)]
    assert decide_retry(rules, FailedAttempt("t", Cause.EXIT, retries=1)) is None
    decided = decide_retry(rules, FailedAttempt("t", Cause.OOM, retries=1))
    assert decided is not None
    assert decided.note == "retry 2 of 5: oom"


def test_delays_grow_and_are_varied_by_the_attempts_token_alone():
    rule = RetryRule(max=9, delay=30.0, backoff=2.0, max_delay=100.0)
    assert [retry_delay(rule, number, "t") for number in (1, 2, 3, 4)] == [30.0, 60.0, 100.0, 100.0]
    varied = RetryRule(max=9, delay=30.0, jitter=0.5)
    delays = {retry_delay(varied, 1, token) for token in "abcdefgh"}
    assert len(delays) == 8
    assert delays == {retry_delay(varied, 1, token) for token in "abcdefgh"}


def test_a_rule_is_told_by_the_keys_of_a_spec():
    rule = RetryRule(3, (Cause.LOST,), delay=30.0, memory=Amount(factor=1.5), max_memory=G, start="failed-step")
    assert rule_to_json(rule) == {
        "max": 3,
        "on": ["lost"],
        "delay": 30.0,
        "memory": "x1.5",
        "max_memory": G,
        "from": "failed-step",
    }
