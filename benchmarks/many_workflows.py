"""Jobs of many workflows beside as many jobs of one workflow, and a chain of different jobs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.projects import REKINDLE, project
from benchmarks.throughput import SLOTS
from benchmarks.timing import Stopwatch, command, show_rates, show_times
from rekindle import Client, Workflow

JOB = {"run": ["/bin/true"]}


def many_workflows(count: int, rounds: int) -> None:
    """Measure `rekindle work` with `count` workflows of one job, and with one workflow of `count` jobs."""
    watch = Stopwatch()
    for _ in range(rounds):
        work(watch, f"{count:,} workflows of one job", lambda client, folder: submit_many(client, folder, count))
        work(watch, "one workflow", lambda client, folder: submit_one(client, folder, count))
    many, one = watch.rows()
    show_rates(f"{count:,} jobs (/bin/true), {SLOTS} slots: `rekindle work`", count, many, one)


def chain(length: int, rounds: int) -> None:
    """Measure `rekindle work` with a chain of jobs that have different templates."""
    watch = Stopwatch()
    for _ in range(rounds):
        work(watch, "whole command", lambda client, folder: submit_chain(client, folder, length), slots=1)
    rows = watch.rows()
    show_times(f"A chain of {length:,} different jobs (/bin/true), 1 slot: `rekindle work`", rows)
    print(f"   {rows[0].median / length * 1000:.1f} ms a job")


def different_jobs(count: int, rounds: int) -> None:
    """Measure `rekindle work` with `count` jobs that have different templates, and with as many of one matrix."""
    watch = Stopwatch()
    for _ in range(rounds):
        work(watch, "different jobs", lambda client, folder: submit_different(client, folder, count))
        work(watch, "a matrix", lambda client, folder: submit_one(client, folder, count))
    different, one = watch.rows()
    show_rates(f"{count:,} jobs (/bin/true), {SLOTS} slots: `rekindle work`", count, different, one)


def work(watch: Stopwatch, name: str, submit: Callable[[Client, Path], None], slots: int = SLOTS) -> None:
    """Submit to a new store, and measure the runner."""
    with project(JOB, 1) as folder:
        with Client(str(folder / ".rekindle")) as client:
            submit(client, folder)
        watch.take(name, lambda: command([REKINDLE, "work", "-j", str(slots)], folder))


def submit_many(client: Client, folder: Path, count: int) -> None:
    """Submit `count` workflows of one job."""
    for number in range(count):
        workflow = Workflow(f"w{number}", directory=str(folder))
        workflow.job("job", **JOB)
        client.submit(workflow.definition())


def submit_one(client: Client, folder: Path, count: int) -> None:
    """Submit one workflow of `count` jobs."""
    workflow = Workflow("one", directory=str(folder))
    workflow.job("job", matrix={"i": {"range": [0, count]}}, **JOB)
    client.submit(workflow.definition())


def submit_chain(client: Client, folder: Path, length: int) -> None:
    """Submit one workflow whose jobs run one after the other."""
    submit_different(client, folder, length, after=True)


def submit_different(client: Client, folder: Path, count: int, *, after: bool = False) -> None:
    """Submit one workflow of `count` different jobs, with `after` each after the one before."""
    workflow = Workflow("different", directory=str(folder))
    for number in range(count):
        needs = [f"job{number - 1}"] if after and number else []
        workflow.job(f"job{number}", run=["/bin/true", str(number)], needs=needs)
    client.submit(workflow.definition())
