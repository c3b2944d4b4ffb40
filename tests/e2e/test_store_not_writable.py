"""A store that cannot be written: commands that read work, and commands that write report the reason."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from disks import mounted

from project_folder import COMMAND, Project, until

SPEC = """
name: two
jobs:
  good: {run: "echo good >> ran.txt"}
  bad: {run: "echo bad >> ran.txt; exit 3"}
"""

WAITING = """
name: waiting
jobs:
  long: {run: "echo long >> ran.txt; until test -e gate; do sleep 0.02; done"}
  after: {matrix: {i: {range: [0, 3]}}, needs: [long], run: "echo ${job.name} >> ran.txt"}
"""

LOOKS = (
    ["status"],
    ["why", "--all"],
    ["jobs", "list"],
    ["jobs", "show", "good"],
    ["attempts", "list"],
    ["failures"],
    ["events", "list"],
    ["reruns", "list"],
    ["workflows", "list"],
    ["store", "check", "--deep"],
    ["rerun", "--all", "--dry-run"],
)
ACTS = (["work"], ["rerun", "--all", "--yes"], ["hold", "--all"], ["workflows", "archive", "1"])


def check_look_but_not_act(project: Project) -> None:
    for words in LOOKS:
        project.rekindle(*words)
    for words in ACTS:
        said = project.rekindle(*words, expect=1).stderr
        assert said.count("rekindle:") == 1
        assert "cannot be written" in said
        assert "check who owns it" in said


def test_a_store_on_a_disk_that_is_mounted_read_only_can_be_looked_at(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with mounted(tmp_path_factory.mktemp("disk") / "mounted") as disk:
        project.env["REKINDLE_STORE"] = str(disk.folder / "store")
        project.spec(SPEC)
        project.rekindle("run", "spec.yaml", expect=2)
        with disk.read_only():
            check_look_but_not_act(project)
        project.rekindle("rerun", "bad", "--yes", "--work", expect=2)
        assert Counter(project.ran()) == {"good": 1, "bad": 2}


@pytest.fixture
def bound(project: Project) -> Iterator[Project]:
    """A project whose commands respect permissions, also if root runs the tests."""
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root is bound by no permissions, and setpriv is not installed")
        project.command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", str(COMMAND)]
    yield project
    for path in [project.folder, *project.folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)


def test_a_store_whose_permissions_were_taken_can_be_looked_at(bound: Project) -> None:
    bound.spec(SPEC)
    bound.rekindle("run", "spec.yaml", expect=2)
    store = bound.folder / ".rekindle"
    (store / "store.db").chmod(0o444)
    store.chmod(0o555)
    check_look_but_not_act(bound)
    store.chmod(0o000)
    assert "cannot be reached" in bound.rekindle("status", expect=1).stderr
    store.chmod(0o755)
    (store / "store.db").chmod(0o000)
    assert "check" in bound.rekindle("status", expect=1).stderr
    (store / "store.db").chmod(0o644)
    bound.rekindle("rerun", "bad", "--yes", "--work", expect=2)


def test_last_writes_that_cannot_be_read_are_an_error(bound: Project) -> None:
    bound.spec(SPEC)
    bound.rekindle("run", "spec.yaml", expect=2)
    store = bound.folder / ".rekindle"
    with closing(sqlite3.connect(store / "store.db")) as reader:  # keeps the write-ahead log when others close
        reader.execute("SELECT * FROM meta").fetchall()
        bound.rekindle("hold", "--all")
        log = (store / "store.db-wal").read_bytes()
    (store / "store.db-wal").write_bytes(log)
    (store / "store.db-shm").unlink(missing_ok=True)
    store.chmod(0o555)
    said = bound.rekindle("status", expect=1).stderr
    assert "what was written last is still in store.db-wal" in said
    assert "copy the folder" in said


def test_permissions_lost_during_a_run_stop_it_and_no_finished_job_runs_again(bound: Project) -> None:
    bound.spec(WAITING)
    with (bound.folder / "stderr").open("wb") as errors:
        runner = bound.start("run", "spec.yaml", "-j", "1", stderr=errors)
    until(lambda: bound.ran() == ["long"], "it runs")
    folders = [path for path in (bound.folder / ".rekindle").rglob("*") if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    (bound.folder / "gate").touch()
    until(lambda: runner.poll() is not None or len(bound.ran()) == 4, "it has ended, or done all")
    for folder in folders:
        folder.chmod(0o755)
    runner.wait(timeout=60)
    bound.rekindle("work")
    assert set(bound.states().values()) == {"completed"}
    assert set(Counter(bound.ran()).values()) == {1}


@pytest.mark.soak  # waits half a minute
def test_a_store_locked_for_too_long_ends_the_run_and_running_jobs_continue(project: Project) -> None:
    project.spec(WAITING)
    with (project.folder / "stderr").open("wb") as errors:
        runner = project.start("run", "spec.yaml", "-j", "1", stderr=errors)
    until(lambda: project.ran() == ["long"], "it runs")
    with closing(sqlite3.connect(project.folder / ".rekindle" / "store.db", isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN IMMEDIATE")
        (project.folder / "gate").touch()
        assert project.states()["long"] == "running"  # reading does not wait
        assert runner.wait(timeout=110) == 1
        other.execute("ROLLBACK")
    said = (project.folder / "stderr").read_text()
    assert said.count("rekindle:") == 1
    assert "locked by another process for too long" in said
    project.rekindle("work")
    assert set(project.states().values()) == {"completed"}
    assert set(Counter(project.ran()).values()) == {1}


def test_a_store_that_is_removed_under_a_runner_ends_it_and_its_workers(project: Project) -> None:
    project.spec(WAITING)
    with (project.folder / "stderr").open("wb") as errors:
        runner = project.start("run", "spec.yaml", "-j", "1", stderr=errors)
    until(lambda: project.ran() == ["long"], "it runs")
    shutil.rmtree(project.folder / ".rekindle")
    (project.folder / "gate").touch()
    assert runner.wait(timeout=60) == 1
    said = (project.folder / "stderr").read_text()
    assert said.count("rekindle:") == 1
    assert "unexpected" not in said
    mine = str(project.folder / ".rekindle")
    until(lambda: mine not in subprocess.run(["ps", "axo", "args"], capture_output=True, text=True).stdout, "all go")
    assert not Path(mine).exists()


def test_a_rerun_is_applied_although_a_runner_may_not_be_notified(bound: Project) -> None:
    bound.spec(SPEC)
    bound.rekindle("run", "spec.yaml", expect=2)
    folder = bound.folder / ".rekindle" / "run"
    runner = bound.start("work", "--watch")
    (fifo,) = until(lambda: [path for path in folder.iterdir() if path.is_fifo()], "the runner has its FIFO")
    fifo.chmod(0)
    opened = subprocess.run([*bound.command[:-1], "dd", f"of={fifo}", "count=0"], stderr=subprocess.PIPE, check=False)
    assert b"Permission denied" in opened.stderr
    bound.rekindle("rerun", "bad", "--yes")
    until(lambda: bound.ran().count("bad") == 2, "the runner reads the store by itself")
    runner.terminate()
    assert runner.wait(60) == 5
