"""`--cancel-running`: running attempts end before their jobs run again; no job runs twice or gets stuck."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from project_folder import Project, until

SPEC = """
name: canceling
jobs:
  parent:
    run: 'test ! -e fence; echo parent >> ran.txt; test -e held || echo 1 > data'
    outputs: {data: data}
  sleeper:
    needs: [parent]
    grace: 20s
    run: |
      trap 'echo asked >> ran.txt; while ! test -e let; do sleep 0.02; done; rm -f fence; exit 1' TERM
      echo sleeper >> ran.txt
      touch fence
      sleep 60 & echo $! > child; echo $$ > pid
      test -e quick && { rm -f fence; kill $!; exit 0; }
      wait
  after: {needs: [sleeper], run: echo after >> ran.txt}
  beside: {run: echo beside >> ran.txt}
"""
"""`parent` fails if it runs at the same time as `sleeper`."""


def sleeping(project: Project) -> tuple[int, int]:
    """Wait until `sleeper` is recorded as running. Return its process and its children."""

    def pid(name: str) -> int:
        path = project.folder / name
        return int(path.read_text().strip() or 0) if path.exists() else 0

    until(lambda: pid("pid"), "the sleeper runs")
    until(lambda: project.states()["sleeper"] == "running", "it is known to run")
    return pid("pid"), pid("child")


def alive(*pids: int) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def all_is_done(project: Project, sleepers: int = 2) -> None:
    """Assert that each job ran the expected number of times, in turn, and that no process is left."""
    assert set(project.states().values()) == {"completed"}
    ran = project.ran()
    counts = {name: ran.count(name) for name in ("parent", "sleeper", "after", "beside")}
    assert counts == {"parent": 2, "sleeper": sleepers, "after": 1, "beside": 1}
    attempts = [one for one in project.attempts() if one["job"] == project.jobs()["sleeper"]["id"]]
    assert [(one["state"], one["cause"]) for one in attempts] == [("canceled", "canceled"), ("completed", None)]
    assert (attempts[0]["archived"], attempts[1]["archived"]) == (True, False)
    assert project.ask("status")["workflows"][0]["leaving"] == 0


def test_without_it_what_would_disturb_a_job_that_runs_is_refused_with_a_hint(project: Project) -> None:
    project.spec(SPEC)
    project.start("run", "spec.yaml", "-j", "2")
    sleeping(project)
    refused = project.rekindle("rerun", "parent", "--yes", expect=1)
    assert "--cancel-running" in refused.stderr
    assert "--cancel-running" in project.rekindle("rerun", "sleeper", "--yes", expect=1).stderr
    planned = project.ask("rerun", "parent", "--cancel-running", "--dry-run")
    (sleeper,) = (job for job in planned["jobs"] if job["name"] == "sleeper")
    assert {"kind": "cancels", "attempt": sleeper["archives"][0], "state": "running"} in sleeper["reasons"]
    assert (sleeper["before"], sleeper["after"]) == ("running", "waiting")
    assert project.states()["sleeper"] == "running"
    shown = project.rekindle("rerun", "parent", "--cancel-running", "--dry-run").stdout
    assert "running: canceled first" in shown


def test_what_runs_has_its_grace_and_then_all_runs_in_turn(project: Project) -> None:
    """Its own runner cancels it; another runner of the workflow starts nothing before that."""
    project.spec(SPEC)
    first = project.start("run", "spec.yaml", "-j", "2")
    pids = sleeping(project)
    project.write("quick", "")
    second = project.start("rerun", "-n", "parent", "--cancel-running", "--yes", "--work", "-j", "2")
    until(lambda: "asked" in project.ran(), "it is asked to end")
    jobs = project.jobs()
    assert jobs["parent"]["state"] == "ready"
    assert len(jobs["parent"]["awaits"]) == 1
    said = project.rekindle("why", "parent").stdout
    assert "runs again after the end of attempts that it would disturb" in said
    assert "waits for the end of attempt 1 of " in said
    assert project.ask("status")["workflows"][0]["leaving"] == 1
    assert alive(*pids)
    assert second.poll() is None
    project.write("let", "")
    assert second.wait(timeout=60) == 0
    assert first.wait(timeout=60) == 0
    assert not alive(*pids)
    all_is_done(project)


@pytest.mark.parametrize("adopted", [False, True], ids=["worker dead too", "worker alive"])
def test_a_runner_killed_before_it_has_ended_what_is_canceled_leaves_that_to_the_next(
    project: Project, adopted: bool
) -> None:
    project.spec(SPEC)
    runner = project.start("run", "spec.yaml", "-j", "2")
    pids = sleeping(project)
    workers = [one.pid for one in psutil.Process(runner.pid).children(recursive=True)]
    os.kill(runner.pid, signal.SIGSTOP)  # it cannot read the request
    project.write("quick", "")
    project.rekindle("rerun", "-n", "parent", "--cancel-running", "--yes")
    assert alive(*pids)
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait(timeout=60)
    if not adopted:
        for pid in [pid for pid in workers if pid not in pids and psutil.pid_exists(pid)]:
            if _is_worker(pid):
                os.kill(pid, signal.SIGKILL)
        Path(project.folder, "fence").unlink()  # the killed process cannot remove it
    following = project.start("work", "-j", "2")
    if adopted:
        until(lambda: "asked" in project.ran(), "it is asked to end")
        assert project.states()["parent"] == "ready"
        project.write("let", "")
    assert following.wait(timeout=60) == 0
    assert not alive(*pids)
    all_is_done(project)


def _is_worker(pid: int) -> bool:
    try:
        return "rekindle.worker" in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False


def test_an_undo_leaves_what_was_canceled_canceled(project: Project) -> None:
    project.spec(SPEC)
    runner = project.start("run", "spec.yaml", "-j", "2")
    sleeping(project)
    project.rekindle("rerun", "parent", "--cancel-running", "--yes")
    project.rekindle("undo")
    assert project.states()["parent"] == "completed"
    project.write("let", "")
    assert runner.wait(timeout=60) == 5
    assert project.states() == {"parent": "completed", "sleeper": "canceled", "after": "waiting", "beside": "completed"}
    assert project.ran().count("parent") == 1


def test_a_saved_plan_holds_only_while_what_it_would_cancel_runs(project: Project) -> None:
    project.spec(SPEC)
    runner = project.start("run", "spec.yaml", "-j", "2")
    sleeping(project)
    project.rekindle("rerun", "parent", "--cancel-running", "--save-plan", "plan.json")
    project.rekindle("cancel", "sleeper")
    project.write("let", "")
    assert runner.wait(timeout=60) == 5
    assert "moved since the plan was made" in project.rekindle("apply", "plan.json", expect=1).stderr
