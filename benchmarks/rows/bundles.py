"""Export and import of a large workflow, beside a dump of the same database in a zip file, and beside loading it."""

from __future__ import annotations

import io
import itertools
import sqlite3
import tempfile
import zipfile
from contextlib import closing
from pathlib import Path

from benchmarks.commands import call, command
from benchmarks.harness import MB, Measurement, Row, Target, beside, in_turn, memory
from benchmarks.large_store import make_store
from benchmarks.projects import REKINDLE

EXPORT, IMPORT = "export", "import"
DUMP, LOAD = "dump of the database into a zip file", "load of that dump"
MOST_BYTES = 150 * MB


def bundles(count: int, rounds: int) -> list[Measurement]:
    """Measure a workflow of `count` jobs, most of which have an attempt."""
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-") as name:
        folder = Path(name)
        call(make_large, name, count)
        stores = itertools.count()
        samples = in_turn(
            rounds,
            (EXPORT, lambda: command([REKINDLE, "export", "large", "-o", "b"], folder)),
            (DUMP, lambda: call(dump, name)),
            (IMPORT, lambda: command([REKINDLE, "--store", f"{folder}/new{next(stores)}", "import", "b"], folder)),
            (LOAD, lambda: call(load, name)),
        )
    targets: dict[str, list[Target]] = {
        EXPORT: [beside(DUMP), memory(MOST_BYTES)],
        IMPORT: [beside(LOAD), memory(MOST_BYTES)],
    }
    return samples.seconds(targets)


def make_large(folder: str, count: int) -> None:
    """Make the store in a process of its own."""
    make_store(Path(folder), count)


def dump(folder: str) -> None:
    """Write the database as SQL into a zip file."""
    with (
        closing(sqlite3.connect(f"{folder}/.rekindle/store.db")) as store,
        zipfile.ZipFile(f"{folder}/dump.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        file.open("dump.sql", "w", force_zip64=True) as raw,
    ):
        text = io.TextIOWrapper(raw, write_through=False)
        for line in store.iterdump():
            text.write(line + "\n")
        text.flush()


def load(folder: str) -> None:
    """Make a database of that file."""
    path = Path(folder, "loaded.db")
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as store, zipfile.ZipFile(f"{folder}/dump.zip") as file:
        store.executescript(file.read("dump.sql").decode())


ROWS = (
    Row(
        "bundles",
        "export and import of a workflow",
        bundles,
        sizes=(10_000, 100_000, 1_000_000),
        quick=(1_000, 10_000),
    ),
)
