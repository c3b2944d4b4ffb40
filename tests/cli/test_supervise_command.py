"""`supervise`: options, output and exit codes."""

from __future__ import annotations

import pytest
from cli_shell import Shell

from made_once import made_once

BATCH = """
name: batch
jobs:
  ok: {matrix: {i: {range: [0, 5]}}, run: "true"}
  flaky: {run: "test -e seen || { touch seen; exit 3; }"}
  broken: {run: "echo broken >&2; exit 4"}
"""

FOUND = """
name: found
jobs:
  ok: {matrix: {i: {range: [0, 5]}}, run: "true"}
  warm: {run: 'echo "WARNING warm" > "$REKINDLE_VERDICT"'}
  late:
    run: 'test -e seen || echo "BLOCKER too early" > "$REKINDLE_VERDICT"; touch seen'
"""


@pytest.fixture
@made_once
def batch(shell: Shell) -> Shell:
    shell("submit", shell.write(BATCH))
    return shell


@pytest.fixture
def found(shell: Shell) -> Shell:
    shell("submit", shell.write(FOUND))
    return shell


def test_it_ends_with_what_is_fixed_and_what_is_broken(batch: Shell) -> None:
    done = batch("supervise", "batch", "-j", "2", "--json", "--note", "nightly")
    report = done.json
    assert (done.code, report["exit_code"], report["end"], report["reruns"]) == (2, 2, "max_reruns", 1)
    assert [(one["name"], one["attempts"], one["passed"]) for one in report["fixed"]] == [("flaky", 2, "flaky")]
    assert [(one["message"], one["count"]) for one in report["failing"]] == [("broken", 1)]
    assert [one["name"] for one in report["left"]] == ["broken"]
    assert [(one["matching"], one["total"], one["rerun"]) for one in report["rounds"]] == [(2, 7, 1), (1, 7, None)]
    assert report["statuses"] == {"passed": 6, "error": 1}
    (rerun,) = batch("reruns", "list", "--json").json["reruns"]
    assert (rerun["kind"], rerun["note"], rerun["request"]["supervision"]) == ("supervise", "nightly", 1)


def test_people_are_told_the_same(batch: Shell) -> None:
    done = batch("supervise", "batch", "-j", "2")
    assert "round 1: 2 of 7 jobs match (28.6 %): rerun 1" in done.err
    for words in ("fixed by running again (1)", "flaky", "failing still (1)", "not run again (1)", "broken"):
        assert words in done.out
    assert [line.split() for line in done.out.splitlines() if " supervise " in line] == []
    assert " supervise " in batch("reruns", "list").out


@pytest.mark.parametrize(
    ("words", "code", "reruns"),
    [
        ([], 0, 0),
        (["--fail-on", "warning"], 8, 0),
        (["--fail-on", "warning,blocker"], 7, 0),
        (["--on", "Error,BLOCKER"], 0, 1),
        (["--on", "blocker", "--fail-on", "warning"], 8, 1),
        (["--on", "Warning"], 8, 1),
        (["--on", "warning", "--on", "blocker", "--max-reruns", "0"], 7, 0),
        (["--on", "blocker", "--max-failure-percent", "14"], 7, 0),
    ],
)
def test_verdicts_are_run_again_and_told_by_the_exit_code_where_asked(
    found: Shell, words: list[str], code: int, reruns: int
) -> None:
    done = found("supervise", "found", "--json", *words)
    assert (done.code, done.json["reruns"]) == (code, reruns)


@pytest.mark.parametrize(
    "words",
    [
        ["--max-reruns", "-1"],
        ["--max-reruns", "many"],
        ["--max-failure-percent", "0"],
        ["--max-failure-percent", "101"],
        ["--on", "failed"],
        ["--on", "passed"],
        ["--on-cause", "moon"],
        ["--max-attempts", "-1"],
        ["--max-core-hours", "-1"],
        ["--max-time", "90"],
        ["--poll", "30"],
        ["--poll", "0s"],
        ["--wait-timeout", "soon"],
        ["--group-by", "moon"],
        ["--max-group-percent", "50"],
        ["--no-work", "-j", "2"],
        ["--fail-on", "moon"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_64_and_nothing_is_done(batch: Shell, words: list[str]) -> None:
    done = batch("supervise", "batch", *words)
    assert (done.code, done.out) == (64, "")
    assert words[0] in done.err or words[-2] in done.err
    assert [one["kind"] for one in batch("events", "list", "--json").json["events"]] == ["submitted"]


@pytest.mark.parametrize("percent", ["1", "50", "100"])
def test_percentages_within_bounds_are_taken(shell: Shell, percent: str) -> None:
    shell("submit", shell.write("name: fine\njobs: {a: {run: 'true'}}\n"))
    assert shell("supervise", "fine", "--max-failure-percent", percent).code == 0


def test_a_name_means_the_newest_of_it_and_must_exist(shell: Shell) -> None:
    spec = shell.write("name: twice\njobs: {a: {run: 'exit 1'}}\n")
    shell("submit", spec)
    shell("submit", spec, "--new")
    assert shell("supervise", "twice", "--json").json["workflow"] == 2
    done = shell("supervise", "thrice")
    assert (done.code, "thrice" in done.err) == (1, True)


def test_an_archived_workflow_is_not_supervised(batch: Shell) -> None:
    batch("workflows", "archive", "batch")
    done = batch("supervise", "1")
    assert (done.code, "archived" in done.err) == (1, True)


def test_undo_takes_a_rerun_of_it_back_by_its_number_alone(shell: Shell) -> None:
    shell("submit", shell.write("name: w\njobs: {a: {run: 'exit 1'}, b: {run: 'true'}}\n"))
    assert shell("supervise", "w").code == 2
    assert shell("undo").code == 1
    done = shell("undo", "1")
    assert (done.code, "started" in done.err) == (1, True)


def test_a_job_that_can_never_fit_ends_it_and_is_named(shell: Shell) -> None:
    shell("submit", shell.write("name: w\njobs: {a: {run: 'true', resources: {gpus: 7}}, b: {run: 'true'}}\n"))
    done = shell("supervise", "w", "--json")
    assert (done.code, [one["name"] for one in done.json["never_fit"]]) == (1, ["a"])


def test_a_workflow_that_was_supervised_can_be_deleted(shell: Shell) -> None:
    shell("submit", shell.write("name: w\njobs: {a: {run: 'exit 1'}}\n"))
    assert shell("supervise", "w").code == 2
    assert shell("workflows", "delete", "w", "--yes").code == 0
    assert shell("reruns", "list", "--json").json["reruns"] == []


def test_a_spec_file_is_submitted_first(shell: Shell) -> None:
    spec = shell.write(BATCH, "nightly.yaml")
    done = shell("supervise", spec, "--max-reruns", "0", "--json")
    assert (done.code, done.json["name"], done.json["submitted"]["created"]) == (2, "batch", True)
    shell.write(BATCH.replace("exit 4", "true"), "nightly.yaml")
    assert shell("supervise", spec).code == 0
    assert [one["revision"] for one in shell("workflows", "list", "--json").json["workflows"]] == [2]


def test_options_of_the_submission_are_taken(shell: Shell) -> None:
    spec = shell.write("name: a\nparams: {code: 1}\njobs: {b: {run: 'exit ${params.code}'}}\n")
    assert shell("supervise", spec, "--param", "code=0", "--as", "other").code == 0
    assert [one["name"] for one in shell("workflows", "list", "--json").json["workflows"]] == ["other"]
    done = shell("supervise", "other", "--param", "code=0")
    assert done.code == 64
    assert "other is a workflow" in done.err


def test_a_name_that_is_a_workflow_and_a_file_means_the_workflow_and_says_so(shell: Shell) -> None:
    shell("submit", shell.write("name: both\njobs: {b: {run: 'true'}}\n"))
    shell.write("name: file\njobs: {c: {run: 'true'}}\n", "both")
    done = shell("supervise", "both", "--json")
    assert (done.code, done.json["name"]) == (0, "both")
    assert "note: both is workflow 1 and a file; ./both submits the file" in done.err
    assert shell("supervise", "./both", "--json").json["name"] == "file"


def test_what_is_neither_a_workflow_nor_a_file_is_refused(batch: Shell) -> None:
    done = batch("supervise", "batch.yaml")
    assert done.code == 1
    assert "no such workflow or spec file: batch.yaml" in done.err
    assert "batch" in done.err.partition("hint:")[2]


def test_one_canceled_job_ends_the_reruns_unless_canceled_jobs_run_again_too(batch: Shell) -> None:
    batch("cancel", "ok[i=0]")
    assert batch("supervise", "batch", "--json").json["end"] == "canceled"
    report = batch("supervise", "batch", "--on", "error,canceled", "--json").json
    assert {"ok[i=0]", "flaky"} == {one["name"] for one in report["fixed"]}
