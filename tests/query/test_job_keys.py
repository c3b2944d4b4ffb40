"""Job arguments: ids, ranges, names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.errors import BadSelection
from rekindle.domain.selection import IdsOrName
from rekindle.query.job_keys import MAX_IDS, has_wildcard, parse_ids, parse_job_words


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (["1", "2", "3"], (1, 2, 3)),
        (["1,2,3"], (1, 2, 3)),
        (["1 2 3"], (1, 2, 3)),
        (["1, 2,  3"], (1, 2, 3)),
        (["4-9"], (4, 5, 6, 7, 8, 9)),
        (["7-7"], (7,)),
        (["1,4-6", "9"], (1, 4, 5, 6, 9)),
        (["3,1,3,2-3"], (3, 1, 2)),
    ],
)
def test_ids_come_with_commas_spaces_and_ranges(words: list[str], ids: tuple[int, ...]) -> None:
    assert parse_ids(words) == ids
    assert parse_job_words(words) == tuple(int(word) if word.isdigit() else IdsOrName(word) for word in words)


@pytest.mark.parametrize(
    ("word", "named"),
    [("9-4", "9-4"), ("1,x", "'x'"), ("4-", "'4-'"), ("-4", "'-4'"), ("1..3", "'1..3'"), ("", "''"), (",", "','")],
)
def test_a_bad_range_is_named(word: str, named: str) -> None:
    with pytest.raises(BadSelection) as caught:
        parse_ids([word])
    assert named in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 64


def test_a_reversed_range_is_corrected_in_the_hint() -> None:
    with pytest.raises(BadSelection) as caught:
        parse_ids(["1,9-4"])
    assert caught.value.hint == "did you mean 4-9?"


def test_a_huge_range_is_refused_without_expanding_it() -> None:
    with pytest.raises(BadSelection, match="more than"):
        parse_ids(["1-99999999999999"])
    with pytest.raises(BadSelection, match="more than"):
        parse_ids([f"1-{MAX_IDS}", "1000001-1000002"])


@pytest.mark.parametrize("name", ["train[alpha=0.1,seed=0]", "a-b", "1x", "x,1", "4-9x", "job 7", "*", "42?"])
def test_a_word_that_is_not_all_ids_is_one_name(name: str) -> None:
    assert parse_job_words([name]) == (name,)


def test_ids_and_names_may_be_mixed() -> None:
    assert parse_job_words(["3", "report", "5-6", "train*"]) == (3, "report", IdsOrName("5-6"), "train*")


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(BadSelection, match="empty"):
        parse_job_words([" "])


def test_brackets_are_not_wildcards() -> None:
    assert not has_wildcard("train[alpha=0.1,seed=0]")
    assert has_wildcard("train*")
    assert has_wildcard("tr?in")


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 20)), min_size=1, max_size=8))
def test_ranges_include_both_ends_and_all_between(spans: list[tuple[int, int]]) -> None:
    word = ",".join(f"{first}-{first + more}" if more else str(first) for first, more in spans)
    expected = {one for first, more in spans for one in range(first, first + more + 1)}
    found = parse_ids([word])
    assert set(found) == expected
    assert len(found) == len(expected)


@given(st.text("0123456789-,. xé*[]=\n", max_size=20))
def test_any_word_is_read_or_refused(word: str) -> None:
    try:
        keys = parse_job_words([word])
    except BadSelection:
        return
    assert keys
