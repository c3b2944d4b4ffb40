"""`rekindle mcp`: tools over standard input and output, as the SDK's own client sees them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import pytest
from mcp.client.client import Client as McpClient
from mcp.client.stdio import StdioServerParameters, stdio_client

from rekindle import Client
from rekindle.domain.errors import UsageError
from rekindle.engine.session import open_session
from rekindle.web.mcp_tools import MOST_BYTES, TOOLS, Agent, bounded, project_path

SPEC = """
name: sweep
jobs:
  prepare: {run: "echo data > data.txt; echo hello", outputs: {data: data.txt}}
  train:
    matrix: {k: {range: [0, 3]}}
    inputs: {data: data.txt}
    run: "test -e mended || { echo 'no alloy' >&2; exit 3; }"
  report: {needs: ["train*"], run: "true"}
"""

Value = TypeVar("Value")


class Said(NamedTuple):
    """What a tool answered."""

    text: str
    failed: bool

    @property
    def document(self) -> Any:
        """The answer as a document."""
        assert not self.failed, self.text
        return json.loads(self.text)


Ask = Callable[..., Coroutine[Any, Any, Said]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a workflow that has failed jobs."""
    made = tmp_path_factory.mktemp("agents")
    (made / "spec.yaml").write_text(SPEC)
    with Client(made / ".rekindle") as client:
        for options in ({}, {"new": True}):
            client.run(made / "spec.yaml", jobs=2, **options)
    return made


def parameters(folder: Path, *options: str) -> StdioServerParameters:
    command = ["-m", "rekindle", "--store", str(folder / ".rekindle"), "mcp", *options]
    return StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))


def talk(folder: Path, about: Callable[[Ask, McpClient], Coroutine[Any, Any, Value]], *options: str) -> Value:
    """Start a server, and return what a conversation with it returns."""

    async def run() -> Value:
        async with McpClient(stdio_client(parameters(folder, *options))) as client:

            async def ask(tool: str, **given: Any) -> Said:
                found = await client.call_tool(tool, given)
                (content,) = found.content
                assert content.type == "text"
                return Said(content.text, found.is_error)

            return await about(ask, client)

    with ThreadPoolExecutor(1) as pool:  # the browser of other tests has an event loop in this thread
        return pool.submit(lambda: asyncio.run(asyncio.wait_for(run(), 120))).result()


def test_each_reading_tool_answers_with_the_documents_of_the_command_line(folder: Path) -> None:
    calls: dict[str, dict[str, Any]] = {
        "status": {}, "list_workflows": {}, "show_workflow": {"workflow": "sweep"},
        "compare_workflows": {"workflow": 1, "other": "sweep"},
        "list_jobs": {"state": ["failed"], "workflow": 1, "limit": 2},
        "show_job": {"job": 1}, "list_attempts": {"live": True}, "show_attempt": {"attempt": 1},
        "diff_attempts": {"attempt": 2, "other": 3}, "forecast": {"workflow": 1, "slots": 4}, "list_failures": {},
        "list_flaky": {"every": True, "all": True}, "list_reruns": {}, "list_events": {"limit": 3},
        "why": {"name": ["prepare"]}, "read_log": {"attempt": 2, "stream": "stderr"}, "lineage": {"path": "data.txt"},
    }  # fmt: skip

    async def about(ask: Ask, client: McpClient) -> tuple[set[str], dict[str, Any]]:
        listed = await client.list_tools()
        return {one.name for one in listed.tools}, {name: (await ask(name, **given)) for name, given in calls.items()}

    names, said = talk(folder, about)
    assert names == {*calls, "show_rerun"} == {one.name for one in TOOLS.values() if one.scope == "read"}
    found = {name: one.document for name, one in said.items()}
    assert [job["name"] for job in found["list_jobs"]["jobs"]] == ["train[k=0]", "train[k=1]"]
    assert found["read_log"]["text"] == "no alloy\n"
    assert found["list_failures"]["failures"][0]["count"] == 6
    assert found["lineage"]["made"]["name"] == "prepare"
    assert found["forecast"]["left_out"]["failed"] == 4
    with Client(folder / ".rekindle") as client:
        assert found["show_job"]["attempt_ids"] == client.jobs.show(1).to_dict()["attempt_ids"]


def test_without_the_scope_nothing_is_planned_applied_or_undone(folder: Path) -> None:
    async def about(ask: Ask, _: McpClient) -> list[Said]:
        return [
            await ask("plan_rerun", selection={"state": ["failed"]}),
            await ask("apply", digest="d" * 32),
            await ask("undo", rerun=1),
        ]

    for said in talk(folder, about):
        assert said.failed
        assert "needs the scope rerun\nhint: start the server with --scope read,rerun" in said.text


def test_only_a_plan_that_was_shown_is_applied_once_and_can_be_undone(folder: Path) -> None:
    async def about(ask: Ask, _: McpClient) -> dict[str, Said]:
        found = {"unseen": await ask("apply", digest="0" * 32)}
        found["plan"] = await ask("plan_rerun", selection={"state": ["failed"], "workflow": 1}, note="from an agent")
        digest = found["plan"].document["digest"]
        found["applied"] = await ask("apply", digest=digest)
        found["again"] = await ask("apply", digest=digest)
        found["undone"] = await ask("undo", rerun=found["applied"].document["rerun"])
        found["set"] = await ask("plan_rerun", selection={"id": [2]}, how={"set": {"a": 1}})
        return found

    said = talk(folder, about, "--scope", "read,rerun", "--name", "robot")
    assert "was shown" in said["unseen"].text
    names = {job["name"] for job in said["plan"].document["jobs"]}
    assert names == {"train[k=0]", "train[k=1]", "train[k=2]", "report"}
    assert said["applied"].document["jobs"] == said["plan"].document["jobs"]
    assert said["again"].failed
    assert len(said["undone"].document["jobs"]) == 4
    assert "not valid for submit" in said["set"].text
    with Client(folder / ".rekindle") as client:
        assert "robot" in [one.detail.get("by") for one in client.events()]


def test_a_plan_that_has_become_outdated_is_refused_and_nothing_changes(folder: Path) -> None:
    async def about(ask: Ask, _: McpClient) -> tuple[Said, int]:
        plan = await ask("plan_rerun", selection={"workflow": 1, "name": ["train*"]})
        with Client(folder / ".rekindle") as client:
            done = client.apply(client.plan_rerun(client.select("train[k=0]", workflow=1)))
            before = len(client.reruns.list())
            found = await ask("apply", digest=plan.document["digest"])
            assert len(client.reruns.list()) == before
            client.undo(done.rerun)
        return found, before

    said, _ = talk(folder, about, "--scope", "rerun")
    assert said.failed
    assert said.text.startswith("nothing is changed: ")
    assert "hint: call plan_rerun again" in said.text


def test_malformed_arguments_and_unknown_tools_are_errors_that_say_so(folder: Path) -> None:
    async def about(ask: Ask, _: McpClient) -> list[str]:
        said = [
            await ask("list_jobs", limit="many"),
            await ask("list_jobs", wrong=1),
            await ask("list_jobs", state=["brocken"]),
            await ask("list_jobs", query=["{"]),
            await ask("show_job", job=999),
            await ask("show_workflow", workflow="sweap"),
            await ask("list_job"),
            await ask("why", error="("),
        ]
        assert all(one.failed for one in said), said
        return [one.text for one in said]

    texts = talk(folder, about)
    assert texts[0].startswith("the arguments of list_jobs are malformed: Expected `int`")
    assert "unknown field `wrong`" in texts[1]
    assert "brocken" in texts[2]
    assert "999" in texts[4]
    assert "sweep" in texts[5]
    assert "hint: " in texts[6]


def test_files_outside_of_the_project_are_not_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")

    async def about(ask: Ask, _: McpClient) -> list[Said]:
        return [
            await ask("lineage", path="/etc/passwd"),
            await ask("lineage", path="../outside"),
            await ask("lineage", path="link"),
            await ask("list_jobs", from_file=["/etc/passwd"]),
        ]

    for said in talk(folder, about):
        assert said.failed
        assert "outside of the project" in said.text
    with open_session(str(folder / ".rekindle")) as session:
        assert project_path(session, "data.txt") == str(folder / "data.txt")


def test_the_server_ends_when_standard_input_closes(folder: Path) -> None:
    command = [sys.executable, "-m", "rekindle", "--store", str(folder / ".rekindle"), "mcp"]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr


def test_a_missing_store_and_a_wrong_scope_are_one_error(tmp_path: Path) -> None:
    for options, said in ((["mcp"], "no store"), (["mcp", "--scope", "write"], "'write' is not a scope")):
        command = [sys.executable, "-m", "rekindle", "--store", str(tmp_path / ".rekindle"), *options]
        done = subprocess.run(command, input="", capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode in (1, 64)
        assert said in done.stderr
        assert "hint: " in done.stderr


def test_without_the_sdk_the_error_names_the_extra(folder: Path) -> None:
    code = "import sys; sys.modules['mcp_types'] = sys.modules['mcp'] = None\nfrom rekindle.cli.main import main\n"
    command = [sys.executable, "-c", f"{code}sys.exit(main(['--store', {str(folder / '.rekindle')!r}, 'mcp']))"]
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "hint: pip install 'rekindle[mcp]'" in done.stderr


def test_answers_are_bounded_and_say_what_is_left_out() -> None:
    document = {"jobs": [{"id": one, "log": "x" * 100} for one in range(5000)], "message": "y" * 50_000}
    text = bounded(document)
    found = json.loads(text)
    assert len(text) <= MOST_BYTES
    assert len(found["jobs"]) + found["truncated"]["jobs"] == 5000
    assert len(found["message"]) + found["truncated"]["message"] == 50_000
    small = {"jobs": [1, 2]}
    assert json.loads(bounded(small)) == small


def test_each_tool_has_a_schema_that_says_what_it_takes() -> None:
    for tool in TOOLS.values():
        schema = tool.schema()
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False
        assert set(schema.get("required", ())) <= set(schema["properties"])


def test_the_newest_plans_are_remembered(folder: Path) -> None:
    agent = Agent(("read", "rerun"), "test")
    with open_session(str(folder / ".rekindle")) as session:
        digests = []
        for note in range(60):
            given = {"selection": {"id": [2]}, "how": {"memory": f"{note + 1}G"}}
            digests.append(json.loads(agent.call(session, agent.tool("plan_rerun"), given))["digest"])
        assert len(set(digests)) == 60
        with pytest.raises(Exception, match="was shown"):
            agent.call(session, agent.tool("apply"), {"digest": digests[0]})
        with pytest.raises(UsageError, match="malformed"):
            agent.call(session, agent.tool("apply"), msgspec.to_builtins({"digest": 7}))
