"""The start of the command line: whole commands on a small store, beside `python -c pass` in the same run."""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.projects import REKINDLE
from benchmarks.timing import command

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
"""Seconds that a run of two `true` jobs may take."""

TABS = ("rekindle re", "rekindle rerun --d", "rekindle rerun a", "rekindle rerun -f st", "rekindle attempts show ")
"""Command lines whose last word is completed."""
TAB_TARGET = 0.15
"""Seconds that a completion may take."""

FAILING = "name: two\njobs:\n  a: {run: 'false'}\n  b: {run: 'false'}\n"
PASSING = "name: two\njobs:\n  a: {run: 'true'}\n  b: {run: 'true'}\n"


@dataclass(slots=True)
class Times:
    """Seconds of one command, by round: on the wall, and of processor for it and its children."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def startup(rounds: int) -> None:
    """Measure each command once a round, in turn."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # without byte code, each start compiles every module
    found: dict[str, Times] = {}
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-") as name:
        folder = Path(name)
        (folder / "spec.yaml").write_text(FAILING)
        command([REKINDLE, "run", "spec.yaml"], folder, expect=2)
        for at in range(rounds + 1):  # the first round compiles
            times = {} if at == 0 else found
            _measure(times, BARE, [*PYTHON, "pass"], folder)
            _measure(times, "import click, msgspec, sqlite3", [*PYTHON, "import click, msgspec, sqlite3"], folder)
            for words in TARGETS:
                _measure(times, words, [str(REKINDLE), *words.split()[1:]], folder)
            for typed in TABS:
                _measure_tab(times, typed, folder)
            command([REKINDLE, "undo"], folder)
            fresh = folder / "fresh"
            fresh.mkdir()
            (fresh / "spec.yaml").write_text(PASSING)
            _measure(times, RUN, [str(REKINDLE), "--store", ".rekindle", "run", "spec.yaml"], fresh)
            shutil.rmtree(fresh)
    _show(found)


def _measure_tab(times: dict[str, Times], typed: str, folder: Path) -> None:
    """Measure a completion, as the script of zsh calls it."""
    os.environ["_REKINDLE_COMPLETE"] = "zsh"
    _measure(times, f"{typed}<Tab>", [str(REKINDLE), *typed.split(" ")[1:]], folder)
    del os.environ["_REKINDLE_COMPLETE"]


def _measure(times: dict[str, Times], name: str, words: list[str], folder: Path) -> None:
    one = times.setdefault(name, Times())
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command(words, folder)
    one.wall.append(time.perf_counter() - started)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    one.processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _show(found: dict[str, Times]) -> None:
    """Print medians in milliseconds, how many times a bare start they are, and the targets."""
    bare = found[BARE]
    print("\n== Start of the command line: medians, and times of a bare start")
    print(f"   {'':34}{'wall ms':>9}{'times':>7}{'processor ms':>14}{'times':>7}   target")
    for name, one in found.items():
        wall, processor = statistics.median(one.wall), statistics.median(one.processor)
        times = wall / statistics.median(bare.wall), processor / statistics.median(bare.processor)
        seconds = RUN_TARGET if name == RUN else TAB_TARGET if name.endswith("<Tab>") else None
        target = f"{TARGETS[name]:g} times" if name in TARGETS else f"{seconds:g} s" if seconds is not None else ""
        row = f"   {name:34}{wall * 1000:>9.1f}{times[0]:>7.1f}{processor * 1000:>14.1f}{times[1]:>7.1f}   {target}"
        print(row.rstrip(), flush=True)
