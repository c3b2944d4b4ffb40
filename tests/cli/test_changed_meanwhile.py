"""A job changes in another process between any two transactions of a command that selects jobs by their state."""

from __future__ import annotations

import contextlib

import pytest

from made_once import made_once
from rekindle.api import Client
from rekindle.domain.errors import Refused
from rekindle.domain.states import State
from rekindle.engine.rerun.resubmit import apply_update, plan_update
from rekindle.engine.session import open_session
from rekindle.spec import load

SPEC = """\
name: batch
jobs:
  a: {run: "exit 3"}
  b: {run: "exit 3"}
  later: {needs: [a], run: "true"}
"""


@pytest.fixture
@made_once
def batch(shell):
    """Two jobs that failed."""
    shell.write(SPEC)
    assert shell("run", "spec.yaml", "-j", "2").code == 2
    return shell


@pytest.mark.parametrize(
    "words",
    [
        ("rerun", "-s", "failed", "--yes"),
        ("rerun", "-s", "failed", "--cancel-running", "--yes"),
        ("rerun", "-f", "name~^[ab]$", "-s", "failed", "--yes"),
        ("rerun", "-f", "name~^[ab]$", "-s", "failed", "--cancel-running", "--yes"),
        ("rerun", "-s", "failed", "--submit", "spec.yaml", "--yes"),
        ("reset", "-s", "failed", "--yes"),
        ("reset", "--error", "3", "-s", "failed", "--yes"),
    ],
    ids=" ".join,
)
def test_a_job_that_has_completed_since_is_not_reset(batch, interruptions, words):
    for one in interruptions(batch.folder, "a"):
        done = batch(*words)
        assert done.code in (0, 1), done.err
        assert one.changed == (one.found().state is State.COMPLETED)
        if done.code == 1:
            assert "moved since the plan was made" in done.err or "changed since" in done.err


BY_STATE = pytest.mark.parametrize("where", [(), ("-f", "name~^[ab]$")], ids=["state", "pattern"])


@BY_STATE
def test_a_job_that_has_completed_since_is_not_held(batch, interruptions, where):
    for one in interruptions(batch.folder, "a"):
        done = batch("hold", "-s", "failed", *where, "--json")
        assert done.code == 0
        assert 2 in done.json["held"]
        if one.changed and not one.held:
            assert done.json["held"] == [2]
            assert one.found().held is None


@BY_STATE
def test_a_job_that_has_completed_since_is_not_released(batch, interruptions, where):
    assert batch("hold", "--all").code == 0
    for one in interruptions(batch.folder, "a"):
        done = batch("release", "-s", "failed", *where, "--json")
        assert done.code == 0
        assert 2 in done.json["released"]
        if one.changed and one.held:
            assert done.json["released"] == [2]
            assert one.found().held == "held"


@BY_STATE
def test_a_job_that_has_started_since_is_not_canceled_as_ready(shell, interruptions, where):
    shell.write(SPEC)
    assert shell("submit", "spec.yaml").code == 0
    for one in interruptions(shell.folder, "a", State.READY, State.QUEUED):
        done = shell("cancel", "-s", "ready", *where, "--json")
        assert done.code == 0
        assert 2 in done.json["canceled"]
        if one.changed:
            assert done.json["canceled"] == [2]
            assert done.json["asked"] == []


@pytest.mark.parametrize("call", ["rerun", "reset", "hold", "accept"])
@pytest.mark.parametrize("flags", [{}, {"filter": "name~^[ab]$"}], ids=["state", "pattern"])
def test_a_selection_of_the_python_api_is_resolved_when_it_acts(batch, interruptions, call, flags):
    for one in interruptions(batch.folder, "a"):
        with Client(str(batch.folder / ".rekindle"), create=False) as client:
            selection = client.selection(state="failed", **flags)
            with contextlib.suppress(Refused):
                if call == "rerun":
                    planned = client.plan_rerun(selection)
                    assert planned.request["jobs"] == list(planned.selected)
                    client.apply(planned)
                else:
                    getattr(client, call)(selection)
        if one.changed:
            assert one.found().state is State.COMPLETED
            assert one.found().held is None or one.held


def test_a_plan_that_was_shown_is_not_applied_to_a_job_that_has_completed_since(batch, interruptions, monkeypatch):
    batch("rerun", "-s", "failed", "--save-plan", "plan.json")
    for one in interruptions(batch.folder, "a"):
        done = batch("apply", "plan.json")
        assert done.code == (1 if one.changed and one.found().state is State.COMPLETED else 0)
        assert not one.changed or one.found().state is State.COMPLETED


def test_a_plan_saved_by_another_version_is_refused(batch):
    batch("rerun", "-s", "failed", "--save-plan", "plan.json")
    saved = batch.folder / "plan.json"
    saved.write_text(saved.read_text().replace('"rekindle_plan": 3', '"rekindle_plan": 2'))
    done = batch("apply", "plan.json")
    assert done.code == 1
    assert "was saved by another version of rekindle" in done.err
    assert "plan the rerun again" in done.err


STALE = """\
name: stale
jobs:
  a: {run: "cat raw > a", inputs: {raw: raw}, outputs: {a: a}}
  b: {run: "cat raw > b", inputs: {raw: raw}, outputs: {b: b}}
"""


@pytest.mark.parametrize("command", ["rerun", "reset", "accept"])
def test_a_job_that_has_started_since_it_was_found_stale_is_left_alone(shell, interruptions, command):
    shell.write("one\n", "raw")
    shell.write(STALE)
    assert shell("run", "spec.yaml").code == 0
    shell.write("two\n", "raw")
    yes = () if command == "accept" else ("--yes",)
    for one in interruptions(shell.folder, "a", State.COMPLETED, State.QUEUED):
        done = shell(command, "-w", "stale", "--changed", *yes, "--json")
        assert done.code in (0, 1), done.err
        if one.changed and done.code == 0:
            assert one.found().state is State.QUEUED
            planned = [job["id"] for job in done.json["jobs"]]
            assert 2 in planned


def test_a_job_that_has_completed_since_is_not_restarted(batch, interruptions):
    batch("rerun", "-s", "failed", "--yes")
    batch("cancel", "--all")
    for one in interruptions(batch.folder, "a", State.CANCELED):
        batch("restart", "--yes")
        if one.changed:
            assert one.found().state is State.COMPLETED


def test_a_job_that_has_completed_since_is_not_updated(batch, interruptions):
    for one in interruptions(batch.folder, "a"):
        with open_session(str(batch.folder / ".rekindle")) as session, contextlib.suppress(Refused):
            apply_update(session, plan_update(session, load(batch.folder / "spec.yaml"), retry_failed=True))
        if one.changed:
            assert one.found().state is State.COMPLETED
