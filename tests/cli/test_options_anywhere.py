"""--store and --json anywhere on the command line, and the documents of errors."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from cli_shell import Shell
from test_help import ALL, DIALECTS, spoken

COMMANDS = {
    path: one
    for path, one in ALL.items()
    if path[0] not in DIALECTS and not isinstance(one, click.Group) and path != ("completion",)
}


@pytest.fixture
def store(still: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The store of the diamond, from a working directory that has none."""
    monkeypatch.chdir(tmp_path)
    return str(still.folder / ".rekindle")


@pytest.mark.parametrize(
    "typed",
    [
        "--store {} jobs list --json",
        "jobs --store {} list --json",
        "jobs list --store {} --json",
        "jobs list left --json --store={}",
        "jobs --json list --store {}",
        "--json --store {} jobs list",
        "--json jobs list --store {} -- left",
        "--store {0} jobs --json list --store {0}",
    ],
)
def test_the_store_and_json_may_be_typed_anywhere(still: Shell, store: str, typed: str) -> None:
    done = still(*typed.format(store).split())
    assert done.code == 0
    assert "left" in [job["name"] for job in done.json["jobs"]]


@pytest.mark.parametrize(
    "typed", ["torc workflows list --store {}", "torc workflows --store {} list", "lpad --store {} version"]
)
def test_commands_of_other_systems_take_a_store_anywhere(still: Shell, store: str, typed: str) -> None:
    assert still(*typed.format(store).split()).code == 0


@pytest.mark.parametrize(
    "typed", ["status --store a --store b", "--store b status --store=a", "--store a --store b status"]
)
def test_two_stores_are_refused(shell: Shell, typed: str) -> None:
    done = shell(*typed.split())
    assert done.code == 64
    assert "--store names 2 stores" in done.err


def test_a_store_without_a_value_is_refused(shell: Shell) -> None:
    assert "--store needs a value" in shell("status", "--store").err


def test_a_value_that_looks_like_an_option_stays_a_value(diamond: Shell) -> None:
    assert diamond("hold", "bottom", "--reason", "--json").code == 0
    assert diamond("jobs", "show", "bottom", "--json").json["held_reason"] == "--json"


@pytest.mark.parametrize("path", COMMANDS, ids=spoken)
def test_a_usage_error_of_each_command_is_a_document(shell: Shell, path: tuple[str, ...]) -> None:
    done = shell(*path, "--no-such-option", "--json")
    assert done.code == 64
    error = done.json["error"]
    assert (error["kind"], error["exit_code"]) == ("usage", 64)
    assert "--no-such-option" in error["message"]
    assert "hint:" in done.err


FINDINGS = {("doctor",), ("spec", "check")}
"""Commands whose document holds the findings that their exit code is about."""


@pytest.mark.parametrize("path", [path for path in COMMANDS if path != ("serve",)], ids=spoken)
def test_each_command_prints_one_document_without_a_store(shell: Shell, path: tuple[str, ...]) -> None:
    required = [one for one in COMMANDS[path].params if one.required]
    words = [word for one in required for word in ([one.opts[0]] if isinstance(one, click.Option) else []) + ["1"]]
    done = shell(*path, *words, "--json")
    document = json.loads(done.out)
    if done.code != 0 and path not in FINDINGS:
        assert document["error"]["exit_code"] == done.code
        assert document["error"]["message"] in done.err or "problems" in document["error"]


def test_an_error_of_a_spec_has_each_problem(shell: Shell) -> None:
    shell.write("name: a\njobs: {b: {runn: x}, c: {run: x, timeout: 5}}")
    done = shell("run", "spec.yaml", "--json")
    error = done.json["error"]
    assert (done.code, error["kind"]) == (1, "spec")
    assert [(one["file"], one["line"]) for one in error["problems"]] == [("spec.yaml", 2)] * len(error["problems"])
    assert any("runn" in one["message"] for one in error["problems"])


@pytest.mark.parametrize(
    "typed", ["rerun left --json", "reset left --json", "rerun left --json --submit spec.yaml"], ids=str
)
def test_a_plan_that_is_not_applied_is_printed_with_the_refusal(still: Shell, typed: str) -> None:
    done = still(*typed.split())
    assert done.code == 1
    assert [job["name"] for job in done.json["jobs"]] == ["left", "bottom"]
    assert done.json["error"]["hint"] == "add --yes to apply the plan"
    assert "nothing is changed" in done.err


def test_refused_jobs_are_in_the_document_of_the_error(still: Shell) -> None:
    done = still("rerun", "bottom", "--from", "nothing", "--yes", "--json")
    assert done.code == 1
    assert done.json["refused"][0]["name"] == "bottom"
    assert done.json["error"]["kind"] == "plan_refused"


def test_without_json_an_error_prints_nothing_on_stdout(still: Shell) -> None:
    assert still("why", "nobody").out == ""
