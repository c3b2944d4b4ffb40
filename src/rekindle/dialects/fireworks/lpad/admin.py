"""`lpad admin`: what FireWorks needs to keep its database well. A rekindle store sees to that by itself."""

from __future__ import annotations

from typing import Any

import click

from rekindle.dialects.fireworks.lpad.options import (
    display_option,
    firework_options,
    password_option,
    sort_options,
    workflow_options,
)
from rekindle.dialects.fireworks.lpad.printing import emit, tell
from rekindle.dialects.fireworks.lpad.selecting import Asked, workflows_meant
from rekindle.dialects.fireworks.lpad.typed import Command
from rekindle.dialects.opening import opened


@click.group()
def admin() -> None:
    """Maintain the store: it does so by itself, and these commands answer for scripts that call them.

    \b
    Example:
      rekindle lpad admin unlock -i 1
    """


@admin.command(cls=Command)
@workflow_options
@password_option
def unlock(password: str | None, **words: Any) -> None:  # noqa: ARG001 (kept: nothing is changed)
    """Unlock workflows: none is ever locked, whatever process was killed.

    \b
    Example:
      rekindle lpad admin unlock -i 1
    """
    with opened() as session:
        chosen = workflows_meant(session, Asked(**words), "unlock")
    tell(f"Finished unlocking {len(chosen)} Workflows")


@admin.command(cls=Command)
@workflow_options
@password_option
def refresh(password: str | None, **words: Any) -> None:  # noqa: ARG001 (kept: nothing is changed)
    """Refresh workflows: their states follow from their fireworks at any time.

    \b
    Example:
      rekindle lpad admin refresh -n demo
    """
    with opened() as session:
        chosen = workflows_meant(session, Asked(**words), "refresh")
    tell(f"Finished refreshing {len(chosen)} Workflows")


@admin.command(cls=Command)
@click.option("--infinite", is_flag=True, help="Taken, and has no effect.")
@click.option("--maintain_interval", type=int, metavar="SECONDS", help="Taken, and has no effect.")
def maintain(**_: object) -> None:
    """Maintain the store: there is nothing to do.

    \b
    Example:
      rekindle lpad admin maintain
    """
    tell("There is nothing to maintain")


@admin.command(cls=Command)
@click.option("--full", is_flag=True, help="Taken, and has no effect.")
def tuneup(**_: object) -> None:
    """Tune the store up: there is nothing to do.

    \b
    Example:
      rekindle lpad admin tuneup
    """
    tell("There is nothing to tune up")


@admin.command(cls=Command)
@firework_options
@click.option("--qid", metavar="ID", help="Taken, and has no effect.")
@display_option
@sort_options
@click.option("--remove", is_flag=True, help="Remove them: there are none.")
@click.option("--ldirs", is_flag=True, help="With the folders of their launches.")
def orphaned(**_: object) -> None:
    """Find fireworks without a workflow: there can be none.

    \b
    Example:
      rekindle lpad admin orphaned
    """
    emit([])
