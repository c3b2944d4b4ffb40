"""Canaries on the command line: 300 failures of one signature and 3 of another, one of each rerun first."""

from __future__ import annotations

import json

import pytest

from made_once import made_once
from project_folder import Project

SPEC = """
name: nightly
jobs:
  cold: {matrix: {n: {range: [0, 300]}}, run: "echo ${job.name} >> ran.txt; test -e warm || { echo cold >&2; exit 3; }"}
  dry: {matrix: {n: {range: [0, 3]}}, run: "echo ${job.name} >> ran.txt; test -e wet || { echo dry >&2; exit 4; }"}
  report: {needs: [cold, dry], run: "true"}
"""


@pytest.fixture
@made_once
def nightly(project: Project) -> Project:
    project.spec(SPEC)
    project.rekindle("run", "spec.yaml", expect=2)
    assert len(project.ran()) == 303
    project.write("ran.txt", "")
    return project


def test_two_attempts_are_made_before_the_groups_are_decided(nightly: Project) -> None:
    shown = nightly.rekindle("rerun", "-s", "failed", "--canary", "1", "--dry-run").stdout
    assert "`cold[n=0]` runs first, and 299 more of" in shown
    assert "3 jobs run again: 2 selected, 1 downstream" in shown
    done = nightly.rekindle("rerun", "-s", "failed", "--canary", "1", "--yes", "--work", expect=2)
    assert sorted(nightly.ran()) == ["cold[n=0]", "dry[n=0]"]
    assert "301 wait for canaries" in done.stdout
    assert "stopped: its canary `cold[n=0]` failed again the same way; 299 left as they are" in done.stderr
    assert "stopped: its canary `dry[n=0]` failed again the same way; 2 left as they are" in done.stderr
    told = nightly.ask("status")["workflows"][0]["canaries"]
    assert sorted((one["waiting"], one["outcome"]) for one in told) == [(2, "stopped"), (299, "stopped")]


def test_what_is_mended_is_released_and_what_is_not_stays(nightly: Project) -> None:
    nightly.write("warm", "")
    done = nightly.rekindle("rerun", "-s", "failed", "--canary", "1", "--yes", "--work", expect=2)
    assert set(nightly.ran()[:2]) <= {"cold[n=0]", "dry[n=0]", "cold[n=1]"}
    assert len(nightly.ran()) == 301
    assert "released: its canary `cold[n=0]` passed; the rest runs again (rerun 2)" in done.stderr
    nightly.write("wet", "")
    nightly.rekindle("rerun", "-s", "failed", "--canary", "1", "--yes", "--work")
    assert set(nightly.states().values()) == {"completed"}


def test_what_waits_is_told_and_undone(nightly: Project) -> None:
    document = json.loads(nightly.rekindle("rerun", "-s", "failed", "--canary", "2", "--yes", "--json").stdout)
    assert sorted((len(one["canaries"]), len(one["waits"])) for one in document["canaries"]) == [(2, 1), (2, 298)]
    assert "wait for its canaries `cold[n=0]`, `cold[n=1]`" in nightly.rekindle("status").stdout
    assert "298 of" in nightly.rekindle("reruns", "show", "1").stdout
    assert "waits for its canaries `cold[n=0]`, `cold[n=1]` (rerun 1)" in nightly.rekindle("why", "cold[n=7]").stdout
    nightly.rekindle("undo")
    assert "canaries was undone" in nightly.rekindle("reruns", "show", "1").stdout
    assert nightly.ask("status")["workflows"][0]["canaries"] == []


def test_a_wrong_number_or_manner_is_refused(nightly: Project) -> None:
    assert "--canary" in nightly.rekindle("rerun", "-s", "failed", "--canary", "0", expect=64).stderr
    words = ("rerun", "-s", "failed", "--canary", "1", "--repeat", "3", "--dry-run")
    assert "--canary does not go with --repeat" in nightly.rekindle(*words, expect=64).stderr
