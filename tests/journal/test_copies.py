"""True copies: nothing is shared that either side could change, and nothing is lost."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from rekindle.journal import trees
from rekindle.journal.trees import copy_file, copy_tree, remove_tree, tree_files, tree_size


@pytest.fixture(params=["as the file system can", "without clones", "without the kernel"])
def means(request, monkeypatch):
    """With what a file's content is copied."""
    if request.param != "as the file system can":
        monkeypatch.setattr(trees, "_clone", lambda *_: False)
    if request.param == "without the kernel":

        def refused(*_):
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "copy_file_range", refused)


def ignored(_: int) -> None:
    return


def filled(folder: Path) -> Path:
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "a.txt").write_text("one\n")
    (folder / "deep" / "er" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "deep" / "er" / "run.sh").chmod(0o751)
    (folder / "link").symlink_to("a.txt")
    (folder / "dangling").symlink_to("/no/such")
    (folder / "to-folder").symlink_to("deep")
    os.link(folder / "a.txt", folder / "b.txt")
    os.mkfifo(folder / "pipe")
    os.utime(folder / "a.txt", (1e9, 1e9 + 0.25))
    (folder / "empty").chmod(0o700)
    os.utime(folder / "deep", (1e9, 1e9))
    return folder


def test_a_copy_is_the_same_and_shares_nothing(tmp_path, means):
    source, target = filled(tmp_path / "source"), tmp_path / "target"
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(source)
        made.bind("socket")
        copy_tree(str(source), str(target), ignored)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == [
        "a.txt",
        "b.txt",
        "dangling",
        "deep",
        "deep/er",
        "deep/er/run.sh",
        "empty",
        "link",
        "to-folder",
    ]
    assert (target / "link").readlink() == Path("a.txt")
    assert (target / "dangling").readlink() == Path("/no/such")
    assert stat.S_IMODE((target / "deep/er/run.sh").stat().st_mode) == 0o751
    for name in ("a.txt", "deep"):
        assert (target / name).stat().st_mtime_ns == (source / name).stat().st_mtime_ns
    assert (target / "a.txt").stat().st_nlink == 1
    (target / "a.txt").write_text("another")
    assert (source / "a.txt").read_text() == (source / "b.txt").read_text() == "one\n"


def test_large_and_sparse_files_are_whole_and_told_byte_by_byte(tmp_path, means):
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.write(os.urandom(9 << 20))
        file.seek(40 << 20)
        file.write(b"end")
        file.truncate(64 << 20)
    told = []
    copy_file(str(source), str(tmp_path / "target"), told.append)
    assert (tmp_path / "target").read_bytes() == source.read_bytes()
    assert sum(told) == 64 << 20
    assert (tmp_path / "target").stat().st_blocks <= source.stat().st_blocks + 64


def test_an_empty_file_and_an_empty_folder_are_copied(tmp_path, means):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "nothing").touch()
    copy_tree(str(tmp_path / "source"), str(tmp_path / "target"), ignored)
    assert (tmp_path / "target" / "nothing").stat().st_size == 0


def test_names_at_the_top_can_be_left_out(tmp_path):
    (tmp_path / "source" / "in").mkdir(parents=True)
    for name in ("x", "in/x"):
        (tmp_path / "source" / name).touch()
    copy_tree(str(tmp_path / "source"), str(tmp_path / "target"), ignored, ("x",))
    assert [path.name for path in (tmp_path / "target").rglob("x")] == ["x"]


def test_a_folder_that_may_not_be_written_in_is_copied_and_removed(tmp_path):
    (tmp_path / "source" / "locked").mkdir(parents=True)
    (tmp_path / "source" / "locked" / "x").touch()
    (tmp_path / "source" / "locked").chmod(0o500)
    copy_tree(str(tmp_path / "source"), str(tmp_path / "target"), ignored)
    assert stat.S_IMODE((tmp_path / "target" / "locked").stat().st_mode) == 0o500
    remove_tree(str(tmp_path / "target"))
    assert not (tmp_path / "target").exists()
    remove_tree(str(tmp_path / "target"))
    (tmp_path / "source" / "locked").chmod(0o700)


def test_nothing_is_copied_over_what_is_there(tmp_path):
    (tmp_path / "source").write_text("new")
    (tmp_path / "target").write_text("old")
    with pytest.raises(FileExistsError):
        copy_file(str(tmp_path / "source"), str(tmp_path / "target"), ignored)
    assert (tmp_path / "target").read_text() == "old"


def test_sizes_and_files_are_those_within(tmp_path):
    source = filled(tmp_path / "source")
    assert tree_size(str(source)) == 4 + 4 + 10 + len("a.txt") + len("/no/such") + len("deep")
    assert [Path(path).name for path in tree_files(str(source))] == [
        "a.txt",
        "b.txt",
        "dangling",
        "run.sh",
        "link",
        "to-folder",
    ]
    assert tree_files(str(source / "link")) == [str(source / "link")]
    assert tree_size(str(source / "a.txt")) == 4


def test_removing_a_link_leaves_the_folder_that_it_leads_to(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.mkdir(0o750)
    (target / "file").write_text("precious")
    link.symlink_to(target)
    remove_tree(str(link))
    assert not link.is_symlink()
    assert (target / "file").read_text() == "precious"
    assert stat.S_IMODE(target.stat().st_mode) == 0o750


def test_a_fifo_in_the_place_of_a_file_is_an_error_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        copy_file(str(tmp_path / "fifo"), str(tmp_path / "copy"), ignored)
    assert not (tmp_path / "copy").exists()
