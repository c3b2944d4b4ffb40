"""Tasks that ask for the LaunchPad or keep files use the store of their launch, also if another one is nearer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lpad_folder import Lpad

from rekindle.dialects.fireworks import LaunchPad
from rekindle.dialects.fireworks.rocket import launch_rocket, rapidfire

ASKS = """\
import os
from fireworks import FiretaskBase, FWAction, explicit_serialize

@explicit_serialize
class Asks(FiretaskBase):
    def run_task(self, spec):
        os.chdir("/")
        return FWAction(stored_data={"ids": self.launchpad.get_fw_ids()})
"""
PLAIN = """\
def ids():
    from rekindle.dialects.fireworks import LaunchPad
    return LaunchPad().get_fw_ids()
"""
KEEPS = {"_fw_name": "AddFilesTask", "paths": "kept.txt", "identifiers": ["kept"]}
WRITES = {"_fw_name": "FileWriteTask", "files_to_write": [{"filename": "kept.txt", "contents": "kept"}]}
FETCHES = {"_fw_name": "GetFilesTask", "identifiers": ["kept"], "new_file_names": ["fetched.txt"]}


@pytest.fixture
def near(lpad: Lpad, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, which has a store of its own with one firework."""
    folder = lpad.folder / "near"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    (folder / "asks.py").write_text(ASKS)
    (folder / "plain.py").write_text(PLAIN)
    LaunchPad().add_wf({"fw_id": 1, "name": "near", "spec": {"_tasks": []}})
    return folder


def add(pad: LaunchPad) -> None:
    """Add three fireworks; the ids that tasks see are [1, 2, 3] in this store, and [1] in the near one."""
    pytest.importorskip("fireworks")
    asks = {"_add_launchpad_and_fw_id": True, "_tasks": [{"_fw_name": "{{asks.Asks}}"}]}
    plain = {"_tasks": [{"_fw_name": "PyTask", "func": "plain.ids", "stored_data_varname": "ids"}]}
    files = {"_tasks": [WRITES, KEEPS, FETCHES]}
    for spec in (asks, plain, files):
        pad.add_wf({"fw_id": 1, "spec": spec})


def with_store_option(lpad: Lpad) -> None:
    assert lpad.rekindle("--store", "../far", "rlaunch", "-s", "rapidfire").code == 0


def with_variable(lpad: Lpad) -> None:
    os.environ["REKINDLE_STORE"] = "../far"  # the fixture removes it
    assert lpad.rekindle("rlaunch", "-s", "rapidfire").code == 0


def overridden(lpad: Lpad) -> None:
    os.environ["REKINDLE_STORE"] = "../near/.rekindle"
    assert lpad.rekindle("--store", "../far", "rlaunch", "-s", "rapidfire").code == 0


def with_work(lpad: Lpad) -> None:
    assert lpad.rekindle("--store", "../far", "work").code == 0


def with_rapidfire(_: Lpad) -> None:
    rapidfire(LaunchPad(store="../far"), strm_lvl="CRITICAL")


def with_launch_rocket(_: Lpad) -> None:
    while launch_rocket(LaunchPad(store="../far"), strm_lvl="CRITICAL"):
        pass


@pytest.mark.parametrize(
    "launch", [with_store_option, with_variable, overridden, with_work, with_rapidfire, with_launch_rocket]
)
def test_tasks_use_the_store_of_their_launch(lpad: Lpad, near: Path, launch: Callable[[Lpad], None]) -> None:
    pad = LaunchPad(store="../far")
    add(pad)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REKINDLE_STORE", "")
        launch(lpad)
    asked, plain, files = (pad.get_fw_dict_by_id(one) for one in (1, 2, 3))
    assert [one["state"] for one in (asked, plain, files)] == ["COMPLETED"] * 3
    assert (stored(asked), stored(plain)) == ([1, 2, 3], [1, 2, 3])
    assert (lpad.folder / "far" / "filepad").is_dir()
    assert not (near / ".rekindle" / "filepad").exists()


def test_tasks_use_the_store_where_it_has_been_moved_to(
    lpad: Lpad, near: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(LaunchPad(store="../far"))
    shutil.move(lpad.folder / "far", lpad.folder / "moved")
    shutil.move(near, lpad.folder / "there")
    monkeypatch.chdir(lpad.folder / "there")
    monkeypatch.setenv("PYTHONPATH", str(lpad.folder / "there"), prepend=os.pathsep)
    pad = LaunchPad(store="../moved")
    assert lpad.rekindle("--store", "../moved", "rlaunch", "-s", "rapidfire").code == 0
    assert stored(pad.get_fw_dict_by_id(2)) == [1, 2, 3]
    assert (lpad.folder / "moved" / "filepad").is_dir()


def stored(firework: dict[str, Any]) -> list[int]:
    """Return the ids that a task has stored."""
    action = firework["launches"][-1]["action"]
    ids: list[int] = action["stored_data"]["ids"]
    return ids
