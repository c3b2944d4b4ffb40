"""`python -m benchmarks [--quick] [ROW]...`: print measurements of rekindle. Nothing is asserted."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.console import console
from benchmarks.dask import dask
from benchmarks.fireworks import fireworks
from benchmarks.graphs import graphs
from benchmarks.many_workflows import chain, different_jobs, many_workflows
from benchmarks.postgres import postgres
from benchmarks.reruns import reruns
from benchmarks.slurm import slurm
from benchmarks.staleness import staleness
from benchmarks.startup import startup
from benchmarks.throughput import calls, commands, durable
from benchmarks.timing import CommandFailed
from benchmarks.waking import waking


@dataclass(frozen=True, slots=True)
class Row:
    """A group of measurements, in full and as a quick version."""

    about: str
    full: Callable[[], None]
    quick: Callable[[], None]


ROWS = {
    "startup": Row("short commands on a small store, and a run of two jobs", lambda: startup(20), lambda: startup(5)),
    "commands": Row("10,000 commands beside xargs", lambda: commands(10_000, 3), lambda: commands(1_000, 2)),
    "calls": Row("10,000 Python calls beside a pool", lambda: calls(10_000, 3), lambda: calls(1_000, 2)),
    "workflows": Row(
        "10,000 workflows of one job beside one workflow of 10,000 jobs",
        lambda: many_workflows(10_000, 1),
        lambda: many_workflows(1_000, 2),
    ),
    "chain": Row("a chain of 200 different jobs", lambda: chain(200, 5), lambda: chain(50, 3)),
    "different": Row(
        "2,000 different jobs beside a matrix of 2,000",
        lambda: different_jobs(2_000, 3),
        lambda: different_jobs(300, 2),
    ),
    "fireworks": Row(
        "1,000 fireworks of a file, of many workflows, and that fireworks add",
        lambda: fireworks(1_000, 3),
        lambda: fireworks(100, 2),
    ),
    "durable": Row("durability full beside normal", lambda: durable(2_000, 3), lambda: durable(300, 2)),
    "postgres": Row(
        "claims in PostgreSQL beside pgbench", lambda: postgres(40_000, 3, 10), lambda: postgres(16_000, 1, 5)
    ),
    "slurm": Row("1,000 commands on Slurm beside an array", lambda: slurm(1_000, 3), lambda: slurm(200, 1)),
    "dask": Row("1,000 commands on Dask beside its own tasks", lambda: dask(1_000, 3), lambda: dask(200, 1)),
    "reruns": Row("10,000 jobs, 1,000 failed", lambda: reruns(10_000, 1_000, 5), lambda: reruns(1_000, 100, 3)),
    "large": Row("100,000 jobs, 1,000 failed", lambda: reruns(100_000, 1_000, 5), lambda: reruns(10_000, 100, 2)),
    "console": Row(
        "the console with 100,000 jobs, and a run beside 50 open pages",
        lambda: console(100_000, 10_000, 10_000, 3),
        lambda: console(10_000, 1_000, 2_000, 2),
    ),
    "waking": Row("a submission beside a runner that waits", lambda: waking(50), lambda: waking(10)),
    "graphs": Row(
        "layouts, and the picture of 100,000 jobs",
        lambda: graphs((300, 2_000, 20_000), 100_000, 5),
        lambda: graphs((300, 2_000), 10_000, 3),
    ),
    "stale": Row("100,000 jobs, 100,000 files", lambda: staleness(100_000, 5), lambda: staleness(10_000, 3)),
}


def main() -> int:
    """Measure the named rows, or all."""
    listed = "\n".join(f"  {name:10}{row.about}" for name, row in ROWS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Measure rekindle on this machine.\n\nrows:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="measure only these (default: all)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the jobs and fewer rounds")
    args = parser.parse_args()
    if unknown := [name for name in args.rows if name not in ROWS]:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")

    for name in [name for name in os.environ if name.startswith("REKINDLE_")]:
        del os.environ[name]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {platform.system()} {platform.release()}")
    for name in args.rows or ROWS:
        try:
            (ROWS[name].quick if args.quick else ROWS[name].full)()
        except CommandFailed as failed:
            print(f"bench: {name}: {failed}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
