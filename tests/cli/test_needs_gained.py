"""A completed job that gets an unfinished need by a revision is stale at once in every command."""

from __future__ import annotations

import pytest
from cli_shell import Shell

SWEEP = """\
name: s
jobs:
  sim: {matrix: {seed: [0, 1]}, run: 'mkdir -p o; echo ${matrix.seed} > ${outputs.o}', outputs: {o: 'o/${matrix.seed}'}}
  aggregate: {aggregate: true, needs: ['sim*'], run: 'cat o/*'}
  named: {needs: [sim], run: 'cat o/*'}
  reader: {inputs: {all: o}, run: 'cat o/*'}
  below: {needs: [named], run: 'true'}
  apart: {run: 'true'}
"""


def change(shell: Shell, old: str, new: str) -> None:
    path = shell.folder / "spec.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def stale(shell: Shell) -> set[str]:
    """The stale jobs of `jobs list`, which equal those of `why`."""
    listed = {job["name"] for job in shell("jobs", "list", "--json").json["jobs"] if job["stale"]}
    explained = shell("why", "--all", "--json").json["jobs"]
    assert listed == {job["name"] for job in explained if any(one["kind"] == "needs" for one in job["reasons"])}
    return listed


def planned(shell: Shell, *words: str) -> set[str]:
    return {job["name"] for job in shell(*words, "--dry-run", "--json").json["jobs"]}


def test_an_extended_sweep_makes_what_gathers_it_stale_at_once(shell: Shell) -> None:
    shell.write(SWEEP)
    assert shell("run", "spec.yaml").code == 0
    assert stale(shell) == set()
    change(shell, "[0, 1]", "[0, 1, 2]")
    assert "1 added, 3 need others" in shell("submit", "spec.yaml").err
    gathering = {"aggregate", "named", "reader"}
    assert stale(shell) == gathering
    assert "needs sim[seed=2], which is not done" in shell("why", "aggregate").out
    assert "3 completed jobs are stale: they need a job that is not done" in shell("status").out
    assert shell("status", "--json").json["workflows"][0]["stale_by_needs"] == 3
    assert planned(shell, "restart") == gathering | {"below"}
    assert planned(shell, "rerun", "--changed") == gathering | {"below"}
    assert shell("restart", "--yes", "--work").code == 0
    assert stale(shell) == set()
    change(shell, "[0, 1, 2]", "[0, 1]")
    shell("submit", "spec.yaml")
    assert "does not need sim[seed=2] any more" in shell("why", "named").out
    assert planned(shell, "restart") == gathering | {"below"}


@pytest.mark.parametrize("how", ["failed", "canceled", "waiting", "held"])
def test_a_need_that_is_not_done_makes_stale_however_it_stands(shell: Shell, how: str) -> None:
    shell.write(SWEEP + "  other: {run: 'false'}\n  last: {needs: [other], run: 'true'}\n")
    shell("submit", "spec.yaml")
    if how == "canceled":
        shell("cancel", "other")
    if how == "held":
        shell("hold", "other")
    shell("work")
    change(shell, "apart: {", f"apart: {{needs: [{'last' if how == 'waiting' else 'other'}], ")
    shell("submit", "spec.yaml")
    assert stale(shell) == {"apart"}
    assert "apart" in planned(shell, "restart")
    assert planned(shell, "rerun", "--changed") == {"apart"}


def test_a_job_that_runs_whenever_others_are_finished_is_stale_only_for_what_is_not(shell: Shell) -> None:
    shell.write(SWEEP + "  other: {run: 'false'}\n")
    shell("run", "spec.yaml")
    change(shell, "apart: {", "apart: {needs: [other], when: finished, ")
    shell("submit", "spec.yaml")
    assert stale(shell) == set()
    change(shell, "apart: {needs: [other]", "apart: {needs: [more]")
    change(shell, "  other: {run: 'false'}\n", "  more: {run: 'false'}\n")
    shell("submit", "spec.yaml")
    assert stale(shell) == {"apart"}
