"""The store's disk is full: commands fail with one clear error, running jobs finish, and no finished job runs again."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator

import pytest
from disks import Disk, mounted

from project_folder import Project, until

COMMANDS = """
name: gated
jobs:
  first: {matrix: {i: [0, 1]}, run: "echo ${job.name} >> ran.txt; until test -e gate; do sleep 0.02; done"}
  then: {matrix: {i: {range: [0, 6]}}, needs: ["first*"], run: "echo ${job.name} >> ran.txt"}
"""

CALLS = """
name: called
jobs:
  first: {call: "functions:wait", args: {name: first}}
  more: {matrix: {i: {range: [0, 20]}}, needs: [first], call: "functions:mark", args: {name: "more-${matrix.i}"}}
"""

FUNCTIONS = """
import pathlib, time

def mark(name):
    with open("ran.txt", "a") as file:
        file.write(name + "\\n")

def wait(name):
    mark(name)
    while not pathlib.Path("gate").exists():
        time.sleep(0.02)
"""

FAN_OUT = """
name: fanned
jobs:
  fan:
    steps:
      - name: each
        each: [0, 1, 2, 3, 4, 5]
        parallel: 2
        run: "echo item-${item} >> ran.txt; until test -e gate; do sleep 0.02; done"
      - {name: after, run: "echo after >> ran.txt"}
"""


@pytest.fixture
def disk(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """A disk for the project's store, but not for the project."""
    with mounted(tmp_path_factory.mktemp("disk") / "mounted") as disk:
        project.env["REKINDLE_STORE"] = str(disk.folder / "store")
        yield disk
        if (disk.folder / "filler").exists():
            disk.make_room()


def say(runner: subprocess.Popen[bytes], project: Project) -> tuple[int, str]:
    code = runner.wait(timeout=60)
    return code, (project.folder / "stderr").read_text()


def start_watched(project: Project, *words: str) -> subprocess.Popen[bytes]:
    """Start a command in the background whose stderr is kept."""
    with (project.folder / "stderr").open("wb") as errors:
        return project.start(*words, stderr=errors)


@pytest.mark.parametrize(
    ("spec", "begun"), [(COMMANDS, 2), (CALLS, 1), (FAN_OUT, 2)], ids=["commands", "calls", "fan-out"]
)
def test_what_ran_when_the_disk_was_full_is_told_once_there_is_room(
    project: Project, disk: Disk, spec: str, begun: int
) -> None:
    project.write("functions.py", FUNCTIONS)
    project.spec(spec)
    runner = start_watched(project, "run", "spec.yaml", "-j", "2")
    until(lambda: len(project.ran()) == begun, "all that can run does")
    disk.fill()
    (project.folder / "gate").touch()
    code, said = say(runner, project)
    assert code == 1
    assert said.count("rekindle:") == 1
    assert str(disk.folder / "store") in said
    assert "No space left on device" in said or "disk that is full" in said
    assert "make room" in said

    disk.fill()  # the runner has removed its log
    assert "disk that is full" in project.rekindle("work", expect=1).stderr
    disk.make_room()
    project.rekindle("work", "-j", "2")
    assert set(project.states().values()) == {"completed"}
    assert set(Counter(project.ran()).values()) == {1}
    assert {attempt["number"] for attempt in project.attempts()} == {1}
    assert {attempt["state"] for attempt in project.attempts()} == {"completed"}


OUTPUTS = """
name: outputs
jobs:
  make: {run: "echo made > made.txt", outputs: {made: made.txt}}
"""


def tree(disk: Disk) -> set[str]:
    """Return the attempts' files in the store."""
    root = disk.folder / "store" / "attempts"
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_a_rerun_that_cannot_be_written_changes_nothing(project: Project, disk: Disk) -> None:
    project.spec(OUTPUTS)
    project.rekindle("run", "spec.yaml")
    before = tree(disk)
    disk.fill()
    for words in (["rerun", "make", "--yes"], ["rerun", "make", "--yes", "--keep-outputs"]):
        assert "make room" in project.rekindle(*words, expect=1).stderr
    assert "disk that is full" in project.rekindle("submit", "spec.yaml", "--new", expect=1).stderr
    assert project.states() == {"make": "completed"}  # reading needs no space
    assert tree(disk) == before
    disk.make_room()
    assert len(project.ask("reruns", "list")["reruns"]) == 0
    assert len(project.ask("status")["workflows"]) == 1
    project.rekindle("rerun", "make", "--yes", "--keep-outputs", "--work")
    assert [attempt["state"] for attempt in project.attempts()] == ["completed", "completed"]
