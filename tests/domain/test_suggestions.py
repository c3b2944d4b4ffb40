"""Suggestions of known words in hints."""

from __future__ import annotations

import pytest

from rekindle.domain.texts.display import closest_word, did_you_mean

KEYS = ("name", "needs", "matrix", "priority", "workdir")


@pytest.mark.parametrize(
    ("word", "meant"), [("need", "needs"), ("NEEDS", "needs"), ("martix", "matrix"), ("prio", "priority"), ("q", None)]
)
def test_the_closest_known_word_is_found(word: str, meant: str | None) -> None:
    assert closest_word(word, KEYS) == meant


def test_a_word_that_differs_in_case_only_is_the_nearest() -> None:
    assert closest_word("alpha", ["alpha1", "Alpha"]) == "Alpha"


def test_a_hint_asks_when_something_is_close_and_lists_otherwise() -> None:
    assert did_you_mean("neds", KEYS) == "did you mean `needs`?"
    assert did_you_mean("q", KEYS) == "known: name, needs, matrix, priority, workdir"
    assert did_you_mean("q", []) == ""


def test_a_long_list_of_known_words_is_cut() -> None:
    assert did_you_mean("q", [f"word{n}" for n in range(100)]).endswith("word11, …")


def test_among_very_many_names_those_that_begin_alike_are_compared() -> None:
    names = [f"other[seed={n}]" for n in range(100_000)] + ["train[alpha=0.1]"]
    assert closest_word("train[alpha=0.2]", names) == "train[alpha=0.1]"


def test_the_known_words_may_come_from_a_generator() -> None:
    assert did_you_mean("neds", (key for key in KEYS)) == "did you mean `needs`?"
