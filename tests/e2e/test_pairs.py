"""The same behaviours on each pair of a database and an executor, through the command line."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from project_folder import Project, until

from rekindle.store.opening import open_store
from stores import new_store_url

PAIRS = ["sqlite+local", "postgres+local"]

DIAMOND = """
name: diamond
jobs:
  top: {run: "echo top >> ran.txt"}
  left: {run: "echo left >> ran.txt; test -e mended", needs: [top]}
  right: {run: "echo right >> ran.txt", needs: [top]}
  bottom: {run: "echo bottom >> ran.txt", needs: [left, right]}
"""

STEPS = """
name: steps
jobs:
  job:
    steps:
      - {name: first, run: "echo first >> ran.txt"}
      - {name: second, run: "echo second >> ran.txt; test -e mended"}
      - {name: third, run: "echo third >> ran.txt"}
"""

ITEMS = """
name: items
jobs:
  slices:
    steps:
      - {name: process, each: [a, b, c, d], run: "echo ${item} >> ran.txt; test ${item} != c || test -e mended"}
      - {name: store, run: "echo store >> ran.txt"}
"""

GATED = """
name: gated
jobs:
  long: {run: "echo $$ > pid; echo began >> ran.txt; while ! test -e go; do sleep 0.02; done; echo through >> ran.txt"}
  after: {run: "echo after >> ran.txt", needs: [long]}
"""


@pytest.fixture(params=PAIRS)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    """A folder whose store is in the database of the pair. Afterwards the store is checked."""
    database, _, _executor = request.param.partition("+")
    if database == "postgres":
        url = new_store_url(request.getfixturevalue("postgres_server"), tmp_path / ".rekindle")
        with closing(open_store(url, create=True)):
            pass  # from now on the folder names the store
    made = Project(tmp_path)
    yield made
    made.close()
    assert made.ask("store", "check", "--deep")["sound"]


def test_a_diamond_with_a_failure_is_finished_by_one_rerun(project):
    project.spec(DIAMOND)
    project.rekindle("run", "spec.yaml", "-j", "2", expect=2)
    assert project.states() == {"top": "completed", "left": "failed", "right": "completed", "bottom": "waiting"}
    [failure] = project.ask("failures")["failures"]
    assert (failure["cause"], failure["count"]) == ("exit", 1)
    project.write("mended", "")
    project.rekindle("rerun", "-s", "failed", "--yes", "--work")
    assert set(project.states().values()) == {"completed"}
    assert sorted(project.ran()) == ["bottom", "left", "left", "right", "top"]


def test_from_the_failed_step_the_first_does_not_run_again(project):
    project.spec(STEPS)
    project.rekindle("run", "spec.yaml", expect=2)
    project.write("mended", "")
    project.rekindle("rerun", "job", "--from", "failed-step", "--yes", "--work")
    assert project.ran() == ["first", "second", "second", "third"]
    assert [one["archived"] for one in project.attempts()] == [True, False]


def test_only_the_failed_subtask_runs_again(project):
    project.spec(ITEMS)
    project.rekindle("run", "spec.yaml", expect=2)
    assert sorted(project.ran()) == ["a", "b", "c", "d"]
    project.write("mended", "")
    project.rekindle("rerun", "slices", "--from", "failed-step", "--yes", "--work")
    assert project.ran()[4:] == ["c", "store"]


def test_a_job_whose_runner_was_killed_is_adopted_and_runs_once(project):
    project.spec(GATED)
    runner = project.start("run", "spec.yaml")
    until(lambda: project.ran() == ["began"], "the job runs")
    until(lambda: project.states()["long"] == "running", "the job is known to run")
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait(timeout=60)
    project.write("go", "")
    project.rekindle("work")
    assert project.ran() == ["began", "through", "after"]
    assert len(project.attempts()) == 2


def test_a_canceled_job_ends_and_what_needs_it_waits(project):
    project.spec(GATED)
    runner = project.start("run", "spec.yaml")
    until(lambda: project.ran() == ["began"], "the job runs")
    until(lambda: project.states()["long"] == "running", "the job is known to run")
    project.rekindle("cancel", "long")
    assert runner.wait(timeout=60) == 5
    assert project.states() == {"long": "canceled", "after": "waiting"}
    assert project.ran() == ["began"]


def test_undo_takes_a_rerun_back(project):
    project.spec(DIAMOND)
    project.write("mended", "")
    project.rekindle("run", "spec.yaml")
    before = project.jobs()
    project.rekindle("rerun", "top", "--yes")
    assert project.states() == {"top": "ready", "left": "waiting", "right": "waiting", "bottom": "waiting"}
    project.rekindle("undo")
    assert {name: job["state"] for name, job in before.items()} == project.states()
    project.rekindle("run", "spec.yaml")
    assert len(project.ran()) == 4


def test_supervise_reruns_what_fails_within_its_guards(project):
    project.spec(DIAMOND)
    project.rekindle("submit", "spec.yaml")
    done = project.rekindle(
        "supervise", "diamond", "--max-reruns", "2", "--max-failure-percent", "80", "--poll", "50ms", expect=2
    )
    assert project.ran().count("left") == 3, done.stdout
    assert project.ran().count("top") == 1
