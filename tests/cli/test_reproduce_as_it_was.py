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
