"""No-op runs of a large workflow beside a bare look at its files, and what few edited files cost."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.commands import call, command
from benchmarks.completed import complete
from benchmarks.harness import MB, CommandFailed, Measurement, Row, Samples, at_most, beside, memory, progress
from benchmarks.projects import REKINDLE, project

BARE, RUN, RESTART = "bare scandir and stat", "run, nothing to do", "restart, nothing to do"
FIRST, EDITED = "run, the first after the jobs completed", "run --dry-run, one file edited"
A_FILE = "run, a file"


def staleness(count: int, rounds: int) -> list[Measurement]:
    """Measure with `count` completed jobs with one input file each."""
    samples = Samples()
    with project({"run": ["/bin/true"]}, 1) as folder:
        progress.step("completing jobs")
        complete(folder, count)
        samples.take(FIRST, lambda: command([REKINDLE, "run", "spec.json"], folder))
        for number in range(rounds):
            progress.round = f"round {number + 1} of {rounds}"
            samples.take(BARE, lambda: call(look, str(folder / "files")))
            samples.take(RUN, lambda: command([REKINDLE, "run", "spec.json"], folder))
            samples.take(RESTART, lambda: command([REKINDLE, "restart", "--yes"], folder))
        (folder / "files" / "0" / "0").write_text("edited\n")
        samples.take(EDITED, lambda: command([REKINDLE, "run", "spec.json", "--dry-run"], folder))
    beside_bare = [at_most(1.5, times=BARE), memory(400 * MB)]
    a_file = tuple(one.wall / count for one in samples.taken[RUN])
    return [
        *samples.seconds({RUN: beside_bare, RESTART: beside_bare, FIRST: [beside(BARE)], EDITED: [beside(BARE)]}),
        Measurement(A_FILE, "s", a_file, targets=(at_most(10e-6),)),
    ]


def look(folder: str) -> None:
    """List the folders of a project's files, and look at each file."""
    found = 0
    for inner in os.scandir(folder):
        for entry in os.scandir(inner.path):
            found += entry.stat().st_size > 0
    if not found:
        raise CommandFailed(f"{Path(folder).name} holds no files")


ROWS = (
    Row(
        "stale",
        "no-op runs of completed jobs with a file each, beside a bare look at the files",
        staleness,
        sizes=(10_000, 100_000, 1_000_000),
        quick=(1_000, 10_000),
    ),
)
