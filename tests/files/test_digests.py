"""What stands for a file's content, when a look is enough, and what a folder comes to."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.changes.fingerprints import ABSENT
from rekindle.files.digests import (
    COARSE_SLACK,
    OPEN_COST,
    SLACK,
    FileReader,
    FileStat,
    digest_of,
    file_stat,
    is_settled,
    mtime_digest,
    read_file,
    tree_stat,
)

LONG_AGO = 1_700_000_000_123_456_789

NAMES = st.text(
    st.characters(min_codepoint=1, exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=3
)
PATHS = st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(PATHS, st.none() | st.binary(max_size=3), max_size=6)  # path -> content; None: a folder


def plant(root: Path, tree: dict[str, bytes | None]) -> set[tuple[str, bytes | None]]:
    """Make a tree, as far as its paths do not stand in each other's way; what there is then."""
    for path, content in tree.items():
        at = root / path
        try:
            if content is None:
                at.mkdir(parents=True, exist_ok=True)
            else:
                at.parent.mkdir(parents=True, exist_ok=True)
                at.write_bytes(content)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
    found = root.rglob("*")
    return {(str(at.relative_to(root)), at.read_bytes() if at.is_file() else None) for at in found}


@given(TREES, TREES)
def test_folders_have_one_digest_exactly_when_they_hold_the_same(one: dict, other: dict) -> None:
    with tempfile.TemporaryDirectory() as name:
        a, b = Path(name, "a"), Path(name, "somewhere", "else")
        a.mkdir()
        b.mkdir(parents=True)
        same = plant(a, one) == plant(b, other)
        assert (digest_of(str(a)) == digest_of(str(b))) is same


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_files_have_one_digest_exactly_when_they_hold_the_same(one: bytes, other: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        a, b = Path(name, "a"), Path(name, "b")
        a.write_bytes(one)
        b.write_bytes(other)
        assert (digest_of(str(a)) == digest_of(str(b))) is (one == other)


def test_a_large_file_is_read_to_its_end(tmp_path: Path) -> None:
    from blake3 import blake3

    content = os.urandom(9 * 1024 * 1024 + 17)
    (tmp_path / "large").write_bytes(content)
    told: list[int] = []
    seen = read_file(str(tmp_path / "large"), told.append)
    assert seen is not None
    assert seen.digest == blake3(content).hexdigest()
    assert sum(told) == seen.size == len(content)


def test_what_is_not_there_is_absent(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("nothing", "file/below", "dangling"):
        assert digest_of(str(tmp_path / name)) == ABSENT
        assert file_stat(str(tmp_path / name)) is None
        assert tree_stat(str(tmp_path / name)) == (0, ABSENT, ABSENT)


def test_links_to_files_are_followed_and_those_to_folders_are_not(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "file")
    (tmp_path / "a" / "circle").symlink_to(tmp_path / "a")
    before = digest_of(str(tmp_path / "a"))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "link").write_text("x")
    (tmp_path / "b" / "circle").symlink_to(tmp_path / "a")
    assert digest_of(str(tmp_path / "b")) == before
    (tmp_path / "file").write_text("y")
    assert digest_of(str(tmp_path / "a")) != before


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert digest_of(str(tmp_path / "pipe")) not in ("", digest_of("/dev/null"))
    assert len(digest_of(str(tmp_path))) == 64


@given(
    st.integers(min_value=COARSE_SLACK * 4, max_value=2**62),
    st.integers(min_value=-COARSE_SLACK * 2, max_value=COARSE_SLACK * 2),
)
def test_a_file_settles_a_tick_after_the_later_of_its_times(time_ns: int, later: int) -> None:
    slack = SLACK if time_ns % 1_000_000_000 else COARSE_SLACK
    for mtime, ctime in ((time_ns, 1), (1, time_ns), (time_ns, time_ns)):
        assert is_settled(FileStat(1, mtime, 1, ctime_ns=ctime), time_ns + later) is (later >= slack)


def put(path: Path, content: bytes, mtime_ns: int) -> None:
    """In place, with this time of modification; its change time has settled on return."""
    path.write_bytes(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))
    while (found := file_stat(str(path))) and not is_settled(found._replace(mtime_ns=1), time.time_ns()):
        pass


def test_a_settled_file_is_read_once(tmp_path: Path) -> None:
    path, told = tmp_path / "file", []
    reader = FileReader()
    put(path, b"one", LONG_AGO)
    first = reader.content("f", str(path), on_read=told.append)
    assert reader.effort(str(path)) == 0
    assert reader.content("f", str(path), on_read=told.append) == first
    assert told == [3]
    later = FileReader(reader.fresh())
    assert later.content("f", str(path), on_read=told.append) == first
    assert told == [3]
    assert (reader.fresh(), later.fresh()) == ((), ())
    put(path, b"two", LONG_AGO + 1)
    assert reader.content("f", str(path)).digest != first.digest


def test_a_file_that_may_have_changed_within_a_tick_is_read_again(tmp_path: Path) -> None:
    path, reader = tmp_path / "file", FileReader()
    ahead = time.time_ns() + 3600 * 10**9  # no time to settle, however busy the machine is
    put(path, b"one", ahead)
    first = reader.content("f", str(path))
    assert reader.fresh() == ()
    put(path, b"two", ahead)
    assert reader.content("f", str(path)).digest != first.digest


def test_a_folder_costs_the_files_that_changed(tmp_path: Path) -> None:
    told: list[int] = []
    reader = FileReader()
    for name, content in (("a", b"1"), ("b", b"22"), ("c", b"333")):
        put(tmp_path / name, content, LONG_AGO)
    before = reader.content("f", str(tmp_path), on_read=told.append)
    put(tmp_path / "b", b"4444", LONG_AGO + 1)
    assert reader.effort(str(tmp_path)) == OPEN_COST + 4
    assert reader.content("f", str(tmp_path), on_read=told.append).digest != before.digest
    assert told == [1, 2, 3, 4]


def test_a_touch_changes_no_content_and_every_time(tmp_path: Path) -> None:
    path, reader = tmp_path / "file", FileReader()
    put(path, b"one", LONG_AGO)
    content, by_time = reader.content("f", str(path)), reader.content("f", str(path), 0)
    os.utime(path, ns=(LONG_AGO, LONG_AGO + 5))
    assert reader.content("f", str(path)) == content
    assert reader.content("f", str(path), 0) != by_time


@pytest.mark.parametrize(("least", "by"), [(None, "content"), (0, "mtime"), (3, "mtime"), (4, "content")])
def test_what_is_large_enough_is_told_by_its_look(tmp_path: Path, least: int | None, by: str) -> None:
    put(tmp_path / "file", b"123", LONG_AGO)
    found = FileReader().content("f", str(tmp_path / "file"), least)
    assert found.by == by
    seen = file_stat(str(tmp_path / "file"))
    assert seen is not None
    assert (found.digest == mtime_digest(seen)) is (by == "mtime")
    assert FileReader().effort(str(tmp_path / "file"), least) == (0 if by == "mtime" else OPEN_COST + 3)
    whole = FileReader().content("f", str(tmp_path), least)
    assert whole.by == by
    os.utime(tmp_path / "file", ns=(LONG_AGO, LONG_AGO + 1))
    assert (FileReader().content("f", str(tmp_path), least) == whole) is (by == "content")


def test_what_is_skipped_in_a_folder_and_the_folders_made_for_it_alone_do_not_count(tmp_path):
    (tmp_path / "kept").write_text("1")
    skip = (str(tmp_path / "new" / "deep" / "own"), str(tmp_path / "log"))
    before = digest_of(str(tmp_path)), tree_stat(str(tmp_path))
    (tmp_path / "new" / "deep").mkdir(parents=True)
    for path in skip:
        Path(path).write_text("2")
    assert (digest_of(str(tmp_path), skip=skip), tree_stat(str(tmp_path), skip)) == before
    (tmp_path / "new" / "other").write_text("3")
    assert digest_of(str(tmp_path), skip=skip) != before[0]
