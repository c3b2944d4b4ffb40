"""Options that rlaunch and qlaunch share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def version_option(command: str) -> Callable[[Command], Command]:
    """`-v`, which ends the command."""

    def tell(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            from rekindle import __version__

            click.echo(f"{command} of rekindle {__version__}")
            ctx.exit()

    return click.option(
        "-v", "--version", is_flag=True, is_eager=True, expose_value=False, callback=tell, help="Print it."
    )
