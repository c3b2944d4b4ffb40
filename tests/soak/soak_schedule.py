"""What is done to a run, and when: a pure function of a kind, a seed and a size."""

from __future__ import annotations

import random
from dataclasses import dataclass

KINDS = ("runners", "workers", "pauses", "disk", "clock", "commands", "everything")

LINES = 18
"""Lines of the ledger, for each of a schedule's scale, over which its blows are spread: less than a run without any
writes."""

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
    """A runner that is started again whenever it has gone."""

    slots: int
    watch: bool


@dataclass(frozen=True, slots=True)
class Blow:
    """One thing that is done to the run. `what`: kill, pause, fill, step or command."""

    lines: int  # of the ledger that are written between the one before and this one
    after: float  # seconds behind the last of them
    what: str
    whom: str = ""  # of kill and pause: runner, worker, host, job
    target: float = 0.0  # which of those that there are then, as a fraction of their number
    length: float = 0.0  # seconds: of a pause, of a full disk, until a command is killed (0: it is not)
    amount: float = 0.0  # seconds by which the clock is set beside the true time
    words: tuple[str, ...] = ()  # of a command


@dataclass(frozen=True, slots=True)
class Schedule:
    """A whole run. `scale` is the size of the workflow; with `survivors`, runners that are there at the end finish it,
    else they are killed and a fresh one does."""

    kind: str
    seed: int
    scale: int
    runners: tuple[RunnerPlan, ...]
    blows: tuple[Blow, ...]
    survivors: bool


def schedule(kind: str, seed: int, scale: int, blows: int) -> Schedule:
    """The schedule of that kind and seed, of so many blows."""
    dice = random.Random(f"{kind} {seed} {scale} {blows}")
    survivors = bool(seed % 2)
    runners = tuple(
        RunnerPlan(slots=dice.choice((1, 2)), watch=survivors or dice.random() < 0.3)
        for _ in range(dice.choice((1, 2, 2, 3)))
    )
    apart = LINES * scale // blows
    return Schedule(kind, seed, scale, runners, tuple(_blow(kind, dice, apart) for _ in range(blows)), survivors)


def _blow(kind: str, dice: random.Random, apart: int) -> Blow:
    if kind == "everything":
        kind = dice.choice(KINDS[:-1])
    moment = dice.randint(0, 2 * apart), round(dice.uniform(0, 0.05), 4)
    target = dice.random()
    if kind == "runners":
        return Blow(*moment, "kill", "runner", target)
    if kind == "workers":
        return Blow(*moment, "kill", dice.choice(("worker", "worker", "host", "job")), target)
    if kind == "pauses":
        whom = dice.choice(("runner", "runner", "worker", "host"))
        return Blow(*moment, "pause", whom, target, length=round(dice.uniform(0.05, 1.5), 3))
    if kind == "disk":
        return Blow(*moment, "fill", length=round(dice.uniform(0.02, 1.2), 3))
    if kind == "clock":
        return Blow(*moment, "step", amount=dice.choice((-1, 1)) * round(10 ** dice.uniform(0, 5.3), 1))
    killed = dice.random() < 0.4
    words = dice.choice(COMMANDS)
    return Blow(*moment, "command", length=round(dice.uniform(0.2, 0.7), 3) if killed else 0.0, words=words)
