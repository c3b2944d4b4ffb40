"""Jobs by name on the command line: a word is a name first, then ids, a pattern, a template or matrix values."""

from __future__ import annotations

import pytest
from cli_shell import Done, Shell

from made_once import made_once

SPEC = """
name: names
jobs:
  x: {run: "true"}
  y: {run: "true"}
  1-3: {run: "echo the third"}
  2024-01: {run: "echo dated"}
  mean: {matrix: {alpha: [0.1, 1.0], seed: [0, 1]}, run: "true"}
  text: {matrix: {t: ["a,b", c], u: [1]}, run: "true"}
  caf\u00e9: {run: "true"}
"""
OTHER = """
name: other
jobs: {mean: {matrix: {k: [1]}, run: "true"}, only: {run: "true"}}
"""


@pytest.fixture
@made_once
def named(shell: Shell) -> Shell:
    """A workflow whose jobs are named like ranges of ids, templates and texts."""
    shell("submit", shell.write(SPEC))
    return shell


def chosen(done: Done) -> list[str]:
    """The names of the jobs that `jobs list --json` printed."""
    return [job["name"] for job in done.json["jobs"]]


def test_a_name_like_a_range_of_ids_is_that_job(named: Shell) -> None:
    assert named("work", "1-3", "--json").json["completed"] == 1
    assert chosen(named("jobs", "list", "1-3", "--json")) == ["1-3"]
    assert [job["id"] for job in named("rerun", "1-3", "--dry-run", "--json").json["jobs"]] == [3]
    assert [one["job"] for one in named("attempts", "list", "1-3", "--json").json["attempts"]] == [3]
    assert [job["id"] for job in named("why", "1-3", "--json").json["jobs"]] == [3]
    assert named("jobs", "show", "1-3").out.startswith("job       3 1-3\n")


def test_logs_and_control_take_a_name_like_a_date(named: Shell) -> None:
    assert named("work", "2024-01").code == 0
    assert named("logs", "2024-01").out == "dated\n"
    assert named("hold", "1-3", "--json").json["held"] == [3]
    assert named("release", "1-3", "--json").json["released"] == [3]
    assert named("cancel", "1-3", "--json").json["canceled"] == [3]


def test_ids_and_i_stay_ids(named: Shell) -> None:
    assert chosen(named("jobs", "list", "1-2", "--json")) == ["x", "y"]
    assert chosen(named("jobs", "list", "-i", "1-3", "--json")) == ["x", "y", "1-3"]
    assert chosen(named("jobs", "list", "-n", "1-3", "--json")) == ["1-3"]
    done = named("jobs", "list", "2024-02")
    assert done.code == 64
    assert "no job is named '2024-02', and the range 2024-02 runs backwards" in done.err


def test_a_template_means_all_its_jobs_and_that_is_said(named: Shell) -> None:
    for words in (("mean",), ("-n", "mean")):
        done = named("jobs", "list", *words, "--json")
        assert len(done.json["jobs"]) == 4
        assert done.err == "mean: 4 jobs of the template\n"
    assert len(named("hold", "mean", "--json").json["held"]) == 4
    assert len(named("jobs", "list", "mean", "-f", "matrix.seed=1", "--json").json["jobs"]) == 2
    assert named("work", "mean", "--json").json["completed"] == 0, "they are held"
    done = named("logs", "mean")
    assert done.code == 1
    assert "mean means 4 jobs: mean[alpha=0.1,seed=0], " in done.err


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("mean[seed=0,alpha=0.1]", ["mean[alpha=0.1,seed=0]"]),
        ("mean[alpha=0.1]", ["mean[alpha=0.1,seed=0]", "mean[alpha=0.1,seed=1]"]),
        ("mean[seed=1, alpha=1.0]", ["mean[alpha=1.0,seed=1]"]),
        ('text[u=1,t="a,b"]', ['text[t="a,b",u=1]']),
        ("cafe\u0301", ["caf\u00e9"]),
        ("caf\u00e9", ["caf\u00e9"]),
        ("caf?", ["caf\u00e9"]),
    ],
)
def test_matrix_values_come_in_any_order_and_names_in_any_normal_form(
    named: Shell, word: str, names: list[str]
) -> None:
    assert chosen(named("jobs", "list", word, "--json")) == names
    assert chosen(named("jobs", "list", "-n", word, "--json")) == names


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("meen", "did you mean `mean`?"),
        ("mean[alpha=0.1,seed=9]", "did you mean `mean[alpha=0.1,seed="),
        ("mean[zeta=7]", "rekindle jobs list mean"),
        ("failed", "-s failed"),
        ("cancelled", "-s canceled"),
        ("zzzz", "rekindle jobs list"),
        ("mean[", "rekindle jobs list mean"),
    ],
)
def test_a_name_that_no_job_has_is_refused_with_a_hint(named: Shell, word: str, hint: str) -> None:
    done = named("rerun", word, "--yes")
    assert (done.code, done.out) == (1, "")
    assert f"no such job: {word}" in done.err
    assert hint in done.err


def test_a_template_of_several_workflows_asks_which(named: Shell) -> None:
    named("submit", named.write(OTHER, "other.yaml"))
    done = named("jobs", "list", "mean")
    assert done.code == 1
    assert "several workflows have a job 'mean': names, other" in done.err
    assert chosen(named("jobs", "list", "mean", "-w", "other", "--json")) == ["mean[k=1]"]
    named("submit", named.write(OTHER, "other.yaml"), "--new")
    assert len(chosen(named("jobs", "list", "only", "--json"))) == 1, "the newest of two of one name"


def test_ids_given_in_two_ways_that_narrow_to_nothing_say_how_to_join_them(named: Shell) -> None:
    done = named("jobs", "list", "-i", "1", "2")
    assert done.code == 0
    assert done.err.endswith("-i 1,2\n")
    assert named("jobs", "list", "-i", "1-3", "7").err.endswith("-i 1-3,7\n")
    assert named("jobs", "list", "-i", "5,7", "1-3").err.endswith("-i 1-3,5,7\n")
    assert chosen(named("jobs", "list", "-i", "1,2", "2", "--json")) == ["y"]
