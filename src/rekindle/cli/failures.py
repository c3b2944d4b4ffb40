"""`rekindle failures`."""

from __future__ import annotations

import click

from rekindle.cli import drawing, explaining, shapes
from rekindle.cli.opening import opened
from rekindle.cli.options import json_option, workflow_option
from rekindle.engine import look


@click.command()
@workflow_option
@json_option
def failures(workflow: str | None, as_json: bool) -> None:
    """Group failed attempts by how they failed, the largest group first.

    \b
    Example:
      rekindle failures -w sweep
      rekindle rerun --signature 3f9a0c
    """
    with opened() as session:
        groups = look.failures(session, workflow)
    if as_json:
        shapes.emit({"failures": [shapes.failure(group) for group in groups]})
        return
    if not groups:
        click.echo("no failures")
        return
    click.echo(explaining.group_lines(groups))
    jobs = drawing.many(len({job for group in groups for job in group.jobs}), "job")
    click.echo(f"\n{jobs} failed. `rekindle jobs show ID` tells more of one; run them again with")
    click.echo(f"  rekindle rerun --signature {groups[0].signature[:10]}    the first kind\n  rekindle rerun -s failed")
