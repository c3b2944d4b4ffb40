"""Lists as JSON lines, and the texts of jobs that are alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_shell import Shell

from rekindle.domain.selection import Selection
from rekindle.engine.queries import lists
from rekindle.engine.results import PageRequest
from rekindle.engine.session import open_session
from rekindle.presentation import answers, documents, job_lines

MANY_KINDS = r"""
name: kinds
jobs:
  plain: {matrix: {i: {range: [0, 40]}}, run: ["true"]}
  named: {matrix: {text: ["50%", 'a "b"', "é", "%s", "\\"], env_API_TOKEN: [hush]}, run: ["true"]}
  large: {run: ["true"], priority: 3, resources: {cpus: 1, memory: 1M, time: 1m}}
  failing: {matrix: {code: [3, 4]}, run: ["sh", "-c", "echo ${matrix.code} >&2; exit ${matrix.code}"]}
  absent: {run: [no-such-program]}
  verdict: {run: "echo WARNING 100% odd > \"$REKINDLE_VERDICT\""}
  below: {needs: [failing], run: ["true"]}
  later: {run: ["true"], needs: [plain]}
"""

LISTS = ("jobs list", "attempts list", "reruns list", "events list", "workflows list")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with jobs of many kinds: held, canceled, reset, with verdicts, secrets and overrides."""
    return tmp_path_factory.mktemp("kinds")


@pytest.fixture
def kinds(shell: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(folder)
    shell.folder = folder
    if not (folder / ".rekindle").exists():
        shell.write(MANY_KINDS)
        shell("run", "spec.yaml", "-j", "2")
        shell("hold", "plain[i=3]", "plain[i=4]")
        shell("rerun", "plain[i=5]", "--memory", "2M", "--env", "API_KEY=x", "--yes")
        shell("rerun", "absent", "--downstream", "none", "--yes")
        shell("cancel", "absent")
    return shell


@pytest.fixture
def few_texts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(job_lines, "_MOST", 2)
    return


@pytest.mark.parametrize("command", [*LISTS, "jobs list -s failed", "jobs list --limit 2 --offset 1"])
def test_json_lines_are_the_rows_of_the_document(kinds: Shell, command: str) -> None:
    (rows,) = kinds(*command.split(), "--json").json.values()
    done = kinds("--jsonl", *command.split())
    assert (done.code, done.err) == (0, "")
    assert [json.loads(line) for line in done.out.splitlines()] == rows
    assert len(rows) > 0


def test_a_list_without_rows_has_no_json_lines(kinds: Shell) -> None:
    assert kinds("jobs", "list", "-s", "queued", "--jsonl").out == ""
    assert kinds("jobs", "list", "-s", "queued", "--json").json == {"jobs": []}


def test_an_error_is_one_json_line(kinds: Shell) -> None:
    done = kinds("jobs", "list", "-w", "nothing", "--jsonl")
    assert json.loads(done.out)["error"]["kind"] == "not_found"
    assert len(done.out.splitlines()) == 1


@pytest.mark.parametrize("texts", ["kept", "dropped"])
def test_texts_of_alike_jobs_are_the_documents_of_each_job(
    kinds: Shell, texts: str, request: pytest.FixtureRequest
) -> None:
    if texts == "dropped":
        request.getfixturevalue("few_texts")
    with open_session(str(kinds.folder / ".rekindle")) as session:
        with lists.alike_jobs(session, Selection(), PageRequest()) as alike:
            lines = list(job_lines.job_lines(alike, None))
        with lists.jobs(session, Selection(), PageRequest()) as found:
            each = [json.loads(json.dumps(documents.job(row))) for row in found.rows]
        whole = answers.jobs_list(session, Selection(), PageRequest())["jobs"]
    assert [json.loads(line) for line in lines] == each == json.loads(json.dumps(whole))
    assert all(line.isascii() for line in lines)
    assert len({one["state"] for one in each}) >= 3
    assert any(one["held"] for one in each)
    assert any(one["overrides"] for one in each)
    assert any(one["verdict"] for one in each)
    assert {one["matrix"].get("env_API_TOKEN") for one in each} == {None, "***"}


def test_a_document_depends_on_no_column_that_jobs_of_one_kind_may_not_share(kinds: Shell) -> None:
    with (
        open_session(str(kinds.folder / ".rekindle")) as session,
        lists.alike_jobs(session, Selection(), PageRequest()) as alike,
    ):
        rows = [row for block in alike.blocks for row in block]
        assert len({row[job_lines.OWN_COLUMNS :] for row in rows}) < len(rows) / 2  # most jobs share a text
