"""After an interrupt, or the death of the runner alone, no job is recorded as running that does not run."""

from __future__ import annotations

import os
import signal
import subprocess

import psutil
import pytest

from project_folder import Project, until

SPEC = """
name: stopped
jobs:
  before: {run: echo before >> ran.txt}
  long: {needs: [before], run: "echo long >> ran.txt; echo $$ > pid; while ! test -e go; do sleep 0.02; done"}
  after: {needs: [long], run: echo after >> ran.txt}
"""


def started(project: Project) -> int:
    """Wait until `long` runs, and return its pid."""
    until(lambda: (project.folder / "pid").exists() and (project.folder / "pid").read_text().strip(), "long runs")
    until(lambda: project.states()["long"] == "running", "long is known to run")
    return int((project.folder / "pid").read_text())


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda sent: sent.name)
def test_an_interrupted_run_is_recorded_and_can_be_rerun(project: Project, sent: signal.Signals) -> None:
    project.spec(SPEC)
    runner = project.start("run", "spec.yaml", "-j", "2")
    job = started(project)
    os.kill(runner.pid, sent)
    assert runner.wait(timeout=60) == 5
    assert not psutil.pid_exists(job)
    assert project.states() == {"before": "completed", "long": "canceled", "after": "waiting"}
    (attempt,) = project.attempts("long")
    assert (attempt["state"], attempt["cause"]) == ("canceled", "canceled")
    assert project.ask("events", "list")["events"][-1]["detail"]["signal"] == sent.name

    project.write("go", "")
    project.rekindle("rerun", "-s", "canceled", "--yes", "--work")
    assert set(project.states().values()) == {"completed"}
    assert project.ran() == ["before", "long", "long", "after"]


def test_sigterm_in_an_allocation_leaves_jobs_ready(project: Project) -> None:
    """A batch system announces the end of an allocation, which may come early, by SIGTERM."""
    project.spec(SPEC)
    project.rekindle("submit", "spec.yaml")
    runner = project.start("work", "-j", "2", "--time-left", "1h")
    job = started(project)
    os.kill(runner.pid, signal.SIGTERM)
    assert runner.wait(timeout=60) == 6
    assert not psutil.pid_exists(job)
    assert project.states() == {"before": "completed", "long": "ready", "after": "waiting"}
    [rerun] = project.ask("reruns", "list")["reruns"]
    assert (rerun["kind"], rerun["note"]) == ("recovery", "their allocation ended")

    project.write("go", "")
    project.rekindle("work")
    assert set(project.states().values()) == {"completed"}
    assert project.ran() == ["before", "long", "long", "after"]


def test_sigterm_to_all_processes_of_an_allocation_leaves_jobs_ready(project: Project) -> None:
    """The job gets it first. One that is killed by SIGTERM alone has failed."""
    project.spec(SPEC)
    project.rekindle("submit", "spec.yaml")
    runner = project.start("work", "-j", "2", "--time-left", "1h")
    os.kill(started(project), signal.SIGTERM)
    os.kill(runner.pid, signal.SIGTERM)
    assert runner.wait(timeout=60) == 6
    assert project.states() == {"before": "completed", "long": "ready", "after": "waiting"}
    (project.folder / "pid").unlink()
    runner = project.start("work", "-j", "2", "--time-left", "1h")
    os.kill(started(project), signal.SIGTERM)
    assert runner.wait(timeout=60) == 2
    assert project.states()["long"] == "failed"


def test_a_closed_terminal_cancels_a_run_and_is_recorded(project: Project) -> None:
    """Only the runner gets SIGHUP: workers and jobs have no terminal. Its writes to the terminal fail."""
    project.spec(SPEC)
    keyboard, terminal = os.openpty()
    runner = subprocess.Popen(
        [*project.command, "run", "spec.yaml", "-j", "2"],
        cwd=project.folder,
        env=project.env,
        preexec_fn=lambda: os.login_tty(terminal),
    )
    project.started.append(runner)
    os.close(terminal)
    job = started(project)
    workers = psutil.Process(runner.pid).children(recursive=True)
    os.close(keyboard)
    assert runner.wait(timeout=60) == 5
    assert not psutil.pid_exists(job)
    assert not [one for one in workers if one.is_running()]
    assert project.states() == {"before": "completed", "long": "canceled", "after": "waiting"}


def test_a_hangup_that_nohup_ignores_stays_ignored(project: Project) -> None:
    project.spec(SPEC)
    project.command = ["nohup", *project.command]
    runner = project.start("run", "spec.yaml", "-j", "2")
    started(project)
    os.kill(runner.pid, signal.SIGHUP)
    project.write("go", "")
    assert runner.wait(timeout=60) == 0
    assert set(project.states().values()) == {"completed"}


def test_a_hangup_of_a_worker_ends_no_job(project: Project) -> None:
    project.spec(SPEC)
    runner = project.start("run", "spec.yaml", "-j", "2")
    started(project)
    for worker in psutil.Process(runner.pid).children():
        worker.send_signal(signal.SIGHUP)
    project.write("go", "")
    assert runner.wait(timeout=60) == 0
    assert [one["number"] for one in project.attempts()] == [1, 1, 1]


def test_the_next_runner_adopts_or_cancels_a_job_whose_runner_died(project: Project) -> None:
    """Only the runner is killed. Whether the next one adopts the job or cancels it, it never runs twice at once."""
    project.spec(SPEC)
    runner = project.start("run", "spec.yaml", "-j", "2")
    job = started(project)
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait(timeout=60)
    following = project.start("work", "-j", "2")
    until(lambda: not psutil.pid_exists(job) or project.ask("status")["workflows"][0]["runners"], "it is taken up")
    project.write("go", "")
    assert following.wait(timeout=60) == 0
    until(lambda: not psutil.pid_exists(job), "no process is left")
    assert set(project.states().values()) == {"completed"}
    ran = project.ran()
    attempts = project.attempts("long")
    assert ran.count("long") == len(attempts)
    assert [attempt["cause"] for attempt in attempts if attempt["archived"]] == ["lost"] * (len(attempts) - 1)
    assert (ran[0], ran[-1], ran.count("before"), ran.count("after")) == ("before", "after", 1, 1)
