"""The time from a submission to its start by a waiting runner."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.projects import REKINDLE, project
from benchmarks.timing import CommandFailed, Measured, show_times
from rekindle import Client, Workflow
from rekindle.domain.states import State

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt

TIMEOUT = 60.0
PAUSE = 0.3  # seconds between two submissions, so that the runner waits again


def waking(rounds: int) -> None:
    """Measure from the commit of a submission to the claim and to the start, with an idle `rekindle work --watch`."""
    with project({"run": ["/bin/true"]}, 1) as folder, Client(str(folder / ".rekindle")) as client:
        runner = subprocess.Popen([REKINDLE, "work", "--watch", "-j", "2"], cwd=folder, stderr=subprocess.DEVNULL)
        try:
            submit_and_wait(client, folder, "first")
            used = cpu_seconds(runner.pid)
            found = [submit_and_wait(client, folder, f"w{number}") for number in range(rounds)]
            time.sleep(PAUSE)
            spent = cpu_seconds(runner.pid) - used
            used, began = cpu_seconds(runner.pid), time.perf_counter()
            time.sleep(20 * PAUSE)
            idle = (cpu_seconds(runner.pid) - used) / (time.perf_counter() - began)
        finally:
            runner.terminate()
            runner.wait(TIMEOUT)
    claims = tuple((one.queued or 0.0) - committed for committed, one in found)
    starts = tuple((one.started or 0.0) - committed for committed, one in found)
    rows = [Measured("commit to claim", claims), Measured("commit to start", starts)]
    show_times(f"Waking a runner that waits, {rounds} times", rows)
    print(f"   processor: {spent / rounds * 1000:.1f} ms a job, {100 * idle:.2f} % of one while nothing is there")


def submit_and_wait(client: Client, folder: Path, name: str) -> tuple[float, Attempt]:
    """Submit a job and return (time of the commit, its completed attempt)."""
    time.sleep(PAUSE)
    workflow = Workflow(name, directory=str(folder))
    workflow.job("only", run=["/bin/true"])
    submitted = client.submit(workflow.definition())
    committed = time.time()
    limit = time.monotonic() + TIMEOUT
    while time.monotonic() < limit:
        for one in client.attempts(client.select(workflow=str(submitted.workflow))):
            if one.state is State.COMPLETED:
                return committed, one
        time.sleep(0.01)
    raise CommandFailed(f"{name} was not run within {TIMEOUT:g} s")


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    import psutil

    times = psutil.Process(pid).cpu_times()
    return times.user + times.system
