"""SIGKILL during a fan-out: completed subtasks do not run again."""

from __future__ import annotations

from collections import Counter

import psutil
from test_killed import kill_tree

from project_folder import Project, until

ITEMS = 120
SPEC = f"""
name: slices
jobs:
  slices:
    steps:
      - {{name: marshal, run: echo marshal >> marshalled}}
      - name: process
        each: {{run: seq {ITEMS}}}
        parallel: 2
        run: "echo ${{item}} >> ran.txt; test ${{item}} -ne 60 -o -e go || sleep 60"
      - {{name: store, run: echo store >> stored}}
"""


def amid(project: Project) -> psutil.Popen:
    """Start a run, and wait until one subtask sleeps and all others have ended."""
    project.spec(SPEC)
    runner = project.start("run", "spec.yaml", "-j", "1")
    until(lambda: len(project.ran()) == ITEMS, "all subtasks have started")
    return runner


def counts(project: Project) -> dict[str, int]:
    step = next(step for step in project.attempts("--live")[0]["steps"] if step["name"] == "process")
    return step["subtasks"]


def check_finished(project: Project) -> None:
    assert project.states() == {"slices": "completed"}
    assert counts(project) == {"completed": ITEMS}
    assert (len(project.ran("marshalled")), len(project.ran("stored"))) == (1, 1)
    ran = Counter(project.ran())
    assert set(ran) == {str(n) for n in range(1, ITEMS + 1)}
    assert ran["60"] == 2
    # Only a subtask that ran at the kill, and whose end was not journalled, may have run twice.
    assert {item for item, times in ran.items() if times > 1} <= {"60", str(ITEMS)}


def test_a_fan_out_of_a_killed_runner_is_resumed(project: Project) -> None:
    kill_tree(amid(project))
    project.write("go", "")
    project.rekindle("work", "-j", "1")
    check_finished(project)
    first, second = project.attempts()
    assert (first["cause"], second["builds_on"]) == ("lost", first["id"])
    told = project.ask("attempts", "show", str(second["id"]))["subtasks"]
    tries = {one["item"]: one["attempts"] for one in told}
    assert tries["60"] == 2
    assert sum(times > 1 for times in tries.values()) <= 2


def test_a_fan_out_of_a_killed_worker_is_resumed_by_a_rerun_from_the_failed_step(project: Project) -> None:
    runner = amid(project)
    workers = [one for one in psutil.Process(runner.pid).children() if "rekindle.worker" in " ".join(one.cmdline())]
    for worker in workers:
        worker.kill()
    assert runner.wait(timeout=60) == 2
    (attempt,) = project.attempts()
    assert (attempt["state"], attempt["cause"]) == ("failed", "lost")
    told = project.ask("attempts", "show", str(attempt["id"]))["subtasks"]
    assert next(one for one in told if one["item"] == "60")["cause"] == "lost"
    project.write("go", "")
    planned = project.ask("rerun", "slices", "--from", "failed-step", "--dry-run")
    assert planned["jobs"][0]["reasons"][1]["run"] <= 2
    project.rekindle("rerun", "slices", "--from", "failed-step", "--yes", "--work", "-j", "1")
    check_finished(project)


def test_a_canceled_fan_out_is_resumed_with_its_other_subtasks(project: Project) -> None:
    runner = amid(project)
    project.rekindle("cancel", "slices")
    assert runner.wait(timeout=60) == 5
    assert counts(project) == {"completed": ITEMS - 1, "canceled": 1}
    project.write("go", "")
    project.rekindle("rerun", "slices", "--from", "failed-step", "--yes", "--work", "-j", "1")
    check_finished(project)
