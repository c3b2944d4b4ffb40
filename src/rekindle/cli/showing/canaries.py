"""What waits for canaries, in words and in JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from rekindle.cli.showing import drawing
from rekindle.domain.batches.canaries import SHOWN, Canary, Choice, Group, Outcome
from rekindle.domain.rerunning.naming import named
from rekindle.domain.states import ENDED, State

_SAID = 60
"""Characters of an error that are shown beside a group."""


def draw_choices(choices: Sequence[Choice]) -> None:
    """Of a plan: which jobs run first, and how many wait for them."""
    if not choices:
        return
    click.echo("\ncanaries:")
    for one in choices:
        names = named(name for _, name in one.canaries)
        runs = "runs" if len(one.canaries) == 1 else "run"
        click.echo(f"  {drawing.flat(names)} {runs} first, and {_rest(one)}")


def _rest(one: Choice) -> str:
    passes = "canary passes" if len(one.canaries) == 1 else f"{len(one.canaries)} canaries pass"
    return f"{len(one.waits):,} more of {_group(one)} when {'the ' if len(one.canaries) == 1 else ''}{passes}"


def _group(one: Choice | Group) -> str:
    """`3f9a0c12ab (ValueError: too cold)`."""
    said = ": ".join(part for part in (one.type, drawing.flat(one.message)) if part)
    return one.signature[:SHOWN] + (f" ({drawing.cut(said, _SAID)})" if said else "")


def draw_groups(groups: Sequence[Group]) -> None:
    """Of a rerun that was applied: what has become of its groups."""
    if groups:
        click.echo("\ncanaries:")
    for one in groups:
        click.echo(f"  {line(one)}")


def line(one: Group) -> str:
    """How a group stands, in one line."""
    if one.outcome is None:
        return f"{one.waiting:,} of {_group(one)} wait{'s' if one.waiting == 1 else ''} for {awaited(one)}"
    if one.outcome is Outcome.STOPPED:
        left = f"; {one.waiting:,} left as {'it is' if one.waiting == 1 else 'they are'}" if one.waiting else ""
        return f"group {_group(one)} {drawing.coloured('stopped')}: {drawing.flat(one.why)}{left}"
    if one.outcome is Outcome.DROPPED:
        return f"group {_group(one)}: the rerun of its canaries was undone"
    rest = f"the rest runs again (rerun {one.released})" if one.released is not None else "nothing waited any more"
    return f"group {_group(one)} released: {drawing.flat(one.why)}; {rest}"


def awaited(one: Group) -> str:
    """The canaries that have not passed yet: "its canary `train[3]`, which is held"."""
    left = [canary for canary in one.canaries if canary.state is not State.COMPLETED and not canary.retired]
    stuck = [canary for canary in left if canary.state not in ENDED and canary.held is not None]
    held = f", of which {named(canary.name for canary in stuck)} {_is(stuck)} held" if stuck else ""
    which = "its canary" if len(left) == 1 else "its canaries"
    return drawing.flat(f"{which} {named(canary.name for canary in left)}{held}")


def _is(jobs: Sequence[Canary]) -> str:
    return "is" if len(jobs) == 1 else "are"


def why(one: Group) -> str:
    """Why a job of a group does not run: it waits, or the group was stopped."""
    if one.outcome is None:
        return f"waits for {awaited(one)} (rerun {one.rerun}), and runs again once {_they(one)} passed"
    return f"left as it is by rerun {one.rerun}: {drawing.flat(one.why)}"


def _they(one: Group) -> str:
    return "that has" if len(one.canaries) == 1 else "all have"


def decided_lines(groups: Sequence[Group]) -> Iterator[str]:
    """What canaries have decided in a run."""
    yield from (line(one) for one in groups if one.outcome in (Outcome.RELEASED, Outcome.STOPPED))


def choice_shape(one: Choice) -> dict[str, Any]:
    """A group of a plan in JSON."""
    return {
        "signature": one.signature,
        "canaries": [job for job, _ in one.canaries],
        "waits": [job for job, _ in one.waits],
    }


def group_shape(one: Group) -> dict[str, Any]:
    """A group as it stands, in JSON."""
    return {
        "rerun": one.rerun,
        "workflow": one.workflow,
        "signature": one.signature,
        "canaries": [{"id": each.job, "name": each.name, "state": each.state.label} for each in one.canaries],
        "waiting": one.waiting,
        "outcome": None if one.outcome is None else one.outcome.value,
        "why": one.why or None,
        "released": one.released,
    }
