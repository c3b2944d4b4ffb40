"""The failure rate of a flaky script is measured on the command line."""

from __future__ import annotations

import json

import pytest

from made_once import made_once
from project_folder import Project

SPEC = """
name: nightly
jobs:
  flake:
    run: |
      n=$(cat count 2>/dev/null || echo 0); echo $((n+1)) > count; echo run $n
      test $((n % 3)) -ne 1 || { echo cold tea >&2; exit 4; }
  firm: {run: "true"}
  broken: {run: "false"}
  report: {needs: [flake, firm], run: "cat count"}
"""


@pytest.fixture
@made_once
def nightly(project: Project) -> Project:
    project.spec(SPEC)
    project.rekindle("run", "spec.yaml", expect=2)
    return project


def test_it_is_measured_and_named(nightly: Project) -> None:
    done = nightly.rekindle("rerun", "flake", "firm", "--repeat", "5", "--yes", "--work")
    assert "2 jobs run 5 times" in done.stdout
    table = done.stdout.split("ready\n")[-1].splitlines()
    assert max(len(line) for line in table) <= 80
    rows = {line.split()[1]: line for line in table if line.strip()}
    assert "2 of 6" in rows["flake"]
    assert "0 of 6" in rows["firm"]
    assert (nightly.folder / "count").read_text() == "6\n"
    (told,) = nightly.ask("flaky")["flaky"]
    assert (told["name"], told["passed"], told["passes"], told["failures"]) == ("flake", "flaky", 4, 2)
    assert told["interval"][0] < told["rate"] < told["interval"][1]
    assert told["signatures"][0]["message"] == "cold tea"
    every = {one["name"]: one["passed"] for one in nightly.ask("flaky", "--all-jobs")["flaky"]}
    assert every == {"flake": "flaky", "firm": "plain", "broken": "failing", "report": "plain"}
    shown = json.loads(nightly.rekindle("jobs", "show", "flake", "--json").stdout)
    assert (shown["passed"], shown["repeats"]) == ("flaky", 0)


def test_its_descendants_run_once_after_the_last_attempt(nightly: Project) -> None:
    nightly.rekindle("rerun", "flake", "--repeat", "3", "--yes", "--work")
    assert nightly.rekindle("logs", "report").stdout.strip() == "4"
    attempts = nightly.ask("attempts", "list", "report")["attempts"]
    assert len(attempts) == 2


def test_one_json_document_holds_the_plan_and_the_measure(nightly: Project) -> None:
    words = ("rerun", "flake", "--repeat", "2", "--downstream", "none", "--yes", "--work", "--json")
    document = json.loads(nightly.rekindle(*words).stdout)
    assert document["jobs"][0]["repeats"] == 1
    assert document["flaky"][0]["passes"] + document["flaky"][0]["failures"] == 3


def test_a_wrong_number_is_refused(nightly: Project) -> None:
    assert "--repeat" in nightly.rekindle("rerun", "flake", "--repeat", "0", expect=64).stderr
    assert nightly.rekindle("flaky", "--all-jobs", "-n", "nobody*").stdout.strip() == "nothing selected"
