"""FireWorks: what a file adds beside what fireworks add, fan-in by `_push`, and many workflows of one firework."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import chdir
from functools import partial
from typing import Any

from benchmarks.commands import command
from benchmarks.harness import CommandFailed, Measurement, Row, Sample, beside, in_turn
from benchmarks.projects import REKINDLE, project
from rekindle.dialects.fireworks import LaunchPad

ACTS = '''"""The functions of the measured tasks."""

import json
from pathlib import Path


def act(**action):
    Path("FWAction.json").write_text(json.dumps(action))


def firework(func, *args):
    return {"spec": {"_tasks": [{"_fw_name": "PyTask", "func": func, "args": list(args)}]}}


def detours(count):
    act(detours=[firework("builtins.abs", number) for number in range(count)])


def additions(count):
    if count:
        act(additions=[firework("acts.additions", count - 1)])
'''

Setup = Callable[[LaunchPad], object]


def fireworks(count: int, rounds: int) -> list[Measurement]:
    """Measure `rlaunch rapidfire` with `count` fireworks of different origins."""
    rows: dict[str, Setup] = {
        "of one file": lambda pad: pad.add_wf(flow([task("builtins.abs", at) for at in range(count)])),
        "workflows of one": lambda pad: [pad.add_wf(flow([task("builtins.abs", at)])) for at in range(count)],
        "detours of one": lambda pad: pad.add_wf(flow([task("acts.detours", count)])),
        "chain of one file": lambda pad: pad.add_wf(chain(count)),
        "chain of additions": lambda pad: pad.add_wf(flow([task("acts.additions", count)])),
        "fan-in by _push": lambda pad: pad.add_wf(fan_in(count)),
    }
    samples = in_turn(rounds, *((name, partial(rapidfire, name, setup)) for name, setup in rows.items()))
    return samples.rates(count, {name: [beside("of one file")] for name in rows if name != "of one file"})


def rapidfire(name: str, setup: Setup) -> Sample:
    """Add fireworks to a new store, and measure their launches."""
    with project({"run": ["/bin/true"]}, 1) as folder:
        (folder / "acts.py").write_text(ACTS)
        pad = LaunchPad(store=folder / ".rekindle")
        with chdir(folder):  # where the functions of tasks are found
            setup(pad)
        sample = command([REKINDLE, "rlaunch", "-s", "rapidfire"], folder)
        if left := pad.get_fw_ids({"state": {"$ne": "COMPLETED"}}):
            raise CommandFailed(f"{name}: {len(left)} fireworks have not completed")
    return sample


def task(func: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return a PyTask."""
    return {"_fw_name": "PyTask", "func": func, "args": list(args), "kwargs": kwargs}


def flow(tasks: list[dict[str, Any]], links: dict[str, list[int]] | None = None) -> dict[str, Any]:
    """Return a workflow with one firework for each task."""
    return {"fws": [{"fw_id": at, "spec": {"_tasks": [one]}} for at, one in enumerate(tasks, 1)], "links": links or {}}


def chain(count: int) -> dict[str, Any]:
    """Return a workflow whose fireworks run one after the other."""
    links = {str(at): [at + 1] for at in range(1, count)}
    return flow([task("builtins.abs", at) for at in range(count)], links)


def fan_in(count: int) -> dict[str, Any]:
    """Return a workflow whose fireworks each push a value into the spec of the last one."""
    pushes = [task("acts.act", mod_spec=[{"_push": {"values": at}}]) for at in range(count - 1)]
    return flow([*pushes, task("builtins.abs", 1)], {str(at): [count] for at in range(1, count)})


ROWS = (
    Row(
        "fireworks",
        "fireworks (PyTask) of different origins: `rlaunch -s rapidfire`, 1 slot",
        fireworks,
        (1_000,),
        (100,),
    ),
)
