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

from benchmarks.commands import command
from benchmarks.harness import CommandFailed, Measurement, Row, Sample, Unavailable, beside, in_turn
from benchmarks.projects import REKINDLE, project

SECONDS = 60.0

SUBMIT = """
import sys
from distributed import Client

def nothing(number):
    return None

with Client(sys.argv[1]) as client:
    client.gather([client.submit(nothing, number, pure=False) for number in range(int(sys.argv[2]))])
"""


def dask(count: int, rounds: int) -> list[Measurement]:
    """Measure `count` jobs of `/bin/true` and as many tasks of an empty function: whole commands."""
    if importlib.util.find_spec("distributed") is None:
        raise Unavailable("distributed is not installed")
    with TemporaryDirectory(prefix="rekindle-dask-") as folder, cluster(Path(folder)) as address:
        submit = [sys.executable, "-c", SUBMIT, address, str(count)]
        samples = in_turn(
            rounds,
            ("rekindle run --executor dask", lambda: run_all(count, address)),
            ("client.submit of a no-op", lambda: command(submit, Path("/"))),
        )
    return samples.seconds({"rekindle run --executor dask": [beside("client.submit of a no-op")]})


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


def run_all(count: int, address: str) -> Sample:
    """Run the jobs in a new store."""
    with project({"run": ["/bin/true"]}, count) as folder:
        return command([REKINDLE, "run", "spec.json", "--executor", "dask", "--address", address], folder)


ROWS = (Row("dask", "no-op jobs on a Dask of 4 workers of 4 threads, beside its own tasks", dask, (1_000,), (200,)),)
