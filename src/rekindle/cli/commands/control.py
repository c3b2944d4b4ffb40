"""`rekindle cancel`, `hold` and `release`: what is done to jobs beside running them."""

from __future__ import annotations

from collections.abc import Sequence

import click

from rekindle.cli.opening import opened
from rekindle.cli.options import check_text, json_option, selection_options, wanted_to_act
from rekindle.cli.reconciling import reconciled
from rekindle.cli.showing import drawing, explaining, shapes
from rekindle.engine.looking import look
from rekindle.engine.rerunning import control
from rekindle.engine.running import reconciling
from rekindle.query.selections import Flags

_note_option = click.option(
    "--note", metavar="TEXT", callback=check_text, help="Kept with the event; `events list` and `why` show it."
)


@click.command()
@selection_options
@_note_option
@json_option
def cancel(flags: Flags, note: str | None, as_json: bool) -> None:
    """End jobs that run, and keep others from starting: those of a SELECTION.

    \b
    Example:
      rekindle cancel -w sweep
      rekindle cancel 4-9 --note 'wrong input'
    """
    selection = wanted_to_act(flags, "cancel")
    with opened() as session:
        done = reconciling.cancel(session, look.select(session, selection), note)
    for one in done.reconciled:
        click.echo(drawing.flat(one.summary), err=True)
    if as_json:
        told = {"canceled": done.now, "asked": done.asked, "ended": done.ended, "left_out": done.left_out}
        shapes.emit({key: list(jobs) for key, jobs in told.items()})
    else:
        _tell(
            (done.now, "canceled before starting"),
            (done.over, "stopped while running"),
            ([job for job in done.asked if job not in done.over], "running, being ended"),
            (done.ended, "already ended"),
            (done.left_out, "no longer waiting for canaries"),
        )


@click.command()
@selection_options
@click.option("--reason", "--note", default="held", metavar="TEXT", callback=check_text, help="Shown beside the jobs.")
@json_option
def hold(flags: Flags, reason: str, as_json: bool) -> None:
    """Keep jobs from starting until they are released: those of a SELECTION. What runs goes on to its end.

    \b
    Example:
      rekindle hold -n 'train*' --reason 'waiting for the licence'
    """
    selection = wanted_to_act(flags, "hold")
    with reconciled() as session:
        done = control.hold(session, look.select(session, selection), reason)
    if as_json:
        shapes.emit({"held": list(done.changed), "already": list(done.already)})
    else:
        _tell((done.changed, "held"), (done.already, "already held"))


@click.command()
@selection_options
@_note_option
@json_option
def release(flags: Flags, note: str | None, as_json: bool) -> None:
    """Let held jobs start again: those of a SELECTION.

    \b
    Example:
      rekindle release -f held=true
    """
    selection = wanted_to_act(flags, "release")
    with reconciled() as session:
        done = control.release(session, look.select(session, selection), note)
    if as_json:
        shapes.emit({"released": list(done.changed), "already": list(done.already)})
    else:
        _tell((done.changed, "released"), (done.already, "not held"))


def _tell(*groups: tuple[Sequence[int], str]) -> None:
    if not any(jobs for jobs, _ in groups):
        click.echo("nothing selected")
    for jobs, what in groups:
        if jobs:
            listed = drawing.cut(explaining.ids(jobs), 40)
            click.echo(f"{drawing.many(len(jobs), 'job')} {what}: {listed}")
