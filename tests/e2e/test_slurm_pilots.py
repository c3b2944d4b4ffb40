"""Runners in jobs of a real Slurm, on a store in PostgreSQL."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from project_folder import Project, until
from rekindle.store.opening import open_store
from slurm_cluster import Slurm
from stores import new_store_url

SWEEP = """
name: sweep
jobs:
  part: {matrix: {k: {range: [0, 60]}}, run: "echo ${matrix.k} >> ran.txt; echo $SLURM_JOB_ID >> nodes.txt; sleep 0.3"}
  end: {needs: ["part*"], run: "echo end >> ran.txt"}
"""

LONG = """
name: long
jobs:
  saved:
    steps:
      - {name: first, run: "echo first >> ran.txt"}
      - name: second
        run: |
          trap 'echo saved > state; exit 0' TERM; echo second >> ran.txt
          [ -e state ] || while :; do sleep 0.05; done
  limited: {run: "echo limited >> ran.txt", resources: {time: 10m}}
"""


@pytest.fixture
def project(tmp_path: Path, slurm: Slurm, postgres_server: str) -> Iterator[Project]:
    """A folder whose store is in PostgreSQL. Commands find the cluster."""
    with closing(open_store(new_store_url(postgres_server, tmp_path / ".rekindle"), create=True)):
        pass
    made = Project(tmp_path)
    made.env |= {name: slurm.environment[name] for name in ("SLURM_CONF", "PATH")}
    yield made
    made.run("slurm", "cancel")
    made.close()
    assert made.ask("store", "check", "--deep")["sound"]


def phases(project: Project) -> list[str]:
    return [one["phase"] for pilots in project.ask("slurm", "list")["submissions"] for one in pilots["seen"]]


def test_pilots_share_jobs_and_queued_ones_are_canceled_when_nothing_is_left(project: Project) -> None:
    project.spec(SWEEP)
    project.rekindle("submit", "spec.yaml")
    done = project.rekindle("slurm", "schedule-nodes", "-n", "12", "--", "-t", "5", "-c", "4")
    assert "60 ready jobs would keep 15 of 12 busy" not in done.stderr
    until(lambda: set(project.states().values()) == {"completed"}, "all jobs are completed")
    assert sorted(project.ran()) == sorted([*map(str, range(60)), "end"])
    assert len(set(project.ran("nodes.txt"))) > 1
    until(lambda: set(phases(project)) == {"ended"}, "no pilot is left")
    # The cluster has room for four at once: the others never began.
    errors = list((project.folder / ".rekindle" / "pilots").glob("*/*.err"))
    assert 4 <= len(errors) < 12
    assert not [text for path in errors if "Traceback" in (text := path.read_text())]


def test_an_allocation_ends_in_time_and_the_next_goes_on(project: Project) -> None:
    project.spec(LONG)
    project.rekindle("submit", "spec.yaml")
    schedule = ("slurm", "schedule-nodes", "--grace", "45s", "--", "--partition=short", "--cpus-per-task=2", "-t", "1")
    project.rekindle(*schedule)
    until(lambda: project.ran() == ["first", "second"], "the second step runs")
    assert project.states()["limited"] == "ready"  # ten minutes are too long
    until(lambda: project.states()["saved"] == "ready", "it is given back")
    assert (project.folder / "state").exists()
    until(lambda: set(phases(project)) == {"ended"}, "the pilot has ended")
    [attempt] = project.attempts("saved")
    assert (attempt["state"], attempt["cause"]) == ("canceled", "canceled")
    project.rekindle(*schedule)
    until(lambda: project.states()["saved"] == "completed", "it is completed")
    assert project.ran() == ["first", "second", "second"]
    until(lambda: set(phases(project)) == {"ended"}, "the pilot has ended")
    [error] = sorted((project.folder / ".rekindle" / "pilots").glob("*/*.err"), key=os.path.getmtime)[-1:]
    assert "limited can never start here: it asks more than this runner has: time 10m" in error.read_text()
    assert project.states()["limited"] == "ready"


def test_a_pilot_that_is_canceled_gives_its_jobs_back(project: Project, slurm: Slurm) -> None:
    project.spec("{name: held, jobs: {long: {run: 'echo $$ >> ran.txt; [ -e go ] || sleep 60 || exit 3'}}}")
    project.rekindle("submit", "spec.yaml")
    project.rekindle("slurm", "schedule-nodes", "--", "-t", "5")
    until(project.ran, "the job runs")
    [pilots] = project.ask("slurm", "list")["submissions"]
    slurm.call("scancel", str(pilots["slurm_job"]))
    until(lambda: project.states()["long"] == "ready", "it is given back")
    project.write("go", "")
    project.rekindle("work")
    first, second = project.attempts()
    # Slurm may send SIGTERM to the jobs too, before the runner does.
    assert (first["archived"], first["cause"]) in [(True, "canceled"), (True, "signal"), (True, "exit")]
    assert second["state"] == "completed"


def test_a_dry_run_submits_nothing_and_says_what_it_would(project: Project, slurm: Slurm) -> None:
    project.spec(
        "{name: sized, jobs: {a: {matrix: {k: {range: [0, 6]}}, run: 'true', resources: {cpus: 2, memory: 1G}}}}"
    )
    project.rekindle("submit", "spec.yaml")
    words = ("--dry-run", "--json", "--", "-c", "4", "--time=2:00:00", "-A", "x")
    shown = json.loads(project.rekindle("slurm", "schedule-nodes", "-n", "auto", *words).stdout)
    assert shown["slurm_job"] is None
    assert (shown["ready"], shown["useful"], shown["pilots"]) == (6, 3, 3)
    assert "--cpus-per-task=4" in shown["command"]
    assert "--mem=2048M" in shown["command"]
    assert "--time=120" in shown["command"]
    assert "-A x" in shown["command"]
    assert "work --pilot --grace 60s" in shown["script"]
    assert project.ask("slurm", "list") == {"submissions": []}
    done = project.rekindle("slurm", "schedule-nodes", "-n", "9", "--dry-run", "--", "-c", "4")
    assert "6 ready jobs would keep 3 of 9 busy" in done.stderr


def test_options_that_cannot_work_are_refused(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    project.rekindle("slurm", "schedule-nodes", "-n", "0", expect=64)
    done = project.rekindle("slurm", "schedule-nodes", "--", "--time=soon", expect=64)
    assert "'soon' is not a time of Slurm" in done.stderr
    done = project.rekindle("slurm", "schedule-nodes", "--", "--partition=none", expect=1)
    assert "partition" in done.stderr
    alone = Project(tmp_path_factory.mktemp("alone"))
    alone.env |= {"SLURM_CONF": project.env["SLURM_CONF"]}
    alone.spec("{name: a, jobs: {a: {run: 'true'}}}")
    alone.rekindle("submit", "spec.yaml")
    done = alone.rekindle("slurm", "schedule-nodes", expect=1)
    assert "rekindle serve" in done.stderr
