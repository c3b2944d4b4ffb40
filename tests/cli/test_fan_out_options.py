"""Fan-outs on the command line: options and output."""

from __future__ import annotations

import pytest
from cli_shell import Shell

from made_once import made_once

SPEC = """\
name: slices
jobs:
  slices:
    each: [a, b, c, d]
    run: "echo did ${item}; test ${item} != a -o -e mended"
  after: {needs: [slices], run: "true"}
"""


@pytest.fixture
@made_once
def failed(shell: Shell) -> Shell:
    shell.write(SPEC)
    assert shell("run", "spec.yaml", "-j", "1").code == 2
    return shell


def test_attempts_tell_of_subtasks(failed: Shell) -> None:
    (attempt,) = failed("attempts", "list", "--json").json["attempts"]
    assert attempt["steps"][0]["subtasks"] == {"completed": 3, "failed": 1}
    told = failed("attempts", "show", "1", "--json").json["subtasks"]
    assert {key: told[0][key] for key in ("index", "item", "state", "attempts", "cause")} == {
        "index": 0,
        "item": "a",
        "state": "failed",
        "attempts": 1,
        "cause": "exit",
    }
    shown = failed("attempts", "show", "1").out
    assert "subtasks of run: 3 completed, 1 failed" in shown
    assert shown.index('"a"') < shown.index('"b"')


def test_a_subtasks_log_is_printed(failed: Shell) -> None:
    assert failed("logs", "slices", "--step", "run", "--subtask", "2").out == "did c\n"
    missing = failed("logs", "slices", "--step", "run", "--subtask", "4")
    assert missing.code == 1
    assert "it has 0-3" in missing.err
    assert failed("logs", "slices", "--subtask", "1").out == "did b\n"


def test_the_plan_says_which_subtasks_run(failed: Shell) -> None:
    planned = failed("rerun", "slices", "--from", "failed-step", "--subtasks", "0,2-3", "--dry-run", "--json").json
    assert planned["jobs"][0]["subtasks"] == [0, 2, 3]
    assert planned["jobs"][0]["start"] == "run"
    shown = failed("rerun", "slices", "--from", "failed-step", "--dry-run").out
    assert "selected (subtasks); 1 subtask, 3" in " ".join(shown.split())


@pytest.mark.parametrize("word", ["x", "3-1", "", "1;2"])
def test_what_names_no_subtasks_is_a_wrong_command_line(failed: Shell, word: str) -> None:
    assert failed("rerun", "slices", "--from", "failed-step", "--subtasks", word, "--dry-run").code == 64


def test_a_saved_plan_keeps_the_choice_and_a_partial_job_says_so(failed: Shell) -> None:
    assert failed("rerun", "slices", "--accept-partial", "--save-plan", "plan.json").code == 0
    assert failed("apply", "plan.json").code == 0
    assert failed("work", "-j", "1").code == 0
    jobs = failed("jobs", "list", "--json").json["jobs"]
    assert [job["partial"] for job in jobs] == [True, True]
    assert "partial" in failed("jobs", "show", "after").out
    assert failed("attempts", "list", "--live", "--json").json["attempts"][0]["partial"] is True
    refused = failed("rerun", "after", "--accept-partial", "--dry-run")
    assert refused.code == 1
    assert "has not failed" in refused.err
