"""Reruns of the failed jobs of a large store, and holds of half of its jobs, beside bare SQL that writes as many rows."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.commands import call, command
from benchmarks.harness import MB, Measurement, Row, Sample, Samples, at_most, beside, memory
from benchmarks.large_store import make_store
from benchmarks.projects import REKINDLE

BARE_RESET, BARE_HOLD = "bare SQL: descendants, a row for each, reset", "bare SQL: update half of the jobs"

PLAN = ("rerun", "-s", "failed", "--dry-run")
LIST = (*PLAN, "--json")
APPLY = ("rerun", "-s", "failed", "--yes")
UNDO = ("undo",)

RESET = (
    "CREATE TABLE bare (rerun INTEGER, job INTEGER, version INTEGER, PRIMARY KEY (rerun, job)) WITHOUT ROWID",
    "CREATE INDEX bare_by_job ON bare (job, rerun)",
    """INSERT INTO bare WITH RECURSIVE reached (id) AS (SELECT id FROM job WHERE state = 5
        UNION SELECT edge.child FROM reached JOIN edge ON edge.parent = reached.id)
    SELECT 1, job.id, job.version FROM reached JOIN job ON job.id = reached.id ORDER BY job.id""",
    """UPDATE job SET state = CASE WHEN unmet = 0 THEN 1 ELSE 0 END, attempt = NULL, version = job.version + 1
    FROM bare WHERE job.id = bare.job""",
)
HOLD = "UPDATE job SET held = 'held', version = version + 1 WHERE id <= {}"


def reruns(count: int, rounds: int) -> list[Measurement]:
    """Measure plan, apply and undo of a rerun of the failed jobs and all their descendants, a fifth of the jobs."""
    samples = Samples()
    with large_store(count) as folder:
        for _ in range(rounds):
            for words in (PLAN, LIST, APPLY, UNDO):
                rekindle(samples, folder, *words)
            samples.take(BARE_RESET, lambda: bare(folder, RESET))
    limits = {PLAN: [at_most(2.0)], LIST: [], APPLY: [at_most(3.0)], UNDO: [at_most(3.0)]}
    return samples.seconds(
        {named(words): [*limit, memory(300 * MB), beside(BARE_RESET)] for words, limit in limits.items()}
    )


def holds(count: int, rounds: int) -> list[Measurement]:
    """Measure `hold` and `release` of half of the jobs."""
    half = f"id<={count // 2}"
    samples = Samples()
    with large_store(count) as folder:
        for _ in range(rounds):
            for word in ("hold", "release"):
                samples.take(f"rekindle {word}", lambda word=word: command([REKINDLE, word, "-f", half], folder))
            samples.take(BARE_HOLD, lambda: bare(folder, (HOLD.format(count // 2),)))
    targets = [at_most(2.0), memory(100 * MB), beside(BARE_HOLD)]
    return samples.seconds({"rekindle hold": targets, "rekindle release": targets})


def named(words: Sequence[str]) -> str:
    """Return the name of a measured command."""
    return f"rekindle {' '.join(words)}"


def rekindle(samples: Samples, folder: Path, *words: str, expect: int = 0) -> Sample:
    """Measure a command, with the start of the interpreter."""
    return samples.take(named(words), lambda: command([REKINDLE, *words], folder, expect=expect))


@contextmanager
def large_store(count: int) -> Iterator[Path]:
    """Yield a temporary folder with a store of many jobs."""
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-") as name:
        folder = Path(name)
        call(_make, name, count)
        yield folder


def _make(folder: str, count: int) -> None:
    make_store(Path(folder), count)


def bare(folder: Path, statements: tuple[str, ...]) -> Sample:
    """Run statements on a copy of the store in a process of their own."""
    copy = folder / "copy.db"
    shutil.copyfile(folder / ".rekindle" / "store.db", copy)
    try:
        return call(_run, str(copy), statements)
    finally:
        for path in folder.glob("copy.db*"):
            path.unlink()


def _run(path: str, statements: list[str]) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        for statement in statements:
            connection.execute(statement)


ROWS = (
    Row(
        "reruns",
        "rerun of a hundredth of the jobs, failed, with a fifth of the jobs below: plan, apply, undo",
        reruns,
        sizes=(10_000, 100_000, 1_000_000),
        quick=(10_000,),
    ),
    Row("holds", "hold and release half of the jobs", holds, sizes=(10_000, 100_000, 1_000_000), quick=(10_000,)),
)
