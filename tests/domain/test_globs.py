"""Globs matched without a file system agree with the `glob` module."""

from __future__ import annotations

import glob
import re
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.texts.patterns import (
    compile_glob,
    compile_name_glob,
    glob_base,
    glob_location,
    glob_reaches,
    is_glob,
    split_glob,
)

PARTS = st.sampled_from(
    ["a", "b.t", ".h", "*", "?", "*.t", "[ab]", "[!a]*", "**", ".*", "a*", "[a", "*a*b*t", "?*[.b]*"]
)
PATTERNS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
NAMES = st.sampled_from(["a", "b", "b.t", ".h", "[a", "ab.t"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@given(st.lists(PATHS, max_size=6), PATTERNS)
def test_a_pattern_matches_what_glob_finds(paths: list[str], pattern: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        for path in paths:
            (Path(name) / path).mkdir(parents=True, exist_ok=True)
        head, rest = split_glob(pattern)
        there = [str(path.relative_to(name)) for path in Path(name).rglob("*")]
        matched = {path for path in there if path.startswith(head) and compile_glob(rest).fullmatch(path[len(head) :])}
        every = glob.glob(pattern, root_dir=name, recursive=True)  # noqa: PTH207 the one to agree with
        found = {path for path in every if not path.endswith("/")}
        assert matched == found


@given(st.text(alphabet="ab*?[", max_size=6), st.text(alphabet="ab[\n", max_size=6))
def test_a_pattern_of_names_knows_stars_and_question_marks_alone(pattern: str, name: str) -> None:
    wanted = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    assert bool(compile_name_glob(pattern).fullmatch(name)) == bool(re.fullmatch(wanted, name, re.DOTALL))


@pytest.mark.parametrize("pattern", ["*a" * 25 + "*b", "**/a/" * 25 + "b", "*a*/" * 25 + "b", "[a]*" * 25 + "b"])
def test_a_pattern_of_many_stars_is_matched_in_a_moment(pattern: str) -> None:
    began = time.process_time()
    for text in ("a" * 100, "a/" * 60 + "a", "/".join(["aaaa"] * 30)):
        assert not compile_glob(pattern).fullmatch(text)
        assert not compile_name_glob(pattern).fullmatch(text)
        glob_reaches(pattern, text)
    assert time.process_time() - began < 2


def test_only_the_literal_folders_of_a_pattern_are_normalized() -> None:
    for text, path in (("./in//*.t", "/p[1]/in/*.t"), ("../x/**/a", "/x/**/a"), ("/d/?", "/d/?"), ("*", "/p[1]/*")):
        assert is_glob(text)
        assert glob_location("/p[1]", text) == path
        assert glob_base(path, text) == path.rpartition(split_glob(text)[1])[0].rstrip("/")
    assert not is_glob("in/{a}.txt")
