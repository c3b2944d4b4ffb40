"""Commands that look at a few jobs read them by an index, however many jobs the store has."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

import pytest
from cli_shell import Shell

LARGE = ("attempt", "edge", "fingerprint", "fan_out", "job", "rerun_job", "step", "subtask")
"""Tables with rows for each job or attempt."""

_SCAN = re.compile(rf"SCAN (?:{'|'.join(LARGE)})(?!\w)(?! USING (?:COVERING )?INDEX)")
_WORKFLOW = re.compile(r"SEARCH job USING (?:COVERING )?INDEX sqlite_autoindex_job_1 \(workflow=\?\)")
_NAMES = "SELECT name FROM job"
"""The query for all names of small workflows, which shorten the names of failed jobs."""


class Traced(sqlite3.Connection):
    """A connection that records the statements that it runs, with their parameters."""

    statements: list[tuple[str, object]] = []

    def execute(self, text: str, values: object = ()) -> sqlite3.Cursor:  # type: ignore[override]
        Traced.statements.append((text, values))
        return super().execute(text, values)  # type: ignore[arg-type]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, object]]]:
    """The statements that commands have run."""
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **named: connect(*args, factory=Traced, **named))
    Traced.statements = []
    yield Traced.statements
    Traced.statements = []


def whole_reads(shell: Shell, statements: list[tuple[str, object]]) -> list[str]:
    """Return the queries whose plans read all rows of a large table, or all jobs of a workflow."""
    found = []
    for text, values in statements:
        if text.startswith(("SELECT", "WITH")) and _NAMES not in text:
            steps = plan_of(shell, text, values)
            if any(_SCAN.match(step) or _WORKFLOW.match(step) for step in steps):
                found.append(f"{' '.join(text.split())}: {steps}")
    return found


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "failures",
        "failures --json",
        "jobs list -s failed --limit 2",
        "jobs list -s failed,canceled --jsonl",
        "jobs list -s running",
        "jobs list -s queued,running -w diamond",
        "jobs show left",
        "why left",
        "attempts list left",
        "attempts list -s failed",
        "attempts show 2",
        "logs left",
        "events list --limit 1",
        "hold -s running",
    ],
)
def test_a_command_reads_no_whole_table(still: Shell, traced: list[tuple[str, object]], command: str) -> None:
    done = still(*command.split())
    assert done.code in (0, 1), done.err
    assert traced
    assert whole_reads(still, list(traced)) == []


def test_pages_of_the_only_workflow_are_read_by_id(still: Shell, traced: list[tuple[str, object]]) -> None:
    still("jobs", "list", "-w", "diamond", "--limit", "1")
    (query,) = [one for one in traced if "LIMIT :limit" in one[0] and "attempt.token" in one[0]]
    assert not any("TEMP B-TREE" in step for step in plan_of(still, *query))


def plan_of(shell: Shell, text: str, values: object) -> list[str]:
    """Return the steps of the plan of a query."""
    connection = sqlite3.connect(shell.folder / ".rekindle/store.db")
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]  # type: ignore[arg-type]
    connection.close()
    return steps
