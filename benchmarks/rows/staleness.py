"""Staleness checks of a large workflow in which no file, or few files, changed."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness import CommandFailed, Measurement, Row, Samples
from benchmarks.projects import SLOTS, project
from benchmarks.rows.reruns import rekindle
from rekindle import Client

EDITED = 100  # every EDITED-th file is edited


def staleness(count: int, rounds: int) -> list[Measurement]:
    """Measure with `count` completed jobs with one input file each: first unchanged, then with some files edited."""
    job = {"call": "work:nothing", "inputs": {"own": "files/${matrix.i}"}}
    samples = Samples()
    with project(job, count) as folder:
        (folder / "files").mkdir()
        for number in range(count):
            write(folder, number, "as it was")
        rekindle(samples, folder, "run", "spec.json", "-j", str(SLOTS))
        for _ in range(rounds):
            rekindle(samples, folder, "why", "-w", "bench")
            rekindle(samples, folder, "rerun", "--changed", "--dry-run")
            rekindle(samples, folder, "restart")
        with Client(str(folder / ".rekindle")) as client:
            for _ in range(rounds):
                look(samples, client, "in process: select --changed, nothing edited", 0)
                restart(samples, client, "in process: restart, nothing to do", 0)
            edited = range(0, count, EDITED)
            for number in edited:
                write(folder, number, "edited")
            for _ in range(rounds):
                look(samples, client, "in process: select --changed, each 100th edited", len(edited))
                restart(samples, client, "in process: plan a restart, each 100th edited", len(edited))
    return samples.seconds()


def write(folder: Path, number: int, text: str) -> None:
    """Write the input file of a job."""
    (folder / "files" / str(number)).write_text(f"{text}: {number}\n")


def look(samples: Samples, client: Client, name: str, stale: int) -> None:
    """Select stale jobs through the Python API."""
    found = samples.take(name, lambda: client.select(changed=True))
    if len(found) != stale:
        raise CommandFailed(f"{len(found)} jobs are stale, not {stale}")


def restart(samples: Samples, client: Client, name: str, stale: int) -> None:
    """Plan a restart through the Python API."""
    found = samples.take(name, client.plan_restart)
    planned = len(found.proposal.plan.jobs) if found.proposal is not None else 0
    if planned != stale:
        raise CommandFailed(f"{planned} jobs are restarted, not {stale}")


ROWS = (
    Row(
        "stale",
        "staleness of jobs with a file each, when no file changed and when each 100th did",
        staleness,
        sizes=(10_000, 100_000),
        quick=(1_000, 10_000),
    ),
)
