"""Tables at 80 columns: the cells that matter are whole."""

from __future__ import annotations

from cli_shell import Shell

SPEC = """
name: w
jobs:
  first: {run: "test -e it/is/fixed"}
  mean-of-a-long-city-name: {run: "true", inputs: {table: measurements-of-the-year.csv}}
  below: {run: "true", needs: [first]}
"""


def test_the_reason_of_a_plan_is_not_cut_for_the_word_selected(shell: Shell) -> None:
    shell.write(SPEC)
    shell.write("1", "measurements-of-the-year.csv")
    shell("run", "spec.yaml")
    shell.write("2", "measurements-of-the-year.csv")
    planned = shell("rerun", "--changed", "--dry-run").out
    assert "beginning  input table changed" in planned
    assert "selected;" not in planned
    assert "1 selected" in planned
    assert "selected (exit)" in shell("rerun", "first", "--dry-run").out


def test_failed_jobs_come_first_in_the_counts_of_status(shell: Shell) -> None:
    shell.write(SPEC)
    shell.write("1", "measurements-of-the-year.csv")
    shell("run", "spec.yaml")
    assert "  1 failed, 1 waiting, 1 completed\n" in shell("status").out


def test_the_note_of_an_archived_attempt_is_whole(shell: Shell) -> None:
    shell.write(SPEC)
    shell.write("1", "measurements-of-the-year.csv")
    shell("run", "spec.yaml")
    shell("rerun", "first", "--yes", "--work")
    assert "  by rerun 1  " in shell("jobs", "show", "first").out


def test_a_refusal_of_logs_says_once_how_many_jobs_a_name_means(shell: Shell) -> None:
    shell.write("name: w\njobs:\n  a: {run: echo hello, matrix: {x: [1, 2, 3]}}\n")
    shell("run", "spec.yaml")
    refused = shell("logs", "a")
    assert refused.err.count("3 jobs") == 1
    assert "a means 3 jobs" in refused.err
