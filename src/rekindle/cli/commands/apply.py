"""`rekindle apply`."""

from __future__ import annotations

from pathlib import Path

import click

from rekindle.cli.commands.rerun import saving_shown, tell_applied
from rekindle.cli.options import json_option
from rekindle.cli.reconciling import reconciled
from rekindle.cli.showing import shapes
from rekindle.cli.showing.planshow import summary
from rekindle.engine.rerunning import rerun as engine


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@json_option
def apply(file: Path, as_json: bool) -> None:
    """Apply a plan that `rerun --save-plan` saved. Refused when any job that it touches has moved since.

    \b
    Example:
      rekindle rerun -s failed --save-plan plan.json
      rekindle apply plan.json
    """
    with reconciled() as session:
        applied = engine.apply(session, engine.load(session, file), saving_shown())
    if as_json:
        shapes.emit(shapes.plan(applied.plan, applied.rerun))
        return
    click.echo(summary(applied.plan))
    tell_applied(applied)
