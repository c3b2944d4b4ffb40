"""`--retries-at-most`: the retries of all policies together, in one run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from project_folder import until

SPEC = """
name: lab
defaults: {retry: {max: 3}}
jobs:
  bad: {matrix: {k: {range: [0, 4]}}, run: "echo x >> ran; exit 1"}
"""


def ran(shell) -> int:
    path = shell.folder / "ran"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def lab(shell):
    shell.write(SPEC)
    shell("submit", "spec.yaml")
    return shell


@pytest.mark.parametrize("command", [["run", "spec.yaml"], ["work"]], ids=lambda one: one[0])
@pytest.mark.parametrize(("most", "attempts"), [(0, 4), (3, 7), (12, 16), (100, 16)])
def test_policies_retry_that_often_together(lab, command, most, attempts):
    done = lab(*command, "-j", "2", "--retries-at-most", str(most))
    assert (done.code, ran(lab)) == (2, attempts)
    jobs = lab("jobs", "list", "--json").json["jobs"]
    not_retried = sum(job["attempts"] < 4 for job in jobs)  # one job may take all three retries
    assert (not_retried == 0) == (most >= 12)
    text = f"{not_retried} failures not retried: this run has made the retries of --retries-at-most"
    assert (text in done.err) == bool(not_retried)
    assert {job["state"] for job in jobs} == {"failed"}


def test_the_document_counts_what_was_not_retried(lab):
    assert lab("run", "spec.yaml", "--retries-at-most", "1", "--json").json["ran"]["not_retried"] == 4


def test_the_next_run_counts_anew(lab):
    lab("run", "spec.yaml", "--retries-at-most", "2")
    assert ran(lab) == 6
    lab("rerun", "-s", "failed", "--yes")
    lab("work", "--retries-at-most", "2")
    assert ran(lab) == 12


def test_supervise_counts_over_all_its_rounds(lab):
    done = lab("supervise", "lab", "--max-failure-percent", "100", "--max-reruns", "2", "--retries-at-most", "5")
    assert (done.code, ran(lab)) == (2, 4 + 4 + 4 + 5)
    assert "not retried" in done.err


def test_supervise_counts_on_after_its_process_was_killed(lab):
    words = ["supervise", "lab", "--max-reruns", "0", "--retries-at-most", "2", "-j", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "rekindle", *words], cwd=lab.folder, env=os.environ, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: lab("reruns", "list", "--json").out.count('"retry"') >= 1, "a retry was made")
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    finally:
        process.kill()
        process.wait(timeout=60)
    lab(*words)
    assert sum(one["jobs"] for one in retries(lab)) == 2


def retries(shell) -> list[dict]:
    return [one for one in shell("reruns", "list", "--json").json["reruns"] if one["kind"] == "retry"]


@pytest.mark.parametrize("words", [["--retries-at-most", "-1"], ["--retries-at-most", "2", "--no-work"]])
def test_what_makes_no_sense_is_refused(lab, words):
    done = lab("supervise", "lab", *words)
    assert done.code == 64
    assert "--retries-at-most" in done.err
