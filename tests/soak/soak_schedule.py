"""Schedules of faults: a pure function of a kind, a seed and a size."""

from __future__ import annotations

import random
from dataclasses import dataclass

KINDS = ("runners", "workers", "pauses", "disk", "clock", "commands", "everything")

LINES = 18
"""Lines of the ledger per unit of scale over which the faults are spread: fewer than a run without faults writes."""

COMMANDS = (
    ("rerun", "-n", "chain1*", "--yes"),
    ("rerun", "-n", "left*", "--downstream", "none", "--yes"),
    ("rerun", "-n", "chain0*", "--downstream", "changed", "--yes"),
    ("rerun", "-n", "fan*", "--from", "failed-step", "--yes"),
    ("rerun", "-s", "failed", "--yes"),
    ("rerun", "-s", "completed", "-n", "pair*", "--from", "then", "--yes"),
    ("rerun", "-n", "adder*", "--yes"),
    ("rerun", "head", "--yes"),
    ("cancel", "-n", "slow*"),
    ("cancel", "-n", "join*"),
    ("hold", "-n", "call*"),
    ("release", "--all"),
    ("undo",),
    ("submit", "spec.yaml"),
    ("status",),
)


@dataclass(frozen=True, slots=True)
class RunnerPlan:
    """A runner that is restarted whenever it has ended."""

    slots: int
    watch: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `what`: kill, pause, fill, step or command."""

    lines: int  # lines written to the ledger between the previous fault and this one
    after: float  # seconds after the last of these lines
    what: str
    process_kind: str = ""  # for kill and pause: runner, worker, host, job
    target: float = 0.0  # which of the living processes of that kind, as a fraction of their number
    length: float = 0.0  # seconds of a pause or a full disk, or until a command is killed (0: never)
    amount: float = 0.0  # seconds by which the clock deviates from the true time
    words: tuple[str, ...] = ()  # of a command


@dataclass(frozen=True, slots=True)
class Schedule:
    """A run with its faults. `scale` is the size of the workflow. With `survivors`, the living runners finish it;
    else they are killed and a new one does."""

    kind: str
    seed: int
    scale: int
    runners: tuple[RunnerPlan, ...]
    faults: tuple[Fault, ...]
    survivors: bool


def schedule(kind: str, seed: int, scale: int, faults: int) -> Schedule:
    """Return the schedule of a kind and a seed, with `faults` faults."""
    dice = random.Random(f"{kind} {seed} {scale} {faults}")
    survivors = bool(seed % 2)
    runners = tuple(
        RunnerPlan(slots=dice.choice((1, 2)), watch=survivors or dice.random() < 0.3)
        for _ in range(dice.choice((1, 2, 2, 3)))
    )
    apart = LINES * scale // faults
    return Schedule(kind, seed, scale, runners, tuple(_make_fault(kind, dice, apart) for _ in range(faults)), survivors)


def _make_fault(kind: str, dice: random.Random, apart: int) -> Fault:
    if kind == "everything":
        kind = dice.choice(KINDS[:-1])
    moment = dice.randint(0, 2 * apart), round(dice.uniform(0, 0.05), 4)
    target = dice.random()
    if kind == "runners":
        return Fault(*moment, "kill", "runner", target)
    if kind == "workers":
        return Fault(*moment, "kill", dice.choice(("worker", "worker", "host", "job")), target)
    if kind == "pauses":
        process_kind = dice.choice(("runner", "runner", "worker", "host"))
        return Fault(*moment, "pause", process_kind, target, length=round(dice.uniform(0.05, 1.5), 3))
    if kind == "disk":
        return Fault(*moment, "fill", length=round(dice.uniform(0.02, 1.2), 3))
    if kind == "clock":
        return Fault(*moment, "step", amount=dice.choice((-1, 1)) * round(10 ** dice.uniform(0, 5.3), 1))
    killed = dice.random() < 0.4
    words = dice.choice(COMMANDS)
    return Fault(*moment, "command", length=round(dice.uniform(0.2, 0.7), 3) if killed else 0.0, words=words)
