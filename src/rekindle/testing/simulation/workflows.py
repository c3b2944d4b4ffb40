"""What a simulation runs: definitions, outcomes of attempts and options of reruns, drawn from one seed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.definition import Definition, Each, JobNode, JobTemplate, RetryRule, Step
from rekindle.domain.rerun.request import How
from rekindle.domain.states import Cause
from rekindle.testing.scripted import ScriptedOutcome

if TYPE_CHECKING:
    from random import Random

STEPS = ("one", "two", "three")

POLICIES: tuple[tuple[RetryRule, ...], ...] = (
    (),
    (),
    (RetryRule(max=1),),
    (RetryRule(max=2, delay=30.0, backoff=2.0, jitter=0.5, start="failed-step"),),
    (RetryRule(max=1, causes=(Cause.TIMEOUT,)), RetryRule(max=2, causes=(Cause.LOST,))),
)


OUTPUT = "${job.name}.txt"
"""The output of each job of a workflow whose jobs write files, in the folder of its project."""


def draw_definition(random: Random, name: str, project: str) -> Definition:
    """Return a workflow of a few jobs in the folder `project`. Their second step may be a fan-out; some need others
    only finished, some are aggregates, and the jobs of some workflows write an output each."""
    count = random.randint(2, 8)
    items = random.choice([0, 0, 3])
    fan_out = (
        Step("two", run="true ${item}", each=Each(items=tuple(range(items)))) if items else Step("two", run="true")
    )
    steps = (Step("one", run="true"), fan_out, Step("three", run="true"))[: random.randint(1, 3)]
    policy, writes = random.choice(POLICIES), random.random() < 0.4
    template = (
        JobTemplate("job", steps, retry=policy, outputs={"out": OUTPUT})
        if writes
        else JobTemplate("job", steps, retry=policy, workdir="attempt")
    )
    finished = msgspec.structs.replace(template, name="finished", when="finished")
    aggregate = msgspec.structs.replace(template, name="aggregate", aggregate=True)
    nodes = [JobNode(f"job{n}", random.choice([0, 0, 0, 1, 2])) for n in range(count)]
    pairs = [(parent, child) for child in range(count) for parent in range(child)]
    edges = random.sample(pairs, random.randint(0, min(len(pairs), 10)))
    return Definition(name, project, [template, finished, aggregate], nodes, sorted(edges))


def draw_outcome(random: Random) -> ScriptedOutcome:
    """Return how an attempt goes on: most complete, after some steps of their worker."""
    waits = random.choice([0, 0, 1, 2, 5])
    bad = frozenset(random.sample(range(4), random.choice([0, 0, 1])))
    kind = random.randrange(8)
    if kind < 2:
        cause = random.choice([Cause.EXIT, Cause.TIMEOUT, Cause.EXCEPTION])
        return ScriptedOutcome(fails_at=random.choice(STEPS), cause=cause, waits=waits, bad=bad)
    if kind == 2:
        return ScriptedOutcome(action=json.dumps(_draw_action(random)), waits=waits)
    return ScriptedOutcome(result=random.choice(["1", "2", None]), waits=waits, bad=bad if kind == 3 else frozenset())


def _draw_action(random: Random) -> dict[str, object]:
    added = [{"name": random.choice(["x", "y"]), "run": "true", "needs": random.choice([[], ["job0"], ["job1"]])}]
    return random.choice(
        [
            {"add": added},
            {"detour": added},
            {"set_children": {"alpha": 1}},
            {"hold_children": True},
            {"cancel_children": True},
        ]
    )


def draw_how(random: Random) -> How:
    """Return the options of a rerun."""
    return How(
        start=random.choice(["beginning", "beginning", "failed-step", "one", "two"]),
        downstream=random.choice(["all", "changed", "changed", "none"]),
        definition=random.choice(["latest", "latest", "pinned"]),
        hold=random.choice([None, None, None, "rerun"]),
        undo_dynamic=random.random() < 0.2,
        cancel_running=random.random() < 0.5,
        keep_outputs=random.random() < 0.5,
    )
