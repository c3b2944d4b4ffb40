"""A job that one revision retires and a later one restores keeps its state and attempts."""

from __future__ import annotations

from pathlib import Path

from cli_shell import Shell

WHOLE = """\
name: s
jobs:
  a: {run: 'echo a > oa; echo a >> log', outputs: {o: oa}}
  b: {matrix: {i: [0, 1]}, run: 'cat oa > ${outputs.o}; echo b >> log', inputs: {i: oa}, outputs: {o: 'ob${matrix.i}'}}
  c: {run: 'cat ob* > oc; echo c >> log', needs: [b], outputs: {o: oc}}
  d: {run: 'cat oc > od; echo d >> log', inputs: {i: oc}, outputs: {o: od}}
  f: {needs: [a], run: 'echo f >> log; false'}
"""
PART = """\
name: s
jobs:
  a: {run: 'echo a > oa; echo a >> log', outputs: {o: oa}}
"""


def words(shell: Shell) -> dict[str, str]:
    return {job["name"]: job["verdict"] for job in shell("why", "--all", "--json").json["jobs"]}


def test_jobs_that_come_back_unchanged_keep_their_history_and_do_not_run(shell: Shell) -> None:
    shell.write(WHOLE)
    assert shell("run", "spec.yaml").code == 2
    before = words(shell)
    attempts = shell("attempts", "list", "--json").json["attempts"]
    shell.write(PART)
    assert "5 retired" in shell("submit", "spec.yaml").err
    shell.write(PART + "# once more\n")
    shell("submit", "spec.yaml")
    shell.write(WHOLE)
    assert "5 added" in shell("submit", "spec.yaml").err
    assert words(shell) == before
    assert {before[name] for name in ("b[i=0]", "b[i=1]", "c", "d")} == {"current"}
    assert before["f"] == "failed"
    shell("run", "spec.yaml")
    assert shell("attempts", "list", "--json").json["attempts"] == attempts
    assert sorted(Path("log").read_text().split()) == ["a", "b", "b", "c", "d", "f"]
    assert shell("restart", "--dry-run", "--json").json["jobs"] == []


def test_jobs_that_come_back_changed_are_stale(shell: Shell) -> None:
    shell.write(WHOLE)
    shell("run", "spec.yaml")
    shell.write(PART)
    shell("submit", "spec.yaml")
    shell.write(WHOLE.replace("cat oa >", "cat < oa >"))
    shell("submit", "spec.yaml")
    found = words(shell)
    assert (found["b[i=0]"], found["b[i=1]"], found["c"], found["d"]) == ("stale", "stale", "upstream", "upstream")
    assert "the command changed" in shell("why", "b[i=0]").out


def test_a_single_job_that_comes_back_leaves_what_needs_it_as_it_was(shell: Shell) -> None:
    shell.write(WHOLE)
    shell("run", "spec.yaml")
    before = words(shell)
    shell.write(WHOLE.replace("[0, 1]", "[0]"))
    shell("submit", "spec.yaml")
    assert "does not need b[i=1] any more" in shell("why", "c").out
    shell.write(WHOLE)
    shell("submit", "spec.yaml")
    assert words(shell) == before
