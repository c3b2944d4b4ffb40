"""The Python API: its names and docstrings, its calls beside the commands, its types and its errors."""

from __future__ import annotations

import inspect
import pydoc
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cli_shell import Shell

import rekindle
from rekindle import BadValue, Client, How, NotFound, Overrides, PlanRefused, RekindleError, UsageError, Workflow
from rekindle.api.hints import CALLS, in_python
from rekindle.cli.command_table import COMMANDS, DIALECTS, Entry

NO_CALL = {
    "init": "Client(store) makes a store",
    "top": "a screen for the terminal",
    "mcp": "a server on standard input and output, for programs of agents",
    "serve": "a server, which runs until it is stopped",
    "slurm schedule-nodes": "submits Slurm jobs whose command is `rekindle work`",
    "slurm list": "Slurm jobs whose command is `rekindle work`",
    "slurm cancel": "Slurm jobs whose command is `rekindle work`",
    "doctor": "checks the command line and its machine, for people",
    "spec schema": "a document for editors",
    "dialects list": "the command lines of other systems",
    "dialects install": "the command lines of other systems",
    "import fireworks": "another system's history",
    "completion": "a script for shells",
    **dict.fromkeys(DIALECTS, "the command line of another system"),
}
"""Commands without a call in Python, each with the reason."""


def commands() -> Iterator[str]:
    """Every command; of a group, its commands."""
    for name, entry in COMMANDS.items():
        group = subcommands(entry)
        yield from (f"{name} {one}" for one in group) if group and name not in DIALECTS else [name]


def subcommands(entry: Entry) -> tuple[str, ...]:
    module, _, attribute = entry.target.partition(":")
    command = getattr(import_module(module), attribute)
    return tuple(command.list_commands(None)) if hasattr(command, "list_commands") else ()


@pytest.mark.parametrize("command", sorted(commands()))
def test_each_command_has_a_call_or_a_reason(command: str) -> None:
    assert command in CALLS or NO_CALL[command]


@pytest.mark.parametrize("command", CALLS)
def test_the_call_of_a_command_exists_with_a_docstring(command: str, diamond: Shell) -> None:
    path = re.findall(r"client((?:\.\w+)+)\(", CALLS[command])[-1]
    with Client() as client:
        call: object = client
        for name in path.strip(".").split("."):
            call = getattr(call, name)
        assert callable(call)
        assert inspect.getdoc(call)


CLASSES = sorted(name for name in rekindle.__all__ if inspect.isclass(getattr(rekindle, name)))


def test_the_package_shows_its_public_names_only() -> None:
    assert dir(rekindle) == sorted(rekindle.__all__)
    page = pydoc.render_doc(rekindle, renderer=pydoc.plaintext)
    assert "sweep = Workflow(" in page
    assert "class Client(" in page


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_has_a_page_of_help(name: str) -> None:
    kind = getattr(rekindle, name)
    assert len(inspect.getdoc(kind) or "") > 20
    assert kind.__name__ in pydoc.render_doc(kind, renderer=pydoc.plaintext)
    for member, value in inspect.getmembers(kind):
        own = getattr(value, "__module__", getattr(kind, "__module__", "")) or ""
        if (inspect.isfunction(value) and own.startswith("rekindle.")) or isinstance(value, property):
            assert value.__doc__ or member.startswith("_"), f"{name}.{member}"


def test_each_class_has_a_signature_in_a_fresh_process() -> None:
    modules: dict[str, list[str]] = {}
    for name in CLASSES:
        modules.setdefault(rekindle._MODULES[name], []).append(name)
    for names in modules.values():
        code = f"import inspect, rekindle\nfor name in {names}: inspect.signature(getattr(rekindle, name))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", [How, Overrides], ids=lambda kind: kind.__name__)
def test_each_option_is_described_and_none_is_internal(kind: type) -> None:
    described = set(re.findall(r"^ {4}(\w+): ", inspect.getdoc(kind) or "", flags=re.MULTILINE))
    fields = set(inspect.signature(kind).parameters)
    assert described & fields == fields
    assert fields & {"mode", "not_before", "avoids", "automatic"} == set()


@pytest.mark.parametrize(
    "call", [Client.select, Client.plan_rerun, Client.run, Client.work, Workflow, Workflow.job, Workflow.run]
)
def test_each_argument_of_a_long_call_is_described(call: object) -> None:
    described = set(re.findall(r"^ {4}(\w+): ", inspect.getdoc(call) or "", flags=re.MULTILINE))
    names = set(inspect.signature(call).parameters) - {"self", "flags"}  # type: ignore[arg-type]
    assert names - described == set()


STRUCTS = sorted(name for name in CLASSES if issubclass(getattr(rekindle, name), msgspec.Struct))


@pytest.mark.parametrize("name", STRUCTS)
def test_each_field_is_described(name: str) -> None:
    kind = getattr(rekindle, name)
    text = "\n".join(inspect.getdoc(one) or "" for one in kind.__mro__ if issubclass(one, msgspec.Struct))
    assert {field for field in kind.__struct_fields__ if not re.search(rf"\b{field}\b", text)} == set()


PROGRAM = '''
"""A program of a user."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from rekindle import Attempt, AppliedRerun, Client, How, Job, Overrides, PlannedRerun, RowList, Workflow, WorkReport


def fit(alpha: float) -> float:
    return alpha * 2


sweep = Workflow("sweep", params={"steps": 3}, directory=Path("."))
train = sweep.job("train", call=fit, args={"alpha": "${matrix.alpha}"}, matrix={"alpha": [0.1, 1.0]})
sweep.job("report", run=["python", "report.py"], needs=[train], outputs={"page": Path("report.html")})
report: WorkReport = sweep.run(Path(".rekindle"), jobs=2, wait_timeout="1h30m")

with Client(Path(".rekindle")) as client:
    failed = client.selection("train*", state="failed", filter=["exit_code=3"])
    how = How(start="failed-step", overrides=Overrides({"alpha": 1}, memory="x1.5", time=timedelta(hours=2), cpus=2))
    plan: PlannedRerun = client.plan_rerun(failed, how)
    print(plan)
    applied: AppliedRerun = client.apply(plan)
    client.undo(applied.rerun)
    attempts: RowList[Attempt] = client.attempts(client.select(workflow="sweep"), live=True)
    started: list[datetime] = [one.started for one in attempts if one.started is not None]
    jobs: list[Job] = [job for job in client.jobs() if job.state == "failed"]
    print(client.attempts.diff(1, 2).differences[0].field, client.logs("report")[0].text, client.workflows.list())
    for text in client.logs.follow(1, stream="stderr"):
        print(text.upper())
    client.plans.save(plan, Path("plan.json"))
    counts: dict[str, int] = client.status("sweep")[0].counts
'''
WRONG = {
    'How(downstream="some")': 'Argument "downstream" to "How" has incompatible type',
    "How(avoids='host')": 'Unexpected keyword argument "avoids"',
    "Overrides(memory=8)": 'Argument "memory" to "Overrides" has incompatible type',
    'client.select(stat="failed")': 'Unexpected keyword argument "stat"',
    'client.jobs()[0].state == "fialed"': "Non-overlapping equality check",
    'client.attempts()[0].started + "1"': "Unsupported operand types",
}


def test_a_program_of_a_user_is_checked_by_mypy(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(PROGRAM)
    lines = "".join(f"{call}\n" for call in WRONG)
    (tmp_path / "wrong.py").write_text(f"from rekindle import Client, How, Overrides\n\nclient = Client()\n{lines}")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run([*command, "good.py", "wrong.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    found = done.stdout.splitlines()
    assert [line for line in found if not line.startswith("wrong.py")] == []
    for at, says in enumerate(WRONG.values(), start=4):
        assert any(line.startswith(f"wrong.py:{at}: error: ") and says in line for line in found), (at, done.stdout)


REFUSED = {
    "no job": (lambda c: c.plan_rerun([]), PlanRefused, "nothing can be rerun: no job is given: []"),
    "nothing matches": (lambda c: c.plan_rerun(c.selection(state="running")), PlanRefused, "matches no job"),
    "a text": (lambda c: c.plan_rerun("failed"), BadValue, "'failed' is neither a selection nor ids"),
    "a fraction": (lambda c: c.plan_rerun([1.5]), BadValue, "1.5 is no job's id"),
    "a number's text": (lambda c: c.cancel(["1"]), BadValue, "'1' is no job's id"),
    "a flag": (lambda c: c.select(stat="failed"), UsageError, "no flag 'stat' (did you mean `state`?)"),
    "a state": (lambda c: c.select(state="fialed"), UsageError, "did you mean `failed`?"),
    "a name": (lambda c: c.jobs.show("botom"), NotFound, "no such job: botom (did you mean `bottom`?)"),
    "a workflow": (lambda c: c.status("daimond"), NotFound, "did you mean `diamond`?"),
    "an attempt": (lambda c: c.attempts.show(77), NotFound, "no such attempt: 77 (`client.attempts()` names them)"),
    "a rerun": (lambda c: c.reruns.show(77), NotFound, "no such rerun: 77 (`client.reruns.list()` names them)"),
    "several logs": (lambda c: c.logs("*t*"), RekindleError, "*t* means"),
    "the path of a plan": (lambda c: c.apply("p.json"), BadValue, "client.plans.load('p.json')"),
    "a restart's plan": (lambda c: c.apply(c.plan_restart()), BadValue, "client.apply(planned.proposal)"),
    "a plan to save": (lambda c: c.plans.save(3, "p.json"), BadValue, "client.plan_rerun(jobs)"),
    "the command rerun": (
        lambda c: c.rerun("left"),
        AttributeError,
        "client.plan_rerun(jobs), then client.apply(plan)",
    ),
    "the command jobs list": (lambda c: c.jobs.list(), AttributeError, "client.jobs()"),
    "a misspelt call": (lambda c: c.supervize("w"), AttributeError, "did you mean `supervise`?"),
    "a misspelt call of a noun": (lambda c: c.reruns.shw(1), AttributeError, "did you mean `show`?"),
    "parameters of a workflow": (lambda c: c.submit(Workflow("w"), alpha=1), UsageError, "for spec files only: alpha"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_error_says_what_to_call(case: str, still: Shell) -> None:
    call, kind, says = REFUSED[case]
    with Client() as client, pytest.raises(kind, match=re.escape(says)) as refused:
        call(client)
    assert "rekindle " not in str(refused.value)


@pytest.mark.parametrize(
    ("hint", "python"),
    [
        ("`rekindle jobs list` names them", "`client.jobs()` names them"),
        ("rekindle rerun -s failed --work", "`client.plan_rerun(jobs)`"),
        ("`rekindle workflows list` or `rekindle undo`", "`client.workflows.list()` or `client.undo()`"),
        ("pip install 'rekindle[web]'", "pip install 'rekindle[web]'"),
        ("--store names another", "Client(store) names another"),
    ],
)  # fmt: skip
def test_hints_name_calls_for_commands(hint: str, python: str) -> None:
    assert in_python(hint) == python


def test_numbers_of_other_libraries_select_jobs(still: Shell) -> None:
    numpy = pytest.importorskip("numpy")
    with Client() as client:
        assert [job.id for job in client.jobs(numpy.array([1, 3]))] == [1, 3]
        assert client.jobs(numpy.int64(2))[0].id == 2


@pytest.mark.parametrize(
    "flags",
    [{}, {"state": []}, {"id": []}, {"name": ()}, {"workflow": "diamond", "state": []}, {"all": True, "id": []}],
    ids=str,
)
def test_an_empty_variable_selects_no_job(flags: dict[str, Any], still: Shell) -> None:
    with Client() as client:
        assert client.select(**flags) == []
        with pytest.raises(UsageError, match="nothing is selected"):
            client.selection(**flags)
        assert len(client.select(all=True)) == len(client.select(workflow="diamond")) == 4


def test_a_name_is_explained_as_its_log_is_read(still: Shell) -> None:
    with Client() as client:
        assert [one.name for one in client.why("left")] == ["left"]
        with pytest.raises(NotFound, match="no such job: lft"):
            client.why("lft")


def test_a_name_in_two_workflows_is_told_apart_by_a_call(shell: Shell) -> None:
    for name in ("one", "two"):
        shell.write(f"name: {name}\njobs: {{score: {{run: 'true'}}}}\n", f"{name}.yaml")
        assert shell("submit", f"{name}.yaml").code == 0
    with Client() as client, pytest.raises(NotFound, match=re.escape("client.select(job, workflow=…)")):
        client.jobs.show("score")
