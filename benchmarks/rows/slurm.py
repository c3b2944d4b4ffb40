"""No-op jobs on a real Slurm, beside a job array of `true` that is written by hand."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.commands import command
from benchmarks.harness import CommandFailed, Measurement, Row, Sample, Unavailable, beside, in_turn
from benchmarks.projects import REKINDLE, project
from rekindle import Client
from rekindle.domain.states import State
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.work import work
from rekindle.engine.session import open_session
from rekindle.executors.batches import MAX_ELEMENTS, SLICE_SECONDS, BatchExecutor
from rekindle.executors.pool import Supply
from rekindle.executors.slurm import SlurmPlacement

SCRIPT = Path(__file__).parents[2] / "scripts" / "slurm-cluster"


OURS, ONE_EACH, ARRAY = "rekindle run --executor slurm", "... with one job an element", "sbatch --array"


class OneEach(BatchExecutor):
    """Gives each element one job, which the product does only with jobs that take half a minute or longer."""

    supply = Supply(SLICE_SECONDS, most=1, workers=MAX_ELEMENTS, refills=False)


def slurm(count: int, rounds: int) -> list[Measurement]:
    """Measure `count` jobs of `/bin/true`, whose number is at most the largest index of an array."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if shutil.which("sbatch") is None or shutil.which("slurmctld", path=path) is None:
        raise Unavailable("no Slurm is installed")
    with TemporaryDirectory(prefix="rekindle-slurm-") as folder, cluster(Path(folder)):
        samples = in_turn(
            rounds,
            (OURS, lambda: run_all(count)),
            (ONE_EACH, lambda: run_one_each(count)),
            (ARRAY, lambda: by_hand(count)),
        )
    return samples.seconds({OURS: [beside(ARRAY)], ONE_EACH: [beside(ARRAY)]})


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """Run a Slurm, which this process and those that it starts use."""
    before = os.environ.get("SLURM_CONF")
    try:
        started = subprocess.run([SCRIPT, "start", folder, "4", "4"], check=True, capture_output=True, text=True)
        os.environ["SLURM_CONF"] = shlex.split(started.stdout)[-1].partition("=")[2]
        yield
    finally:
        if before is None:
            os.environ.pop("SLURM_CONF", None)
        else:
            os.environ["SLURM_CONF"] = before
        subprocess.run([SCRIPT, "stop", folder], check=True, capture_output=True)


def by_hand(count: int) -> None:
    """Run an array, and wait until the queue is empty: `sbatch --wait` looks every half a minute only."""
    command(["sbatch", f"--array=1-{count}", "--output=/dev/null"], Path("/"), stdin=b"#!/bin/sh\ntrue\n")
    while subprocess.run(["squeue", "--noheader"], check=True, capture_output=True).stdout.strip():
        time.sleep(0.2)


def run_all(count: int) -> Sample:
    """Run the jobs in a new store as a user would."""
    with project({"run": ["/bin/true"]}, count) as folder:
        return command([REKINDLE, "run", "spec.json", "--executor", "slurm"], folder)


def run_one_each(count: int) -> None:
    """Run the jobs in a new store, each in an element of its own."""
    with project({"run": ["/bin/true"]}, count) as folder:
        store = str(folder / ".rekindle")
        with Client(store) as client:
            client.submit(folder / "spec.json")
        with open_session(store, create=False) as session:
            executor = OneEach(SlurmPlacement(), session.store.folder)
            report = work(session, WorkOptions(executor="slurm"), executor=executor)
        if report.counts.get(State.COMPLETED) != count:
            raise CommandFailed(f"not all jobs have completed: {report.counts}")


ROWS = (
    Row("slurm", "commands (true) on a Slurm of 4 nodes of 4 processors, beside an array", slurm, (1_000,), (200,)),
)
