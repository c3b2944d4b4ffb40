"""Dynamic actions in the output of commands, and `--undo-dynamic`."""

from __future__ import annotations

import json

import pytest
from cli_shell import Shell

from made_once import made_once

ACTION = {
    "add": [{"name": "extra", "run": "true"}, {"name": "more", "run": "true", "needs": ["extra"]}],
    "set_children": {"x": 5},
    "hold_children": True,
}


@pytest.fixture
@made_once
def acted(shell: Shell) -> Shell:
    """A workflow whose job `a` has added two jobs, and changed and held `b`."""
    shell.write(json.dumps(ACTION), "action.json")
    shell.write(
        "name: dyn\nparams: {x: 1}\njobs:\n"
        "  a: {run: cp action.json $REKINDLE_ACTION}\n  b: {run: 'true', needs: [a]}\n"
    )
    assert shell("run", "spec.yaml").code == 1  # a job that is held has not completed
    return shell


def test_a_job_shows_who_added_it_and_what_is_done_to_it(acted: Shell) -> None:
    text = acted("jobs", "show", "extra").out
    assert "attempt 1 of a" in text
    text = acted("jobs", "show", "b").out
    assert 'set {"x": 5} (attempt 1)' in text
    assert "by an action of a, attempt 1" in text
    extra, b = (acted("jobs", "show", name, "--json").json for name in ("extra", "b"))
    (a,) = acted("jobs", "list", "a", "--json").json["jobs"]
    assert (extra["added_by"], extra["added_by_job"], a["added_by"]) == (a["attempt"], a["id"], None)
    assert b["patches"] == [
        {"attempt": a["attempt"], "set": {"x": 5}},
        {"attempt": a["attempt"], "hold": "by an action of a, attempt 1"},
    ]


def test_an_attempt_shows_its_actions(acted: Shell) -> None:
    text = acted("attempts", "show", "1").out
    assert "actions, in force:" in text
    assert "added: extra, more" in text
    shown = acted("attempts", "show", "1", "--json").json
    assert (shown["actions_in_force"], shown["added"]) == (True, ["extra", "more"])
    assert shown["steps"][0]["action"] == ACTION


def test_a_plan_warns_of_actions_and_undo_dynamic_takes_them_back(acted: Shell) -> None:
    plan = acted("rerun", "a", "--dry-run", "--json").json
    assert plan["dynamic"] == []
    assert any("`extra`, `more`" in warning and "--undo-dynamic" in warning for warning in plan["warnings"])
    shown = acted("rerun", "a", "--undo-dynamic", "--dry-run").out
    assert "retired" in shown
    assert "2 jobs run again: 1 selected, 1 downstream; 2 retired" in shown
    saved = acted("rerun", "a", "--undo-dynamic", "--save-plan", "plan.json", "--json").json
    assert saved["dynamic"][0]["name"] == "a"
    assert acted("apply", "plan.json").code == 0
    assert [job["name"] for job in acted("jobs", "list", "--json").json["jobs"]] == ["a", "b"]
    assert acted("jobs", "show", "extra", "--json").json["retired"]
    assert "the job that added it does not add it any more" in acted("jobs", "show", "extra").out
    number = acted("reruns", "list", "--json").json["reruns"][0]["rerun"]
    assert acted("reruns", "show", str(number), "--json").json["dynamic"] == saved["dynamic"]
    assert acted("rerun", "extra", "--yes").code == 1
    assert acted("undo").code == 0
    assert [job["name"] for job in acted("jobs", "list", "--json").json["jobs"]] == ["a", "b", "extra", "more"]
    assert acted("jobs", "show", "b", "--json").json["held"]
