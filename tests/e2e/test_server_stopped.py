"""The PostgreSQL server of a store stops under a run, and starts again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from project_folder import Project, until
from rekindle.store.opening import open_store
from stores import SCRIPT, missing_postgres, new_store_url, running_postgres

SPEC = """
name: gated
jobs:
  first: {run: "true"}
  long: {run: "echo began >> ran.txt; while ! test -e go; do sleep 0.02; done; echo through >> ran.txt"}
  after: {run: "echo after >> ran.txt", needs: [long]}
"""


@pytest.fixture
def control(project: Project, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Stop or start the server of the project's store."""
    if reason := missing_postgres():
        pytest.skip(reason)
    with TemporaryDirectory(prefix="rekindle-pg-") as server, running_postgres(Path(server)) as url:
        open_store(new_store_url(url, tmp_path / ".rekindle"), create=True).close()
        project.spec(SPEC)
        yield lambda action: subprocess.run([SCRIPT, action, server], check=True, capture_output=True, timeout=60)


def running(project: Project, tmp_path: Path) -> subprocess.Popen[bytes]:
    """Start a run, and wait until its long job is known to run."""
    with closing((tmp_path / "stderr").open("wb")) as stderr:
        runner = project.start("run", "spec.yaml", stderr=stderr)
    until(lambda: project.ran() == ["began"], "the job runs")
    until(lambda: project.states()["long"] == "running", "the job is known to run")
    return runner


def test_a_run_waits_for_its_server_and_goes_on_with_what_ended_meanwhile(control, project, tmp_path):
    runner = running(project, tmp_path)
    control("stop")
    project.write("go", "")
    until(lambda: project.ran() == ["began", "through"], "the job goes on to its end")
    until(lambda: "cannot be reached" in (tmp_path / "stderr").read_text(), "the run says what it waits for")
    control("start")
    assert runner.wait(timeout=60) == 0
    assert project.ran() == ["began", "through", "after"]
    assert [one["state"] for one in project.attempts()] == ["completed"] * 3
    assert "Traceback" not in (tmp_path / "stderr").read_text()
    assert project.ask("store", "check", "--deep")["sound"]


def test_a_run_that_is_killed_while_it_waits_loses_nothing(control, project, tmp_path):
    runner = running(project, tmp_path)
    control("stop")
    until(lambda: "cannot be reached" in (tmp_path / "stderr").read_text(), "the run waits")
    runner.kill()
    runner.wait(timeout=60)
    project.write("go", "")
    until(lambda: project.ran() == ["began", "through"], "the job goes on to its end")
    control("start")
    project.rekindle("work")
    assert project.ran() == ["began", "through", "after"]
    assert [one["state"] for one in project.attempts()] == ["completed"] * 3


def test_a_command_says_that_the_server_does_not_answer(control, project):
    control("stop")
    failed = project.rekindle("status", expect=1)
    assert failed.stderr.startswith("rekindle: the store postgresql://")
    assert "check the URL, and that the server runs" in failed.stderr
    assert len(failed.stderr.splitlines()) == 2
    control("start")
    project.rekindle("status")
