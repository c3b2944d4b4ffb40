"""Changes of the environment, and edits without effect: `why`, `--changed=all` and `stale_on`."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cli_shell import Shell

pytestmark = pytest.mark.new_interpreters

SPEC = """\
name: score
{top}
jobs:
  call: {{call: "lib:score", inputs: {{i: in.txt}}{more}}}
  tool: {{run: "tool > out.txt", inputs: {{i: in.txt}}, outputs: {{o: out.txt}}{more}}}
"""

LIB = """\
import fakelib
from helpers import clean


def score():
    return clean(fakelib.VALUE)
"""


@pytest.fixture
def installed(shell: Shell, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a call and a command that use a distribution and a program outside of the project."""
    folder = tmp_path_factory.mktemp("outside")
    packages = folder / "site-packages"
    (packages / "fakelib").mkdir(parents=True)
    (packages / "fakelib" / "__init__.py").write_text("VALUE = 1\n")
    (packages / "fake_lib-1.26.4.dist-info").mkdir()
    (packages / "fake_lib-1.26.4.dist-info" / "METADATA").write_text("Name: fake-lib\nVersion: 1.26.4\n")
    (packages / "fake_lib-1.26.4.dist-info" / "top_level.txt").write_text("fakelib\n")
    monkeypatch.setenv("PYTHONPATH", str(packages))
    monkeypatch.syspath_prepend(packages)
    (folder / "bin").mkdir()
    (folder / "bin" / "tool").write_text("#!/bin/sh\necho one\n")
    (folder / "bin" / "tool").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=":")
    shell.write("x\n", "in.txt")
    shell.write(LIB, "lib.py")
    shell.write("def clean(x):\n    return x\n\n\ndef other(x):\n    return 0\n", "helpers.py")
    return folder


def run(shell: Shell, top: str = "", more: str = "") -> None:
    shell.write(SPEC.format(top=top, more=more))
    assert shell("run", "spec.yaml").code == 0


def upgrade(folder: Path) -> None:
    info = folder / "site-packages" / "fake_lib-1.26.4.dist-info"
    (info / "METADATA").write_text("Name: fake-lib\nVersion: 2.0.1\n")
    info.rename(folder / "site-packages" / "fake_lib-2.0.1.dist-info")


def replace_tool(folder: Path) -> None:
    (folder / "bin" / "tool").write_text("#!/bin/sh\necho two\n")


def test_the_environment_warns_and_makes_nothing_stale(installed: Path, shell: Shell) -> None:
    run(shell)
    assert "environment" not in shell("why", "--all").out
    upgrade(installed)
    replace_tool(installed)
    done = shell("why", "--all")
    assert "  environment: fake-lib 1.26.4 -> 2.0.1 (does not make it stale; rerun --changed=all does)" in done.out
    assert f"  environment: program tool changed ({installed}/bin/tool) (does not make it stale" in done.out
    assert "2 jobs: 2 current" in done.out
    assert shell("why", "--all", "--changed").out == "nothing is stale\n"
    call, tool = shell("why", "--all", "--json").json["jobs"]
    assert (call["stale"], call["verdict"]) == (False, "current")
    assert call["reasons"] == [
        {"kind": "environment", "part": "distribution", "name": "fake-lib", "before": "1.26.4", "after": "2.0.1",
         "stale": False}
    ]  # fmt: skip
    assert [(one["part"], one["name"], one["stale"]) for one in tool["reasons"]] == [("program", "tool", False)]
    assert shell("restart", "--yes").out.startswith("nothing")


def test_changed_all_makes_it_stale_and_takes_no_name_for_its_value(installed: Path, shell: Shell) -> None:
    run(shell)
    upgrade(installed)
    assert shell("rerun", "-w", "score", "--changed", "--dry-run").out == "nothing is stale\n"
    plan = shell("rerun", "-w", "score", "--changed=all", "--dry-run", "--json").json
    assert [job["name"] for job in plan["jobs"]] == ["call"]
    assert {reason["kind"] for reason in plan["jobs"][0]["reasons"]} >= {"environment"}
    assert [job["name"] for job in shell("jobs", "list", "--changed=all", "--json").json["jobs"]] == ["call"]
    assert shell("jobs", "list", "--changed", "-w", "1", "--json").json["jobs"] == []
    done = shell("why", "--changed=all", "call")
    assert "stale: it would run again, for\n    fake-lib 1.26.4 -> 2.0.1" in done.out
    assert shell("why", "--changed", "call").out == "nothing is stale\n"
    assert "no such job: all" in shell("why", "--changed", "all").err
    wrong = shell("why", "--changed=everything", "call")
    assert (wrong.code, "everything" in wrong.err) == (64, True)
    assert shell("rerun", "-w", "score", "--changed=all", "--yes", "--work").code == 0
    assert shell("why", "--all", "--changed=all").out == "nothing is stale\n"


@pytest.mark.parametrize(
    ("top", "more"),
    [
        ("stale_on: [environment]", ""),
        ("defaults: {stale_on: [environment]}", ""),
        ("", ", stale_on: [environment]"),
        ("", ", stale_on: environment"),
    ],
)
def test_stale_on_makes_it_stale(installed: Path, shell: Shell, top: str, more: str) -> None:
    run(shell, top, more)
    replace_tool(installed)
    assert "stale: it would run again, for\n    program tool changed" in shell("why", "tool").out
    assert shell("restart", "--yes", "--work").code == 0
    assert (shell.folder / "out.txt").read_text() == "two\n"
    assert shell("why", "--all", "--changed").out == "nothing is stale\n"


def test_stale_on_that_is_added_makes_stale_only_what_differs(installed: Path, shell: Shell) -> None:
    run(shell)
    shell.write(SPEC.format(top="stale_on: [environment]", more=""))
    assert shell("submit", "spec.yaml").code == 0
    assert shell("why", "--all", "--changed").out == "nothing is stale\n"
    upgrade(installed)
    assert "1 stale, 1 current" in shell("why", "--all").out
    shell.write(SPEC.format(top="stale_on: [environment]", more=", stale_on: []"))
    assert shell("submit", "spec.yaml").code == 0
    assert shell("why", "--all", "--changed").out == "nothing is stale\n"


def test_an_unknown_word_of_stale_on_is_refused(shell: Shell) -> None:
    shell.write('name: s\njobs:\n  a: {run: "true", stale_on: [enviroment]}\n')
    done = shell("submit", "spec.yaml")
    assert done.code != 0
    assert "must be environment, and is 'enviroment'" in done.err
    assert "did you mean `environment`?" in done.err


def test_another_program_in_front_of_the_path_is_seen(
    installed: Path, shell: Shell, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(shell)
    other = tmp_path_factory.mktemp("other")
    (other / "tool").write_text("#!/bin/sh\necho one\n")
    (other / "tool").chmod(0o755)
    monkeypatch.setenv("PATH", str(other), prepend=":")
    assert f"program tool: {installed}/bin/tool -> {other}/tool" in shell("why", "tool").out
    (installed / "bin" / "tool").unlink()
    (other / "tool").unlink()
    assert f"program tool: {installed}/bin/tool -> not found" in shell("why", "tool").out


def test_a_distribution_that_is_removed_is_seen(installed: Path, shell: Shell) -> None:
    run(shell)
    info = installed / "site-packages" / "fake_lib-1.26.4.dist-info"
    info.rename(installed / "gone")
    assert "environment: fake-lib 1.26.4 -> not installed" in shell("why", "call").out


def test_another_interpreter_warns(installed: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    run(shell)
    monkeypatch.setattr("rekindle.engine.staleness.contents.interpreter", lambda: "CPython 9.9.9 (/opt/python9)")
    done = shell("why", "call")
    assert "-> CPython 9.9.9 (/opt/python9) (does not make it stale" in done.out


def test_cosmetic_edits_leave_a_call_current(installed: Path, shell: Shell) -> None:
    run(shell)
    shell.write(
        "# Licence\n" + LIB.replace("def score():", 'def new():\n    pass\n\n\ndef score():\n    """Yes."""\n'),
        "lib.py",
    )
    shell.write("def other(x):\n    return 7\n\n\ndef clean(x): return (x)\n", "helpers.py")
    assert "current" in shell("why", "call").out
    shell.write("def clean(x): return x + 1\n", "helpers.py")
    done = shell("why", "call")
    assert "    helpers:clean changed\n" in done.out
    (job,) = shell("why", "call", "--json").json["jobs"]
    assert [(one["kind"], one["module"], one["name"]) for one in job["reasons"]] == [("code", "helpers", "clean")]
    assert shell("accept", "call").code == 0
    assert "current" in shell("why", "call").out
    shell.write("def clean(x): return x + 2\n", "helpers.py")
    assert "helpers:clean changed" in shell("why", "call").out


def test_a_module_that_is_looked_up_dynamically_is_compared_whole(installed: Path, shell: Shell) -> None:
    dynamic = 'import helpers\n\n\ndef score():\n    return getattr(helpers, "cle" + "an")(1)\n'
    shell.write(dynamic, "lib.py")
    run(shell)
    shell.write(dynamic + "# more\n", "lib.py")
    (job,) = shell("why", "call", "--json").json["jobs"]
    reason = job["reasons"][0]
    assert (reason["module"], reason["whole"]) == ("lib", True)
    assert reason["because"] == "getattr with a computed name, line 5"
    assert "module lib changed (compared whole: getattr with a computed name, line 5)" in shell("why", "call").out


def test_attempts_show_lists_the_environment(installed: Path, shell: Shell) -> None:
    run(shell)
    shown = {job: shell("attempts", "list", job, "--json").json["attempts"][0]["id"] for job in ("call", "tool")}
    assert "fake-lib 1.26.4" in shell("attempts", "show", str(shown["call"])).out
    assert f"{installed}/bin/tool" in shell("attempts", "show", str(shown["tool"])).out
    parts = shell("attempts", "show", str(shown["call"]), "--json").json["environment"]
    assert {(one["part"], one["name"]) for one in parts} == {("distribution", "fake-lib"), ("interpreter", "python")}


def test_attempts_diff_names_the_definitions_and_the_environment(installed: Path, shell: Shell) -> None:
    run(shell)
    upgrade(installed)
    shell.write("# cosmetic\n" + LIB, "lib.py")
    shell.write("def clean(x): return x + 1\n", "helpers.py")
    assert shell("rerun", "call", "--yes", "--work").code == 0
    attempts = [one["id"] for one in shell("attempts", "list", "call", "--json").json["attempts"]]
    one, other = sorted(attempts)
    found = {
        each["field"]: (each["a"], each["b"])
        for each in shell("attempts", "diff", str(one), str(other), "--json").json["differences"]
    }
    assert {name for name in found if name.startswith("code.")} == {"code.helpers:clean"}
    assert found["environment.distribution.fake-lib"] == ("1.26.4", "2.0.1")
    assert "1.26.4" in shell("attempts", "diff", str(one), str(other)).out


def test_what_an_earlier_version_recorded_is_compared_by_its_files(installed: Path, shell: Shell) -> None:
    run(shell)
    with closing(sqlite3.connect(next((shell.folder / ".rekindle").glob("*.db")))) as database, database:
        for digest, modules in database.execute("SELECT digest, modules FROM source").fetchall():
            files = {name: each for name, each in json.loads(modules).items() if ":" not in name and " " not in name}
            database.execute("UPDATE source SET modules = ? WHERE digest = ?", (json.dumps(files), digest))
    upgrade(installed)
    assert "environment" not in shell("why", "call").out
    assert "current" in shell("why", "call").out
    shell.write("# cosmetic\n" + LIB, "lib.py")
    assert "module lib changed" in shell("why", "call").out
