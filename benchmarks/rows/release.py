"""The release of children: from the end of a job to the commit that makes the jobs that need it ready."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.commands import call, command
from benchmarks.harness import Measurement, Row, Target, at_least, at_most, percentile, progress
from benchmarks.projects import REKINDLE, SLOTS, project

if TYPE_CHECKING:
    from rekindle.engine.running.ingest import IngestResult

FAN = 5
"""Jobs that need each of the others."""

PERCENTS = {"median": 50, "p99": 99}


PACED = {"call": "work:pause", "args": {"seconds": 0.0015}}
"""With two slots, a little more than 1,000 of these end a second, which release a little more than 5,000 jobs."""


def release(edges: int, rounds: int) -> list[Measurement]:
    """Run the jobs that others need while the others are held, so that nothing but releases follows the ends. Each
    releases FAN others: as many a second as the runner can, and about 5,000 a second."""
    rates: dict[str, list[float]] = {"": [], ", paced": []}
    delays: dict[str, list[list[float]]] = {"": [], ", paced": []}
    for _ in range(rounds):
        for pace, job in (("", {"call": "work:nothing"}), (", paced", PACED)):
            with project(job, 1) as folder:
                submit(folder, job, edges // FAN)
                progress.step(f"run{pace}")
                found = call(run, str(folder)).answer
            rates[pace].append(found["rate"])
            delays[pace].append(found["delays"])
    return [
        Measurement("releases", "/s", tuple(rates[""]), targets=(at_least(5_000),)),
        *(delay(f"end to ready, {percent}", percent, delays[""]) for percent in PERCENTS),
        Measurement("releases, paced", "/s", tuple(rates[", paced"]), targets=(at_least(5_000),)),
        *(delay(f"end to ready, paced, {percent}", percent, delays[", paced"], at_most(0.02)) for percent in PERCENTS),
    ]


def delay(name: str, percent: str, delays: list[list[float]], *targets: Target) -> Measurement:
    """Return a percentile of the delays of each round, and its target if it is the p99."""
    values = tuple(percentile(one, PERCENTS[percent]) for one in delays)
    return Measurement(name, "s", values, targets=targets if percent == "p99" else ())


def submit(folder: Path, job: dict[str, Any], parents: int) -> None:
    """Submit the jobs, and hold those that need others."""
    numbers, fan = {"range": [0, parents]}, {"range": [0, FAN]}
    child = {"matrix": {"p": numbers, "c": fan}, "needs": ["parent[p=${matrix.p}]"], "call": "work:nothing"}
    spec = {"name": "release", "jobs": {"parent": {"matrix": {"p": numbers}, **job}, "child": child}}
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
        "the release of the jobs that need calls, 5 of each: `rekindle work`",
        release,
        (10_000, 100_000),
        (2_000,),
        rounds=1,
    ),
)
