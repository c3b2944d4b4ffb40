"""Status, plan, apply and undo of a rerun in a large workflow with failed jobs."""

from __future__ import annotations

from pathlib import Path

from benchmarks.projects import REKINDLE, project
from benchmarks.timing import CommandFailed, Stopwatch, command, show_times
from rekindle import Client

SLOTS = "2"
JOBS_FAILED = 2  # the exit code of a run in which jobs failed


def reruns(count: int, failures: int, rounds: int) -> None:
    """Measure commands and Python calls with `count` jobs, `failures` of which fail, evenly spread."""
    job = {"call": "work:fail_each", "args": {"number": "${matrix.i}", "every": count // failures}}
    watch = Stopwatch()
    with project(job, count) as folder:
        rekindle(watch, folder, "submit", "spec.json")
        rekindle(watch, folder, "work", "-j", SLOTS, expect=JOBS_FAILED)
        for _ in range(rounds):
            rekindle(watch, folder, "status")
            rekindle(watch, folder, "jobs", "list", "-s", "failed")
            rekindle(watch, folder, "rerun", "-s", "failed", "--dry-run")
            rekindle(watch, folder, "rerun", "-s", "failed", "--yes")
            rekindle(watch, folder, "undo")
        with Client(str(folder / ".rekindle")) as client:
            for _ in range(rounds):
                in_process(watch, client, failures)
    show_times(f"{count:,} jobs, {failures:,} of them failed", watch.rows())


def rekindle(watch: Stopwatch, folder: Path, *words: str, expect: int = 0) -> None:
    """Measure a command, with the start of the interpreter."""
    watch.take(f"rekindle {' '.join(words)}", lambda: command([REKINDLE, *words], folder, expect=expect))


def in_process(watch: Stopwatch, client: Client, failures: int) -> None:
    """Measure the same calls of the Python API with an open store. The store is unchanged at the end."""
    watch.take("in process: status", client.status)
    found = watch.take("in process: select the failed", lambda: client.select(state="failed"))
    if len(found) != failures:
        raise CommandFailed(f"{len(found)} jobs have failed, not {failures}")
    plan = watch.take("in process: plan", lambda: client.plan_rerun(found))
    watch.take("in process: apply", lambda: client.apply(plan))
    watch.take("in process: undo", client.undo)
    watch.take("in process: plan and apply", lambda: client.apply(client.plan_rerun(found)))
    client.undo()
