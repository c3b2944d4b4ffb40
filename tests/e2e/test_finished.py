"""`when: finished` and aggregates: their needs, their inputs, and when they run again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from made_once import made_once
from project_folder import until

SPEC = """\
name: batch
jobs:
  test:
    matrix: {n: {range: [0, 4]}}
    outputs: {score: "out-${matrix.n}.txt"}
    steps:
      - {name: experience, run: "echo experience-${matrix.n} >> ran.txt"}
      - {name: metrics, call: "checks:score", args: {n: "${matrix.n}"}}
  after: {needs: ["test[n=3]"], run: echo after >> ran.txt}
  report:
    needs: ["test*", after]
    when: finished
    aggregate: true
    run: echo report >> ran.txt; printenv REKINDLE_INPUTS > seen.json
  strict: {needs: ["test*"], aggregate: true, run: echo strict >> ran.txt}
"""
CHECKS = """\
import os, pathlib
def score(ctx, n):
    with open("ran.txt", "a") as file:
        file.write(f"metrics-{n}\\n")
    if n == 3 and not os.path.exists("mended"):
        raise ValueError("broken")
    pathlib.Path(f"out-{n}.txt").write_text(f"{ctx.attempt}")
    if n == 2:
        ctx.verdict("warning", "late")
    return {"n": n, "attempt": ctx.attempt}
"""


@pytest.fixture
@made_once
def batch(project):
    project.spec(SPEC)
    project.write("checks.py", CHECKS)
    project.rekindle("run", "spec.yaml", expect=2)
    return project


def seen(project):
    return json.loads((project.folder / "seen.json").read_text())


def new(project, before):
    return sorted(project.ran()[before:])


def test_a_report_runs_once_all_have_finished_and_knows_how_each_ended(batch):
    states = batch.states()
    assert states.pop("report") == "completed"
    assert (states["test[n=3]"], states["after"], states["strict"]) == ("failed", "waiting", "waiting")
    assert batch.ran()[-1] == "report"
    told = seen(batch)
    passed = told["test[n=0]"]
    assert (passed["state"], passed["verdict"], passed["partial"], passed["attempt"]) == ("completed", None, False, 1)
    assert passed["result"] == {"n": 0, "attempt": 1}
    assert passed["outputs"] == {"score": str(batch.folder / "out-0.txt")}
    assert (told["test[n=2]"]["verdict"], told["test[n=2]"]["verdict_message"]) == ("warning", "late")
    failed = told["test[n=3]"]
    assert (failed["state"], failed["result"], failed["outputs"]) == ("failed", None, {})
    assert (passed["error"], set(failed["error"])) == (None, {"type", "message", "traceback", "stderr"})
    assert failed["job"] == passed["job"] + 3
    assert (told["after"]["state"], told["after"]["attempt"]) == ("waiting", None)


def test_a_rerun_of_a_failed_need_makes_the_report_wait(batch):
    batch.write("mended", "")
    before = len(batch.ran())
    batch.rekindle("rerun", "test[n=3]", "--yes")
    states = batch.states()
    assert (states["test[n=3]"], states["after"], states["report"]) == ("ready", "waiting", "waiting")
    batch.rekindle("undo")
    assert (batch.states()["test[n=3]"], batch.states()["report"]) == ("failed", "completed")
    batch.rekindle("rerun", "test[n=3]", "--yes", "--work")
    assert new(batch, before) == ["after", "experience-3", "metrics-3", "report", "strict"]
    told = seen(batch)
    assert (told["test[n=3]"]["state"], told["test[n=3]"]["attempt"]) == ("completed", 2)
    assert told["after"]["state"] == "completed"


def test_a_report_sees_the_newest_live_output_of_each_and_runs_once_after_several_have_run_again(batch):
    before = len(batch.ran())
    batch.rekindle("rerun", "test[n=0]", "test[n=1]", "--yes", "--work")
    assert new(batch, before) == ["experience-0", "experience-1", "metrics-0", "metrics-1", "report"]
    told = seen(batch)
    assert [told[f"test[n={n}]"]["attempt"] for n in range(4)] == [2, 2, 1, 1]
    assert told["test[n=0]"]["result"] == {"n": 0, "attempt": 2}


def test_early_cut_off_does_not_spare_a_report(batch):
    before = len(batch.ran())
    batch.rekindle("rerun", "test[n=0]", "--downstream", "changed", "--yes", "--work")
    assert new(batch, before) == ["experience-0", "metrics-0", "report"]


def test_a_report_is_rerun_alone(batch):
    before = len(batch.ran())
    batch.rekindle("rerun", "report", "--yes", "--work")
    assert new(batch, before) == ["report"]
    assert not batch.ask("why", "report")["jobs"][0]["stale"]


def test_a_report_whose_need_ran_again_beside_it_is_stale_with_that_reason(batch):
    batch.rekindle("rerun", "test[n=0]", "--downstream", "none", "--yes", "--work")
    [report] = batch.ask("why", "report")["jobs"]
    assert [(one["kind"], one["name"]) for one in report["reasons"]] == [("aggregate", "test[n=0]")]


def test_one_stage_alone_runs_again_on_earlier_output_and_the_attempt_says_whose(batch):
    before = len(batch.ran())
    planned = batch.rekindle("rerun", "test[n=0]", "--from", "metrics", "--dry-run").stdout
    first = next(one["id"] for one in batch.attempts("test[n=0]"))
    assert f"from metrics, on experience of attempt {first}" in planned
    batch.rekindle("rerun", "test[n=0]", "--from", "metrics", "--yes", "--work")
    assert new(batch, before) == ["metrics-0", "report"]
    last = batch.attempts("test[n=0]")[-1]
    assert last["builds_on"] == first
    assert (
        f"from metrics, on experience of attempt {first}" in batch.rekindle("attempts", "show", str(last["id"])).stdout
    )
    batch.rekindle("rerun", "test[n=0]", "--from", "metrics", "--yes", "--work")
    again = batch.attempts("test[n=0]")[-1]
    assert again["builds_on"] == last["id"]
    assert [step["kept_from"] for step in again["steps"]] == [first, None]


def test_a_stage_that_runs_again_in_a_folder_of_its_own_finds_there_what_the_earlier_attempt_had_left(project):
    project.spec(
        "name: s\nworkdir: attempt\njobs:\n  test:\n    steps:\n"
        "      - {name: experience, run: echo driven > log.txt}\n"
        "      - {name: metrics, run: 'cat log.txt; echo scored >> log.txt; cat log.txt > $REKINDLE_DIR/score'}\n"
    )
    project.rekindle("run", "spec.yaml")
    for _ in range(2):
        project.rekindle("rerun", "test", "--from", "metrics", "--yes", "--work")
    first, second, third = project.attempts()
    assert (second["builds_on"], third["builds_on"]) == (first["id"], second["id"])
    assert third["workdir"] not in (first["workdir"], second["workdir"])
    assert (Path(first["workdir"]) / "log.txt").read_text() == "driven\nscored\n"
    assert (Path(second["workdir"]) / "score").read_text() == "driven\nscored\nscored\n"


def test_a_job_that_was_canceled_has_finished_and_a_report_that_was_canceled_does_not_run(project):
    project.spec(
        "name: c\njobs:\n  a: {run: 'true'}\n  b: {needs: [a], run: 'true'}\n"
        "  r: {needs: [b], when: finished, run: echo r >> ran.txt}\n"
    )
    project.rekindle("submit", "spec.yaml")
    project.rekindle("cancel", "a")
    assert project.states() == {"a": "canceled", "b": "waiting", "r": "ready"}
    project.rekindle("rerun", "a", "--downstream", "none", "--yes")
    assert project.states() == {"a": "ready", "b": "waiting", "r": "waiting"}
    project.rekindle("cancel", "-w", "c")
    assert set(project.states().values()) == {"canceled"}


def test_a_retry_that_is_due_later_has_not_finished(project):
    project.spec(
        "name: c\njobs:\n  a: {run: 'exit 3', retry: {max: 1, on: [exit], delay: 1h}}\n"
        "  r: {needs: [a], when: finished, run: echo r >> ran.txt}\n"
    )
    project.start("run", "spec.yaml")
    until(lambda: project.has_store() and [one["state"] for one in project.attempts()] == ["failed"], "a has failed")
    assert project.states() == {"a": "ready", "r": "waiting"}
    project.rekindle("work", "--wait-timeout", "100ms", expect=6)
    assert project.states() == {"a": "ready", "r": "waiting"}


def test_changing_when_a_job_runs_is_a_revision_that_takes_effect_at_once(project):
    spec = "name: c\njobs:\n  a: {run: 'exit 3'}\n  r: {needs: [a], when: WHEN, run: echo r >> ran.txt}\n"
    project.spec(spec.replace("WHEN", "completed"))
    project.rekindle("run", "spec.yaml", expect=2)
    assert project.states() == {"a": "failed", "r": "waiting"}
    project.spec(spec.replace("WHEN", "finished"))
    project.rekindle("submit", "spec.yaml")
    assert project.states() == {"a": "failed", "r": "ready"}
    project.spec(spec.replace("WHEN", "completed"))
    project.rekindle("submit", "spec.yaml")
    assert project.states() == {"a": "failed", "r": "waiting"}
