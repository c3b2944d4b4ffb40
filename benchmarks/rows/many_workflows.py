"""Jobs of many workflows beside as many jobs of one workflow, and different jobs beside equal ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.commands import command
from benchmarks.harness import Measurement, Row, Sample, at_most, beside, in_turn
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
    Row("different", "different jobs beside a matrix of as many: `rekindle work`", different_jobs, (2_000,), (300,)),
)
