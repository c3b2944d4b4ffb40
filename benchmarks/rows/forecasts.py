"""Forecasts of workflows in which nothing has run."""

from __future__ import annotations

from pathlib import Path

from benchmarks.commands import command
from benchmarks.harness import MB, Measurement, Row, Samples, at_most, memory
from benchmarks.projects import REKINDLE, project
from rekindle import Client, Workflow

JOB = {"run": ["/bin/true"]}


def forecasts(count: int, rounds: int) -> list[Measurement]:
    """Measure the forecast of a workflow of `count` jobs, half of which need one of the others each."""
    samples = Samples()
    with project(JOB, 1) as folder:
        submit(folder, count)
        for _ in range(rounds):
            words = [REKINDLE, "forecast", "--assume", "1m"]
            samples.take("rekindle forecast", lambda words=words: command(words, folder))
    return samples.seconds({"rekindle forecast": [at_most(2.0), memory(200 * MB)]})


def submit(folder: Path, count: int) -> None:
    """Submit the jobs."""
    numbers = {"i": {"range": [0, count // 2]}}
    workflow = Workflow("forecast", directory=str(folder))
    workflow.job("cut", matrix=numbers, **JOB)
    workflow.job("join", matrix=numbers, needs=["cut[i=${matrix.i}]"], **JOB)
    with Client(str(folder / ".rekindle")) as client:
        client.submit(workflow.definition())


ROWS = (
    Row(
        "forecast",
        "the forecast of a workflow that has not run, half of the jobs below the others",
        forecasts,
        sizes=(10_000, 100_000),
        quick=(2_000,),
    ),
)
