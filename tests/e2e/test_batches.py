"""Attempts in elements of another engine: each fault of an element, of the engine and of the runner."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from process_placement import processes_environment
from project_folder import Project, until

GATED = """
name: gated
jobs:
  long: {run: "echo began >> ran.txt; while ! test -e go; do sleep 0.02; done; echo through >> ran.txt"}
  after: {run: "echo after >> ran.txt", needs: [long]}
"""

MANY = """
name: many
jobs:
  one: {matrix: {i: {range: [0, 12]}}, run: "echo ${matrix.i} >> ran.txt"}
  last: {needs: ["one*"], run: "echo last >> ran.txt"}
"""
EACH_ONCE = Counter([*map(str, range(12)), "last"])


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A folder whose attempts run in elements. Afterwards no process is left, and the store is checked."""
    made = Project(tmp_path)
    made.env |= processes_environment(tmp_path)
    yield made
    made.close()
    kill_elements(made)
    assert made.ask("store", "check", "--deep")["sound"]


def elements(project: Project) -> list[psutil.Process]:
    """Return the living workers of elements of this store."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            words = process.cmdline()
            if "rekindle.worker.element" in words and str(project.folder) in words[-2]:
                found.append(process)
    return found


def kill_elements(project: Project) -> None:
    for process in elements(project):
        for below in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                below.kill()


def begin(project: Project) -> subprocess.Popen[bytes]:
    """Start a run of GATED, whose job runs in its element."""
    project.spec(GATED)
    runner = project.start("run", "spec.yaml")
    until(lambda: project.ran() == ["began"], "the job runs")
    until(lambda: project.states()["long"] == "running", "the job is known to run")
    return runner


def kill(runner: subprocess.Popen[bytes]) -> None:
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait(timeout=60)


def hold(project: Project, *, on: bool) -> None:
    """Let the engine hold its pending elements, or not."""
    (project.folder / "engine").mkdir(exist_ok=True)
    if on:
        project.write("engine/hold", "")
    else:
        (project.folder / "engine" / "hold").unlink()


def waits(project: Project) -> None:
    """Wait until elements are pending in the engine."""
    until(lambda: list((project.folder / "engine").glob("*/*.pid")), "elements are pending")


def test_an_element_that_dies_loses_its_attempt_with_the_engines_evidence(project):
    runner = begin(project)
    kill_elements(project)
    assert runner.wait(timeout=60) == 2
    [attempt] = project.attempts()
    assert (attempt["state"], attempt["cause"]) == ("failed", "lost")
    assert attempt["evidence"]["engine"] == "processes"
    assert attempt["evidence"]["exit_code"] == 137
    project.write("go", "")
    project.rekindle("rerun", "-s", "failed", "--yes", "--work")
    assert set(project.states().values()) == {"completed"}


def test_an_element_that_was_canceled_by_hand_cancels_its_attempt(project):
    runner = begin(project)
    [path] = (project.folder / "engine").glob("*/0.pid")
    path.with_suffix(".canceled").touch()
    os.killpg(int(path.read_text()), signal.SIGTERM)
    assert runner.wait(timeout=60) == 5
    [attempt] = project.attempts()
    assert (attempt["state"], attempt["cause"]) == ("canceled", "canceled")
    assert attempt["error"]["message"] == "canceled by hand"
    assert project.states() == {"long": "canceled", "after": "waiting"}


def test_a_batch_that_the_engine_refuses_fails_with_its_words(project):
    project.spec("name: refused\njobs: {a: {run: 'true', resources: {options: [--refuse]}}, b: {run: 'true'}}")
    project.rekindle("run", "spec.yaml", expect=2)
    assert project.states() == {"a": "failed", "b": "completed"}
    [attempt] = [one for one in project.attempts() if one["state"] == "failed"]
    assert (attempt["cause"], "--refuse" in attempt["error"]["message"]) == ("start", True)


def test_an_element_without_a_python_fails_to_start_and_is_not_tried_for_ever(project):
    project.spec("name: broken\njobs: {a: {run: 'true'}}")
    hold(project, on=True)
    runner = project.start("run", "spec.yaml")
    waits(project)
    [manifest] = (project.folder / ".rekindle" / "batches").glob("*/batch.json")
    manifest.write_text("no manifest")
    hold(project, on=False)
    assert runner.wait(timeout=60) == 2
    [attempt] = project.attempts()
    assert attempt["cause"] == "start"
    assert "Traceback" in attempt["evidence"]["stderr"]


def test_pending_elements_outlive_their_runner_and_run_once(project):
    project.spec(MANY)
    hold(project, on=True)
    runner = project.start("run", "spec.yaml")
    waits(project)
    kill(runner)
    hold(project, on=False)
    project.rekindle("work")
    assert Counter(project.ran()) == EACH_ONCE
    assert len(project.attempts()) == 13


def test_pending_jobs_are_canceled_before_they_start(project):
    project.spec(MANY)
    hold(project, on=True)
    runner = project.start("run", "spec.yaml")
    waits(project)
    project.rekindle("cancel", "-w", "many")
    assert runner.wait(timeout=60) == 5
    assert project.ran() == []
    assert set(project.states().values()) <= {"canceled", "waiting"}


def test_an_interrupt_cancels_the_elements(project):
    runner = begin(project)
    os.kill(runner.pid, signal.SIGINT)
    assert runner.wait(timeout=60) == 5
    assert project.states() == {"long": "canceled", "after": "waiting"}
    until(lambda: not elements(project), "no element is left")


def test_an_interrupt_ends_a_run_whose_engine_is_away_and_its_jobs_run_once_later(project):
    project.spec(MANY)
    hold(project, on=True)
    runner = project.start("run", "spec.yaml")
    waits(project)
    project.write("engine/away", "")
    os.kill(runner.pid, signal.SIGINT)
    assert runner.wait(timeout=100) == 5
    (project.folder / "engine" / "away").unlink()
    hold(project, on=False)
    project.rekindle("work")
    assert Counter(project.ran()) == EACH_ONCE


def test_a_canceled_attempt_of_a_dead_runner_ends(project):
    kill(begin(project))
    project.rekindle("cancel", "long")
    project.rekindle("work")
    assert project.states()["long"] == "canceled"


def test_jobs_are_sliced_over_few_elements(project):
    project.spec(MANY.replace("12", "100"))
    project.rekindle("run", "spec.yaml")
    assert Counter(project.ran()) == Counter([*map(str, range(100)), "last"])
    assert len(list((project.folder / "engine").glob("*/*.pid"))) <= 33 + 1


def test_a_limit_on_the_size_of_batches_is_lived_with(project):
    project.spec(MANY)
    (project.folder / "engine").mkdir()
    project.write("engine/limit", "5")
    project.rekindle("run", "spec.yaml")
    assert Counter(project.ran()) == EACH_ONCE


@pytest.mark.parametrize("seed", range(3))
def test_runners_killed_at_any_moment_lose_and_double_nothing(project, seed):
    project.spec(MANY.replace("12", "40").replace("echo ${matrix.i}", "sleep 0.1; echo ${matrix.i}"))
    project.rekindle("submit", "spec.yaml")
    moment = random.Random(seed)
    for _ in range(6):
        runner = project.start("work")
        try:
            assert runner.wait(timeout=moment.uniform(0.1, 2.0)) == 0
        except subprocess.TimeoutExpired:
            kill(runner)
    project.rekindle("work")
    assert set(project.states().values()) == {"completed"}
    assert Counter(project.ran()) == Counter([*map(str, range(40)), "last"])
