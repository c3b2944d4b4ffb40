"""The spec key `definition: pinned`."""

from __future__ import annotations

import pytest

FIRST = """\
name: study
params: {x: 1}
jobs:
  draw: {definition: pinned, run: "echo one ${params.x} > drawn", outputs: {drawn: drawn}}
  read: {needs: [draw], run: "cat drawn > read; echo first >> read", outputs: {read: read}}
"""
SECOND = FIRST.replace("one ${params.x}", "two ${params.x}").replace("x: 1", "x: 2").replace("first", "second")


@pytest.fixture
def revised(shell):
    """A workflow whose pinned job and the one below have other definitions since they ran."""
    shell.write(FIRST)
    assert shell("run", "spec.yaml").code == 0
    shell.write(SECOND)
    return shell


def _read(shell, name):
    return (shell.folder / name).read_text().split()


def test_a_changed_definition_does_not_make_a_pinned_job_stale(revised):
    assert revised("run", "spec.yaml", "--yes").code == 0
    assert _read(revised, "drawn") == ["one", "1"]
    assert _read(revised, "read") == ["one", "1", "second"]
    states = {one["name"]: one["verdict"] for one in revised("why", "--all", "--json").json["jobs"]}
    assert states == {"draw": "current", "read": "current"}
    before = revised("attempts", "list", "--json").json
    assert revised("run", "spec.yaml", "--yes").code == 0
    assert revised("attempts", "list", "--json").json == before


def test_reruns_keep_the_definition_and_latest_takes_the_new_one(revised):
    assert revised("submit", "spec.yaml").code == 0
    assert revised("rerun", "draw", "--yes", "--work").code == 0
    assert _read(revised, "drawn") == ["one", "1"]
    assert _read(revised, "read") == ["one", "1", "second"]
    assert revised("rerun", "draw", "--definition", "latest", "--yes", "--work").code == 0
    assert _read(revised, "drawn") == ["two", "2"]
    assert revised("rerun", "draw", "--yes", "--work").code == 0
    assert _read(revised, "drawn") == ["two", "2"]


def test_a_pinned_job_below_another_keeps_its_definition(shell):
    shell.write("name: w\njobs:\n  a: {run: 'true'}\n  b: {needs: [a], run: echo one > b, definition: pinned}\n")
    assert shell("run", "spec.yaml").code == 0
    shell.write("name: w\njobs:\n  a: {run: ': new'}\n  b: {needs: [a], run: echo two > b, definition: pinned}\n")
    assert shell("submit", "spec.yaml").code == 0
    assert shell("rerun", "a", "--yes", "--work").code == 0
    assert _read(shell, "b") == ["one"]
    assert shell("rerun", "a", "--definition", "latest", "--yes", "--work").code == 0
    assert _read(shell, "b") == ["two"]


def test_defaults_may_pin_and_a_job_may_take_the_latest(shell):
    text = "name: w\ndefaults: {definition: pinned}\njobs:\n  a: {run: echo X > a}\n"
    text += "  b: {run: echo X > b, definition: latest}\n"
    shell.write(text.replace("X", "one"))
    assert shell("run", "spec.yaml").code == 0
    shell.write(text.replace("X", "two"))
    assert shell("run", "spec.yaml", "--yes").code == 0
    assert (_read(shell, "a"), _read(shell, "b")) == (["one"], ["two"])


def test_another_word_is_refused(shell):
    shell.write("name: w\njobs:\n  a: {run: 'true', definition: pin}\n")
    done = shell("run", "spec.yaml")
    assert done.code == 1
    assert "`definition` must be latest or pinned, and is 'pin'" in done.err
