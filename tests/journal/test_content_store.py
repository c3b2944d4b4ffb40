"""Outputs in the content store: kept, restored as they were, never from a content that has changed."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, count, repeat
from pathlib import Path

import pytest

from rekindle.domain.changes.fingerprints import FileContent
from rekindle.domain.errors import BadValue
from rekindle.files.digests import FileReader
from rekindle.files.store_files import cache_limit
from rekindle.journal import content_store, trees
from rekindle.journal.content_store import ContentStore
from rekindle.journal.kept_outputs import CannotKeep, documents, keep_outputs, read_document, remove_document
from rekindle.journal.restored_outputs import RestoreProblem, RestoreTarget, restore

LARGE = content_store.SMALL + 100_000  # bytes


class Keeper:
    """A store's folder and a project's folder beside it."""

    def __init__(self, folder: Path) -> None:
        self.project, self.store = folder / "project", folder / "store"
        self.project.mkdir()
        self.store.mkdir(0o700)
        self.contents = ContentStore(str(self.store))

    def keep(self, attempt: int, *names: str, most: int = 1 << 30, by: int | None = None) -> list[RestoreTarget]:
        reader = FileReader()
        found = [reader.content(name, str(self.project / name), by) for name in names]
        keep_outputs(self.contents, attempt, found, reader, most)
        return [self.target(one) for one in found]

    def target(self, one: FileContent, **more: object) -> RestoreTarget:
        return RestoreTarget(one.name, one.path, one.digest, str(self.project), **more)  # type: ignore[arg-type]

    def restore(self, attempt: int, targets: list[RestoreTarget]) -> RestoreProblem | None:
        return restore(str(self.store), attempt, targets)

    def stored(self) -> list[Path]:
        return [Path(self.contents.path(one.digest)) for one in self.contents.contents()]


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(tmp_path)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def tree(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything in a folder: kind, mode, content or target, and time."""
    found = {}
    for path in sorted([folder, *folder.rglob("*")]):
        one = path.lstat()
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        mode = None if path.is_symlink() else stat.S_IMODE(one.st_mode)
        found[str(path.relative_to(folder))] = (stat.S_IFMT(one.st_mode), mode, content, one.st_mtime_ns)
    return found


def make_tree(folder: Path) -> None:
    (folder / "deep" / "empty").mkdir(parents=True)
    (folder / "tool").write_text("#!/bin/sh\n")
    (folder / "tool").chmod(0o755)
    (folder / "fixed").write_text("do not write")
    (folder / "fixed").chmod(0o444)
    (folder / "link").symlink_to("tool")
    (folder / "nowhere").symlink_to("missing")
    (folder / "deep" / "large").write_bytes(os.urandom(LARGE))
    (folder / ("n" * 255)).write_text("a long name")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9")).write_text("no UTF-8")
    (folder / "hole").touch()
    os.truncate(folder / "hole", LARGE)
    os.utime(folder / "tool", (1_000_000_000, 1_000_000_000))
    (folder / "deep").chmod(0o555)


def test_a_folder_is_restored_with_modes_times_links_and_empty_folders(keeper):
    make_tree(keeper.project / "out")
    targets, before = keeper.keep(1, "out"), tree(keeper.project / "out")
    trees.remove_tree(str(keeper.project / "out"))
    assert keeper.restore(1, targets) is None
    assert tree(keeper.project / "out") == before
    assert names_in(keeper.project) == ["out"]


def test_an_empty_folder_is_restored(keeper):
    (keeper.project / "out").mkdir()
    targets = keeper.keep(1, "out")
    (keeper.project / "out").rmdir()
    assert keeper.restore(1, targets) is None
    assert list((keeper.project / "out").iterdir()) == []


def test_an_output_in_place_is_left_untouched(keeper):
    make_tree(keeper.project / "out")
    (keeper.project / "one").write_text("one")
    targets = keeper.keep(1, "out", "one")
    os.utime(keeper.project / "one", (5, 5))
    before, inode = tree(keeper.project), (keeper.project / "one").stat().st_ino
    assert keeper.restore(1, targets) is None
    assert tree(keeper.project) == before
    assert (keeper.project / "one").stat().st_ino == inode


def test_equal_contents_are_stored_once_and_are_no_hard_links(keeper):
    for name in ("a", "b"):
        (keeper.project / name).write_bytes(b"x" * LARGE)
        (keeper.project / f"small-{name}").write_text("same")
    keeper.keep(1, "a", "small-a")
    keeper.keep(2, "b", "small-b")
    assert len(keeper.stored()) == 2
    assert {path.stat().st_nlink for path in keeper.stored()} == {1}
    (keeper.project / "a").write_bytes(b"y")
    assert all(keeper.contents.is_sound(one.digest) for one in keeper.contents.contents())


@pytest.mark.parametrize("size", [4, LARGE])
def test_a_flipped_bit_is_found_set_aside_and_never_restored(keeper, size):
    (keeper.project / "out").write_bytes(os.urandom(size))
    (keeper.project / "other").write_text("other")
    targets = keeper.keep(1, "other", "out")
    poisoned = next(path for path in keeper.stored() if path.stat().st_size == size)
    content = bytearray(poisoned.read_bytes())
    content[size // 2] ^= 4
    poisoned.write_bytes(content)
    for name in ("out", "other"):
        (keeper.project / name).unlink()
    found = keeper.restore(1, targets)
    assert found is not None
    assert found.kind == "poisoned"
    assert names_in(keeper.project) == []
    assert not poisoned.exists()
    assert (keeper.store / "cache" / "poisoned" / str(found.digest)).exists()
    again = keeper.restore(1, targets)
    assert again is not None
    assert again.kind == "absent"


def test_what_is_kept_of_another_content_is_not_restored(keeper):
    (keeper.project / "out").write_text("one")
    [target] = keeper.keep(1, "out")
    (keeper.project / "out").write_text("two")
    keeper.keep(1, "out")
    (keeper.project / "out").unlink()
    found = keeper.restore(1, [target])
    assert found is not None
    assert found.kind == "absent"


def test_unknown_files_in_a_folder_are_never_removed(keeper):
    (keeper.project / "out").mkdir()
    (keeper.project / "out" / "a").write_text("a")
    targets = keeper.keep(1, "out")
    (keeper.project / "out" / "a").write_text("changed")
    (keeper.project / "out" / "mine").write_text("precious")
    before = tree(keeper.project)
    found = keeper.restore(1, targets)
    assert found is not None
    assert found.kind == "blocked"
    assert found.text.endswith("left: mine")
    assert tree(keeper.project) == before


@pytest.mark.parametrize("known", ["document", "digest"])
def test_files_of_an_earlier_attempt_of_the_job_are_removed(keeper, known):
    (keeper.project / "out").mkdir()
    (keeper.project / "out" / "a").write_text("a")
    [target] = keeper.keep(1, "out")
    (keeper.project / "out" / "b").write_text("b")
    [later] = keeper.keep(2, "out")
    if known == "document":
        target = RestoreTarget(target.name, target.path, target.digest, target.root, earlier=(2,))
    else:
        assert remove_document(keeper.contents, 2)
        target = RestoreTarget(target.name, target.path, target.digest, target.root, replaced=(later.digest,))
    assert keeper.restore(1, [target]) is None
    assert [path.name for path in (keeper.project / "out").iterdir()] == ["a"]
    assert names_in(keeper.project) == ["out"]


def test_no_link_is_followed_or_replaced(keeper, tmp_path):
    (keeper.project / "below").mkdir()
    (keeper.project / "below" / "out").write_text("out")
    targets = keeper.keep(1, "below/out")
    (tmp_path / "elsewhere").mkdir()
    trees.remove_tree(str(keeper.project / "below"))
    (keeper.project / "below").symlink_to(tmp_path / "elsewhere")
    found = keeper.restore(1, targets)
    assert found is not None
    assert found.kind == "blocked"
    assert names_in(tmp_path / "elsewhere") == []
    (keeper.project / "below").unlink()
    (keeper.project / "below").mkdir()
    (keeper.project / "below" / "out").symlink_to(tmp_path / "elsewhere" / "new")
    found = keeper.restore(1, targets)
    assert found is not None
    assert found.text.endswith("is a symbolic link now, and was a file")


@pytest.mark.parametrize("by", [None, 1])
def test_an_output_that_is_a_link_is_a_link_again_or_what_it_led_to(keeper, by):
    data, out = keeper.project / "data", keeper.project / "out"
    data.write_text("data")
    out.symlink_to("data")
    targets = keeper.keep(1, "out", by=by)
    out.unlink()
    assert keeper.restore(1, targets) is None
    assert out.readlink() == Path("data")
    out.unlink()
    data.unlink()
    assert keeper.restore(1, targets) is None
    assert not out.is_symlink()
    assert out.read_text() == "data"


@pytest.mark.parametrize("by", [None, 1])
@pytest.mark.parametrize("absolute", [False, True])
def test_links_lead_to_outputs_that_are_restored_with_them(keeper, by, absolute):
    base = keeper.project if absolute else Path()
    (keeper.project / "data").write_text("data")
    (keeper.project / "out").symlink_to(base / "data")
    (keeper.project / "again").symlink_to(base / "out")
    (keeper.project / "folder").mkdir()
    (keeper.project / "folder" / "link").symlink_to(keeper.project / "data" if absolute else "../data")
    before = tree(keeper.project)
    targets = keeper.keep(1, "again", "folder", "out", "data", by=by)
    for change in ("content", "gone"):
        (keeper.project / "data").unlink()
        if change == "content":
            (keeper.project / "data").write_text("later")
        assert keeper.restore(1, targets) is None
        assert tree(keeper.project).keys() == before.keys()
        assert {path: one[2] for path, one in tree(keeper.project).items()} == {
            path: one[2] for path, one in before.items()
        }


def test_a_link_in_the_way_is_replaced_by_a_link_only(keeper):
    (keeper.project / "one").write_text("one")
    (keeper.project / "out").symlink_to("one")
    targets = keeper.keep(1, "out")
    (keeper.project / "two").write_text("two")
    (keeper.project / "out").unlink()
    (keeper.project / "out").symlink_to("two")
    assert keeper.restore(1, targets) is None
    assert (keeper.project / "out").readlink() == Path("one")
    (keeper.project / "one").write_text("changed")
    found = keeper.restore(1, targets)
    assert found is not None
    assert found.kind == "blocked"
    assert (keeper.project / "one").read_text() == "changed"


def test_a_folder_takes_no_place_of_a_link_to_a_folder(keeper):
    (keeper.project / "one").mkdir()
    (keeper.project / "one" / "file").write_text("one")
    (keeper.project / "out").symlink_to("one")
    targets = keeper.keep(1, "out")
    (keeper.project / "out").unlink()
    assert keeper.restore(1, targets) is None
    assert (keeper.project / "out").readlink() == Path("one")
    (keeper.project / "out").unlink()
    trees.remove_tree(str(keeper.project / "one"))
    found = keeper.restore(1, targets)
    assert found is not None
    assert found.kind == "blocked"
    assert names_in(keeper.project) == []


def test_a_folder_whose_links_lead_to_other_contents_now_is_not_restored(keeper):
    (keeper.project / "data").write_text("data")
    (keeper.project / "out").mkdir()
    (keeper.project / "out" / "link").symlink_to("../data")
    targets = keeper.keep(1, "out")
    trees.remove_tree(str(keeper.project / "out"))
    (keeper.project / "data").write_text("changed")
    found = keeper.restore(1, targets)
    assert found is not None
    assert found.kind == "blocked"
    assert names_in(keeper.project) == ["data"]
    (keeper.project / "data").write_text("data")
    assert keeper.restore(1, targets) is None


@pytest.mark.parametrize("what", ["fifo", "store"])
def test_a_folder_with_what_cannot_be_kept_is_not_kept(keeper, what):
    (keeper.project / "out").mkdir()
    if what == "fifo":
        os.mkfifo(keeper.project / "out" / "pipe")
    else:
        (keeper.project / "out" / ".rekindle").mkdir()
    with pytest.raises(CannotKeep, match="is a FIFO" if what == "fifo" else "holds a store"):
        keeper.keep(1, "out")
    assert list(documents(keeper.contents)) == []


def test_outputs_above_the_bound_are_not_kept(keeper):
    (keeper.project / "out").write_bytes(b"x" * LARGE)
    with pytest.raises(CannotKeep, match="larger than the cache may be"):
        keeper.keep(1, "out", most=LARGE - 1)
    assert keeper.stored() == []


@pytest.mark.parametrize("size", [4, LARGE])
def test_what_changes_while_it_is_kept_is_not_kept(keeper, size):
    (keeper.project / "out").write_bytes(b"x" * size)
    reader = FileReader()
    recorded = reader.content("out", str(keeper.project / "out"))
    (keeper.project / "out").write_bytes(b"y" * size)
    with pytest.raises(CannotKeep, match="changed while it was kept"):
        keep_outputs(keeper.contents, 1, [recorded], reader, 1 << 30)
    assert list(documents(keeper.contents)) == []


def test_without_reflinks_contents_are_copied(keeper, monkeypatch):
    def refuse(fd: int, request: int, *more: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "no reflinks")

    monkeypatch.setattr(trees.fcntl, "ioctl", refuse)
    (keeper.project / "out").write_bytes(content := os.urandom(LARGE))
    targets = keeper.keep(1, "out")
    (keeper.project / "out").unlink()
    assert keeper.restore(1, targets) is None
    assert (keeper.project / "out").read_bytes() == content


def test_a_full_disk_leaves_what_was_there(keeper, monkeypatch):
    (keeper.project / "out").mkdir()
    (keeper.project / "out" / "a").write_text("a")
    [target] = keeper.keep(1, "out")
    (keeper.project / "out" / "a").write_text("b")
    [later] = keeper.keep(2, "out")
    before = tree(keeper.project / "out")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "draft")

    monkeypatch.setattr(ContentStore, "copy_out", full)
    target = RestoreTarget(target.name, target.path, target.digest, target.root, replaced=(later.digest,))
    found = keeper.restore(1, [target])
    assert found == RestoreProblem("failed", "No space left on device (draft)")
    assert tree(keeper.project / "out") == before
    assert names_in(keeper.project) == ["out"]


def each_step(
    monkeypatch: pytest.MonkeyPatch, calls: tuple[str, ...], act: Callable[[], object], *, killed: bool = False
) -> int:
    """Do something again and again, interrupted before the first call of these functions of os, the second, and so on,
    until it is not interrupted any more. Return how often it was. `killed`: no later call has an effect either."""
    for number in count():
        interrupts = chain([False] * number, repeat(True) if killed else [True])
        with monkeypatch.context() as patch:
            for name in calls:
                patch.setattr(os, name, partial(call_or_interrupt, interrupts, getattr(os, name)))
            try:
                act()
            except KeyboardInterrupt:
                continue
        return number
    raise AssertionError


def call_or_interrupt(
    interrupts: Iterator[bool], original: Callable[..., object], *args: object, **named: object
) -> object:
    if next(interrupts, False):
        raise KeyboardInterrupt
    return original(*args, **named)


SEAMS = ("rename", "replace", "mkdir", "symlink", "chmod", "utime")


def test_an_interrupted_restore_brings_back_what_was_there(keeper, monkeypatch):
    out = keeper.project / "out"
    make_tree(out)
    [target] = keeper.keep(1, "out")
    wanted = tree(out)
    trees.remove_tree(str(out))
    out.mkdir()
    (out / "b").write_text("b")
    [later] = keeper.keep(2, "out")
    before = tree(keeper.project)
    target = RestoreTarget(target.name, target.path, target.digest, target.root, replaced=(later.digest,))

    def act() -> None:
        assert {key: one[:3] for key, one in tree(keeper.project).items()} == {
            key: one[:3] for key, one in before.items()
        }
        assert keeper.restore(1, [target]) is None

    assert each_step(monkeypatch, SEAMS, act) > 10
    assert tree(out) == wanted
    assert names_in(keeper.project) == ["out"]


def test_a_restore_that_was_killed_is_done_again(keeper, monkeypatch):
    out = keeper.project / "out"
    make_tree(out)
    [target] = keeper.keep(1, "out")
    wanted = tree(out)
    (out / "tool").write_text("changed")
    assert each_step(monkeypatch, (*SEAMS, "unlink"), lambda: keeper.restore(1, [target]), killed=True) > 10
    assert tree(out) == wanted
    assert names_in(keeper.project) == ["out"]


def test_an_interrupted_keep_is_done_again(keeper, monkeypatch):
    make_tree(keeper.project / "out")
    assert each_step(monkeypatch, ("replace", "utime"), lambda: keeper.keep(1, "out")) > 5
    assert names_in(keeper.store / "cache" / "new") == []
    assert all(keeper.contents.is_sound(one.digest) for one in keeper.contents.contents())


def test_two_processes_restore_the_same_outputs_at_once(keeper):
    make_tree(keeper.project / "out")
    targets, before = keeper.keep(1, "out"), tree(keeper.project / "out")
    trees.remove_tree(str(keeper.project / "out"))
    found: list[RestoreProblem | None] = []
    several = [threading.Thread(target=lambda: found.append(keeper.restore(1, targets))) for _ in range(4)]
    for one in several:
        one.start()
    for one in several:
        one.join(60)
    assert found == [None] * 4
    assert tree(keeper.project / "out") == before
    assert names_in(keeper.project) == ["out"]


def test_a_document_is_not_removed_while_its_outputs_are_restored(keeper):
    (keeper.project / "out").write_text("out")
    keeper.keep(7, "out")
    path = keeper.store / "cache" / "outputs" / "0000" / "00" / "7"
    with path.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert remove_document(keeper.contents, 7) is None
        assert path.exists()
    assert remove_document(keeper.contents, 7)
    assert read_document(keeper.contents, 7) is None


def test_a_damaged_document_is_none(keeper):
    (keeper.project / "out").write_text("out")
    targets = keeper.keep(7, "out")
    path = keeper.store / "cache" / "outputs" / "0000" / "00" / "7"
    path.write_bytes(path.read_bytes()[:-3])
    (keeper.project / "out").unlink()
    found = keeper.restore(7, targets)
    assert found is not None
    assert found.kind == "absent"


def test_an_output_that_is_compared_by_mtime_has_it_again(keeper):
    (keeper.project / "out").write_bytes(b"x" * 100)
    targets = keeper.keep(1, "out", by=10)
    assert targets[0].digest.startswith("mtime:")
    before = tree(keeper.project)
    (keeper.project / "out").write_text("other")
    assert keeper.restore(1, targets) is None
    assert {key: one for key, one in tree(keeper.project).items() if key == "out"} == {"out": before["out"]}


def test_the_bound_is_read_from_the_environment():
    assert cache_limit({}) == 10 << 30
    assert cache_limit({"REKINDLE_CACHE_SIZE": "2M"}) == 2 << 20
    with pytest.raises(BadValue, match="REKINDLE_CACHE_SIZE is '20'"):
        cache_limit({"REKINDLE_CACHE_SIZE": "20"})
