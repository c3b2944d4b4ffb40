"""rekindle beside other systems on the same work. `make bench PEERS=1` installs them and measures these rows."""

from __future__ import annotations

from benchmarks.harness import Measurement, Row
from benchmarks.peers import tools, work


def commands(count: int, rounds: int) -> list[Measurement]:
    """Measure no-op commands, 2 at a time, whole commands."""
    return tools.measure(work.COMMANDS, count, rounds, fresh=True, rates=True)


def calls(count: int, rounds: int) -> list[Measurement]:
    """Measure no-op Python calls, 2 at a time, whole commands."""
    return tools.measure(work.CALLS, count, rounds, fresh=True, rates=True)


def reruns(count: int, rounds: int) -> list[Measurement]:
    """Measure what is chosen to run again, if a hundredth of the jobs have failed."""
    return tools.measure(work.RERUNS, count, rounds, fresh=False, rates=False)


def checks(count: int, rounds: int) -> list[Measurement]:
    """Measure a run in which nothing is to be done."""
    return tools.measure(work.CHECKS, count, rounds, fresh=False, rates=False)


FEW = 100
"""Jobs that each peer can run, prepare and reuse in minutes."""

MOST_SECONDS = 300.0
"""What one round of a peer may take with its preparation."""


def reuse(count: int, rounds: int) -> list[Measurement]:
    """Measure a run for which a parameter was changed and set back: nothing runs, and outputs are restored. All do the
    same FEW jobs, and those that are fast enough do `count`."""
    return tools.measure_sizes(work.REUSE, (min(FEW, count), count), rounds, MOST_SECONDS)


ROWS = (
    Row("peer-commands", "no-op commands, 2 at a time: rekindle and others", commands, (10_000,), (1_000,), peers=True),
    Row("peer-calls", "no-op Python calls, 2 at a time: rekindle and others", calls, (10_000,), (1_000,), peers=True),
    Row("peer-reruns", "what runs again of jobs of which a hundredth failed", reruns, (10_000,), (1_000,), peers=True),
    Row("peer-checks", "nothing to do for jobs with a file each", checks, (10_000,), (1_000,), peers=True),
    Row("peer-reuse", "a parameter changed and set back, outputs kept", reuse, (1_000,), (100,), peers=True),
)
