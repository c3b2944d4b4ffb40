"""The HTTP API: the documents of the command line, plans that are applied by their digest, and who did it."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest
from http_calls import Caller, FullProject, full  # noqa: F401 - a fixture
from starlette.exceptions import HTTPException

from project_folder import until
from rekindle.engine.session import open_session
from rekindle.web import api_reads
from rekindle.web.access import Principal
from rekindle.web.api_operations import Call
from rekindle.web.connections import MOST_CONNECTIONS

FAILED: dict[str, Any] = {"selection": {"state": ["failed"]}}


@pytest.fixture
def reader(full: FullProject) -> Caller:  # noqa: F811
    return full.caller("read", "eyes")


@pytest.fixture
def writer(full: FullProject) -> Caller:  # noqa: F811
    return full.caller("read,rerun", "laptop")


def test_a_forecast_has_the_keys_of_the_command_line(full: FullProject, reader: Caller) -> None:  # noqa: F811
    answer = reader.get("/forecast?workflow=sweep&slots=2&assume=60")
    assert answer.status == 200
    assert answer.document["left_out"]["failed"] == 5
    assert answer.document["slots"] == 2
    assert reader.get("/forecast?slots=0").status == 400
    assert reader.get("/forecast?workflow=nope").status == 404


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("/workflows", "workflows list"),
        ("/workflows/sweep", "workflows show sweep"),
        ("/jobs/2", "jobs show 2"),
        ("/jobs?state=failed&name=train*", "jobs list -s failed -n train*"),
        ("/attempts?live=true", "attempts list --live"),
        ("/attempts/2", "attempts show 2"),
        ("/attempts/2/diff/3", "attempts diff 2 3"),
        ("/failures", "failures"),
        ("/flaky?all=true", "flaky --all"),
        ("/reruns", "reruns list"),
        ("/reruns/1", "reruns show 1"),
        ("/events?workflow=1", "events list -w 1"),
        ("/why?id=1-3", "why -i 1-3"),
    ],
)
def test_reads_return_the_documents_of_the_command_line(
    full: FullProject,  # noqa: F811
    reader: Caller,
    path: str,
    command: str,
) -> None:
    answer = reader.get(path)
    assert answer.status == 200
    document = answer.document
    document.pop("next", None)
    document.pop("seconds", None)  # it still runs
    assert document | {"seconds": 0} == json.loads(full.rekindle(*command.split(), "--json").stdout) | {"seconds": 0}


def test_jobs_are_listed_page_by_page(reader: Caller) -> None:
    found: list[int] = []
    after = 0
    while after is not None:
        page = reader.get(f"/jobs?limit=3&after={after}").document
        found += [job["id"] for job in page["jobs"]]
        after = page["next"]
    assert found == [job["id"] for job in reader.get("/jobs").document["jobs"]]
    assert len(found) == 7
    assert reader.get("/jobs?limit=2&offset=2").document["jobs"][0]["id"] == found[2]


def test_a_plan_changes_nothing_and_is_applied_by_its_digest(full: FullProject, writer: Caller) -> None:  # noqa: F811
    body = {"selection": {"name": ["train[k=1]"]}, "note": "again", "how": {"downstream": "none"}}
    before = full.jobs()
    plan = writer.post("/plans", body).document
    assert [job["name"] for job in plan["jobs"]][:1] == ["train[k=1]"]
    assert full.jobs() == before
    refused = writer.post("/reruns", {**body, "digest": "0" * 32})
    assert refused.status == 409
    assert refused.document["plan"]["digest"] == plan["digest"]
    assert full.jobs() == before
    applied = writer.post("/reruns", {**body, "digest": plan["digest"]})
    assert (applied.status, applied.document["digest"]) == (200, plan["digest"])
    again = writer.post("/reruns", {**body, "digest": plan["digest"]})
    assert again.status == 409
    shown = full.ask("reruns", "show", str(applied.document["rerun"]))
    assert (shown["request"]["by"], shown["note"]) == ("laptop", "again")


def test_refused_jobs_are_named(full: FullProject, writer: Caller) -> None:  # noqa: F811
    body = {"selection": {"name": ["long"]}}
    planned = writer.post("/plans", body)
    assert (planned.status, planned.document["jobs"]) == (200, [])
    assert [job["name"] for job in planned.document["refused"]] == ["long"]
    answer = writer.post("/reruns", {**body, "digest": planned.document["digest"]})
    assert answer.status == 409
    assert [job["name"] for job in answer.document["refused"]] == ["long"]


def test_every_write_records_who_made_it(full: FullProject, writer: Caller) -> None:  # noqa: F811
    late = {"selection": {"name": ["late"]}}
    assert writer.post("/hold", {**late, "note": "wait"}).document["held"]
    assert writer.post("/release", late).document["released"]
    body = {**late, "how": {"downstream": "all"}}
    assert writer.post("/cancel", late).document["canceled"]
    plan = writer.post("/plans", body).document
    rerun = writer.post("/reruns", {**body, "digest": plan["digest"]}).document["rerun"]
    assert writer.post(f"/reruns/{rerun}/undo", None).document["rerun"] == rerun
    assert writer.post(f"/reruns/{rerun}/undo", None).status == 404
    assert writer.post("/complete", {**late, "dry_run": True}).document["rerun"] is None
    completed = writer.post("/complete", {**late, "note": "elsewhere", "result": [1]}).document["rerun"]
    attempt = full.ask("attempts", "list")["attempts"][-1]
    assert (attempt["completed_by"], attempt["result"]) == (completed, [1])
    assert full.ask("attempts", "show", str(attempt["id"]))["by_hand"]["by"] == "laptop"
    assert writer.post(f"/reruns/{completed}/undo", None).document["rerun"] == completed
    events = [one for one in full.ask("events", "list")["events"] if one["detail"].get("by") == "laptop"]
    assert [one["kind"] for one in events][-7:] == [
        "held",
        "released",
        "canceled",
        "rerun",
        "undone",
        "rerun",
        "undone",
    ]
    assert "by laptop" in full.rekindle("events", "list").stdout


def test_a_rerun_that_sets_values_needs_the_scope_submit(full: FullProject, writer: Caller) -> None:  # noqa: F811
    body = {"selection": {"name": ["train[k=2]"]}, "how": {"set": {"alpha": 0.2}}}
    for how in ({"set": {"alpha": 0.2}}, {"env": {"PATH": "/tmp"}}):
        assert writer.post("/plans", {**body, "how": how}).status == 403
        assert writer.post("/reruns", {**body, "how": how, "digest": ""}).status == 403
    plan = full.caller("rerun,submit").post("/plans", body)
    assert plan.status == 200
    assert plan.document["jobs"][0]["overrides"] == {"params": {"alpha": 0.2}}


def test_a_spec_is_submitted_to_the_folder_of_the_store_and_no_other(full: FullProject, writer: Caller) -> None:  # noqa: F811
    spec = {"name": "posted", "jobs": {"where": {"run": "pwd > where.txt"}}}
    assert writer.post("/submit", {"spec": spec}).status == 403
    submitter = full.caller("submit", "pipeline")
    made = submitter.post("/submit", {"spec": spec})
    assert (made.status, made.document["created"]) == (200, True)
    assert submitter.post("/submit", {"spec": spec}).document["unchanged"]
    until(lambda: (full.folder / "where.txt").exists(), "it has run")
    assert full.ask("workflows", "show", "posted")["directory"] == str(full.folder)
    for key in ("directory", "source", "path"):
        assert submitter.post("/submit", {"spec": spec, key: "/tmp"}).status == 400
    assert submitter.post("/submit", {"spec": spec, "new": True, "revise": True}).status == 400
    wrong = submitter.post("/submit", {"spec": {"name": "posted", "jobs": {"where": {"rum": "pwd"}}}})
    assert wrong.status == 422
    assert any("rum" in one["message"] for one in wrong.document["problems"])


def test_a_log_is_read_by_ranges_of_bytes(full: FullProject, reader: Caller) -> None:  # noqa: F811
    [prepare] = [one["id"] for one in full.attempts() if one["job"] == 1]
    whole = reader.get(f"/attempts/{prepare}/log")
    assert (whole.body, whole.headers["rekindle-log-size"]) == (b"hello\n", "6")
    assert reader.get(f"/attempts/{prepare}/log?offset=1&limit=3").body == b"ell"
    assert reader.get(f"/attempts/{prepare}/log?offset=-2").body == b"o\n"
    assert reader.get(f"/attempts/{prepare}/log?offset=900").body == b""
    assert reader.get(f"/attempts/{prepare}/log?stream=stderr").body == b""
    assert reader.get(f"/attempts/{prepare}/log?step=../../store.db").status == 404
    assert reader.get(f"/attempts/{prepare}/log?subtask=1").status == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/jobs?state=fizzled", 400),
        ("/jobs?filter=nothing=1", 400),
        ("/jobs?error=(", 400),
        ("/jobs?query=%7B", 400),
        ("/jobs?query=" + "[" * 3000, 400),
        ("/jobs?id=" + "9" * 30, 404),
        ("/jobs?filter=id=" + "9" * 30, 400),
        ("/jobs?name=%00", 400),
        ("/jobs?limit=0", 400),
        ("/jobs?limit=1001", 400),
        ("/jobs?offset=-1", 400),
        ("/jobs?limit=1&limit=2", 400),
        ("/jobs?unknown=1", 400),
        ("/jobs/" + "9" * 30, 404),
        ("/jobs/first", 404),
        ("/jobs/99", 404),
        ("/attempts/99", 404),
        ("/attempts/99/log", 404),
        ("/reruns/99", 404),
        ("/workflows/none", 404),
        ("/nothing", 404),
        ("/plans", 405),
    ],
)
def test_what_is_wrong_is_named(reader: Caller, path: str, status: int) -> None:
    answer = reader.get(path)
    assert answer.status == status
    assert answer.document["error"]
    assert "Traceback" not in answer.body.decode()


def test_a_405_names_the_methods_of_the_path(reader: Caller) -> None:
    assert reader.get("/plans").headers["allow"] == "POST"
    assert set(reader.send("DELETE", "/api/v1/jobs").headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"selection": {"name": ["\\u0000"]}}', "application/json", 400),
        (b'{"selection": {"name": ["\\ud800"]}}', "application/json", 400),
        (b'{"selection": {"job": [1e400]}}', "application/json", 400),
        (b'{"selection": {}}', "application/json", 400),
        (b'{"selection": {"all": true}, "how": {"repeat": 100000}}', "application/json", 400),
        (b'{"selection": {"all": true}, "how": {"start": "x"}}', "application/json", 400),
        (b'{"selection": {"all": true}}', "text/plain", 415),
        (b"selection=1", "application/x-www-form-urlencoded", 415),
        (b" " * (17 << 20), "application/json", 413),
    ],
)
def test_a_malformed_body_is_refused(writer: Caller, body: bytes, kind: str, status: int) -> None:
    answer = writer.send("POST", "/api/v1/plans", body, content_type=kind)
    assert answer.status == status
    assert answer.document["error"]


@pytest.mark.parametrize(
    ("operation", "path", "query"),
    [
        ("why", {}, {"id": ["1"]}),
        ("showJob", {"job": "1"}, {}),
        ("listJobs", {}, {"changed": "true", "workflow": "sweep"}),
    ],
)
def test_files_are_read_for_a_limited_time(
    full: FullProject,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    path: dict[str, str],
    query: dict[str, Any],
) -> None:
    [found] = [one for one in api_reads.OPERATIONS if one.name == operation]
    given = msgspec.convert(query, found.query, strict=False)
    call = Call(Principal("test", frozenset({"read"})), path, given, None)
    (full.folder / "data.txt").write_text("other data")
    with open_session(str(full.folder / ".rekindle")) as session:
        assert found.act is not None
        assert found.act(session, call)
        (full.folder / "data.txt").write_text("and again other data")
        monkeypatch.setattr(api_reads, "READ_SECONDS", -1.0)
        with pytest.raises(HTTPException, match="name fewer"):
            found.act(session, call)


def test_a_connection_too_many_is_refused_and_the_server_recovers(reader: Caller) -> None:
    name, _, port = reader.host.rpartition(":")
    with ExitStack() as opened:
        for _ in range(MOST_CONNECTIONS):
            opened.enter_context(socket.create_connection((name, int(port)), timeout=10))
        until(lambda: reader.get("/openapi.json").status == 503, "it is full")
    until(lambda: reader.get("/openapi.json").status == 200, "it recovers")
