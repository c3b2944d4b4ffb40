"""Stores whose jobs have completed, without running them: the rows of one real attempt, repeated for each job."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.commands import command
from benchmarks.projects import REKINDLE
from rekindle.files.digests import read_file

STORE = Path(".rekindle", "store.db")
IN_A_FOLDER = 1_000

JOB = {"call": "work:nothing", "inputs": {"own": "files/${matrix.folder}/${matrix.file}"}}


def complete(folder: Path, count: int) -> None:
    """Submit spec.json of a project of `count` jobs like JOB, and complete them. Their files are made."""
    axes = {"folder": {"range": [0, count // IN_A_FOLDER]}, "file": {"range": [0, IN_A_FOLDER]}}
    (folder / "spec.json").write_text(json.dumps({"name": "bench", "jobs": {"job": {**JOB, "matrix": axes}}}))
    for number in range(count // IN_A_FOLDER):
        (folder / "files" / str(number)).mkdir(parents=True)
        for name in range(IN_A_FOLDER):
            (folder / "files" / str(number) / str(name)).write_text(f"{number} {name}\n")
    _run_one(folder, folder / "one")
    command([REKINDLE, "submit", "spec.json"], folder)
    with closing(sqlite3.connect(folder / STORE, isolation_level=None)) as store:
        store.execute("ATTACH ? AS one", (str(folder / "one" / STORE),))
        store.execute("BEGIN")
        store.execute("INSERT INTO source SELECT * FROM one.source")
        _repeat(store, "attempt", {"id": "job.id", "job": "job.id", "token": "printf('%016x', job.id)"})
        _repeat(store, "step", {"attempt": "job.id"})
        store.executemany("INSERT INTO fingerprint VALUES (?, 'files', ?)", _fingerprints(store, folder))
        store.executemany("INSERT INTO file VALUES (?, ?, ?, ?, ?, ?, ?)", _files(folder, count))
        store.execute("UPDATE job SET state = 4, attempt = id, attempts = 1, version = 2")
        store.execute("UPDATE workflow_count SET state = 4")
        store.execute("COMMIT")
    shutil.rmtree(folder / "one")


def _run_one(folder: Path, other: Path) -> None:
    """Run one job in a project of its own."""
    (other / "files" / "0").mkdir(parents=True)
    shutil.copy2(folder / "files" / "0" / "0", other / "files" / "0")
    shutil.copy2(folder / "work.py", other)
    spec = {"name": "bench", "jobs": {"job": {**JOB, "matrix": {"folder": [0], "file": [0]}}}}
    (other / "spec.json").write_text(json.dumps(spec))
    command([REKINDLE, "run", "spec.json"], other)


def _repeat(store: sqlite3.Connection, table: str, values: dict[str, str]) -> None:
    """Insert the only row of a table once for each job, with other values of some columns."""
    columns = [row[1] for row in store.execute(f"PRAGMA main.table_info({table})")]
    chosen = ", ".join(values.get(column, f"given.{column}") for column in columns)
    store.execute(
        f"INSERT INTO main.{table} ({', '.join(columns)}) SELECT {chosen} FROM one.{table} AS given, main.job"
    )


def _fingerprints(store: sqlite3.Connection, folder: Path) -> Iterator[tuple[int, str]]:
    """Yield each job with what its attempt has recorded of its file."""
    (text,) = store.execute("SELECT document FROM one.fingerprint WHERE part = 'files'").fetchone()
    document = json.loads(text)
    (given,) = document["inputs"]
    for job, binding in store.execute("SELECT id, binding FROM main.job").fetchall():
        values = json.loads(binding)
        path = f"files/{values['folder']}/{values['file']}"
        found = read_file(str(folder / path))
        assert found is not None
        yield job, json.dumps({**document, "inputs": [{**given, "path": f"./{path}", "digest": found.digest}]})


def _files(folder: Path, count: int) -> Iterator[tuple[Any, ...]]:
    """Yield the cached digest of each file."""
    for number in range(count // IN_A_FOLDER):
        for name in range(IN_A_FOLDER):
            one = read_file(str(folder / "files" / str(number) / str(name)))
            assert one is not None
            path = f"./files/{number}/{name}"
            yield path, one.size, one.mtime_ns, one.inode, one.taken_ns, one.digest, one.ctime_ns
