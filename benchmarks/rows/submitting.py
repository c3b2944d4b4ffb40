"""Submitting large workflows: beside a bare insert of the same rows, unchanged, with one change, and from Python."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.commands import call, command
from benchmarks.completed import STORE
from benchmarks.harness import MB, Measurement, Row, Sample, Samples, at_most, beside, memory, used
from benchmarks.projects import REKINDLE, project
from rekindle import Client, Workflow
from rekindle.store.sqlite_connection import connect

BARE, MATRIX, PYTHON = "bare executemany of the rows", "submit a matrix", "submit from Python"
AGAIN, CHANGED = "submit, unchanged", "submit, one job changed"
ENTRIES = {".yaml": "submit entries, YAML", ".json": "submit entries, JSON"}
JOB = {"run": ["/bin/true"]}


def submitting(count: int, rounds: int) -> list[Measurement]:
    """Measure with `count` jobs, a fifth of which need one of a hundredth."""
    samples = Samples()
    for _ in range(rounds):
        with project(JOB, 1) as folder:
            write(folder, matrix(count))
            samples.take(MATRIX, lambda: submit(folder))
            samples.take(BARE, lambda: insert(str(folder)))
            samples.take(AGAIN, lambda: submit(folder))
            write(folder, {**matrix(count), "last": {"run": ["/bin/false"]}})
            submit(folder)
            write(folder, {**matrix(count), "last": {"run": ["/bin/true"]}})
            samples.take(CHANGED, lambda: submit(folder))
        with project(JOB, 1) as folder:
            samples.take(PYTHON, lambda: call(submit_workflow, str(folder), count))
    limits = [at_most(2.0, times=BARE), memory(400 * MB)]
    return samples.seconds({MATRIX: limits, PYTHON: limits, AGAIN: [beside(BARE)], CHANGED: [beside(BARE)]})


def entries(count: int, rounds: int) -> list[Measurement]:
    """Measure specs in which each job is an entry of its own."""
    samples = Samples()
    for _ in range(rounds):
        for suffix, name in ENTRIES.items():
            with project(JOB, 1) as folder:
                jobs = {
                    f"job{number}": {**JOB, "needs": [f"job{number - 1}"] * (number % 5 == 4)}
                    for number in range(count)
                }
                write(folder, jobs, f"spec{suffix}")
                samples.take(name, lambda: submit(folder, f"spec{suffix}"))  # noqa: B023 called at once
    return samples.seconds()


def matrix(count: int) -> dict[str, Any]:
    """Return the entries of `count` jobs: roots, 20 jobs below each root, and others."""
    roots = count // 100
    root = {"matrix": {"root": {"range": [0, roots]}}}
    below = {"matrix": {**root["matrix"], "child": {"range": [0, 20]}}, "needs": ["root[root=${matrix.root}]"]}
    others = {"matrix": {"other": {"range": [0, count - 21 * roots]}}}
    return {name: {**JOB, **keys} for name, keys in (("root", root), ("below", below), ("other", others))}


def write(folder: Path, jobs: dict[str, Any], name: str = "spec.json") -> None:
    """Write a spec: JSON, which is YAML too; one job a line."""
    lines = ",\n".join(f'    "{job}": {json.dumps(entry)}' for job, entry in jobs.items())
    (folder / name).write_text(f'{{"name": "bench", "jobs": {{\n{lines}\n}}}}\n')


def submit(folder: Path, spec: str = "spec.json") -> Sample:
    """Submit a spec to the store of a folder."""
    return command([REKINDLE, "submit", spec], folder)


def insert(name: str) -> Sample:
    """Insert the jobs and edges of the store in a folder into another one, as rows that are already there."""
    with project(JOB, 1) as folder:
        submit(folder)
        wall, spent = call(insert_rows, name, str(folder)).answer
    return Sample(wall, spent)


def insert_rows(source: str, target: str) -> tuple[float, float]:
    """Return the seconds and the processor seconds of one transaction."""
    columns = "id, workflow, name, template, binding, state, unmet, version, priority, resource_class, when_finished"
    marks = ", ".join("?" * len(columns.split(", ")))
    with closing(sqlite3.connect(Path(source, STORE))) as known:
        jobs = known.execute(f"SELECT {columns} FROM job ORDER BY id").fetchall()
        edges = known.execute("SELECT parent, child FROM edge ORDER BY parent, child").fetchall()
    with closing(connect(Path(target, STORE))) as store:
        store.execute("DELETE FROM job")
        started, before = time.perf_counter(), used()
        store.execute("BEGIN IMMEDIATE")
        store.executemany(f"INSERT INTO job ({columns}) VALUES ({marks})", jobs)
        store.executemany("INSERT INTO edge (parent, child) VALUES (?, ?)", edges)
        store.execute("COMMIT")
        return time.perf_counter() - started, used() - before


def submit_workflow(name: str, count: int) -> None:
    """Submit the same jobs through the Python API."""
    workflow = Workflow("bench", directory=name)
    for job, keys in matrix(count).items():
        workflow.job(job, **keys)
    with Client(str(Path(name, ".rekindle"))) as client:
        client.submit(workflow.definition())


ROWS = (
    Row(
        "submit",
        "submitting jobs of a matrix, a fifth with an edge, beside a bare insert of the rows",
        submitting,
        sizes=(10_000, 100_000, 1_000_000),
        quick=(1_000, 10_000),
    ),
    Row(
        "entries",
        "submitting specs in which each job is an entry of its own",
        entries,
        sizes=(1_000, 10_000, 100_000),
        quick=(1_000,),
        rounds=1,
    ),
)
