"""A chain of no-op calls beside the least that a durable one can do: a pipe to another process and one transaction."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.commands import call, command
from benchmarks.harness import Measurement, Row, Sample, Samples, at_most, beside, percentile, progress
from benchmarks.projects import REKINDLE, project
from benchmarks.rows.many_workflows import submit_different
from rekindle import Client

BARE = "a bare level, median"
SYNC = "a bare sync of a page, median"

ECHO = "import sys\nfor line in sys.stdin.buffer:\n    sys.stdout.buffer.write(line)\n    sys.stdout.buffer.flush()\n"

TABLES = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE job (id INTEGER PRIMARY KEY, state INTEGER, unmet INTEGER, attempt INTEGER);
CREATE TABLE attempt (id INTEGER PRIMARY KEY, job INTEGER, state INTEGER, queued REAL, ended REAL);
CREATE INDEX ready ON job (id) WHERE state = 1;
"""


def chain(length: int, rounds: int) -> list[Measurement]:
    """Measure `rekindle work` with a chain of no-op calls: from the start of one to the start of the next."""
    levels: dict[str, list[list[float]]] = {"": [], ", durability full": []}
    bare: list[list[float]] = []
    syncs: list[list[float]] = []
    samples = Samples()
    for number in range(rounds):
        progress.round = f"round {number + 1} of {rounds}"
        samples.take("whole command", partial(run, length, levels[""], {}))
        bare.append(call(bare_chain, length).answer)
        run(min(length, 200), levels[", durability full"], {"REKINDLE_DURABILITY": "full"})
        syncs.append(call(bare_syncs, 100).answer)
    normal, full = levels.values()
    return [
        *samples.seconds(),
        Measurement("a level, median", "s", percentiles(normal, 50), targets=(at_most(0.001), beside(BARE))),
        Measurement("a level, p99", "s", percentiles(normal, 99), targets=(at_most(0.005),)),
        Measurement(BARE, "s", percentiles(bare, 50)),
        Measurement("a bare level, p99", "s", percentiles(bare, 99)),
        Measurement("a level, durability full, median", "s", percentiles(full, 50), targets=(beside(SYNC),)),
        Measurement(SYNC, "s", percentiles(syncs, 50)),
    ]


def percentiles(rounds: list[list[float]], percent: float) -> tuple[float, ...]:
    """Return the percentile of each round."""
    return tuple(percentile(one, percent) for one in rounds)


def run(length: int, levels: list[list[float]], variables: dict[str, str]) -> Sample:
    """Run a chain in a new store, and add the times between starts to `levels`."""
    with project({"call": "work:nothing"}, 1) as folder:
        with Client(str(folder / ".rekindle")) as client:
            submit_different(client, folder, length, {"call": "work:nothing"}, after=True)
        sample = command([REKINDLE, "work", "-j", "1"], folder, variables=variables)
        store = sqlite3.connect(folder / ".rekindle" / "store.db")  # a Client shows milliseconds
        starts = [started for (started,) in store.execute("SELECT started FROM attempt ORDER BY started")]
        store.close()
    levels.append([later - one for one, later in pairwise(starts)])
    return sample


def bare_chain(length: int) -> list[float]:
    """Pass `length` lines to another process and back, each in a transaction that ends a row and claims the next.
    Return the seconds of each."""
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-") as name:
        store = sqlite3.connect(Path(name, "bare.db"), isolation_level=None)
        store.executescript(TABLES)
        store.executemany("INSERT INTO job VALUES (?, 0, 1, NULL)", ((number,) for number in range(length + 1)))
        echo = subprocess.Popen([sys.executable, "-c", ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert echo.stdin is not None
        assert echo.stdout is not None
        moments = []
        for number in range(length):
            echo.stdin.write(b"%d\n" % number)
            echo.stdin.flush()
            echo.stdout.readline()
            store.execute("BEGIN IMMEDIATE")
            store.execute("UPDATE attempt SET state = 4, ended = ? WHERE id = ?", (time.time(), number))
            store.execute("UPDATE job SET state = 4 WHERE id = ?", (number,))
            store.execute("UPDATE job SET unmet = unmet - 1, state = 1 WHERE id = ?", (number + 1,))
            (ready,) = store.execute("SELECT id FROM job WHERE state = 1 ORDER BY id LIMIT 1").fetchone()
            store.execute("INSERT INTO attempt VALUES (?, ?, 2, ?, NULL)", (ready, ready, time.time()))
            store.execute("UPDATE job SET state = 2, attempt = ? WHERE id = ?", (ready, ready))
            store.execute("COMMIT")
            moments.append(time.perf_counter())
        echo.communicate()
        store.close()
    return [later - one for one, later in pairwise(moments)]


def bare_syncs(count: int) -> list[float]:
    """Append a page to a file and sync it, `count` times. Return the seconds of each."""
    taken: list[float] = []
    with tempfile.NamedTemporaryFile(prefix="rekindle-bench-") as file:
        page: Any = bytes(4096)
        for _ in range(count):
            began = time.perf_counter()
            os.write(file.fileno(), page)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    return taken


ROWS = (Row("chain", "a chain of no-op Python calls, 1 slot: `rekindle work`", chain, (100, 1_000), (50,), at=1_000),)
