"""The start of the command line: whole commands on a small store, beside `python -c pass` in the same run."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.commands import command
from benchmarks.harness import Measurement, Row, Sample, Samples, Target, at_most, processor
from benchmarks.projects import JOBS_FAILED, REKINDLE

PYTHON = (sys.executable, "-c")
BARE = "python -c pass"
TARGETS = {
    "rekindle --help": 3.0,
    "rekindle status": 5.0,
    "rekindle jobs list": 5.0,
    "rekindle rerun -s failed --yes": 8.0,
}
"""The most that a command may take, in times of `python -c pass`."""
RUN = "rekindle run, a new store"
RUN_TARGET = 0.35
"""Processor seconds that a run of two `true` jobs may take."""

TABS = ("rekindle re", "rekindle rerun --d", "rekindle rerun a", "rekindle rerun -f st", "rekindle attempts show ")
"""Command lines whose last word is completed."""
TAB_TARGET = 0.15
"""Seconds that a completion may take."""

FAILING = "name: two\njobs:\n  a: {run: 'false'}\n  b: {run: 'false'}\n"
PASSING = "name: two\njobs:\n  a: {run: 'true'}\n  b: {run: 'true'}\n"


def startup(_count: int, rounds: int) -> list[Measurement]:
    """Measure each command once a round, in turn."""
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-") as name:
        folder = Path(name)
        (folder / "spec.yaml").write_text(FAILING)
        command([REKINDLE, "run", "spec.yaml"], folder, expect=JOBS_FAILED)
        measure_all(Samples(), folder)  # compiles
        samples = Samples()
        for _ in range(rounds):
            measure_all(samples, folder)
    targets: dict[str, list[Target]] = {words: [at_most(times, times=BARE)] for words, times in TARGETS.items()}
    targets |= {f"{typed}<Tab>": [at_most(TAB_TARGET)] for typed in TABS}
    return samples.seconds({**targets, RUN: [processor(RUN_TARGET)]})


def measure_all(samples: Samples, folder: Path) -> None:
    """Measure each command once; the store is as before at the end."""
    samples.take(BARE, lambda: command([*PYTHON, "pass"], folder))
    for words in TARGETS:
        samples.take(words, lambda words=words: command([REKINDLE, *words.split()[1:]], folder))
    for typed in TABS:
        samples.take(f"{typed}<Tab>", lambda typed=typed: complete(typed, folder))
    command([REKINDLE, "undo"], folder)
    fresh = folder / "fresh"
    fresh.mkdir()
    (fresh / "spec.yaml").write_text(PASSING)
    samples.take(RUN, lambda: command([REKINDLE, "--store", ".rekindle", "run", "spec.yaml"], fresh))
    shutil.rmtree(fresh)


def complete(typed: str, folder: Path) -> Sample:
    """Complete a command line, as the script of zsh calls it."""
    return command([REKINDLE, *typed.split(" ")[1:]], folder, variables={"_REKINDLE_COMPLETE": "zsh"})


ROWS = (Row("startup", "short commands on a small store, and a run of two jobs", startup, (2,), (2,), rounds=20),)
