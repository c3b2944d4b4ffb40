"""Options that several of lpad's commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from rekindle.dialects.fireworks.lpad.typed import Several
from rekindle.dialects.fireworks.words import STATES

Command = TypeVar("Command", bound=Callable[..., Any])

STATE = click.Choice(STATES, case_sensitive=False)

DISPLAYS = ("all", "more", "less", "ids", "count", "reservations")

_QUERY = """A filter as MongoDB has them, for instance '{"spec.alpha": {"$gt": 0.5}}'."""

password_option = click.option(
    "--password",
    metavar="DATE",
    help="Today's date (2012-02-25): more than 10 are changed without a question.",
)
"""`password`."""

display_option = click.option(
    *("-d", "--display_format"),
    type=click.Choice(DISPLAYS, case_sensitive=False),
    default="less",
    help="How much is shown. [default: less]",
)
"""`display_format`."""

launches_option = click.option(
    *("-lm", "--launches_mode", "--launch_mode"),
    "launches",
    is_flag=True,
    help="-s and -q are about launches, the live ones.",
)
"""`launches`."""


def firework_options(command: Command) -> Command:
    """`ids`, `name`, `state`, `query` and `launches`: which fireworks."""
    return _named("fireworks")(launches_option(command))


def workflow_options(command: Command) -> Command:
    """`ids`, `name`, `state` and `query`: which workflows."""
    return _named("workflows")(command)


def sort_options(command: Command) -> Command:
    """`most`, `sort` and `rsort`."""
    field = click.Choice(["created_on", "updated_on"])
    command = click.option("--rsort", type=field, help="The newest by this date first.")(command)
    command = click.option("--sort", type=field, help="The oldest by this date first.")(command)
    return click.option(
        "-m", "--max", "most", type=click.IntRange(min=0), default=0, metavar="N", help="Show so many at the most."
    )(command)


def _named(what: str) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        which = "Fireworks" if what == "fireworks" else "Workflows that have fireworks"
        for option in reversed(
            [
                click.option(
                    *("-i", "--fw_id", "ids"),
                    cls=Several,
                    ids=True,
                    metavar="IDS",
                    help=f"{which} by id: 1 2 3 or 1,2,3.",
                ),
                click.option("-n", "--name", metavar="NAME", help=f"{what.capitalize()} of this name."),
                click.option("-s", "--state", type=STATE, help=f"{what.capitalize()} in this state."),
                click.option("-q", "--query", metavar="JSON", help=_QUERY),
            ]
        ):
            command = option(command)
        return command

    return decorate
