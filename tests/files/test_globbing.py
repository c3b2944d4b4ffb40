"""Paths that a pattern matches: those of `glob`, each once, in linear time."""

from __future__ import annotations

import glob
import tempfile
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rekindle.files.file_patterns import glob_paths

PARTS = st.sampled_from(["a", "b.t", ".h", "*", "?", "*.t", "[ab]", "[!a]*", "**", "**", ".*", ".", ""])
PATTERNS = st.lists(PARTS, min_size=1, max_size=5).map("/".join).filter(lambda one: one and not one.startswith("/"))
NAMES = st.sampled_from(["a", "b", "b.t", ".h", "ab.t"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@given(st.lists(PATHS, max_size=5), PATTERNS)
def test_a_pattern_finds_what_glob_finds_each_once(paths: list[str], pattern: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        for path in paths:
            (Path(name) / path).mkdir(parents=True, exist_ok=True)
        every = glob.glob(pattern, root_dir=name, recursive=True)  # noqa: PTH207 the one to agree with
        there = {path for path in every if (Path(name) / path).exists()}  # `glob` finds `x/` for `x/**` without x
        assert [path for path in glob_paths(pattern, name) if path in there or path not in every] == sorted(there)


def test_a_pattern_of_many_double_stars_takes_a_moment(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*"a" * 20)
    deep.mkdir(parents=True)
    (deep / "x.txt").touch()
    began = time.process_time()
    assert glob_paths("**/" * 25 + "*.txt", str(tmp_path)) == ["/".join("a" * 20) + "/x.txt"]
    assert glob_paths("**/a/" * 15 + "**/*.t?t", str(tmp_path)) == ["/".join("a" * 20) + "/x.txt"]
    assert time.process_time() - began < 2


def test_links_that_lead_back_are_not_followed(tmp_path: Path) -> None:
    inner = tmp_path / "d" / "e"
    inner.mkdir(parents=True)
    (tmp_path / "d" / "f").touch()
    (inner / "f").touch()
    for at, target in enumerate((".", ".", "..", "e", "../d", "self3", "loop")):
        (tmp_path / "d" / f"self{at}").symlink_to(target)
        (inner / f"back{at}").symlink_to(f"../{target}")
    (tmp_path / "d" / "loop").symlink_to("loop")
    found = glob_paths("d/**/f", str(tmp_path))
    assert {"d/f", "d/e/f"} <= set(found)
    assert len(found) < 100
    assert {str((tmp_path / one).resolve().relative_to(tmp_path.resolve())) for one in found} == {"d/f", "d/e/f"}


def test_two_links_to_a_folder_elsewhere_are_both_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "d").mkdir()
    (tmp_path / "a" / "f").touch()
    for name in ("x", "y"):
        (tmp_path / "d" / name).symlink_to("../a")
    assert glob_paths("d/**/f", str(tmp_path)) == ["d/x/f", "d/y/f"]
