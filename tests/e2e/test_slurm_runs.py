"""Runs on a real Slurm: each fault of a job, a node and the controller ends with its cause, and nothing runs twice."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from project_folder import Project, until
from slurm_cluster import Slurm, running_slurm

MANY = """
name: many
jobs:
  one: {matrix: {i: {range: [0, 500]}}, run: "sleep 0.05; echo ${matrix.i} >> ran.txt"}
"""

LONG = """
name: long
jobs:
  job: {run: "echo $$ >> ran.txt; while ! test -e go; do sleep 0.1; done; echo through >> ran.txt"}
"""


RESUME = ["scontrol", "update", "state=resume"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    """A cluster whose daemons the tests of this module kill."""
    with running_slurm("4", "4") as slurm:
        yield slurm


@pytest.fixture
def project(cluster: Slurm, tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    made.env |= {**cluster.environment, "PATH": f"{made.env['PATH']}:/usr/sbin:/sbin", "REKINDLE_EXECUTOR": "slurm"}
    yield made
    made.close()
    assert made.ask("store", "check", "--deep")["sound"]


def only_attempt(project: Project, state: str) -> dict[str, Any]:
    [attempt] = [one for one in project.attempts() if one["state"] == state]
    return attempt


def running_node(cluster: Slurm) -> str:
    """Return the node of the job that runs."""
    return until(lambda: cluster.call("squeue", "-h", "-t", "R", "-o", "%N").strip(), "a job runs").split()[0]


def resume_nodes(cluster: Slurm) -> None:
    """Do what an administrator does with nodes that a restarted controller has drained: its saved state was older than
    what ran ("Duplicate jobid")."""
    subprocess.run([*RESUME, "nodename=n[1-4]"], env=cluster.environment, check=False, capture_output=True)


def finish(project: Project) -> None:
    project.write("go", "")
    project.rekindle("rerun", "-s", "failed", "-s", "canceled", "--yes", "--work")
    assert set(project.states().values()) == {"completed"}


def test_a_job_over_its_memory_is_out_of_memory(project):
    hungry = "python3 -c 'import time; held = bytearray(300 << 20); time.sleep(20)'"
    project.spec(f'name: hungry\njobs: {{job: {{run: "test -e go || {hungry}", resources: {{memory: 100M}}}}}}')
    project.rekindle("run", "spec.yaml", expect=2)
    attempt = only_attempt(project, "failed")
    assert attempt["cause"] == "oom"
    finish(project)


def test_a_job_over_the_memory_that_slurm_gives_is_out_of_memory(project):
    hungry = "python3 -c 'import time; held = bytearray(300 << 20); time.sleep(20)'"
    options = "resources: {options: [--mem=100M]}"
    project.spec(f'name: hungry\njobs: {{job: {{run: "test -e go || {hungry}", {options}}}}}')
    project.rekindle("run", "spec.yaml", expect=2)
    attempt = only_attempt(project, "failed")
    assert attempt["cause"] == "oom", attempt
    assert attempt["evidence"]["engine"] == "slurm"
    finish(project)


def test_a_job_over_its_time_is_timed_out(project):
    project.spec('name: slow\njobs: {job: {run: "test -e go || sleep 60", resources: {time: 1s}}}')
    project.rekindle("run", "spec.yaml", expect=2)
    assert only_attempt(project, "failed")["cause"] == "timeout"
    finish(project)


def test_scancel_by_hand_cancels_the_attempt_and_says_who(project, cluster):
    project.spec(LONG)
    runner = project.start("run", "spec.yaml")
    until(lambda: len(project.ran()) == 1, "the job runs")
    job = cluster.call("squeue", "-h", "-o", "%F").split()[0]
    cluster.call("scancel", job)
    assert runner.wait(timeout=90) == 5
    attempt = only_attempt(project, "canceled")
    assert (attempt["cause"], attempt["evidence"]["engine"]) == ("canceled", "slurm")
    finish(project)


def test_a_node_that_goes_down_under_a_job_loses_it(project, cluster):
    project.spec(LONG)
    runner = project.start("run", "spec.yaml")
    until(lambda: len(project.ran()) == 1, "the job runs")
    node = running_node(cluster)
    cluster.call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    try:
        assert runner.wait(timeout=150) == 2
    finally:
        resume_nodes(cluster)
    attempt = only_attempt(project, "failed")
    assert (attempt["cause"], attempt["evidence"]["state"]) == ("lost", "NODE_FAIL")
    finish(project)
    assert project.ran()[-1] == "through"


def test_a_controller_that_is_away_for_30_seconds_stops_nothing(project, cluster):
    project.spec(MANY)
    runner = project.start("run", "spec.yaml")
    until(lambda: len(project.ran()) >= 50, "jobs run")
    os.kill(cluster.process("slurmctld"), signal.SIGTERM)
    time.sleep(30)
    cluster.start_controller()
    assert runner.wait(timeout=150) == 0
    assert Counter(project.ran()) == Counter(map(str, range(500)))


def test_a_batch_whose_submission_is_lost_in_a_crash_runs_once(project, cluster):
    project.spec(MANY)
    runner = project.start("run", "spec.yaml")
    until(lambda: list((project.folder / ".rekindle" / "batches").glob("*/handle")), "a batch is submitted")
    os.kill(cluster.process("slurmctld"), signal.SIGKILL)
    cluster.start_controller()
    until(lambda: resume_nodes(cluster) or runner.poll() is not None, "the run ends", 150)
    assert runner.returncode == 0
    assert Counter(project.ran()) == Counter(map(str, range(500)))


def test_a_requeued_element_does_not_run_beside_its_first_start(project, cluster):
    project.spec(LONG.replace("{run:", "{resources: {options: [--requeue]}, run:"))
    runner = project.start("run", "spec.yaml")
    until(lambda: len(project.ran()) == 1, "the job runs")
    node = running_node(cluster)
    os.kill(cluster.process(f"slurmd-{node}"), signal.SIGKILL)
    until(
        lambda: cluster.call("squeue", "-h", "-o", "%T").strip() != "RUNNING" or running_node(cluster) != node, "moved"
    )
    project.write("go", "")
    assert runner.wait(timeout=150) == 0
    assert project.ran()[1:] == ["through"]
    cluster.call("slurmd", "-N", node)
