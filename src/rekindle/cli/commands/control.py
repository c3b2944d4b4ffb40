"""`rekindle cancel`, `hold` and `release`: end jobs, or keep them from starting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from rekindle.cli.options import check_text, json_option
from rekindle.cli.output import attempt_text, json_output, terminal
from rekindle.cli.selection_options import required_selection, selection_options
from rekindle.cli.sessions import opened, reconciled
from rekindle.engine.queries import selections
from rekindle.engine.rerun import control
from rekindle.engine.running import reconcile

if TYPE_CHECKING:
    from rekindle.domain.errors import RefusedJob
    from rekindle.query.selections import SelectionFlags

_note_option = click.option(
    "--note", metavar="TEXT", callback=check_text, help="Keep a note with the event; `events list` and `why` show it."
)


@click.command()
@selection_options
@_note_option
@json_option
def cancel(flags: SelectionFlags, note: str | None, as_json: bool) -> None:
    """End running jobs, and keep others from starting: the jobs of a SELECTION.

    \b
    Example:
      rekindle cancel -w sweep
      rekindle cancel 4-9 --note 'wrong input'
    """
    selection = required_selection(flags, "cancel")
    with opened() as session:
        done = reconcile.cancel(session, selection, note)
    for one in done.reconciled:
        click.echo(terminal.one_line(one.summary), err=True)
    _note_moved(done.moved)
    if as_json:
        document = {"canceled": done.now, "asked": done.asked, "ended": done.ended, "left_out": done.left_out}
        json_output.emit({key: list(jobs) for key, jobs in document.items()})
    else:
        _print_groups(
            (done.now, "canceled before starting"),
            (done.over, "stopped while running"),
            ([job for job in done.asked if job not in done.over], "running, being ended"),
            (done.ended, "already ended"),
            (done.left_out, "no longer waiting for canaries"),
        )


@click.command()
@selection_options
@click.option(
    "--reason", "--note", default="held", metavar="TEXT", callback=check_text, help="Show this text beside the jobs."
)
@json_option
def hold(flags: SelectionFlags, reason: str, as_json: bool) -> None:
    """Keep jobs from starting until they are released: the jobs of a SELECTION. Running jobs continue to their end.

    \b
    Example:
      rekindle hold -n 'train*' --reason 'waiting for the licence'
    """
    selection = required_selection(flags, "hold")
    with reconciled() as session:
        done = control.hold(session, selection, reason)
    _note_moved(done.moved)
    if as_json:
        json_output.emit({"held": list(done.changed), "already": list(done.already)})
    else:
        _print_groups((done.changed, "held"), (done.already, "already held"))


@click.command()
@selection_options
@_note_option
@json_option
def release(flags: SelectionFlags, note: str | None, as_json: bool) -> None:
    """Let held jobs start again: the jobs of a SELECTION.

    \b
    Example:
      rekindle release -f held=true
    """
    selection = required_selection(flags, "release")
    with reconciled() as session:
        done = control.release(session, selection, note)
    _note_moved(done.moved)
    if as_json:
        json_output.emit({"released": list(done.changed), "already": list(done.already)})
    else:
        _print_groups((done.changed, "released"), (done.already, "not held"))


def _note_moved(moved: Sequence[RefusedJob]) -> None:
    if moved:
        click.echo(f"left alone: {terminal.one_line(selections.moved_text(moved))}", err=True)


def _print_groups(*groups: tuple[Sequence[int], str]) -> None:
    if not any(jobs for jobs, _ in groups):
        click.echo("nothing selected")
    for jobs, what in groups:
        if jobs:
            listed = terminal.cut(attempt_text.id_ranges(jobs), 40)
            click.echo(f"{terminal.plural(len(jobs), 'job')} {what}: {listed}")
