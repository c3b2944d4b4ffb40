"""`rekindle undo`."""

from __future__ import annotations

from collections import Counter

import click

from rekindle.cli.options import json_option
from rekindle.cli.reconciling import reconciled
from rekindle.cli.showing import drawing, shapes
from rekindle.engine.rerunning import rerun as engine


@click.command()
@click.argument("rerun", required=False, type=click.IntRange(min=1), metavar="[RERUN]")
@json_option
def undo(rerun: int | None, as_json: bool) -> None:
    """Take a rerun back: the newest that you asked for (`rerun`, `restart`, `reset`, `accept`), or RERUN. Refused once
    anything that it reset has started.

    \b
    Example:
      rekindle undo
      rekindle undo 3
    """
    with reconciled() as session:
        undone = engine.undo(session, rerun)
    if as_json:
        jobs = [{"id": number, "name": name, "state": state.label} for number, name, state in undone.jobs]
        shapes.emit({"rerun": undone.rerun, "jobs": jobs, "restored": list(undone.restored)})
        return
    counts = Counter(state for _, _, state in undone.jobs)
    jobs_back = drawing.many(len(undone.jobs), "job")
    if undone.restored:
        click.echo(f"{drawing.many(len(undone.restored), 'file')} put back")
    click.echo(f"rerun {undone.rerun} is undone: {jobs_back} back: {drawing.counted(counts.items())}")
