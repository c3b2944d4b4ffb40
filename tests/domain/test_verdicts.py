"""Verdicts: parsing, the worst of several, and the status from state and verdict."""

from __future__ import annotations

from itertools import product

import pytest

from rekindle.domain.states import State
from rekindle.domain.verdicts import (
    LONGEST_MESSAGE,
    BadVerdict,
    Status,
    Verdict,
    VerdictLevel,
    exit_code_for,
    make_verdict,
    read_verdict,
    status_of,
    statuses_of,
    worst_status,
    worst_verdict,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WARNING too warm", Verdict(VerdictLevel.WARNING, "too warm")),
        ("warning: too warm\n", Verdict(VerdictLevel.WARNING, "too warm")),
        ("Blocker\nhit the wall\nat 3 m/s", Verdict(VerdictLevel.BLOCKER, "hit the wall\nat 3 m/s")),
        ("PASSED", Verdict(VerdictLevel.PASSED)),
    ],
)
def test_a_verdict_is_a_word_in_any_case_and_a_message(text: str, expected: Verdict) -> None:
    assert read_verdict(text) == expected


@pytest.mark.parametrize(("text", "hint"), [("good", "PASSED, WARNING and BLOCKER"), ("FAIL_WARN x", "WARNING here")])
def test_another_word_is_no_verdict_and_says_which_are(text: str, hint: str) -> None:
    with pytest.raises(BadVerdict) as raised:
        read_verdict(text)
    assert hint in str(raised.value)


def test_a_long_message_is_cut() -> None:
    assert len(make_verdict("warning", "x" * 10_000).message) == LONGEST_MESSAGE


def test_the_worst_of_several_is_the_first_that_is_so_bad() -> None:
    first, second = Verdict(VerdictLevel.WARNING, "first"), Verdict(VerdictLevel.WARNING, "second")
    assert worst_verdict([None, Verdict(VerdictLevel.PASSED), first, second]) == first
    assert worst_verdict([first, Verdict(VerdictLevel.BLOCKER, "b")]) == Verdict(VerdictLevel.BLOCKER, "b")
    assert worst_verdict([None]) is None


def test_the_verdict_counts_only_where_the_job_completed() -> None:
    for state, word in product(State, (None, *VerdictLevel)):
        expected = {
            State.COMPLETED: Status(word.value) if word else Status.PASSED,
            State.FAILED: Status.ERROR,
            State.CANCELED: Status.CANCELED,
            State.RUNNING: Status.RUNNING,
        }.get(state, Status.QUEUED)
        assert status_of(state, word) is expected


def test_statuses_are_counted_from_states_and_what_was_found() -> None:
    counts = {State.COMPLETED: 5, State.FAILED: 1, State.WAITING: 2, State.READY: 1}
    assert statuses_of(counts, {VerdictLevel.WARNING: 2, VerdictLevel.BLOCKER: 1}) == {
        Status.PASSED: 2,
        Status.WARNING: 2,
        Status.BLOCKER: 1,
        Status.ERROR: 1,
        Status.QUEUED: 3,
    }


@pytest.mark.parametrize(
    ("counts", "found", "expected"),
    [
        ({}, {}, Status.PASSED),
        ({State.COMPLETED: 3}, {VerdictLevel.WARNING: 1}, Status.WARNING),
        ({State.COMPLETED: 3}, {VerdictLevel.WARNING: 1, VerdictLevel.BLOCKER: 1}, Status.BLOCKER),
        ({State.COMPLETED: 3, State.CANCELED: 1}, {VerdictLevel.BLOCKER: 1}, Status.CANCELED),
        ({State.FAILED: 1, State.CANCELED: 1, State.WAITING: 4}, {}, Status.ERROR),
        ({State.FAILED: 1, State.READY: 1}, {}, Status.QUEUED),
        ({State.FAILED: 1, State.RUNNING: 1}, {}, Status.RUNNING),
    ],
)
def test_a_workflow_has_the_worst_status_of_its_jobs_once_nothing_is_left_to_run(counts, found, expected) -> None:
    assert worst_status(counts, found) is expected


def test_the_exit_code_tells_of_the_verdicts_that_were_asked_for() -> None:
    both = {Status.BLOCKER: 1, Status.WARNING: 1}
    assert exit_code_for(both, {VerdictLevel.BLOCKER, VerdictLevel.WARNING}) == 7
    assert exit_code_for(both, {VerdictLevel.WARNING}) == 8
    assert exit_code_for(both, set()) == 0
    assert exit_code_for({Status.WARNING: 1}, {VerdictLevel.BLOCKER}) == 0
