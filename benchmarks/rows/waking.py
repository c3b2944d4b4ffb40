"""The time from a submission to its start by a waiting runner."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import CommandFailed, Measurement, Row, at_most, percentile, progress
from benchmarks.projects import REKINDLE, project
from rekindle import Client, Workflow

if TYPE_CHECKING:
    from rekindle.presentation.values import Attempt

TIMEOUT = 60.0
IDLE_SECONDS = 20.0  # in which the runner renews its lease twice
PAUSE = 0.3  # seconds between two submissions, so that the runner waits again


def waking(count: int, _rounds: int) -> list[Measurement]:
    """Measure `count` times from the commit of a submission to the claim and to the start, with an idle
    `rekindle work --watch`, and its processor time while nothing is there."""
    with project({"run": ["/bin/true"]}, 1) as folder, Client(str(folder / ".rekindle")) as client:
        runner = subprocess.Popen([REKINDLE, "work", "--watch", "-j", "2"], cwd=folder, stderr=subprocess.DEVNULL)
        try:
            submit_and_wait(client, folder, "first")
            used = cpu_seconds(runner.pid)
            found = [submit_and_wait(client, folder, f"w{number}") for number in range(count)]
            time.sleep(PAUSE)
            spent = cpu_seconds(runner.pid) - used
            used, began = cpu_seconds(runner.pid), time.perf_counter()
            time.sleep(IDLE_SECONDS)
            idle = (cpu_seconds(runner.pid) - used) / (time.perf_counter() - began)
        finally:
            runner.terminate()
            runner.wait(TIMEOUT)
    claims = tuple(one.queued.timestamp() - committed for committed, one in found if one.queued is not None)
    starts = tuple(one.started.timestamp() - committed for committed, one in found if one.started is not None)
    return [
        Measurement("commit to claim", "s", claims),
        Measurement("commit to start", "s", starts, targets=(at_most(0.005),)),
        Measurement("commit to start, p99", "s", (percentile(starts, 99),)),
        Measurement("processor time a job", "s", (spent / count,)),
        Measurement("processor time a second, idle", "s", (idle,), targets=(at_most(0.0005),)),
    ]


def submit_and_wait(client: Client, folder: Path, name: str) -> tuple[float, Attempt]:
    """Submit a job and return (time of the commit, its completed attempt)."""
    time.sleep(PAUSE)
    progress.step(name)
    workflow = Workflow(name, directory=str(folder))
    workflow.job("only", run=["/bin/true"])
    submitted = client.submit(workflow.definition())
    committed = time.time()
    limit = time.monotonic() + TIMEOUT
    while time.monotonic() < limit:
        for one in client.attempts(client.select(workflow=str(submitted.workflow))):
            if one.state == "completed":
                return committed, one
        time.sleep(0.01)
    raise CommandFailed(f"{name} was not run within {TIMEOUT:g} s")


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used. The kernel counts it in nanoseconds here, and in ticks of 10
    ms in /proc/PID/stat."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((one / "schedstat").read_text().split()[0]) for one in threads) / 1e9


ROWS = (
    Row("waking", "submissions beside a runner that waits: `rekindle work --watch`", waking, (50,), (10,), rounds=1),
)
