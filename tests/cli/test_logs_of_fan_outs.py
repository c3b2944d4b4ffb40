"""`logs` and `failures` of jobs with a fan-out: what the items printed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cli_shell import Shell

from made_once import made_once


def run(shell: Shell, *steps: dict[str, Any], code: int = 0) -> None:
    """Run a workflow of one job, `f`, with these steps."""
    shell.write(json.dumps({"name": "s", "jobs": {"f": {"steps": list(steps)}}}))
    assert shell("run", "spec.yaml").code == code


@pytest.fixture
@made_once
def failed(shell: Shell) -> Shell:
    """A fan-out with one failed item and nothing on stderr."""
    run(shell, {"name": "p", "each": ["a", "b"], "run": "echo item ${item}; test ${item} = a"}, code=2)
    return shell


@pytest.mark.parametrize("options", [[], ["--step", "p"], ["--attempt", "1"], ["--subtask", "all"]])
def test_what_items_printed_is_printed_under_their_headings(failed: Shell, options: list[str]) -> None:
    expected = "==> p 0 (a) stdout <==\nitem a\n\n==> p 1 (b) stdout, failed <==\nitem b\n"
    assert failed("logs", "f", *options).out == expected


def test_items_are_chosen_by_number_or_because_they_failed(failed: Shell) -> None:
    assert failed("logs", "f", "--subtask", "1").out == "item b\n"
    assert failed("logs", "f", "--step", "p", "--subtask", "0").out == "item a\n"
    assert failed("logs", "f", "--subtask", "failed").out == "==> p 1 (b) stdout, failed <==\nitem b\n"
    assert failed("logs", "f", "--subtask", "0-1").out.count("==>") == 2


@pytest.mark.parametrize(
    ("option", "code", "words"),
    [("7", 1, "no subtask 7"), ("x", 64, "--subtask takes failed, all or numbers"), ("3-1", 64, "3-1")],
)
def test_an_item_that_is_not_there_is_an_error(failed: Shell, option: str, code: int, words: str) -> None:
    refused = failed("logs", "f", "--subtask", option)
    assert (refused.code, refused.out) == (code, "")
    assert words in refused.err


def test_nothing_was_printed_is_said_of_the_stream_that_was_asked_for(failed: Shell) -> None:
    assert failed("logs", "f", "--stderr").err == "nothing was printed to stderr\n"


def test_stderr_of_items_is_printed(shell: Shell) -> None:
    run(shell, {"name": "p", "each": ["a", "b"], "run": "echo out; echo err ${item} >&2"})
    expected = "==> p 0 (a) stderr <==\nerr a\n\n==> p 1 (b) stderr <==\nerr b\n"
    assert shell("logs", "f", "--stderr").out == expected


def test_the_logs_of_items_are_in_the_json(failed: Shell) -> None:
    logs = failed("logs", "f", "--json").json["logs"]
    found = [(one["step"], one["subtask"], one["item"], one["state"], one["text"]) for one in logs if one["text"]]
    assert found == [("p", 0, "a", "completed", "item a\n"), ("p", 1, "b", "failed", "item b\n")]


def test_items_that_are_calls_are_printed_too(shell: Shell) -> None:
    shell.write("def f(item): print('call', item); return 1 / item\n", "lib.py")
    run(shell, {"name": "p", "each": [0, 1], "call": "lib:f", "args": {"item": "${item}"}}, code=2)
    out = shell("logs", "f").out
    assert "==> p 0 (0) stdout, failed <==\ncall 0\n" in out
    assert "ZeroDivisionError" in out
    assert "==> p 1 (1) stdout <==\ncall 1\n" in out


def test_of_many_items_the_failed_ones_are_shown_and_the_command_for_the_rest(shell: Shell) -> None:
    step = {"name": "p", "each": {"run": "seq 40"}, "run": "echo item ${item}; test ${item} -lt 39", "max_failed": 5}
    run(shell, step, {"name": "z", "run": "echo after"})
    some = shell("logs", "f")
    assert some.out.count("==> p ") == 21, "20 items, and what listed them"
    assert "item 39\n" in some.out
    assert "item 40\n" in some.out
    assert some.out.endswith("==> z stdout <==\nafter\n")
    assert (
        some.err
        == "shown: 20 of 40 items of p, 2 of them failed; `rekindle logs f --step p --subtask all` prints all\n"
    )
    assert shell("logs", "f", "--step", "p", "--subtask", "all").out.count("==> p ") == 40
    assert shell("logs", "f", "--subtask", "failed").out.count("==> p ") == 2


def test_failures_show_the_end_of_what_the_failed_item_printed(failed: Shell) -> None:
    out = failed("failures").out
    assert "│ item b\n" in out
    assert "`rekindle logs 1 --attempt 1 --step p --subtask 1`" in out
    example = failed("failures", "--json").json["failures"][0]["example"]
    assert (example["subtask"], example["tail"]) == (1, ["item b"])


def test_items_are_followed_while_they_run(shell: Shell) -> None:
    command = "echo start ${item}; touch started; while ! test -e go; do sleep 0.01; done; echo end ${item}"
    step = {"name": "p", "each": ["a", "b"], "run": command, "parallel": 2}
    shell.write(json.dumps({"name": "s", "jobs": {"f": {"steps": [step, {"name": "z", "run": "echo after"}]}}}))
    rekindle = str(Path(sys.executable).parent / "rekindle")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = subprocess.Popen([rekindle, "run", "spec.yaml"], cwd=shell.folder, **quiet)
    end = time.monotonic() + 30
    while not (shell.folder / "started").exists():
        assert time.monotonic() < end, "it never started"
        time.sleep(0.01)
    with (
        subprocess.Popen([rekindle, "logs", "f", "-f"], cwd=shell.folder, stdout=subprocess.PIPE, text=True) as follow,
        subprocess.Popen(
            [rekindle, "logs", "f", "-f", "--subtask", "1"], cwd=shell.folder, stdout=subprocess.PIPE, text=True
        ) as second,
    ):
        assert follow.stdout is not None
        assert second.stdout is not None
        head = [follow.stdout.readline() for _ in range(5)]
        assert sorted(head)[-2:] == ["start a\n", "start b\n"]
        assert sum(line.startswith("==> p ") for line in head) == 2
        (shell.folder / "go").touch()
        rest = follow.stdout.read()
        assert "end a\n" in rest
        assert "end b\n" in rest
        assert rest.endswith("after\n")
        assert "start b\nend b\n" in second.stdout.read()
    assert (follow.returncode, second.returncode, running.wait(30)) == (0, 0, 0)
