"""`lineage`, `--from-file` and `--tainted-by`: where files come from, and what depends on them."""

from __future__ import annotations

from typing import Any

import pytest
from cli_shell import Shell

from rekindle import Client

SPEC = """\
name: parts
jobs:
  cat: {run: "cat data/*.csv > ${outputs.all}", inputs: {parts: "data/*.csv"}, outputs: {all: all.csv}}
  list: {run: "ls data > ${outputs.names}", inputs: {folder: data}, outputs: {names: names.txt}}
  count: {run: "wc -l < all.csv > ${outputs.n}", needs: [cat], outputs: {n: n.txt}}
  report: {run: "cat n.txt names.txt", needs: [count, list]}
  apart: {run: "true"}
"""


@pytest.fixture
def project(shell: Shell) -> Shell:
    """A workflow that has run."""
    (shell.folder / "data").mkdir()
    for name in ("a", "b"):
        (shell.folder / "data" / f"{name}.csv").write_text(f"{name}\n")
    shell.write(SPEC)
    assert shell("run", "spec.yaml").code == 0
    return shell


def lineage(shell: Shell, path: str) -> dict[str, Any]:
    found: dict[str, Any] = shell("lineage", path, "--json").json
    return found


def names(shell: Shell, *selection: str) -> list[str]:
    return [job["name"] for job in shell("jobs", "list", *selection, "--json").json["jobs"]]


def test_an_output_has_a_maker_sources_users_and_jobs_below(project: Shell) -> None:
    found = lineage(project, "all.csv")
    assert (found["origin"], found["made"]["name"], found["current"]["verdict"]) == ("made", "cat", "current")
    assert [(one["name"], one["attempt"], one["depth"]) for one in found["sources"]] == [("parts", None, 1)]
    assert [one["name"] for one in found["used"]] == ["count"]
    assert [job["name"] for job in found["tainted"]] == ["count", "report"]


def test_the_sources_of_a_later_file_reach_back_to_what_no_job_made(project: Shell) -> None:
    found = lineage(project, "n.txt")
    assert [(one["name"], one["depth"]) for one in found["sources"]] == [("all.csv", 1), ("parts", 2)]
    assert [one["attempt"] for one in found["sources"]] == [lineage(project, "all.csv")["made"]["attempt"], None]


@pytest.mark.parametrize("move", [True, False])
def test_a_renamed_or_copied_output_is_known_by_its_content(project: Shell, move: bool) -> None:
    folder = project.folder
    (folder / "other.csv").write_bytes((folder / "all.csv").read_bytes())
    if move:
        (folder / "all.csv").unlink()
    found = lineage(project, "other.csv")
    assert (found["origin"], found["made"]["name"]) == ("copied", "cat")
    assert found["made"]["path"] == str(folder / "all.csv")
    assert "a copy: the attempt left this content at all.csv" in project("lineage", "other.csv").out


def test_an_edited_output_is_not_what_its_job_made(project: Shell) -> None:
    (project.folder / "all.csv").write_text("edited\n")
    found = lineage(project, "all.csv")
    assert (found["origin"], found["made"]["name"], found["current"]["stale"]) == ("changed", "cat", True)
    assert [one["same"] for one in found["used"]] == [False]
    assert found["tainted"] == [], "nothing has used the edited content"


def test_a_removed_output_is_gone(project: Shell) -> None:
    (project.folder / "all.csv").unlink()
    found = lineage(project, "all.csv")
    assert (found["origin"], found["digest"], found["made"]["name"]) == ("gone", None, "cat")
    assert [job["name"] for job in found["tainted"]] == ["count", "report"]


def test_a_raw_file_has_users_by_pattern_and_by_folder(project: Shell) -> None:
    found = lineage(project, "data/a.csv")
    assert (found["origin"], found["made"]) == ("source", None)
    assert {one["name"] for one in found["used"]} == {"cat", "list"}
    assert {job["name"] for job in found["tainted"]} == {"cat", "list", "count", "report"}
    assert "rekindle rerun --from-file data/a.csv" in project("lineage", "data/a.csv").out


def test_an_unknown_file_is_named(project: Shell) -> None:
    refused = project("lineage", "nowhere")
    assert refused.code == 1
    assert "nowhere does not exist, and no attempt has recorded it" in refused.err


def test_from_file_selects_those_that_read_it(project: Shell) -> None:
    assert names(project, "--from-file", "data/a.csv") == ["cat", "list"]
    assert names(project, "--from-file", "all.csv") == ["count"]
    assert names(project, "--from-file", "all.csv", "--from-file", "n.txt") == ["count", "report"]
    assert names(project, "--from-file", "all.csv", "-s", "failed") == []
    planned = project("rerun", "--from-file", "all.csv", "--dry-run", "--json").json
    assert [job["name"] for job in planned["jobs"]] == ["count", "report"]


def test_tainted_by_selects_the_job_and_what_used_its_results(project: Shell) -> None:
    attempt = lineage(project, "all.csv")["made"]["attempt"]
    assert names(project, "--tainted-by", str(attempt)) == ["cat", "count", "report"]


def test_what_was_made_again_is_not_tainted_by_the_earlier_attempt(project: Shell) -> None:
    attempt = str(lineage(project, "all.csv")["made"]["attempt"])
    assert project("rerun", "cat", "--downstream", "none", "--yes", "--work").code in (0, 1)
    assert names(project, "--tainted-by", attempt) == ["count", "report"], "they still stand on the earlier results"
    assert project("rerun", "--tainted-by", attempt, "--yes", "--work").code == 0
    assert names(project, "--tainted-by", attempt) == []


def test_an_attempt_that_kept_steps_is_tainted_with_the_one_that_ran_them(shell: Shell) -> None:
    shell.write("name: steps\njobs: {a: {steps: [{name: one, run: 'true'}, {name: two, run: 'test -e go'}]}}")
    assert shell("run", "spec.yaml").code == 2
    (shell.folder / "go").touch()
    assert shell("rerun", "a", "--from", "failed-step", "--yes", "--work").code == 0
    assert names(shell, "--tainted-by", "1") == ["a"]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--tainted-by", "99"), 1, "no such attempt: 99"),
        (("--tainted-by", "0"), 64, "--tainted-by"),
        (("--from-file", ""), 64, "is no path of a file"),
    ],
)
def test_wrong_values_are_refused(project: Shell, words: tuple[str, ...], code: int, text: str) -> None:
    refused = project("rerun", *words, "--dry-run")
    assert refused.code == code
    assert text in refused.err


def test_a_file_that_no_attempt_knows_selects_nothing_and_is_named(project: Shell) -> None:
    done = project("rerun", "--from-file", "all.csw", "--dry-run")
    assert (done.code, done.out) == (0, "nothing selected\n")
    assert "no attempt has recorded" in done.err
    assert "all.csw" in done.err


def test_a_recorded_file_that_nothing_reads_selects_nothing(project: Shell) -> None:
    project.write("name: made\njobs: {a: {run: 'echo 1 > made.txt', outputs: {made: made.txt}}}", "made.yaml")
    assert project("run", "made.yaml").code == 0
    done = project("rerun", "--from-file", "made.txt", "--dry-run")
    assert (done.code, done.out, done.err) == (0, "nothing selected\n", "")


def test_python_has_the_same(project: Shell) -> None:
    with Client(str(project.folder / ".rekindle")) as client:
        path = project.folder / "all.csv"
        found = client.lineage(path)
        assert found.made is not None
        assert found.made["name"] == "cat"
        assert client.select(from_file=str(path)) == client.select("count")
        assert client.select(tainted_by=found.made["attempt"]) == client.select("cat", "count", "report")
