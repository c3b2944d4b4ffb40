"""Verdicts of commands and functions: stored, shown, filtered, kept by resumed attempts, and used for the exit code."""

from __future__ import annotations

import pytest

BATCH = """\
name: batch
jobs:
  plain: {run: "true"}
  warm: {run: 'echo "WARNING too warm" > "$REKINDLE_VERDICT"'}
  crash: {run: 'echo "BLOCKER: hit the wall" > "$REKINDLE_VERDICT"; test -e mended'}
  two:
    steps:
      - {name: experience, run: 'echo "warning cold start" > "$REKINDLE_VERDICT"; echo experience >> ran.txt'}
      - {name: metrics, run: 'echo "passed" > "$REKINDLE_VERDICT"; echo metrics >> ran.txt; test -e scored'}
  called: {call: "checks:judge"}
"""
CHECKS = """\
def judge(ctx):
    ctx.verdict("passed")
    ctx.verdict("blocker", "touched the line")
    ctx.verdict("blocker", "a second time")
    return 3
"""


@pytest.fixture
def batch(project):
    project.spec(BATCH)
    project.write("checks.py", CHECKS)
    project.rekindle("run", "spec.yaml", expect=2)
    return project


def found(job):
    return job["status"], job["verdict"], job["verdict_message"]


def test_jobs_say_what_they_found_beside_whether_they_ran(batch):
    jobs = batch.jobs()
    assert found(jobs["plain"]) == ("passed", None, None)
    assert found(jobs["warm"]) == ("warning", "warning", "too warm")
    assert found(jobs["called"]) == ("blocker", "blocker", "touched the line")
    assert found(jobs["crash"]) == ("error", None, None)  # the verdict of a failed step does not count
    assert found(jobs["two"]) == ("error", None, None)
    [attempt] = batch.attempts("two")
    assert [step["verdict"] for step in attempt["steps"]] == ["warning", None]
    assert list(batch.jobs("-f", "verdict=warning")) == ["warm"]
    assert list(batch.jobs("-f", "verdict=blocker")) == ["called"]


def test_a_workflow_has_the_worst_status_and_counts_them(batch):
    [status] = batch.ask("status")["workflows"]
    assert (status["state"], status["status"]) == ("failed", "error")
    assert status["statuses"] == {"passed": 1, "warning": 1, "blocker": 1, "error": 2}
    assert "found: 1 warning, 1 blocker" in batch.rekindle("status").stdout
    assert "warning: too warm" in batch.rekindle("jobs", "show", "warm").stdout
    assert "blocker: touched" in batch.rekindle("attempts", "list", "called").stdout


def test_a_resumed_attempt_carries_the_verdicts_of_the_steps_that_it_keeps(batch):
    batch.write("scored", "")
    batch.rekindle("rerun", "two", "--from", "failed-step", "--yes", "--work")
    assert batch.ran() == ["experience", "metrics", "metrics"]
    assert found(batch.jobs("two")["two"]) == ("warning", "warning", "cold start")


def test_the_exit_code_tells_of_verdicts_only_where_asked_and_never_hides_a_failure(batch):
    batch.rekindle("rerun", "crash", "two", "--yes")
    batch.rekindle("work", "--fail-on", "blocker,warning", expect=2)
    batch.write("mended", "")
    batch.write("scored", "")
    batch.rekindle("rerun", "crash", "two", "--yes")
    told = batch.rekindle("work", "--fail-on", "warning", expect=8).stderr
    assert "2 warnings stand" in told
    batch.rekindle("run", "spec.yaml")
    assert batch.ask("run", "spec.yaml", "--fail-on", "Blocker, warning", expect=7)["exit_code"] == 7
    assert "neither warning nor blocker" in batch.rekindle("work", "--fail-on", "error", expect=64).stderr


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({"run": 'echo fine > "$REKINDLE_VERDICT"'}, "unknown verdict 'fine'"),
        ({"run": "printf '\\377' > \"$REKINDLE_VERDICT\""}, "$REKINDLE_VERDICT is not UTF-8"),
        ({"call": "checks:bad"}, "unknown verdict 'superb'"),
        ({"each": ["a"], "run": 'echo PASSED > "$REKINDLE_VERDICT"'}, ""),
    ],
)
def test_a_verdict_that_cannot_be_read_fails_the_step(project, job, said):
    import json

    project.write("checks.py", "def bad(ctx):\n    ctx.verdict('superb')\n")
    project.write("spec.json", json.dumps({"name": "bad", "jobs": {"a": job}}))
    project.rekindle("run", "spec.json", expect=2)
    [attempt] = project.attempts()
    assert attempt["cause"] == ("exception" if said else "subtasks")
    assert said in attempt["error"]["message"]
    assert attempt["verdict"] is None
