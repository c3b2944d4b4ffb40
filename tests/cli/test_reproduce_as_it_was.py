"""What an attempt that is made again aside is given: the texts, files and folders that it had, and no more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_shell import Shell


@pytest.fixture
def project(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """An empty project; temporary folders are made in one of the test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("scratch")))
    monkeypatch.setattr("tempfile.tempdir", None)
    return shell


def run(project: Shell, jobs: str, code: int = 0) -> None:
    project.write(f"name: w\njobs:\n{jobs}")
    done = project("run", "spec.yaml")
    assert done.code == code, done


def attempt_of(project: Shell, job: str) -> str:
    return str(project("attempts", "list", job, "--live", "--json").json["attempts"][0]["id"])


def verified(project: Shell, job: str) -> Any:
    done = project("verify", job, "--json")
    [one] = done.json["jobs"]
    return {**one, "code": done.code}


RESULTS = """\
  number: {run: 'echo "{\\"v\\": 1e3}" > $REKINDLE_RESULT'}
  spaced: {run: 'echo "{ \\"v\\" : 1,  \\"v\\": 2.50 }" > $REKINDLE_RESULT'}
  acts: {run: 'echo "{\\"set_children\\": {\\"q\\": 1e3}}" > $REKINDLE_ACTION; echo 1E2 > $REKINDLE_RESULT'}
  items: {steps: [{name: each, each: [1, {a: 1.50}], run: 'echo "{ \\"v\\": 1e2}" > $REKINDLE_RESULT'}]}
  fails: {run: "echo bad >&2; exit 3"}
"""


@pytest.mark.parametrize(
    "job",
    [
        "needs: [number, spaced, acts, items]",
        "needs: [number, spaced, acts, items, fails], aggregate: true, when: finished",
        "needs: [number, fails], when: finished",
    ],
    ids=["job", "aggregate", "finished"],
)
def test_inputs_are_the_text_that_the_attempt_had(project: Shell, job: str) -> None:
    run(project, f"{RESULTS}  reads: {{{job}, run: 'echo \"$REKINDLE_INPUTS\" > c', outputs: {{c: c}}}}\n", code=2)
    assert '{"v": 1e3}' in (project.folder / "c").read_text()
    assert (verified(project, "reads")["outcome"], verified(project, "reads")["code"]) == ("reproducible", 0)
    done = project("reproduce", attempt_of(project, "reads"), "--into", "aside", "--json")
    assert done.json["same"] is True
    assert (project.folder / "aside/project/c").read_bytes() == (project.folder / "c").read_bytes()


def test_paths_in_inputs_lead_to_the_copies_however_they_are_written(project: Shell) -> None:
    run(
        project,
        """\
  gives:
    run: |
      echo data > d
      escaped=$(echo "$PWD/d" | sed 's#/#\\\\/#g')
      printf '{"plain": "%s/d", "escaped": "%s", "n": 1e3}' "$PWD" "$escaped" > $REKINDLE_RESULT
  reads: {needs: [gives], run: 'echo "$REKINDLE_INPUTS" > c', outputs: {c: c}}
""",
    )
    project("reproduce", attempt_of(project, "reads"), "--into", "aside")
    text = (project.folder / "aside/project/c").read_text()
    given = json.loads(text)["gives"]["result"]
    assert given["plain"] == given["escaped"] == str(project.folder / "aside/project/d")
    assert '"n": 1e3' in text


def test_a_printed_step_has_the_results_of_earlier_ones_with_paths_of_the_copy(project: Shell) -> None:
    run(
        project,
        """\
  both:
    steps:
      - {name: one, run: 'echo "{\\"path\\": \\"$PWD/d\\"}" > $REKINDLE_RESULT'}
      - {name: two, run: "echo ${steps.one.result.path} > o"}
""",
    )
    printed = project("reproduce", attempt_of(project, "both"), "--print", "--step", "two", "--into", "aside")
    assert str(project.folder / "aside/project/d") in printed.out
    assert str(Path(project.folder, "d")) not in printed.out


@pytest.mark.parametrize(
    ("there", "command"),
    [
        (True, "echo 1 > out/c"),
        (True, "mkdir -p out; echo 1 > out/c"),
        (True, "rmdir out && mkdir out && echo 1 > out/c"),
        (False, "mkdir out; echo 1 > out/c"),
        (False, "mkdir -p out; echo 1 > out/c"),
        (False, "test ! -e out && mkdir out && echo 1 > out/c"),
    ],
)
def test_a_folder_that_is_an_output_is_there_if_it_was(project: Shell, there: bool, command: str) -> None:
    if there:
        (project.folder / "out").mkdir()
    run(project, f"  c: {{run: {json.dumps(command)}, outputs: {{o: out}}}}\n")
    found = verified(project, "c")
    assert (found["outcome"], found["code"]) == ("reproducible", 0), found["message"]


def test_a_folder_of_a_call_is_there_if_it_was(project: Shell) -> None:
    (project.folder / "out").mkdir()
    (project.folder / "writes.py").write_text(
        "def go():\n    with open('out/c', 'w') as file:\n        file.write('1')\n"
    )
    run(project, "  c: {call: 'writes:go', outputs: {o: out}}\n")
    found = verified(project, "c")
    assert (found["outcome"], found["code"]) == ("reproducible", 0), found["message"]


def test_a_folder_of_a_failed_attempt_is_there_if_it_was(project: Shell) -> None:
    (project.folder / "out-1").mkdir()
    job = "c: {matrix: {k: [1]}, run: 'echo 1 > out-${matrix.k}/c && exit 3', outputs: {o: 'out-${matrix.k}'}}"
    run(project, f"  {job}\n", code=2)
    done = project("reproduce", attempt_of(project, "c[k=1]"), "--into", "aside", "--json")
    assert (done.json["exit_code"], done.json["differences"]) == (3, [])
    assert [path.name for path in (project.folder / "aside/project/out-1").iterdir()] == ["c"]


def test_a_folder_that_a_kept_step_made_is_not_there(project: Shell) -> None:
    steps = '[{name: makes, run: "mkdir out"}, {name: fills, run: "test -e go && echo 1 > out/c"}]'
    run(project, f"  c: {{steps: {steps}, outputs: {{o: out}}}}\n", code=2)
    (project.folder / "go").touch()
    assert project("rerun", "c", "--from", "failed-step", "--work", "--yes").code == 0
    found = verified(project, "c")
    assert (found["outcome"], found["code"]) == ("reproducible", 0), found["message"]


def test_an_error_that_differs_is_shown_by_its_message(project: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONCE", str(project.folder / "once"))
    run(project, "  c: {run: 'test -e $ONCE && exit 3; true > $ONCE; echo 1 > $REKINDLE_RESULT'}\n")
    done = project("verify", "c", "--json")
    [error] = [one for one in done.json["jobs"][0]["differences"] if one["field"] == "error"]
    assert (error["before"], error["after"]) == (None, "exit code 3")
    assert "error differs: nothing -> exit code 3" in project("reproduce", attempt_of(project, "c")).out


@pytest.mark.parametrize("index", [0, 1], ids=["path", "in-an-object"])
def test_an_item_that_is_a_path_of_the_project_leads_to_the_copy(project: Shell, index: int) -> None:
    (project.folder / "items.py").write_text(
        "import os\n\ndef found():\n    return [os.path.abspath('x'), {'path': os.path.abspath('x')}]\n"
    )
    (project.folder / "note.py").write_text(
        "import json, sys\nitem = sys.argv[1]\npath = json.loads(item)['path'] if item[0] == '{' else item\n"
        "open(path, 'a').write('more')\n"
    )
    run(project, "  c: {steps: [{name: each, each: {call: 'items:found'}, run: 'python3 note.py ${item}'}]}\n")
    before = (project.folder / "x").read_text()
    done = project("reproduce", attempt_of(project, "c"), "--subtask", str(index), "--into", "aside", "--json")
    assert (done.code, done.json["same"]) == (0, True)
    assert (project.folder / "x").read_text() == before
    assert (project.folder / "aside/project/x").read_text() == f"{before}more"
