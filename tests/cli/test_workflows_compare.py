"""`workflows compare`: where two workflows part, and why."""

from __future__ import annotations

from typing import Any

import pytest
from cli_shell import Shell

from rekindle import Client

SPEC = """\
name: sweep
params: {{out: {out}, beta: {beta}}}
jobs:
  prepare:
    run: "cat raw.csv > ${{outputs.data}}; echo ${{params.beta}} >> ${{outputs.data}}"
    inputs: {{raw: raw.csv}}
    outputs: {{data: "${{params.out}}-data"}}
  train:
    matrix: {{k: [1, 2]}}
    needs: [prepare]
    run: "cp ${{params.out}}-data ${{outputs.model}}"
    outputs: {{model: "${{params.out}}-${{matrix.k}}"}}
  stamp: {{run: "cat stamp > ${{outputs.made}}", outputs: {{made: "${{params.out}}-stamp"}}, implicit_inputs: false}}
  check: {{run: "test ! -e broken"}}
{more}"""


def run(
    shell: Shell, name: str, *, beta: int = 1, out: str = "x", more: str = "", code: int = 0, reuse: bool = True
) -> None:
    shell.write(SPEC.format(out=out, beta=beta, more=more), "spec.yaml")
    assert shell("run", "spec.yaml", "--as", name, *(() if reuse else ("--no-reuse",))).code == code


@pytest.fixture
def project(shell: Shell) -> Shell:
    """A workflow that has run, and its input."""
    for name in ("raw.csv", "stamp"):
        (shell.folder / name).write_text("1\n")
    run(shell, "one")
    return shell


def compared(shell: Shell, a: str = "one", b: str = "two") -> dict[str, Any]:
    found: dict[str, Any] = shell("workflows", "compare", a, b, "--json").json
    return found


def firsts(found: dict[str, Any]) -> dict[str, list[str]]:
    return {one["name"]: [each["kind"] for each in one["reasons"]] for one in found["parted"] if one["first"]}


def test_equal_runs_do_not_part(project: Shell) -> None:
    run(project, "two")
    found = compared(project)
    assert (found["parted"], found["only_a"], found["only_b"], found["not_compared"]) == ([], [], [], [])
    assert found["same"] == 5
    assert "5 jobs compared: no difference" in project("workflows", "compare", "one", "two").out


def test_a_parameter_and_an_input_explain_all_jobs_below(project: Shell) -> None:
    (project.folder / "raw.csv").write_text("2\n")
    run(project, "two", beta=2)
    found = compared(project)
    assert firsts(found) == {"prepare": ["parameter", "input"]}
    assert [one["name"] for one in found["parted"]] == ["prepare", "train[k=1]", "train[k=2]"]
    assert found["parted"][1]["upstream"] == ["prepare"]
    shown = project("workflows", "compare", "one", "two").out
    assert "parameter beta changed: 1 -> 2" in shown
    assert "they part at 1 job; 2 jobs below; the same: 2" in shown


def test_another_result_of_the_same_work_is_named(project: Shell) -> None:
    (project.folder / "stamp").write_text("2\n")
    run(project, "two", reuse=False)  # else `made` of the first run would be taken
    found = compared(project)
    assert firsts(found) == {"stamp": []}
    assert found["parted"][0]["results"] == ["made"]
    assert "made other made with the same definition, inputs and code" in project("workflows", "compare", "1", "2").out


def test_another_end_of_the_same_work_is_named(project: Shell) -> None:
    (project.folder / "broken").touch()
    run(project, "two", code=2)
    found = compared(project)
    assert firsts(found) == {"check": []}
    assert found["parted"][0]["states"] == ["completed", "failed"]
    assert "ended otherwise" in project("workflows", "compare", "one", "two").out


def test_a_changed_definition_and_jobs_of_one_workflow_are_named(project: Shell) -> None:
    run(project, "two", out="y", more="  extra: {run: 'true'}\n")
    found = compared(project)
    assert found["only_b"] == ["extra"]
    assert set(firsts(found)) == {"prepare", "train[k=1]", "train[k=2]", "stamp"}
    assert "only in two (workflow 2): 1 job" in project("workflows", "compare", "one", "two").out


def test_jobs_that_have_not_run_are_not_compared(project: Shell) -> None:
    project.write(SPEC.format(out="x", beta=1, more=""), "spec.yaml")
    assert project("submit", "spec.yaml", "--as", "two").code == 0
    assert len(compared(project)["not_compared"]) == 5
    assert compared(project)["same"] == 0


def test_python_gives_the_same_answer(project: Shell) -> None:
    run(project, "two", beta=3)
    with Client(str(project.folder / ".rekindle")) as client:
        found = client.workflows.compare("one", 2)
    assert [one["name"] for one in found.parted] == [one["name"] for one in compared(project)["parted"]]


@pytest.mark.parametrize(("words", "code", "text"), [(("one", "1"), 64, "both workflow 1"), (("one", "tow"), 1, "tow")])
def test_wrong_names_are_refused(project: Shell, words: tuple[str, str], code: int, text: str) -> None:
    refused = project("workflows", "compare", *words)
    assert refused.code == code
    assert text in refused.err


def test_opposite_orders_of_two_jobs_are_compared(project: Shell) -> None:
    chains = {
        "ab": "a: {run: 'true'}\n  b: {run: 'true', needs: [a]}",
        "ba": "b: {run: 'true'}\n  a: {run: 'true', needs: [b]}",
    }
    for name, chain in chains.items():
        project.write(f"name: {name}\njobs:\n  {chain}\n", f"{name}.yaml")
        assert project("run", f"{name}.yaml").code == 0
    assert compared(project, "ab", "ba")["same"] == 2
