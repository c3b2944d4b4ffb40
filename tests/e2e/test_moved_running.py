"""A project that is copied or moved while, or after, a runner works in it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil

from project_folder import Project, until

BLOCKED = """\
name: s
jobs:
  a:
    run: "cat in; touch begun; while ! test -e go; do sleep 0.02; done; cp in out"
    inputs: {i: in}
    outputs: {o: out}
  b: {run: "cp out out2", inputs: {i: out}, outputs: {o: out2}}
"""


def blocked(tmp_path: Path, *words: str) -> tuple[Project, subprocess.Popen[bytes]]:
    """Make a project whose job runs until a file `go` exists."""
    (tmp_path / "orig").mkdir()
    orig = Project(tmp_path / "orig")
    orig.spec(BLOCKED)
    orig.write("in", "1\n")
    process = orig.start(*words)
    until((orig.folder / "begun").exists, "the job runs")
    return orig, process


def copied(orig: Project) -> Project:
    """Copy a project as `cp -a` does, without FIFOs."""

    def fifos(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if Path(folder, name).is_fifo()]

    folder = orig.folder.parent / "copy"
    return Project(Path(shutil.copytree(orig.folder, folder, ignore=fifos)))


def test_a_copy_of_a_project_that_runs_leaves_the_original_alone(tmp_path):
    orig, process = blocked(tmp_path, "run", "spec.yaml")
    try:
        workers = {one.pid for one in psutil.Process(process.pid).children()}
        copy = copied(orig)
        status = copy.ask("status")["workflows"][0]
        assert status["runners"] == []
        assert [one["why"] for one in status["dead_runners"]] == ["elsewhere"]
        assert "works on the store that this one was copied from" in copy.rekindle("status").stdout
        copy.write("in", "2\n")
        copy.write("go", "")
        copy.rekindle("work")
        assert (copy.folder / "out2").read_text() == "2\n"
        lost, again, _ = copy.attempts()
        assert (lost["cause"], again["state"]) == ("lost", "completed")
        assert "the store was copied while runner 1" in copy.rekindle("attempts", "show", "1").stdout
        assert not (orig.folder / "out").exists()
        assert workers == {one.pid for one in psutil.Process(process.pid).children()}
        assert orig.states() == {"a": "running", "b": "waiting"}
        orig.write("go", "")
        assert process.wait(timeout=60) == 0
        assert (orig.folder / "out2").read_text() == "1\n"
        assert [one["number"] for one in orig.attempts()] == [1, 1]
    finally:
        orig.close()


def test_canceling_and_rerunning_in_a_copy_ends_nothing_of_the_original(tmp_path):
    orig, process = blocked(tmp_path, "run", "spec.yaml")
    try:
        copy = copied(orig)
        assert "died; jobs: 1 lost and ready again (a)" in copy.rekindle("cancel", "a").stderr
        copy.rekindle("work")
        assert copy.states() == {"a": "canceled", "b": "waiting"}
        copy.write("go", "")
        copy.rekindle("rerun", "a", "--yes", "--work")
        assert copy.states() == {"a": "completed", "b": "completed"}
        assert process.poll() is None
        orig.write("go", "")
        assert process.wait(timeout=60) == 0
        assert orig.states() == {"a": "completed", "b": "completed"}
    finally:
        orig.close()


def test_a_copy_is_supervised_beside_the_original(tmp_path):
    orig, process = blocked(tmp_path, "run", "spec.yaml")
    try:
        supervisor = orig.start("supervise", "s", "--no-work")
        until(lambda: orig.ask("events", "list")["events"][-1]["kind"] == "supervise", "it is supervised")
        copy = copied(orig)
        copy.write("go", "")
        copy.rekindle("supervise", "s")
        assert copy.states() == {"a": "completed", "b": "completed"}
        assert supervisor.poll() is None
        orig.write("go", "")
        assert (process.wait(timeout=60), supervisor.wait(timeout=60)) == (0, 0)
    finally:
        orig.close()


def test_records_journalled_before_a_move_are_ingested_after_it(tmp_path):
    orig, process = blocked(tmp_path, "run", "spec.yaml", "-j", "1")
    try:
        workers = psutil.Process(process.pid).children()
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=60)
        orig.write("go", "")
        psutil.wait_procs(workers, timeout=60)
        assert (orig.folder / "out").exists()
        moved = Project(orig.folder.rename(tmp_path / "moved"))
        moved.rekindle("work")
        assert moved.states() == {"a": "completed", "b": "completed"}
        assert len(moved.attempts("a")) == 1
        assert [one["verdict"] for one in moved.ask("why", "--all")["jobs"]] == ["current", "current"]
        moved.write("in", "2\n")
        assert moved.ask("why", "a")["jobs"][0]["reasons"][0]["path"] == f"{tmp_path}/moved/in"
        assert not (tmp_path / "orig").exists()
    finally:
        orig.close()
