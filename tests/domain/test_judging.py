"""What judges may answer."""

from __future__ import annotations

import pytest

from rekindle.domain.definition import RetryRule
from rekindle.domain.errors import BadValue
from rekindle.domain.judging import JUDGE, UNKNOWN, Judgement, most_retries, parse_answer, waits_for_person


@pytest.mark.parametrize(
    ("text", "answer", "reason"),
    [
        ("retry", "retry", ""),
        ("Fail: the disk is full\nand more", "fail", "the disk is full"),
        ("hold  ask   Ann\n", "hold", "ask Ann"),
        ('{"answer": "retry", "reason": "a flaky node"}', "retry", "a flaky node"),
        ('{"answer": "HOLD", "other": 1}', "hold", ""),
        ('"fail"', "fail", ""),
    ],
)
def test_a_word_or_a_document_is_an_answer(text: str, answer: str, reason: str) -> None:
    assert parse_answer(text) == Judgement(answer, reason)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", " ", "maybe", "retrying", "{", '{"answer": 1}', "[]", '{"answer": "retry", "reason": 3}']
)
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(BadValue):
        parse_answer(text)


def test_a_judge_orders_as_many_retries_as_the_policy_or_three() -> None:
    assert most_retries(()) == 3
    assert most_retries((RetryRule(max=1), RetryRule(max=5))) == 5


def test_a_judge_that_is_asked_needs_no_person() -> None:
    assert (waits_for_person(UNKNOWN), waits_for_person(JUDGE), waits_for_person(None)) == (True, False, False)
