"""`manual: {rerun: forbidden}`: a job that has started is never run again, by whatever command."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from cli_shell import Shell

REKINDLE = str(Path(sys.executable).parent / "rekindle")

SPEC = """\
name: billing
defaults: {retry: {max: 2, on: [exit, lost]}}
jobs:
  sum:   {run: "date +%N > total"}
  pay:
    needs: [sum]
    run: "echo once >> paid; test ! -e broken"
    manual: {rerun: forbidden, reason: it pays the invoices}
  file:  {needs: [pay], run: "cat total >> filed"}
"""
HIDDEN = "it must not run twice (it pays the invoices)"


@pytest.fixture
def billing(shell: Shell) -> Shell:
    shell.write(SPEC)
    return shell


@pytest.fixture
def paid(billing: Shell) -> Shell:
    assert billing("run", "spec.yaml").code == 0
    return billing


@pytest.fixture
def failed(billing: Shell) -> Shell:
    """A payment that has failed; it was not retried."""
    (billing.folder / "broken").touch()
    assert billing("run", "spec.yaml").code == 2
    (billing.folder / "broken").unlink()
    return billing


def payments(shell: Shell) -> int:
    return len((shell.folder / "paid").read_text().split())


def states(shell: Shell) -> dict[str, str]:
    return {job["name"]: job["state"] for job in shell("jobs", "list", "--json").json["jobs"]}


@pytest.mark.parametrize(
    "words",
    [
        ("rerun", "pay", "--yes", "--work"),
        ("rerun", "pay", "--from", "failed-step", "--yes", "--work"),
        ("rerun", "pay", "--cancel-running", "--yes", "--work"),
        ("rerun", "pay", "--repeat", "3", "--yes", "--work"),
        ("rerun", "-s", "failed", "--yes", "--work"),
        ("ziggy", "console", "restart", "--restartMode", "restart-from-beginning", "--task", "2"),
        ("torc", "jobs", "reset-status", "2"),
    ],
)
def test_a_failed_one_is_refused_by_name_with_its_reason(failed: Shell, words: tuple[str, ...]) -> None:
    done = failed(*words)
    assert done.code != 0
    assert "must not run twice" in done.out + done.err
    failed("work")
    assert payments(failed) == 1
    assert states(failed) == {"sum": "completed", "pay": "failed", "file": "waiting"}


@pytest.mark.parametrize(
    "words",
    [
        ("run", "spec.yaml", "--retry-failed", "--yes"),
        ("restart", "--yes"),
        ("supervise", "billing", "--max-reruns", "3"),
    ],
)
def test_run_restart_and_supervise_leave_a_failed_one(failed: Shell, words: tuple[str, ...]) -> None:
    failed(*words)
    assert payments(failed) == 1
    assert states(failed)["pay"] == "failed"


def test_a_rerun_above_keeps_it_and_says_so(paid: Shell) -> None:
    done = paid("rerun", "sum", "--yes", "--work", "--json")
    assert done.code == 0
    plan = done.json.get("plan", done.json)
    assert any("`pay` must not run twice (it pays the invoices)" in one for one in plan["warnings"])
    [kept] = [job for job in plan["jobs"] if job["name"] == "pay"]
    assert kept["stays"]
    assert {"kind": "forbidden", "reason": "it pays the invoices"} in kept["reasons"]
    assert payments(paid) == 1
    assert states(paid) == {"sum": "completed", "pay": "completed", "file": "completed"}


def test_run_leaves_a_stale_one_and_names_it_until_it_is_accepted(paid: Shell) -> None:
    paid.write(SPEC.replace("echo once", "echo  once"))
    done = paid("run", "spec.yaml")
    assert done.code == 1
    assert HIDDEN in done.out
    assert "keep the results: rekindle accept -i 2" in done.err
    assert payments(paid) == 1
    why = paid("why", "pay")
    assert "stale, but not run again:" in why.out
    assert "must not run twice: it pays the invoices" in why.out
    assert paid("why", "pay", "--json").json["jobs"][0]["forbidden"] == "it pays the invoices"
    assert paid("accept", "pay").code == 0
    assert paid("run", "spec.yaml").code == 0


def test_a_revision_without_the_key_lets_it_run_again(failed: Shell) -> None:
    failed.write(SPEC.replace("    manual: {rerun: forbidden, reason: it pays the invoices}\n", ""))
    assert failed("run", "spec.yaml", "--retry-failed").code == 0
    assert payments(failed) == 2


def test_the_key_alone_makes_nothing_stale(paid: Shell) -> None:
    paid.write(SPEC.replace("it pays the invoices", "it pays them"))
    assert paid("run", "spec.yaml").code == 0
    assert payments(paid) == 1


def test_one_that_never_started_runs_again(shell: Shell) -> None:
    shell.write(SPEC.replace('run: "echo once', 'inputs: {bill: bill.txt}\n    run: "echo once'))
    assert shell("run", "spec.yaml").code == 2
    (shell.folder / "bill.txt").touch()
    assert shell("rerun", "pay", "--yes", "--work").code == 0
    assert payments(shell) == 1


def test_one_whose_runner_was_killed_is_never_started_again(billing: Shell) -> None:
    billing.write(SPEC.replace("test ! -e broken", "sleep 60"))
    runner = subprocess.Popen([REKINDLE, "run", "spec.yaml"], cwd=billing.folder, start_new_session=True)
    paid = billing.folder / "paid"
    until = time.monotonic() + 30
    while not paid.exists() and time.monotonic() < until:
        time.sleep(0.02)
    every = psutil.Process(runner.pid).children(recursive=True)
    runner.kill()
    for one in every:
        one.kill()
    runner.wait()
    assert billing("work").code == 2
    assert billing("run", "spec.yaml", "--retry-failed").code == 2
    assert payments(billing) == 1
    assert billing("attempts", "list", "pay", "--json").json["attempts"][0]["cause"] == "lost"
    assert "failed, and not run again" in billing("why", "pay").out


@pytest.mark.parametrize(
    ("manual", "message"),
    [
        ("{rerun: forbidden}", "`manual` has no `reason`"),
        ("{reason: so}", "`manual` has no `rerun`"),
        ("{rerun: never, reason: so}", "`rerun` of `manual` must be forbidden or allowed"),
        ("yes", "`manual` must be a mapping"),
    ],
)
def test_a_wrong_key_is_a_problem_of_the_spec(shell: Shell, manual: str, message: str) -> None:
    shell.write(SPEC.replace("{rerun: forbidden, reason: it pays the invoices}", manual))
    done = shell("submit", "spec.yaml")
    assert done.code == 1
    assert message in done.err


def test_the_workflow_shows_the_key(paid: Shell) -> None:
    templates = {one["name"]: one for one in paid("workflows", "show", "billing", "--json").json["templates"]}
    assert templates["pay"]["manual"] == {
        "rerun": "forbidden",
        "reason": "it pays the invoices",
    }


@pytest.mark.parametrize(
    "words",
    [
        ("why", "pay"),
        ("why", "file"),
        ("jobs", "show", "pay"),
        ("jobs", "show", "file"),
        ("run", "spec.yaml"),
        ("run", "spec.yaml", "--retry-failed"),
        ("failures",),
    ],
)
def test_no_refused_command_is_suggested(failed: Shell, words: tuple[str, ...]) -> None:
    done = failed(*words)
    text = " ".join((done.out + done.err).split())
    assert "take `manual` out of spec.yaml" in text
    for refused in ("again: rekindle", "--retry-failed", "rekindle rerun"):
        assert refused not in text


def test_the_end_of_a_run_suggests_no_refused_command(billing: Shell) -> None:
    (billing.folder / "broken").touch()
    done = billing("run", "spec.yaml")
    assert "take `manual` out of spec.yaml" in done.err
    assert "rekindle rerun" not in done.err
    billing.write(SPEC.replace("test ! -e", "false || test ! -e") + '  other: {run: "false"}\n')
    assert "again: rekindle rerun -w 1 -s failed" in billing("run", "spec.yaml").err
