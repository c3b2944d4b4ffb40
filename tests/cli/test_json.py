"""The JSON keys that scripts rely on."""

from __future__ import annotations

import re

from cli_shell import Shell

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")


def test_status(still: Shell) -> None:
    (one,) = still("status", "--json").json["workflows"]
    assert (one["id"], one["name"], one["state"]) == (1, "diamond", "failed")
    assert one["counts"] == {"waiting": 1, "completed": 2, "failed": 1}
    assert one["failures"][0]["message"] == "no such alloy: Xy"
    assert (one["runners"], one["spec_changed"]) == ([], False)
    assert one["seconds"] > 0


def test_status_tells_that_the_spec_file_has_changed(diamond: Shell) -> None:
    diamond.write("name: diamond\njobs: {top: {run: 'true'}}\n")
    assert diamond("status", "--json").json["workflows"][0]["spec_changed"] is True
    assert "differs from revision 1" in diamond("status").out
    assert "differs" in diamond("rerun", "left", "--dry-run").err


def test_jobs_list(still: Shell) -> None:
    jobs = {job["name"]: job for job in still("jobs", "list", "--json").json["jobs"]}
    assert list(jobs) == ["top", "left", "right", "bottom"]
    keys = {"id", "workflow", "name", "state", "held", "verdict", "cause", "attempts", "retired", "stale"}
    assert all(keys <= set(job) for job in jobs.values())
    left = jobs["left"]
    assert (left["state"], left["cause"], left["exit_code"], left["attempts"]) == ("failed", "exit", 1, 1)
    assert (left["held"], left["verdict"], left["retired"], left["stale"]) == (False, None, False, None)
    assert isinstance(left["id"], int)
    assert left["workflow"] == 1
    assert jobs["bottom"]["cause"] is None


def test_jobs_show(still: Shell) -> None:
    job = still("jobs", "show", "left", "--json").json
    assert [one["name"] for one in job["needs"]] == ["top"]
    assert [one["name"] for one in job["needed_by"]] == ["bottom"]


def test_attempts_list(diamond: Shell) -> None:
    diamond("rerun", "left", "--yes")
    (one,) = diamond("attempts", "list", "left", "--json").json["attempts"]
    assert (one["number"], one["state"], one["cause"], one["exit_code"]) == (1, "failed", "exit", 1)
    assert (one["archived"], one["partial"], one["modified"], one["signal"]) == (True, False, False, None)
    assert set(one["error"]) >= {"type", "message", "traceback"}
    assert one["workdir"] == str(diamond.folder)
    assert TIME.fullmatch(one["started"])
    assert TIME.fullmatch(one["ended"])
    assert one["max_rss_bytes"] > 0
    assert one["cpu_seconds"] >= 0
    assert [(step["name"], step["state"], step["exit_code"], step["subtasks"]) for step in one["steps"]] == [
        ("prepare", "completed", 0, {}),
        ("check", "failed", 1, {}),
    ]
    assert diamond("attempts", "list", "left", "--live", "--json").json == {"attempts": []}
    shown = diamond("attempts", "show", str(one["id"]), "--json").json
    assert {key: shown[key] for key in one} == one
    assert (shown["actions_in_force"], shown["added"]) == (False, [])


def test_a_plan_and_the_rerun_that_it_becomes(diamond: Shell) -> None:
    diamond.write("", "mended")
    diamond("rerun", "-s", "failed", "--yes", "--work")
    diamond("rerun", "-s", "completed", "-n", "left", "--yes", "--note", "first")
    diamond("undo")
    plan = diamond("rerun", "left", "--from", "check", "--dry-run", "--json").json
    assert plan["rerun"] is None
    assert plan["digest"]
    left, bottom = plan["jobs"]
    assert (left["name"], left["before"], left["after"], left["start"]) == ("left", "completed", "ready", "check")
    assert left["reasons"][0]["kind"] == "selected"
    assert len(left["archives"]) == 1
    assert (bottom["name"], bottom["before"], bottom["after"]) == ("bottom", "completed", "waiting")
    assert bottom["reasons"] == [{"kind": "upstream", "job": left["id"], "name": "left"}]
    assert (plan["refused"], plan["warnings"]) == ([], [])
    assert plan["expected"]["attempts"] == 2
    applied = diamond("rerun", "left", "--from", "check", "--yes", "--note", "why", "--json").json
    assert applied == {**plan, "rerun": 3}
    shown = diamond("reruns", "show", "3", "--json").json
    assert {key: shown[key] for key in plan} == applied
    assert shown["note"] == "why"
    newest, undone, _ = diamond("reruns", "list", "--json").json["reruns"]
    assert (newest["rerun"], newest["jobs"], newest["undone"]) == (3, 2, None)
    assert newest["request"]["selection"] == {"jobs": ["left"]}
    assert TIME.fullmatch(undone["undone"])
    undone = diamond("undo", "--json").json
    assert undone["rerun"] == 3
    assert {one["name"]: one["state"] for one in undone["jobs"]} == {"left": "completed", "bottom": "completed"}


def test_failures(still: Shell) -> None:
    (one,) = still("failures", "--json").json["failures"]
    assert set(one) == {
        *("signature", "cause", "type", "message", "count", "jobs"),
        *("first", "last", "hosts", "example", "partial_outputs", "newest_message", "quarantined", "undecided"),
    }
    assert TIME.fullmatch(one["first"])
    assert [host["count"] for host in one["hosts"]] == [1]
    assert one["example"]["name"] == "left"
    assert one["example"]["tail"][-1] == "no such alloy: Xy"
    assert (one["cause"], one["message"], one["count"]) == ("exit", "no such alloy: Xy", 1)
    assert [job["id"] for job in still("jobs", "list", "left", "--json").json["jobs"]] == one["jobs"]


def test_events_and_workflows(still: Shell) -> None:
    assert still("events", "list", "--json").json["events"][0]["kind"] == "submitted"
    (one,) = still("workflows", "list", "--json").json["workflows"]
    assert (one["name"], one["revision"], one["archived"]) == ("diamond", 1, False)
    shown = still("workflows", "show", "diamond", "--json").json
    assert [template["name"] for template in shown["templates"]] == ["top", "left", "right", "bottom"]


def test_run_and_work_print_one_document(shell: Shell) -> None:
    shell.write("name: w\njobs: {a: {run: 'true'}, b: {run: 'false'}}\n")
    done = shell("run", "spec.yaml", "--json")
    assert done.code == 2
    assert (done.json["exit_code"], done.json["counts"]) == (2, {"completed": 1, "failed": 1})
    assert (done.json["ran"]["completed"], done.json["ran"]["failed"]) == (1, 1)
    shell("rerun", "b", "--yes")
    work = shell("work", "--json")
    assert (work.code, work.json["failed"], work.json["never_fit"]) == (2, 1, [])


def test_submit_prints_the_id_and_nothing_else(shell: Shell) -> None:
    shell.write("name: w\njobs: {a: {run: 'true'}}\n")
    assert shell("submit", "spec.yaml").out == "1\n"
    assert shell("submit", "spec.yaml").out == "1\n"
    assert shell("submit", "spec.yaml", "--json").json["unchanged"] is True
    assert shell("submit", "spec.yaml", "--new").out == "2\n"
    assert shell("submit", "spec.yaml", "--as", "other").out == "3\n"
