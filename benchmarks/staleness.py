"""Staleness checks of a large workflow in which no file, or few files, changed."""

from __future__ import annotations

from pathlib import Path

from benchmarks.projects import project
from benchmarks.reruns import SLOTS, rekindle
from benchmarks.timing import CommandFailed, Stopwatch, show_times
from rekindle import Client

EDITED = 100  # every EDITED-th file is edited


def staleness(count: int, rounds: int) -> None:
    """Measure with `count` completed jobs with one input file each: first unchanged, then with some files edited."""
    job = {"call": "work:nothing", "inputs": {"own": "files/${matrix.i}"}}
    watch = Stopwatch()
    with project(job, count) as folder:
        (folder / "files").mkdir()
        for number in range(count):
            write(folder, number, "as it was")
        rekindle(watch, folder, "run", "spec.json", "-j", SLOTS)
        for _ in range(rounds):
            rekindle(watch, folder, "why", "-w", "bench")
            rekindle(watch, folder, "rerun", "--changed", "--dry-run")
            rekindle(watch, folder, "restart")
        with Client(str(folder / ".rekindle")) as client:
            for _ in range(rounds):
                look(watch, client, "in process: select --changed, nothing edited", 0)
                restart(watch, client, "in process: restart, nothing to do", 0)
            edited = range(0, count, EDITED)
            for number in edited:
                write(folder, number, "edited")
            for _ in range(rounds):
                look(watch, client, f"in process: select --changed, {len(edited):,} edited", len(edited))
                restart(watch, client, f"in process: plan a restart, {len(edited):,} edited", len(edited))
    show_times(f"No-op staleness of {count:,} jobs, {count:,} files", watch.rows())


def write(folder: Path, number: int, text: str) -> None:
    """Write the input file of a job."""
    (folder / "files" / str(number)).write_text(f"{text}: {number}\n")


def look(watch: Stopwatch, client: Client, name: str, stale: int) -> None:
    """Select stale jobs through the Python API."""
    found = watch.take(name, lambda: client.select(changed=True))
    if len(found) != stale:
        raise CommandFailed(f"{len(found)} jobs are stale, not {stale}")


def restart(watch: Stopwatch, client: Client, name: str, stale: int) -> None:
    """Plan a restart through the Python API."""
    found = watch.take(name, client.plan_restart)
    planned = len(found.proposal.plan.jobs) if found.proposal is not None else 0
    if planned != stale:
        raise CommandFailed(f"{planned} jobs are restarted, not {stale}")
