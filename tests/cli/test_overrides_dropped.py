"""An override of a rerun is dropped when a revision changes the same value."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_shell import Shell

from made_once import made_once

SPEC = """\
name: s
params: {a: 1, b: 1}
jobs:
  j:
    run: 'echo ${params.a} ${params.b} $K > o'
    inputs: {i: in}
    outputs: {o: o}
    env: {K: one, L: 'b is ${params.b}'}
    resources: {memory: 1M, time: 1h}
"""
DROPPED = "warning: j: the override a=3 is dropped: the spec now says a = 7 (was 1)\n"


@pytest.fixture
@made_once
def tuned(shell: Shell) -> Shell:
    """A job that has run with a=3, though the spec says 1."""
    shell.write("", "in")
    shell.write(SPEC)
    shell("run", "spec.yaml")
    assert shell("rerun", "j", "--set", "a=3", "--yes", "--work").code == 0
    assert Path("o").read_text() == "3 1 one\n"
    return shell


def change(shell: Shell, old: str, new: str) -> None:
    path = shell.folder / "spec.yaml"
    path.write_text(path.read_text().replace(old, new))


def overrides(shell: Shell) -> object:
    return shell("jobs", "list", "--json").json["jobs"][0]["overrides"]


def test_a_parameter_that_the_spec_changes_takes_the_place_of_one_that_was_set(tuned: Shell) -> None:
    change(tuned, "a: 1", "a: 7")
    assert DROPPED in tuned("submit", "spec.yaml", "--dry-run").err
    assert overrides(tuned) == {"params": {"a": 3}}
    done = tuned("submit", "spec.yaml")
    assert DROPPED in done.err
    assert overrides(tuned) is None
    assert "parameter a changed: 3 -> 7" in tuned("why", "j").out
    assert "  parameter a changed" in tuned("restart", "--dry-run").out
    assert tuned("rerun", "--changed", "--yes", "--work").code == 0
    assert Path("o").read_text() == "7 1 one\n"
    assert "current" in tuned("why", "j").out


def test_param_drops_it_too_and_json_has_the_warning(tuned: Shell) -> None:
    found = tuned("submit", "spec.yaml", "--param", "a=7", "--json").json
    assert found["warnings"] == [DROPPED.removeprefix("warning: ").rstrip()]


def test_what_the_spec_does_not_change_stays_set(tuned: Shell) -> None:
    change(tuned, "b: 1", "b: 2")
    change(tuned, "memory: 1M", "memory: 2M")
    done = tuned("submit", "spec.yaml")
    assert "override" not in done.err
    assert overrides(tuned) == {"params": {"a": 3}}
    out = tuned("why", "j").out
    assert "parameter b changed: 1 -> 2" in out
    assert "parameter a" not in out


def test_nothing_is_said_if_the_spec_takes_the_value_of_the_override(tuned: Shell) -> None:
    change(tuned, "a: 1", "a: 3")
    assert "override" not in tuned("submit", "spec.yaml").err
    assert overrides(tuned) is None


def test_variables_and_resources_are_dropped_likewise(tuned: Shell) -> None:
    words = ("--set", "b=5", "--env", "K=two", "--env", "L=set", "--memory", "8M", "--time", "2h")
    tuned("rerun", "j", *words, "--yes", "--work")
    change(tuned, "K: one", "K: three")
    change(tuned, "memory: 1M", "memory: 2M")
    done = tuned("submit", "spec.yaml")
    assert "the override K=two is dropped: the spec now says K = three (was one)" in done.err
    assert "the override memory=8.0 MiB is dropped: the spec now says memory = 2.0 MiB (was 1.0 MiB)" in done.err
    assert overrides(tuned) == {"params": {"b": 5}, "env": {"L": "set"}, "time": 7200.0}
    change(tuned, "b: 1", "b: 2")
    change(tuned, ", time: 1h", "")
    done = tuned("submit", "spec.yaml")
    assert "the override b=5 is dropped: the spec now says b = 2 (was 1)" in done.err
    assert "the override L=set is dropped: the spec now says L = b is 2 (was b is 1)" in done.err
    assert "the override time=2h 00m is dropped: the spec now says time = (not set) (was 1h 00m)" in done.err
    assert overrides(tuned) is None


def test_a_value_that_comes_back_does_not_bring_back_what_was_set(tuned: Shell) -> None:
    change(tuned, "a: 1", "a: 7")
    tuned("submit", "spec.yaml")
    change(tuned, "a: 7", "a: 1")
    assert "override" not in tuned("submit", "spec.yaml").err
    assert "parameter a changed: 3 -> 1" in tuned("why", "j").out


def test_undo_does_not_bring_back_what_was_dropped(tuned: Shell) -> None:
    tuned("rerun", "j", "--yes")
    change(tuned, "a: 1", "a: 7")
    assert "override" not in tuned("submit", "spec.yaml").err
    assert tuned("undo").code == 0
    assert overrides(tuned) is None
    assert "parameter a changed: 3 -> 7" in tuned("why", "j").out


def test_what_is_accepted_after_it_was_dropped_is_current(tuned: Shell) -> None:
    change(tuned, "a: 1", "a: 7")
    tuned("submit", "spec.yaml")
    tuned("accept", "j")
    assert "current" in tuned("why", "j").out
    change(tuned, "a: 7", "a: 8")
    tuned("submit", "spec.yaml")
    assert "parameter a changed: 7 -> 8" in tuned("why", "j").out


def test_what_was_accepted_before_is_measured_with_what_was_set(tuned: Shell) -> None:
    tuned.write("new", "in")
    tuned("accept", "j")
    assert "current" in tuned("why", "j").out
    change(tuned, "a: 1", "a: 7")
    tuned("submit", "spec.yaml")
    assert "parameter a changed: 3 -> 7" in tuned("why", "j").out


def test_a_job_pinned_to_an_earlier_definition_keeps_what_was_set_with_that(tuned: Shell) -> None:
    tuned("rerun", "j", "--definition", "pinned", "--set", "a=4", "--yes")
    change(tuned, "a: 1", "a: 7")
    assert "override" not in tuned("submit", "spec.yaml").err
    tuned("work")
    assert Path("o").read_text() == "4 1 one\n"
    assert "parameter a changed: 4 -> 7" in tuned("why", "j").out
    tuned("rerun", "--changed", "--yes", "--work")
    assert Path("o").read_text() == "7 1 one\n"


def test_jobs_of_which_the_same_is_true_are_named_in_one_warning(shell: Shell) -> None:
    shell.write("{name: s, params: {a: 1}, jobs: {j: {matrix: {i: [1, 2, 3, 4, 5, 6, 7]}, run: 'echo ${params.a}'}}}")
    shell("run", "spec.yaml")
    shell("rerun", "-w", "s", "--set", "a=3", "--yes")
    change(shell, "a: 1", "a: 7")
    told = shell("submit", "spec.yaml").err
    assert told.count("override") == 1
    assert "warning: j[i=1], j[i=2], j[i=3], j[i=4], j[i=5] and 2 more: the override a=3 is dropped" in told
