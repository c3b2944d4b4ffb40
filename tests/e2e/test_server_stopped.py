"""The PostgreSQL server of a store stops under a run, and starts again."""

from __future__ import annotations

import subprocess
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
  long: {run: "echo began >> ran.txt; while ! test -e go; do sleep 0.02; done; echo through >> ran.txt"}
  after: {run: "echo after >> ran.txt", needs: [long]}
"""


def control(action: str, folder: Path) -> None:
    subprocess.run([SCRIPT, action, folder], check=True, capture_output=True, timeout=60)


def test_a_run_whose_server_stops_ends_with_one_error_and_loses_nothing(project: Project, tmp_path: Path) -> None:
    if reason := missing_postgres():
        pytest.skip(reason)
    with TemporaryDirectory(prefix="rekindle-pg-") as server, running_postgres(Path(server)) as url:
        open_store(new_store_url(url, tmp_path / ".rekindle"), create=True).close()
        project.spec(SPEC)
        with closing((tmp_path / "stderr").open("wb")) as stderr:
            runner = project.start("run", "spec.yaml", stderr=stderr)
        until(lambda: project.ran() == ["began"], "the job runs")
        until(lambda: project.states()["long"] == "running", "the job is known to run")
        control("stop", Path(server))
        project.write("go", "")
        assert runner.wait(timeout=60) == 1
        until(lambda: project.ran() == ["began", "through"], "the job goes on to its end")
        error = (tmp_path / "stderr").read_text()
        assert "rekindle: the store postgresql://" in error
        assert "cannot be reached" in error
        assert "Traceback" not in error
        control("start", Path(server))
        project.rekindle("work")
        assert project.ran() == ["began", "through", "after"]
        assert [one["state"] for one in project.attempts()] == ["completed"] * 2
        assert project.ask("store", "check", "--deep")["sound"]
