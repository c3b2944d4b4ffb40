"""No-op jobs on a Dask cluster, beside its client's own tasks."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.projects import REKINDLE, project
from benchmarks.timing import CommandFailed, command, in_turn, show_times_beside

SECONDS = 60.0

SUBMIT = """
import sys
from distributed import Client

def nothing(number):
    return None

with Client(sys.argv[1]) as client:
    client.gather([client.submit(nothing, number, pure=False) for number in range(int(sys.argv[2]))])
"""


def dask(count: int, rounds: int) -> None:
    """Measure `count` jobs of `/bin/true` and as many tasks of an empty function: whole commands."""
    if importlib.util.find_spec("distributed") is None:
        print("\n== Dask: not measured, because it is not installed")
        return
    with TemporaryDirectory(prefix="rekindle-dask-") as folder, cluster(Path(folder)) as address:
        submit, ours = in_turn(
            rounds,
            (
                "client.submit of a no-op",
                lambda: command([sys.executable, "-c", SUBMIT, address, str(count)], Path("/")),
            ),
            ("rekindle run --executor dask", lambda: run_all(count, address)),
        )
    show_times_beside(f"Dask of 4 workers of 4 threads: {count:,} no-ops, whole commands", submit, [ours])


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """Run a scheduler and four workers; yield the scheduler's address."""
    local = ("--host", "127.0.0.1", "--no-dashboard")
    worker = ("--no-nanny", "--nthreads", "4", "--memory-limit", "0", "--local-directory", str(folder))
    with ExitStack() as stack:
        log = started(stack, folder / "scheduler.log", "scheduler", *local, "--port", "0")
        address = wait_for(log, r"Scheduler at:\s+(tcp://\S+)")
        logs = [started(stack, folder / f"{n}.log", "worker", address, *local, *worker) for n in range(4)]
        for log in logs:
            wait_for(log, r"(Registered to)")
        yield address


def started(stack: ExitStack, log: Path, *words: str) -> Path:
    """Start a process of the cluster, which is killed when the stack is closed; return its log."""
    variables = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=variables,
        )
    stack.callback(process.wait)
    stack.callback(process.kill)
    return log


def wait_for(log: Path, pattern: str) -> str:
    """Wait until a pattern is in a log; return what its group matches."""
    limit = time.monotonic() + SECONDS
    while not (found := re.search(pattern, log.read_text())):
        if time.monotonic() > limit:
            raise CommandFailed(f"the cluster did not start: {log.read_text()[-500:]}")
        time.sleep(0.05)
    return found[1]


def run_all(count: int, address: str) -> None:
    """Run the jobs in a new store."""
    with project({"run": ["/bin/true"]}, count) as folder:
        command([REKINDLE, "run", "spec.json", "--executor", "dask", "--address", address], folder)
