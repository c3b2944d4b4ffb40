r"""File names that are not UTF-8: jobs get their bytes, and output shows `caf\xe9`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cli_shell import Shell

from made_once import made_once

NAME = b"caf\xe9.txt"
TEXT = os.fsdecode(NAME)
SEEN = r"caf\xe9.txt"

SPEC = r"""
    name: s
    jobs:
      folder: {run: 'ls d', inputs: {d: d}}
      output: {run: ['python3', '-c', 'open(b"o/caf\xe9.txt", "w")'], outputs: {o: o}}
      glob: {run: 'cat ${inputs.g}', inputs: {g: '*.txt'}}
      named: {run: 'cat *.txt'}
      items:
        steps:
          - {name: e, each: '*.txt', run: 'cat ${item}; printf %s "$REKINDLE_ITEM" > $REKINDLE_SUBTASK_DIR/item'}
          - {name: after, run: ['python3', 'after.py', e]}
      lines: {steps: [{name: e, each: {run: 'ls *.txt'}, run: ['cat', '${item}']}]}
      calls: {steps: [{name: e, each: {call: 'names:names'}, call: 'names:one', args: {name: '${item}'}}]}
      result: {run: ['python3', 'result.py']}
      call: {call: 'names:names'}
      needs: {needs: [result, call], run: ['python3', 'after.py', result, call]}
      needed: {needs: [result, call], call: 'names:needed'}
"""
NAMES = """\
import os

def names():
    return sorted(name for name in os.listdir(".") if name.endswith(".txt"))

def one(name, ctx):
    assert ctx.item == name
    return open(name).read()

def needed(ctx):
    return [open(name).read() for job in ("result", "call") for name in ctx.inputs[job]["result"]]
"""
AFTER = """\
import json, os, sys

inputs = json.loads(os.environ["REKINDLE_INPUTS"])
for name in sys.argv[1:]:
    found = inputs[name]
    found = [one["item"] for one in found["items"]] if "items" in found else found["result"]
    print(*[open(one).read() for one in found])
"""
RESULT = "import json, os, names; json.dump(names.names(), open(os.environ['REKINDLE_RESULT'], 'w'))"


@pytest.fixture
@made_once
def named(shell: Shell) -> Shell:
    """A workflow that has run, with names that are not UTF-8 in all places."""
    put(shell.folder, b"0")
    (shell.folder / "o").mkdir()
    (shell.folder / "plain.txt").write_text("1")
    for name, text in {"names.py": NAMES, "after.py": AFTER, "result.py": RESULT}.items():
        shell.write(text, name)
    shell.write(SPEC)
    assert shell("run", "spec.yaml", "-j", "2").code == 0
    return shell


def put(folder: Path, content: bytes) -> None:
    (folder / "d").mkdir(exist_ok=True)
    for name in (TEXT, f"d/{TEXT}"):
        (folder / name).write_bytes(content)


def attempt(shell: Shell, name: str) -> dict:
    """The newest attempt of a job."""
    job = shell("jobs", "show", name, "--json").json["id"]
    return [one for one in shell("attempts", "list", "--json").json["attempts"] if one["job"] == job][-1]


def verdicts(shell: Shell) -> dict[str, str]:
    return {job["name"]: job["verdict"] for job in shell("why", "--all", "--json").json["jobs"]}


def test_jobs_get_the_bytes_of_names(named: Shell) -> None:
    assert named("logs", "glob").out == named("logs", "named").out == "01"
    assert named("logs", "items", "--step", "e", "--subtask", "0").out == "0"
    assert named("logs", "items", "--step", "after").out == "0 1\n"
    assert named("logs", "needs").out == "0 1\n0 1\n"
    assert attempt(named, "needed")["result"] == ["0", "1", "0", "1"]
    written = {path.read_bytes() for path in (named.folder / ".rekindle" / "attempts").rglob("item")}
    assert written == {NAME, b"plain.txt"}


def test_json_holds_the_bytes_and_people_see_escapes(named: Shell) -> None:
    number = str(attempt(named, "items")["id"])
    shown = named("attempts", "show", number, "--json")
    assert shown.out.isascii()
    assert {os.fsencode(one["item"]) for one in shown.json["subtasks"]} == {NAME, b"plain.txt"}
    assert f'"{SEEN}"' in named("attempts", "show", number).out
    assert attempt(named, "call")["result"] == [TEXT, "plain.txt"]


def test_only_a_change_makes_them_stale_and_is_named(named: Shell) -> None:
    assert "stale" not in verdicts(named).values()
    put(named.folder, b"2")
    stale = {name for name, verdict in verdicts(named).items() if verdict == "stale"}
    assert stale == {"folder", "glob", "named", "items", "lines"}
    assert f"1 changed ({SEEN})" in named("why", "glob").out
    assert named("run", "spec.yaml", "--yes").code == 0
    assert "stale" not in verdicts(named).values()
    assert named("logs", "glob").out == "21"


def test_a_name_with_a_backslash_is_another_name(named: Shell) -> None:
    (named.folder / SEEN).write_text("3")
    assert f"1 new ({SEEN})" in named("why", "glob").out
    assert named("run", "spec.yaml", "--yes").code == 0
    assert named("logs", "glob").out == "301"
    (named.folder / SEEN).write_text("4")
    assert f"1 changed ({SEEN})" in named("why", "glob").out


def test_one_item_is_run_again_by_its_number(shell: Shell) -> None:
    put(shell.folder, b"0")
    step = "{name: e, each: '*.txt', run: 'test -e mended && cat ${item}'}"
    shell.write(f"name: s\njobs: {{j: {{steps: [{step}]}}}}\n")
    assert shell("run", "spec.yaml").code == 2
    assert f'0 ("{SEEN}")' in attempt(shell, "j")["error"]["message"]
    shell.write("", "mended")
    assert shell("rerun", "j", "--from", "failed-step", "--subtasks", "0", "--yes", "--work").code == 0
    assert shell("logs", "j", "--step", "e", "--subtask", "0").out == "0"


def test_what_a_job_prints_is_shown_and_kept(shell: Shell) -> None:
    shell.write(r"""
        name: s
        jobs: {j: {run: "printf 'no caf\\351\\n' | tee /dev/stderr; exit 3"}}
    """)
    assert shell("run", "spec.yaml").code == 2
    assert r"no caf\xe9" in shell("failures").out
    logs = {one["stream"]: one["text"] for one in shell("logs", "j", "--json").json["logs"]}
    assert os.fsencode(logs["stdout"]) == b"no caf\xe9\n"


def test_a_project_may_lie_in_a_folder_of_such_a_name(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shell.folder / os.fsdecode(b"pr\xe9")
    folder.mkdir()
    monkeypatch.chdir(folder)
    spec = os.fsdecode(b"sp\xe9c.yaml")
    jobs = "{a: {run: 'cat i > o', inputs: {i: i}, outputs: {o: o}}, b: {call: 'os:getpid'}}"
    (folder / spec).write_text(f"name: s\njobs: {jobs}\n")
    (folder / "i").write_text("1")
    assert shell("run", spec).code == 0
    again = shell("run", spec)
    assert (again.code, "nothing to run" in again.out + again.err) == (0, True)
    assert r"pr\xe9" in shell("workflows", "show", "s").out
    assert os.fsencode(shell("workflows", "list", "--json").json["workflows"][0]["directory"]) == os.fsencode(folder)
    assert shell("rerun", "a", "--yes", "--work").code == 0


def test_a_word_that_is_not_utf8_is_refused_by_name(named: Shell) -> None:
    for words in (("jobs", "list", "-n"), ("logs",), ("rerun",), ("jobs", "list", "-w")):
        done = named(*words, TEXT)
        assert (done.code, f"not a valid text: {SEEN}" in done.err) == (64, True), words
