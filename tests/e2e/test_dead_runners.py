"""Processes of a run die; the next command acts on the present states of the jobs."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any

import psutil
import pytest

from project_folder import Project, until
from rekindle.journal.processes import start_of

SPEC = """
name: s
jobs:
  victim:
    run: >-
      mkdir alone || echo overlap >> ran.txt; echo began >> ran.txt; echo $$ > pid; trap 'rmdir alone; exit 3' TERM;
      while ! test -e go; do sleep 0.02; done; echo through >> ran.txt; rmdir alone
  after: {needs: [victim], run: "echo after >> ran.txt"}
"""

ENDS = {
    "runner": ("runner",),
    "worker": ("worker",),
    "job": ("job",),
    "runner and worker": ("runner", "worker"),
    "all": ("runner", "worker", "job"),
    "reboot": ("runner", "worker", "job"),
}

ACTS = {
    "restart": ("restart", "--yes"),
    "restart, dry run": ("restart", "--dry-run"),
    "rerun": ("rerun", "victim", "--yes"),
    "rerun the failed": ("rerun", "-s", "failed", "--yes"),
    "rerun, canceling": ("rerun", "victim", "--cancel-running", "--yes"),
    "status": ("status",),
    "why": ("why", "victim"),
    "hold": ("hold", "after"),
    "work": ("work", "--wait-timeout", "1s"),
    "run": ("run", "spec.yaml", "--yes", "--wait-timeout", "1s"),
    "torc restart": ("torc", "workflows", "restart"),
    "torc status": ("torc", "workflows", "status"),
    "ziggy restart": ("ziggy", "console", "restart", "--restartMode", "restart-from-beginning", "--instance", "1"),
    "ziggy monitoring": ("ziggy", "console", "restart", "--restartMode", "resume-monitoring", "--task", "1"),
}

STOPS = {
    "cancel": ("cancel", "victim"),
    "cancel what runs": ("cancel", "-s", "running"),
    "cancel the workflow": ("cancel", "-w", "s"),
    "reset": ("reset", "victim", "--cancel-running", "--yes"),
    "torc cancel": ("torc", "workflows", "cancel", "1"),
    "ziggy halt": ("ziggy", "console", "halt", "--instance", "1"),
}


ALL_ENDS = pytest.mark.soak
"""For the ways to die that differ little, which only `make soak` runs."""


def pairs(words: dict[str, tuple[str, ...]], ends: Iterable[str], few: Collection[str]) -> list[Any]:
    """(how, words) to test with: all processes end before every command; before `few` also the runner alone."""
    return [
        pytest.param(
            how,
            one,
            marks=() if how == "all" or (how == "runner" and name in few) else ALL_ENDS,
            id=f"{name}-{how}",
        )
        for name, one in words.items()
        for how in ends
    ]


def begun(project: Project) -> dict[str, int]:
    """Start a run, and wait until the victim runs. Return its processes."""
    project.spec(SPEC)
    runner = project.start("run", "spec.yaml", "-j", "1")
    job = int(until(lambda: (project.folder / "pid").exists() and (project.folder / "pid").read_text(), "it runs"))
    until(lambda: project.states()["victim"] == "running", "the store knows that it runs")
    return {"runner": runner.pid, "worker": worker_of(project), "job": job}


def worker_of(project: Project) -> int:
    """The only worker's process."""
    [(worker,)] = project.rows("SELECT pid FROM journal WHERE closed = 0")
    return int(worker)


def end(project: Project, how: str, pids: dict[str, int]) -> None:
    """Kill the processes of one way to end."""
    for name in ENDS[how]:
        os.kill(pids[name], signal.SIGKILL)
    if "runner" in ENDS[how]:
        project.started[0].wait(timeout=60)
    until(lambda: not any(start_of(pids[name]) for name in ENDS[how]), "they are gone")
    if how == "reboot":
        project.rows("UPDATE runner SET boot_id = 'of before'")


def typed(project: Project, words: tuple[str, ...], codes: set[int]) -> str:
    """Run a command that ends with one of these exit codes. Return what it printed."""
    done = project.run(*words)
    assert done.returncode in codes, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("how", "act"),
    pairs(ACTS, ("runner", "runner and worker", "all", "reboot"), {"restart", "rerun, canceling", "run"}),
)
def test_what_a_dead_runner_left_runs_once_more_or_on(project: Project, how: str, act: tuple[str, ...]) -> None:
    pids = begun(project)
    end(project, how, pids)
    said = typed(project, act, {0, 1, 6})
    state = project.states()["victim"]
    if how == "runner":
        assert state == ("ready" if "--cancel-running" in act else "running")
        assert ("overlap" in project.ran(), project.ran().count("began")) == (False, 1)
    else:
        assert "which runs now" not in said
        assert "is running" not in said
        assert state in ("ready", "queued", "running")
        assert start_of(pids["job"]) is None, "its process is gone"
    project.write("go", "")
    if state == "ready" and (project.folder / "alone").exists():
        (project.folder / "alone").rmdir()  # the victim was killed
    if act == ACTS["hold"]:
        project.rekindle("release", "--all")
    project.rekindle("work")
    assert project.states() == {"victim": "completed", "after": "completed"}
    assert [line for line in project.ran() if line not in ("began", "overlap")] == ["through", "after"]


@pytest.mark.parametrize(("how", "stop"), pairs(STOPS, ENDS, STOPS))
def test_nothing_runs_on_after_a_cancel(project: Project, how: str, stop: tuple[str, ...]) -> None:
    pids = begun(project)
    end(project, how, pids)
    typed(project, stop, {0})
    until(lambda: start_of(pids["job"]) is None, "the job's process is gone")
    if "runner" not in ENDS[how]:
        project.started[0].wait(timeout=60)
    project.write("go", "")
    project.rekindle("work")
    assert "through" not in project.ran()
    assert project.states()["victim"] in ("canceled", "ready", "waiting", "failed")
    assert not [one for one in psutil.process_iter() if one.pid == pids["job"] and one.status() != "zombie"]


def test_a_cancel_ends_the_job_of_a_dead_runner_and_says_so(project: Project) -> None:
    pids = begun(project)
    end(project, "runner", pids)
    done = project.rekindle("cancel", "victim")
    assert done.stdout == "1 job stopped while running: 1\n"
    assert start_of(pids["job"]) is None
    assert project.states()["victim"] == "canceled"


def test_a_restart_names_what_was_lost_and_says_how_it_runs(project: Project) -> None:
    """The first scenario of torc's document on restarts: the job and its worker died."""
    pids = begun(project)
    end(project, "all", pids)
    done = project.rekindle("restart", "--yes")
    assert done.stderr == "runner 1 died; jobs: 1 lost and ready again (victim)\n"
    assert "1 ready: rekindle work -w 1" in done.stdout
    assert project.states("-s", "ready") == {"victim": "ready"}
    (project.folder / "alone").rmdir()
    project.write("go", "")
    project.rekindle("restart", "--yes", "--work")
    assert set(project.states().values()) == {"completed"}


@pytest.mark.parametrize("words", [("workflows", "archive", "s"), ("workflows", "delete", "s", "--yes")])
def test_a_workflow_whose_runner_died_can_be_removed(project: Project, words: tuple[str, ...]) -> None:
    pids = begun(project)
    end(project, "all", pids)
    project.rekindle(*words)
    assert project.ask("workflows", "list")["workflows"] == []


def test_what_a_runner_left_is_seen_by_who_cannot_write(project: Project) -> None:
    if not (project.folder / ".rekindle" / "store.db").exists() and (project.folder / ".rekindle").exists():
        pytest.skip("the rows are not in a file")
    pids = begun(project)
    end(project, "all", pids)
    powerful = project.command
    if os.geteuid() == 0:
        project.command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *project.command]
    for path in (project.folder / ".rekindle").glob("store.db*"):
        path.chmod(0o400)
    assert project.ask("status")["workflows"][0]["counts"]["running"] == 1
    project.command = powerful
    for path in (project.folder / ".rekindle").glob("store.db*"):
        path.chmod(0o600)
    assert project.ask("status")["workflows"][0]["counts"] == {"ready": 1, "waiting": 1}


def test_a_run_that_times_out_leaves_what_runs_to_the_next(project: Project) -> None:
    project.spec(SPEC)
    done = project.run("run", "spec.yaml", "-j", "2", "--wait-timeout", "2s")
    assert done.returncode == 6
    assert "timed out: 1 job runs on; the next runner records its end" in done.stderr
    pid = int((project.folder / "pid").read_text())
    assert start_of(pid) is not None
    assert project.states()["victim"] == "running"
    project.write("go", "")
    project.rekindle("work")
    assert project.ran() == ["began", "through", "after"]
    assert [one["number"] for one in project.attempts("victim")] == [1]


@pytest.mark.parametrize(
    "words",
    [
        ("work", "--wait-timeout", "200ms"),
        ("supervise", "s", "--wait-timeout", "200ms"),
        ("resim", "batches", "wait", "--batch-id", "1", "--wait-timeout", "200ms"),
        ("resim", "batches", "supervise", "--batch-id", "1", "--rerun-on-states", "Error", "--wait-timeout", "200ms"),
    ],
)
def test_every_wait_ends_with_6_while_a_job_runs(project: Project, words: tuple[str, ...]) -> None:
    pids = begun(project)
    end(project, "runner", pids)
    typed(project, words, {6})
    assert start_of(pids["job"]) is not None, "what runs goes on"
    project.write("go", "")
    project.rekindle("work")
    assert project.ran() == ["began", "through", "after"]


FIREWORK = """
spec:
  _tasks:
  - {_fw_name: ScriptTask, script: "echo $$ > pid; while ! test -e go; do sleep 0.02; done"}
"""


@pytest.mark.parametrize("words", [("rerun_fws", "-i", "1"), ("pause_fws", "-i", "1"), ("defuse_fws", "-i", "1")])
def test_a_firework_whose_rocket_died_does_as_it_is_told(project: Project, words: tuple[str, ...]) -> None:
    project.write("fw.yaml", FIREWORK)
    project.rekindle("lpad", "add", "fw.yaml")
    runner = project.start("rlaunch", "singleshot")
    pid = int(until(lambda: (project.folder / "pid").exists() and (project.folder / "pid").read_text(), "it runs"))
    every = [psutil.Process(runner.pid), *psutil.Process(runner.pid).children(recursive=True)]
    for process in every:
        with suppress(psutil.NoSuchProcess):  # it has ended with the one before
            process.kill()
    runner.wait(timeout=60)
    until(lambda: not any(start_of(number) for number in (pid, *(one.pid for one in every))), "they are gone")
    typed(project, ("lpad", *words), {0})
    (job,) = project.jobs().values()
    assert (job["state"], job["held"]) == ("ready", words[0] != "rerun_fws")


def test_what_still_runs_of_a_dead_runner_is_said_beside_a_restart_and_a_refusal(project: Project) -> None:
    pids = begun(project)
    end(project, "runner", pids)
    note = "runner 1 died; `victim` still runs: `rekindle work` records its end\n"
    for words, code in (
        (("restart", "--yes"), 0),
        (("torc", "workflows", "restart"), 0),
        (("rerun", "victim", "--yes"), 1),
    ):
        done = project.run(*words)
        assert (done.returncode != 0) == bool(code), done.stderr
        assert done.stderr.count(note) == 1, words
    done = project.run("rerun", "victim", "--cancel-running", "--yes")
    assert "still runs" not in done.stderr
    assert project.run("restart", "--yes").stderr.count("died") == 0


def test_why_says_that_an_attempt_was_lost_and_the_job_runs_again(project: Project) -> None:
    pids = begun(project)
    end(project, "all", pids)
    said = project.run("why", "victim").stdout
    assert "its attempt 1 was lost with its runner; it runs again\n" in said
    assert "was reset" not in said


WAITERS = {"supervise --no-work": ("supervise", "s", "--no-work"), "logs -f": ("logs", "victim", "-f")}


@pytest.mark.parametrize("words", WAITERS.values(), ids=WAITERS)
def test_a_waiter_ends_with_a_job_that_no_runner_owns(project: Project, words: tuple[str, ...]) -> None:
    pids = begun(project)
    end(project, "runner", pids)
    project.rekindle("hold", "after")
    waiter = project.start(*words)
    project.write("go", "")
    waiter.wait(timeout=20)
    assert project.states()["victim"] == "completed"
