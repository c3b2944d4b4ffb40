"""Users' regular expressions: the syntax of `re`, with a time limit for each search."""

from __future__ import annotations

import re
import time
import warnings

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from rekindle.domain.errors import BadSelection, SlowPattern
from rekindle.domain.texts.patterns import SHORT_TEXT, compile_pattern

WORDS = r"a b ab . a* b+? (a|b) (?:ab)? [ab] [^a] ^ $ \b \d \{ { } {e} a{2} a{,2} {e<=1} {s} (?=a) (?<=b) - [[] ] 1 [{]"
PIECES = st.sampled_from([*WORDS.split(), "[a&&b]", r"\N{DIGIT ONE}", "\n"])
TEXTS = st.text(alphabet="ab1\n{}e<=s[&-", max_size=12)


@given(st.lists(PIECES, max_size=6).map("".join), TEXTS)
def test_a_pattern_is_found_where_re_finds_it(pattern: str, text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wanted = re.search(pattern, text) is not None
        except re.error:
            reject()
    assert compile_pattern(pattern).found_in(text) is wanted


@pytest.mark.parametrize("pattern", [r"(a|aa)+$", r"(?:(?:a{1,1000}){1,1000}){1,1000}$", r"(\w|\w\w|\w\w\w)*$"])
def test_a_search_that_takes_too_long_is_stopped_and_names_the_pattern(pattern: str) -> None:
    with pytest.raises(SlowPattern, match=re.escape(repr(pattern))):
        compile_pattern(pattern).found_in("a" * 60 + "!", 0.05)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(a|", "position 0"),
        (r"\p{Lu}", "bad escape"),  # `regex` alone would accept this and the next
        ("(?R)", "unknown extension"),
        ("x" * 10_001, "too long"),
        ("a**", "multiple repeat"),
    ],
)
def test_invalid_patterns_are_refused_with_the_position(pattern: str, said: str) -> None:
    with pytest.raises(BadSelection, match=re.escape(said)):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", ["k=99.$", "^train", r"a*\d", "[ab]+c", "a{2,900}b", "x|y|z", "(?i)memory", "a+b+", "(a)\\1"]
)
def test_a_search_without_a_time_limit_takes_no_more_than_the_square_of_a_text(pattern: str) -> None:
    found = compile_pattern(pattern)
    assert found.simple == (pattern not in ("(?i)memory", "a+b+", "(a)\\1"))
    began = time.thread_time()
    for text in ("a" * SHORT_TEXT, "ab" * (SHORT_TEXT // 2)):
        assert found.found_in(text) == (re.search(pattern, text) is not None)
    assert time.thread_time() - began < 1
