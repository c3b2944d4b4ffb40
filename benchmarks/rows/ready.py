"""The memory of a runner beside many ready jobs."""

from __future__ import annotations

from benchmarks.commands import command
from benchmarks.harness import MB, Measurement, Row, Sample, in_turn, memory
from benchmarks.projects import REKINDLE, SLOTS, project

SECONDS = 60
TIMED_OUT = 6
"""The exit code of a run whose time was over."""


def ready(count: int, rounds: int) -> list[Measurement]:
    """Run no-op calls for a minute of a workflow in which `count` are ready. The runner is the largest process."""
    samples = in_turn(rounds, ("rekindle work", lambda: worked(count)))
    return samples.seconds({"rekindle work": [memory(100 * MB)]})


def worked(count: int) -> Sample:
    """Submit, and measure the runner."""
    with project({"call": "work:nothing"}, count) as folder:
        command([REKINDLE, "submit", "spec.json"], folder)
        words = [REKINDLE, "work", "-j", str(SLOTS), "--wait-timeout", f"{SECONDS}s"]
        return command(words, folder, expect=TIMED_OUT)


ROWS = (
    Row("ready", "memory beside ready jobs: a minute of `rekindle work`", ready, (1_000_000,), (200_000,), rounds=1),
)
