"""What is refused before anything is stored: names that no workflow can have, and variables with invalid values."""

from __future__ import annotations

import pytest

SPEC = "name: w\njobs:\n  a: {run: 'true'}\n"


@pytest.mark.parametrize("name", ["12", "a\nb", "  ", "", " a"])
@pytest.mark.parametrize("command", ["submit", "run", "supervise"])
def test_a_name_that_no_workflow_can_have(shell, command, name):
    shell.write(SPEC)
    done = shell(command, "spec.yaml", "--as", name)
    assert done.code == 64
    assert f"{name!r} cannot be a workflow's name" in done.err
    assert shell("workflows", "list", "--json").json["workflows"] == []


def test_an_import_under_such_a_name(shell):
    shell.write(SPEC)
    assert shell("submit", "spec.yaml").code == 0
    assert shell("export", "w", "-o", "w.rk").code == 0
    assert shell("import", "w.rk", "--as", "12").code == 64
    assert len(shell("workflows", "list", "--archived", "--json").json["workflows"]) == 1


@pytest.mark.parametrize("command", ["run", "supervise", "submit"])
@pytest.mark.parametrize("variable", ["REKINDLE_CACHE_SIZE", "REKINDLE_DURABILITY", "REKINDLE_SHARED"])
def test_a_variable_with_an_invalid_value(shell, monkeypatch, command, variable):
    shell.write(SPEC.replace("w", "known"))
    assert shell("submit", "spec.yaml").code == 0
    shell.write(SPEC)
    monkeypatch.setenv(variable, "foo")
    done = shell(command, "spec.yaml")
    assert done.code == 64
    assert f"{variable} is 'foo'" in done.err
    monkeypatch.delenv(variable)
    assert [one["name"] for one in shell("workflows", "list", "--json").json["workflows"]] == ["known"]


def test_slots_of_a_server_that_runs_no_jobs(shell):
    done = shell("serve", "-j", "3")
    assert done.code == 64
    assert "-j needs --work" in done.err
    assert not (shell.folder / ".rekindle").exists()
