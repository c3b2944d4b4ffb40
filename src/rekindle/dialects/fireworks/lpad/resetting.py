"""`rekindle lpad reset`: the workflows that came through FireWorks' commands, and no others, are removed."""

from __future__ import annotations

import sys
from datetime import date

import click

from rekindle.dialects.fireworks.lpad.options import password_option
from rekindle.dialects.fireworks.lpad.printing import note, tell
from rekindle.dialects.fireworks.removing import names, refuse_running, remove_all
from rekindle.dialects.fireworks.stored import workflows
from rekindle.dialects.opening import opened
from rekindle.domain.errors import Refused
from rekindle.domain.models import Workflow
from rekindle.engine.looking import look


@click.command()
@password_option
def reset(password: str | None) -> None:
    """Remove all workflows that came through FireWorks' commands, with their history: this cannot be undone. Other
    workflows of the store stay, and so do the folders of launches. It asks, unless --password is today's date.

    \b
    Example:
      rekindle lpad reset --password 2012-02-25
    """
    with opened(create=True) as session:
        going = workflows(session)
        staying = len(look.workflows(session, archived=True)) - len(going)
        refuse_running(going)
        if going:
            _agreed(going, password)
            remove_all(session)
    count = sum(sum(one.counts.values()) for one in going)
    tell(f"LaunchPad was RESET: {len(going):,} workflows with {count:,} fireworks were removed.")
    if going:
        tell(f"removed: {names(going)}")
    if staying:
        note(f"{staying:,} workflows that did not come through FireWorks' commands stay")


def _agreed(going: list[Workflow], password: str | None) -> None:
    today = date.today().isoformat()
    if password is not None:
        if password != today:
            raise Refused(
                f"--password {password:.40} is not today's date: nothing is removed", hint=f"--password {today}"
            )
        return
    question = f"Are you sure? This will RESET {len(going):,} workflows and all data. (Y/N) "
    click.echo(question, nl=False, err=True)
    if sys.stdin.readline().strip().upper() not in ("Y", "YES"):
        raise Refused("nothing is removed: it needs a Y", hint=f"--password {today} asks nothing")
