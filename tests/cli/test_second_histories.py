"""A command in the wrong folder: a dry run makes no store, and no second history of a spec is begun."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_shell import Shell

SWEEP = """\
name: sweep
jobs: {train: {run: "echo once >> trained"}}
"""


@pytest.fixture
def sweep(shell: Shell) -> Shell:
    """A workflow that has run in the folder `sweep`. The working directory is `elsewhere`, which has no store."""
    for name in ("sweep", "elsewhere"):
        (shell.folder / name).mkdir()
    shell.write(SWEEP, "sweep/sweep.yaml")
    shell.write("name: other\njobs: {one: {run: 'true'}}", "sweep/other.yaml")
    return shell


@pytest.fixture
def run_once(sweep: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(sweep.folder / "sweep")
    assert sweep("run", "sweep.yaml").code == 0
    monkeypatch.chdir(sweep.folder / "elsewhere")
    return sweep


def trained(shell: Shell) -> int:
    return len((shell.folder / "sweep/trained").read_text().split())


@pytest.mark.parametrize("words", [("run",), ("submit",), ("run", "--json"), ("submit", "--json")])
def test_a_dry_run_makes_no_store(sweep: Shell, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.chdir(sweep.folder / "elsewhere")
    done = sweep(*words, "../sweep/sweep.yaml", "--dry-run")
    assert done.code == 0
    assert "train" in done.out or '"jobs": 1' in done.out or "sweep" in done.out
    assert list(Path.cwd().iterdir()) == []
    assert sweep("--store", "new", *words, "../sweep/sweep.yaml", "--dry-run").code == 0
    assert list(Path.cwd().iterdir()) == []


def test_a_dry_run_reads_the_store_that_exists(run_once: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run_once.folder / "sweep")
    assert run_once("submit", "sweep.yaml", "--dry-run", "--json").json["unchanged"]


@pytest.mark.parametrize(
    "words", [("run",), ("submit",), ("supervise",), ("run", "--dry-run"), ("submit", "--dry-run")]
)
def test_a_history_beside_the_spec_is_not_begun_again(run_once: Shell, words: tuple[str, ...]) -> None:
    done = run_once(*words, "../sweep/sweep.yaml")
    assert done.code == 1
    assert f"{run_once.folder}/sweep/.rekindle has workflow 'sweep'" in done.err
    assert "cd ../sweep" in done.err
    assert "rekindle init" in done.err
    assert list(Path.cwd().iterdir()) == []
    assert trained(run_once) == 1


def test_a_store_that_is_made_or_named_is_used(run_once: Shell) -> None:
    assert run_once("--store", "../sweep/.rekindle", "run", "../sweep/sweep.yaml").code == 0
    assert trained(run_once) == 1
    assert run_once("init").code == 0
    assert run_once("run", "../sweep/sweep.yaml").code == 0
    assert trained(run_once) == 2


def test_another_store_beside_the_spec_is_named(run_once: Shell) -> None:
    done = run_once("run", "../sweep/other.yaml")
    assert done.code == 0
    assert f"has one: {run_once.folder}/sweep/.rekindle" in done.err


def test_a_store_that_is_missing_is_named_with_its_variable(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REKINDLE_STORE", f"{shell.folder}/nope")
    assert f"no store at {shell.folder}/nope, which $REKINDLE_STORE names" in shell("status").err
    assert "$REKINDLE_STORE names" not in shell("--store", "other", "status").err


def test_the_folder_of_a_project_is_not_its_store(run_once: Shell) -> None:
    done = run_once("--store", "../sweep", "status")
    assert f"did you mean {run_once.folder}/sweep/.rekindle?" in done.err
    assert "did you mean" not in run_once("--store", "../nothing", "status").err


def test_a_workflow_of_another_folder_is_refused_with_a_way_to_a_store_of_its_own(run_once: Shell) -> None:
    run_once("init")
    run_once("run", "../sweep/sweep.yaml")
    run_once.write(SWEEP, "elsewhere/sweep.yaml")
    done = run_once("run", "sweep.yaml")
    assert "from another folder" in done.err
    assert "`rekindle init` makes a store here" in done.err
