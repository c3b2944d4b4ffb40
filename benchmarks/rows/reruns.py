"""Status, plan, apply and undo of a rerun in a large workflow with failed jobs."""

from __future__ import annotations

from pathlib import Path

from benchmarks.commands import command
from benchmarks.harness import CommandFailed, Measurement, Row, Sample, Samples
from benchmarks.projects import JOBS_FAILED, REKINDLE, SLOTS, project
from rekindle import Client

EVERY = 10
"""Each EVERY-th job fails."""


def reruns(count: int, rounds: int) -> list[Measurement]:
    """Measure commands and Python calls with `count` jobs, some of which fail, evenly spread."""
    job = {"call": "work:fail_each", "args": {"number": "${matrix.i}", "every": EVERY}}
    samples = Samples()
    with project(job, count) as folder:
        rekindle(samples, folder, "submit", "spec.json")
        rekindle(samples, folder, "work", "-j", str(SLOTS), expect=JOBS_FAILED)
        for _ in range(rounds):
            rekindle(samples, folder, "status")
            rekindle(samples, folder, "jobs", "list", "-s", "failed")
            rekindle(samples, folder, "rerun", "-s", "failed", "--dry-run")
            rekindle(samples, folder, "rerun", "-s", "failed", "--yes")
            rekindle(samples, folder, "undo")
        with Client(str(folder / ".rekindle")) as client:
            for _ in range(rounds):
                in_process(samples, client, count // EVERY)
    return samples.seconds()


def rekindle(samples: Samples, folder: Path, *words: str, expect: int = 0) -> Sample:
    """Measure a command, with the start of the interpreter."""
    return samples.take(f"rekindle {' '.join(words)}", lambda: command([REKINDLE, *words], folder, expect=expect))


def in_process(samples: Samples, client: Client, failures: int) -> None:
    """Measure the same calls of the Python API with an open store. The store is unchanged at the end."""
    samples.take("in process: status", client.status)
    found = samples.take("in process: select the failed", lambda: client.select(state="failed"))
    if len(found) != failures:
        raise CommandFailed(f"{len(found)} jobs have failed, not {failures}")
    plan = samples.take("in process: plan", lambda: client.plan_rerun(found))
    samples.take("in process: apply", lambda: client.apply(plan))
    samples.take("in process: undo", client.undo)
    samples.take("in process: plan and apply", lambda: client.apply(client.plan_rerun(found)))
    client.undo()


ROWS = (Row("reruns", "a run in which a tenth of the jobs fail, and its reruns", reruns, (1_000, 10_000), (1_000,), 5),)
