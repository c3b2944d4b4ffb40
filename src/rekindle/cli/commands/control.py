"""`rekindle cancel`, `hold` and `release`: end jobs, or keep them from starting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from rekindle.cli.options import check_text, json_option
from rekindle.cli.output import json_output
from rekindle.cli.selection_options import required_selection, selection_options
from rekindle.cli.sessions import opened, reconciled
from rekindle.engine.queries import selections
from rekindle.engine.rerun import control
from rekindle.engine.running import reconcile
from rekindle.presentation import batch_documents, controls, words

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
    selection = required_selection(flags, "cancel", "-s running")
    with opened() as session:
        done = reconcile.cancel(session, selection, note)
    for one in done.reconciled:
        click.echo(words.one_line(one.summary), err=True)
    _note_moved(done.moved)
    if as_json:
        json_output.emit(batch_documents.canceled(done))
    else:
        _print(controls.canceled(done))


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
    selection = required_selection(flags, "hold", "-s ready")
    with reconciled() as session:
        done = control.hold(session, selection, reason)
    _note_moved(done.moved)
    if as_json:
        json_output.emit({"held": list(done.changed), "already": list(done.already)})
    else:
        _print(controls.held(done))


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
    selection = required_selection(flags, "release", "-f held=true")
    with reconciled() as session:
        done = control.release(session, selection, note)
    _note_moved(done.moved)
    if as_json:
        json_output.emit({"released": list(done.changed), "already": list(done.already)})
    else:
        _print(controls.released(done))


def _note_moved(moved: Sequence[RefusedJob]) -> None:
    if moved:
        click.echo(f"left alone: {words.one_line(selections.moved_text(moved))}", err=True)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)
