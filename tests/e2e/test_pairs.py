"""The same behaviours on each pair of a database and an executor, through the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pairs import PAIRS, Pair, project_on

from project_folder import until

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
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """An empty folder, for commands on each pair."""
    with project_on(request.param, request, tmp_path) as made:
        yield made


def test_a_diamond_with_a_failure_is_finished_by_one_rerun(project):
    project.spec(DIAMOND)
    project.bring_up(expect=2)
    assert project.states() == {"top": "completed", "left": "failed", "right": "completed", "bottom": "waiting"}
    [failure] = project.ask("failures")["failures"]
    assert (failure["cause"], failure["count"]) == ("exit", 1)
    project.write("mended", "")
    project.rerun("-s", "failed")
    assert set(project.states().values()) == {"completed"}
    assert sorted(project.ran()) == ["bottom", "left", "left", "right", "top"]


def test_from_the_failed_step_the_first_does_not_run_again(project):
    project.spec(STEPS)
    project.bring_up(expect=2)
    project.write("mended", "")
    project.rerun("job", "--from", "failed-step")
    assert project.ran() == ["first", "second", "second", "third"]
    assert [one["archived"] for one in project.attempts()] == [True, False]


def test_only_the_failed_subtask_runs_again(project):
    project.spec(ITEMS)
    project.bring_up(expect=2)
    assert sorted(project.ran()) == ["a", "b", "c", "d"]
    project.write("mended", "")
    project.rerun("slices", "--from", "failed-step")
    assert project.ran()[4:] == ["c", "store"]


def test_a_job_whose_runner_was_killed_is_adopted_and_runs_once(project):
    project.spec(GATED)
    project.begin()
    until(lambda: project.ran() == ["began"], "the job runs")
    until(lambda: project.states()["long"] == "running", "the job is known to run")
    project.kill_runner()
    project.write("go", "")
    project.work()
    assert project.ran() == ["began", "through", "after"]
    assert [one["state"] for one in project.attempts()] == ["completed", "completed"]


def test_a_canceled_job_ends_and_what_needs_it_waits(project):
    project.spec(GATED)
    project.begin()
    until(lambda: project.ran() == ["began"], "the job runs")
    until(lambda: project.states()["long"] == "running", "the job is known to run")
    project.rekindle("cancel", "long")
    assert project.exit_code() == 5
    assert project.states() == {"long": "canceled", "after": "waiting"}
    assert project.ran() == ["began"]


def test_undo_takes_a_rerun_back(project):
    project.spec(DIAMOND)
    project.write("mended", "")
    project.bring_up()
    before = project.jobs()
    project.rekindle("rerun", "top", "--yes")
    assert project.states() == {"top": "ready", "left": "waiting", "right": "waiting", "bottom": "waiting"}
    project.rekindle("undo")
    assert {name: job["state"] for name, job in before.items()} == project.states()
    project.bring_up()
    assert sorted(project.ran()) == ["bottom", "left", "right", "top"]


def test_supervise_reruns_what_fails_within_its_guards(project):
    project.spec(DIAMOND)
    project.rekindle("submit", "spec.yaml")
    project.supervise("diamond", "--max-reruns", "2", "--max-failure-percent", "80", "--poll", "50ms", expect=2)
    assert sorted(project.ran()) == ["left", "left", "left", "right", "top"]
