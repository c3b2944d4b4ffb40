"""The start time of the command line."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.projects import REKINDLE
from benchmarks.timing import command, in_turn, show_times


def startup(rounds: int) -> None:
    """Measure `rekindle --help` and an empty Python program with warm caches."""
    here = Path.cwd()
    rows = in_turn(
        rounds,
        ("rekindle --help", lambda: command([REKINDLE, "--help"], here)),
        ("python -c pass", lambda: command([sys.executable, "-c", "pass"], here)),
    )
    show_times("Start of the command line", rows)
