"""Jobs of many workflows beside as many jobs of one workflow, and a chain of different jobs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.commands import command
from benchmarks.harness import Measurement, Row, Sample, at_most, beside, in_turn, percentile
from benchmarks.projects import REKINDLE, SLOTS, project
from rekindle import Client, Workflow

JOB = {"run": ["/bin/true"]}


def many_workflows(count: int, rounds: int) -> list[Measurement]:
    """Measure `rekindle work` with `count` workflows of one job, and with one workflow of `count` jobs."""
    samples = in_turn(
        rounds,
        ("workflows of one job", lambda: work(lambda client, folder: submit_many(client, folder, count))),
        ("one workflow", lambda: work(lambda client, folder: submit_one(client, folder, count))),
    )
    return samples.seconds({"workflows of one job": [at_most(1.5, times="one workflow")]})


def different_jobs(count: int, rounds: int) -> list[Measurement]:
    """Measure `rekindle work` with `count` jobs that have different templates, and with as many of one matrix."""
    samples = in_turn(
        rounds,
        ("different jobs", lambda: work(lambda client, folder: submit_different(client, folder, count, JOB))),
        ("a matrix", lambda: work(lambda client, folder: submit_one(client, folder, count))),
    )
    return samples.rates(count, {"different jobs": [beside("a matrix")]})


def chain(length: int, rounds: int) -> list[Measurement]:
    """Measure `rekindle work` with a chain of no-op calls: from the start of one to the start of the next."""
    levels: list[list[float]] = []

    def run() -> Sample:
        with project(JOB, 1) as folder, Client(str(folder / ".rekindle")) as client:
            submit_different(client, folder, length, {"call": "work:nothing"}, after=True)
            sample = command([REKINDLE, "work", "-j", "1"], folder)
            attempts = client.attempts(client.select(workflow="different"))
            starts = sorted(one.started.timestamp() for one in attempts if one.started is not None)
            levels.append([later - one for one, later in pairwise(starts)])
            return sample

    samples = in_turn(rounds, ("whole command", run))
    medians = tuple(percentile(one, 50) for one in levels)
    return [
        *samples.seconds(),
        Measurement("a level, median", "s", medians, targets=(at_most(0.001),)),
        Measurement("a level, p99", "s", tuple(percentile(one, 99) for one in levels), targets=(at_most(0.005),)),
    ]


def work(submit: Callable[[Client, Path], None], slots: int = SLOTS) -> Sample:
    """Submit to a new store, and measure the runner."""
    with project(JOB, 1) as folder:
        with Client(str(folder / ".rekindle")) as client:
            submit(client, folder)
        return command([REKINDLE, "work", "-j", str(slots)], folder)


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


def submit_different(client: Client, folder: Path, count: int, job: dict[str, Any], *, after: bool = False) -> None:
    """Submit one workflow of `count` jobs like `job` that have different templates, with `after` each after the one
    before."""
    workflow = Workflow("different", directory=str(folder))
    for number in range(count):
        needs = [f"job{number - 1}"] if after and number else []
        workflow.job(f"job{number}", env={"NUMBER": str(number)}, needs=needs, **job)
    client.submit(workflow.definition())


ROWS = (
    Row(
        "workflows",
        "workflows of one job beside one workflow of as many jobs (/bin/true): `rekindle work`",
        many_workflows,
        sizes=(1_000, 10_000),
        quick=(100, 1_000),
        rounds=1,
    ),
    Row("chain", "a chain of no-op Python calls, 1 slot: `rekindle work`", chain, (100, 1_000), (50,), at=1_000),
    Row("different", "different jobs beside a matrix of as many: `rekindle work`", different_jobs, (2_000,), (300,)),
)
