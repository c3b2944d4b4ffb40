"""Real Dask clusters on loopback: a scheduler and workers in processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared import shared

SECONDS = 120.0


class DaskCluster:
    """Starts and ends processes of a cluster, which cannot import rekindle."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self.processes: list[subprocess.Popen[bytes]] = []
        self.environment = {"PYTHONPATH": str(folder / "hidden")}
        hidden = folder / "hidden" / "rekindle"
        hidden.mkdir(parents=True)
        (hidden / "__init__.py").write_text("raise ImportError('rekindle is not installed here')\n")

    def start_scheduler(self, allowed_failures: int = 0, port: int = 0) -> subprocess.Popen[bytes]:
        """Start a scheduler; `address` is its address."""
        log = self.folder / f"scheduler-{len(self.processes)}.log"
        extra = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(allowed_failures)}
        process = self._start(log, extra, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        [self.address] = wait_for(log, r"Scheduler at:\s+(tcp://\S+)")
        return process

    def start_worker(self, *options: str, threads: int = 4) -> subprocess.Popen[bytes]:
        """Start a worker without a nanny, and wait until the scheduler has it."""
        log = self.folder / f"worker-{len(self.processes)}.log"
        process = self._start(
            log,
            {},
            "worker",
            self.address,
            *("--no-nanny", "--no-dashboard", "--host", "127.0.0.1", "--nthreads", str(threads), "--memory-limit", "0"),
            *("--local-directory", str(self.folder), *options),
        )
        wait_for(log, r"(Registered to)")
        return process

    def _start(self, log: Path, extra: dict[str, str], *arguments: str) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env={**os.environ, **self.environment, **extra},
            )
        self.processes.append(process)
        return process

    def end(self) -> None:
        """Kill all processes."""
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            process.kill()
        for process in self.processes:
            process.wait(SECONDS)


@contextmanager
def dask_cluster(folder: Path) -> Iterator[DaskCluster]:
    """Yield a cluster without processes; end those that it gets."""
    cluster = DaskCluster(folder)
    try:
        yield cluster
    finally:
        cluster.end()


@contextmanager
def shared_dask(folder: Path) -> Iterator[str]:
    """Use a cluster that all processes of a test run share, and whose workers can run those of rekindle. Yield its
    address. `folder` belongs to the test run."""

    def start() -> str:
        cluster = DaskCluster(folder / "dask")
        _clusters.append(cluster)
        cluster.environment = {}
        try:
            cluster.start_scheduler()
            cluster.start_worker()
        except BaseException:
            cluster.end()
            raise
        return " ".join([cluster.address, *(str(process.pid) for process in cluster.processes)])

    def stop(started: str) -> None:
        for pid in started.split()[1:]:
            os.kill(int(pid), signal.SIGKILL)
        for cluster in _clusters:
            cluster.end()  # reaps them

    with shared(folder, "dask", start, stop) as started:
        yield started.split()[0]


_clusters: list[DaskCluster] = []
"""Those that this process has started. Another one may stop them."""


def wait_for(log: Path, pattern: str) -> list[str]:
    """Wait until a pattern is in a log; return what its group matches."""
    limit = time.monotonic() + SECONDS
    while not (found := re.findall(pattern, log.read_text())):
        assert time.monotonic() < limit, log.read_text()
        time.sleep(0.05)
    return found[:1]
