"""The release of children: from the end of a job to the commit that makes the jobs that need it ready."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.commands import call, command
from benchmarks.harness import Measurement, Row, Samples, at_least, at_most, percentile
from benchmarks.projects import REKINDLE, SLOTS, project

if TYPE_CHECKING:
    from rekindle.engine.running.ingest import IngestResult

FAN = 5
"""Jobs that need each of the others."""


def release(edges: int, rounds: int) -> list[Measurement]:
    """Run the jobs that others need, no-op calls, while the others are held, so that nothing but releases follows the
    ends. Each releases FAN others."""
    samples = Samples()
    rates, delays = [], []
    for _ in range(rounds):
        with project({"call": "work:nothing"}, 1) as folder:
            submit(folder, edges // FAN)
            sample = call(run, str(folder))
            samples.take("run", lambda sample=sample: sample)
            rates.append(sample.answer["rate"])
            delays.append(sample.answer["delays"])
    return [
        *samples.seconds(),
        Measurement("releases", "/s", tuple(rates), targets=(at_least(5_000),)),
        Measurement("end to ready, median", "s", tuple(percentile(one, 50) for one in delays)),
        Measurement("end to ready, p99", "s", tuple(percentile(one, 99) for one in delays), targets=(at_most(0.02),)),
    ]


def submit(folder: Path, parents: int) -> None:
    """Submit the jobs, and hold those that need others."""
    step: dict[str, Any] = {"call": "work:nothing"}
    numbers, fan = {"range": [0, parents]}, {"range": [0, FAN]}
    child = {"matrix": {"p": numbers, "c": fan}, "needs": ["parent[p=${matrix.p}]"], **step}
    spec = {"name": "release", "jobs": {"parent": {"matrix": {"p": numbers}, **step}, "child": child}}
    (folder / "spec.json").write_text(json.dumps(spec))
    command([REKINDLE, "submit", "spec.json"], folder)
    command([REKINDLE, "hold", "-n", "child*"], folder)


def run(folder: str) -> dict[str, Any]:
    """Run the jobs in this process. Return the children released a second, and the delay of each end in seconds."""
    from rekindle import Client
    from rekindle.engine.running import work
    from rekindle.engine.running.runner_loop import RunnerLoop

    commits: dict[int, float] = {}  # by attempt

    class TimedLoop(RunnerLoop):
        """A loop that keeps when each end was committed."""

        def _take_ends(self, result: IngestResult) -> Any:
            self.ended = [attempt for attempt, _, _ in result.ended]
            return super()._take_ends(result)

        def _iterate(self) -> None:
            self.ended: list[int] = []
            super()._iterate()
            commits.update(dict.fromkeys(self.ended, time.time()))

    work.RunnerLoop = TimedLoop  # type: ignore[misc]
    os.chdir(folder)
    with Client(f"{folder}/.rekindle") as client:
        client.work(jobs=SLOTS)
        ends = {one.id: one.ended for one in client.attempts(client.select(workflow="release")) if one.ended}
    moments = sorted(commits.values())
    delays = [commits[attempt] - ended.timestamp() for attempt, ended in ends.items()]
    return {"rate": FAN * len(moments) / (moments[-1] - moments[0]), "delays": delays}


ROWS = (
    Row(
        "release",
        "the release of the jobs that need no-op calls, 5 of each: `rekindle work`",
        release,
        (10_000, 100_000),
        (2_000,),
        rounds=1,
    ),
)
