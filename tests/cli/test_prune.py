"""`rekindle prune` and `store vacuum`: what they show, ask, refuse and print."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from cli_shell import Done, Shell

from rekindle import Client, UsageError

SPEC = """
name: sweep
workdir: attempt
jobs:
  one: {run: "echo $REKINDLE_ATTEMPT; echo 1 > file"}
  two: {run: "exit 1"}
"""


@pytest.fixture
def swept(shell: Shell) -> Shell:
    """Each job has three attempts; those of `two` failed."""
    shell.write(SPEC)
    assert shell("run", "spec.yaml").code == 2
    for _ in range(2):
        shell("rerun", "-w", "sweep", "--yes", "--work")
    return shell


def refused(code: int, done: Done) -> Done:
    assert done.code == code
    return done


def pruned(shell: Shell) -> list[tuple[str, int]]:
    found = json.loads(shell("attempts", "list", "--json").out)["attempts"]
    return [(str(one["job"]), one["number"]) for one in found if one["pruned"]]


def test_a_dry_run_shows_what_goes_and_removes_nothing(swept: Shell) -> None:
    done = swept("prune", "-w", "sweep", "--keep-last", "2", "--dry-run")
    assert "2 archived attempts" in done.out
    assert "kept: 2 among the last of their jobs" in done.out
    assert pruned(swept) == []


def test_without_a_terminal_it_needs_yes(swept: Shell) -> None:
    done = refused(1, swept("prune", "-w", "sweep", "--keep-last", "1"))
    assert "there is no terminal to ask on" in done.err
    document = refused(1, swept("prune", "-w", "sweep", "--keep-last", "1", "--json")).json
    assert len(document["attempts"]) == 4
    assert pruned(swept) == []


def test_rows_stay_and_content_goes(swept: Shell) -> None:
    document = json.loads(swept("prune", "-n", "two", "--keep-last", "1", "--yes", "--json").out)
    assert document["prune"] == 1
    assert {one["name"] for one in document["attempts"]} == {"two"}
    assert len(pruned(swept)) == 2
    assert "was pruned" in refused(1, swept("logs", "two", "--attempt", "1")).err
    assert swept("logs", "one", "--attempt", "1").out == "1\n"
    shown = json.loads(swept("attempts", "show", str(document["attempts"][0]["id"]), "--json").out)
    assert shown["cause"] == "exit"
    assert shown["pruned_by"] == 1
    assert shown["pruned_at"].startswith("20")
    assert "pruned" in swept("events", "list").out
    assert swept("attempts", "diff", "2", "4").code == 0


def test_compressed_logs_are_read_as_before(swept: Shell) -> None:
    swept("prune", "-w", "sweep", "--keep-last", "1", "--compress-logs", "--yes")
    assert swept("logs", "one", "--attempt", "1").out == "1\n"
    packed = next(Path(swept.folder, ".rekindle", "attempts").rglob("*.out.gz"))
    assert subprocess.run(["zcat", packed], capture_output=True, check=True).stdout.strip().isdigit()
    assert not list(Path(swept.folder, ".rekindle", "attempts").rglob("1/file"))


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--keep-last", "1"], "say which jobs to prune"),
        (["-w", "sweep"], "say what to prune"),
        (["-w", "sweep", "--older-than", "30"], "30"),
        (["-n", "one", "--older-than", "1h", "--events"], "not those of single jobs"),
        (["--all", "--keep-last", "1", "--workflows"], "by their age"),
    ],
)
def test_what_says_nothing_is_refused(swept: Shell, words: list[str], error: str) -> None:
    assert error in refused(64, swept("prune", *words)).err


def test_an_unknown_workflow_is_named(swept: Shell) -> None:
    assert "nope" in refused(1, swept("prune", "-w", "nope", "--keep-last", "1")).err


def test_archived_workflows_and_events_go_by_age(swept: Shell) -> None:
    swept("workflows", "archive", "sweep")
    assert "nothing to prune" in swept("prune", "--all", "--older-than", "1h", "--workflows", "--events", "--yes").out
    document = json.loads(
        swept("prune", "--all", "--older-than", "0s", "--workflows", "--events", "--yes", "--json").out
    )
    assert [one["name"] for one in document["workflows"]] == ["sweep"]
    assert document["events"] > 0
    assert json.loads(swept("workflows", "list", "--archived", "--json").out)["workflows"] == []
    assert not [path for path in Path(swept.folder, ".rekindle", "attempts").rglob("*") if path.is_file()]
    assert "the store is sound" in swept("store", "check", "--deep").out


def test_vacuum_shrinks_the_file_and_its_log(swept: Shell) -> None:
    big = json.dumps("x" * 1_000_000)
    swept.write(f'name: big\njobs: {{a: {{run: "true", labels: {{l: {big}}}}}}}\n', "big.yaml")
    swept("submit", "big.yaml")
    swept("workflows", "delete", "big", "--yes")
    document = json.loads(swept("store", "vacuum", "--json").out)
    assert document["after"] < document["before"] - 500_000
    log = Path(swept.folder, ".rekindle", "store.db-wal")
    assert not log.exists() or log.stat().st_size == 0
    assert "the store is sound" in swept("store", "check", "--deep").out


def test_in_python_it_asks_nothing_and_returns_what_went(swept: Shell) -> None:
    with Client() as client:
        jobs = client.select(workflow="sweep")
        assert client.prune(jobs, keep_last=1, dry_run=True).prune is None
        done = client.prune(jobs, keep_last=1, note="old")
        assert done.prune == 1
        assert len(done.attempts) == 4
        assert done.kept == {}
        assert client.prune(jobs, keep_last=1).attempts == []
        assert [one.pruned for one in client.attempts(jobs)].count(True) == 4
        before, after = client.store.vacuum()
        assert 0 < after <= before
        with pytest.raises(UsageError, match="what to prune"):
            client.prune(jobs)
