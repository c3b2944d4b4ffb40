"""Reading commands on a store of many jobs: pages and counts, and the whole list as JSON lines beside its bare rows."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from pathlib import Path

from benchmarks.commands import call, command
from benchmarks.harness import MB, Measurement, Row, Target, at_most, beside, in_turn, memory
from benchmarks.large_store import make_store
from benchmarks.projects import REKINDLE

PAGES = {
    "status": ["status"],
    "jobs list -s failed, first page": ["jobs", "list", "-s", "failed", "--limit", "100"],
    "failures": ["failures"],
}
"""Commands that must take PAGE_SECONDS at most."""
OTHERS = {
    "jobs list -w, first page": ["jobs", "list", "-w", "large", "--limit", "100"],
    "why JOB": ["why", "root[i=5]"],
    "jobs show JOB": ["jobs", "show", "root[i=5]"],
    "attempts list JOB": ["attempts", "list", "root[i=5]"],
    "logs JOB": ["logs", "root[i=5]"],
}
STREAM = "jobs list --jsonl, all"
BARE = "the same rows as arrays: SELECT and json.dumps"
PAGE_SECONDS, STREAM_SECONDS, STREAM_BYTES = 0.25, 6.0, 80 * MB

ROWS_OF_JOBS = """SELECT job.id, job.name, job.binding, job.attempt, attempt.started, attempt.ended, job.workflow,
    workflow.name, job.state, job.held, job.retired, job.attempts, job.unmet, job.priority, job.resource_class,
    attempt.cause, attempt.exit_code, attempt.verdict, signature.digest
FROM job JOIN workflow ON workflow.id = job.workflow LEFT JOIN attempt ON attempt.id = job.attempt
    LEFT JOIN signature ON signature.id = attempt.signature
WHERE workflow.archived IS NULL AND job.retired = 0 ORDER BY job.id"""


def lists(count: int, rounds: int) -> list[Measurement]:
    """Measure commands on a store of `count` jobs, a hundredth of which has failed."""
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-") as name:
        folder = Path(name)
        call(make_large, name, count)
        words = {**PAGES, **OTHERS, STREAM: ["jobs", "list", "--jsonl"]}
        commands = [(title, lambda typed=typed: command([REKINDLE, *typed], folder)) for title, typed in words.items()]
        samples = in_turn(rounds, *commands, (BARE, lambda: call(print_rows, name)))
    targets: dict[str, list[Target]] = {title: [at_most(PAGE_SECONDS)] for title in PAGES}
    return samples.seconds({**targets, STREAM: [at_most(STREAM_SECONDS), memory(STREAM_BYTES), beside(BARE)]})


def make_large(folder: str, count: int) -> None:
    """Make the store in a process of its own."""
    make_store(Path(folder), count)


def print_rows(folder: str) -> None:
    """Write the rows of all jobs to /dev/null, each as a JSON array in a line."""
    connection = sqlite3.connect(f"{folder}/.rekindle/store.db")
    with Path("/dev/null").open("w") as out:
        for row in connection.execute(ROWS_OF_JOBS):
            out.write(json.dumps(row) + "\n")
    connection.close()


ROWS = (
    Row(
        "lists",
        "status, failures and lists of jobs of a large store",
        lists,
        sizes=(10_000, 100_000, 1_000_000),
        quick=(1_000, 10_000),
    ),
)
