"""Folders of attempts: one empty folder that moves from attempt to attempt, and what was written in it stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from harness import WorkerHarness

from rekindle.domain.definition import Step
from rekindle.domain.states import State
from rekindle.worker.attempt_folders import AttemptFolders
from rekindle.worker.reporter import DiskRetry


@pytest.fixture
def folders(tmp_path: Path) -> AttemptFolders:
    return AttemptFolders(str(tmp_path / "spare"), DiskRetry(lambda _: None, lambda: False))


def test_an_unused_folder_moves_on_to_the_next_attempt_and_back_at_the_end(
    tmp_path: Path, folders: AttemptFolders
) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    folders.make(str(first))
    inode = first.stat().st_ino
    assert folders.is_unused(str(first))
    folders.clear(str(first), left_nothing=True)
    folders.make(str(second))
    assert second.stat().st_ino == inode
    folders.clear(str(second), left_nothing=True)
    folders.take_back()
    assert list(tmp_path.iterdir()) == [tmp_path / "spare"]


@pytest.mark.parametrize("removed", [False, True])
def test_a_folder_in_which_something_was_made_is_no_other_attempts(
    tmp_path: Path, folders: AttemptFolders, removed: bool
) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    folders.make(str(first))
    (first / "made").touch()
    if removed:
        (first / "made").unlink()
    os.utime(first, (0, 0))  # as an archive that is unpacked may set it
    assert not folders.is_unused(str(first))
    inode = first.stat().st_ino
    folders.clear(str(first), left_nothing=True)
    assert first.exists() is not removed
    folders.make(str(second))
    assert list(second.iterdir()) == []
    assert removed or second.stat().st_ino != inode


def test_a_folder_that_was_removed_or_replaced_is_not_unused(tmp_path: Path, folders: AttemptFolders) -> None:
    folder = tmp_path / "1"
    folders.make(str(folder))
    folder.rmdir()
    assert not folders.is_unused(str(folder))
    folder.symlink_to(tmp_path)
    assert not folders.is_unused(str(folder))
    folders.clear(str(folder), left_nothing=True)
    folders.make(str(tmp_path / "2"))
    assert folders.is_unused(str(tmp_path / "2"))


@pytest.mark.parametrize("step", [Step("main", run="test -d $REKINDLE_DIR"), Step("main", call="m:f")])
def test_when_a_worker_is_idle_no_empty_folder_is_left(harness: WorkerHarness, step: Step) -> None:
    harness.module("m", "import os\ndef f(): assert os.path.isdir(os.environ['REKINDLE_DIR'])\n")
    recipe = harness.recipe(step)
    work = [harness.make(recipe) for _ in range(20)]
    harness.give(*work)
    assert {harness.end_of(one).state for one in work} == {State.COMPLETED}
    assert [one.folder for one in work if Path(one.folder).exists()] == []


def test_logs_of_calls_in_one_process_are_their_own(harness: WorkerHarness) -> None:
    harness.module("m", "def f(n):\n    if n % 3: print('call', n)\n")
    recipe = harness.recipe(Step("main", call="m:f", args={"n": "${job.id}"}))
    work = [harness.make(recipe) for _ in range(12)]
    harness.give(*work)
    assert {harness.end_of(one).state for one in work} == {State.COMPLETED}
    assert [harness.log(one) for one in work] == [f"call {one.job}\n" if one.job % 3 else None for one in work]
