"""`rekindle reset` and `accept`: archive and hold jobs, or accept their changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rekindle.cli.options import check_text, json_option, plan_options
from rekindle.cli.output import json_output
from rekindle.cli.output.file_progress import reading_progress
from rekindle.cli.output.plans import (
    FIRST,
    confirm,
    draw_changed,
    draw_plan,
    draw_refused,
    plan_index,
    print_nothing,
)
from rekindle.cli.output.workflow_notes import note_other_folders
from rekindle.cli.selection_options import required_selection, selection_options
from rekindle.cli.sessions import reconciled
from rekindle.domain.errors import PlanRefused
from rekindle.engine.queries import selections, workflow_queries
from rekindle.engine.rerun import rerun as engine
from rekindle.engine.rerun.accept import accept as accept_jobs
from rekindle.engine.rerun.restart import plan_reset
from rekindle.engine.results import AcceptedChanges
from rekindle.presentation import documents, words
from rekindle.presentation.plans import applied_text
from rekindle.query.selections import SelectionFlags

if TYPE_CHECKING:
    from rekindle.engine.results import AcceptedChanges
    from rekindle.query.selections import SelectionFlags


@click.command()
@selection_options
@click.option("--cancel-running", is_flag=True, help="Cancel running jobs first.")
@plan_options
@json_option
def reset(
    flags: SelectionFlags,
    cancel_running: bool,
    note: str | None,
    dry_run: bool,
    yes: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Archive a SELECTION and hold it until `restart` or `release`.

    Every job that needs one of these is reset too, and waits for them. Attempts are archived; `rekindle undo` undoes
    the reset.

    \b
    Example:
      rekindle reset -s failed --dry-run
      rekindle reset 4-9 --yes --note 'the disk was full'
    """
    selection = required_selection(flags, "reset")
    with reconciled() as session:
        try:
            with reading_progress() as on_read:
                chosen = selections.select_stale(session, selection, on_read) if selection.changed else selection
            request = {"selection": flags.typed()}
            proposal = plan_reset(session, chosen, request, note, cancel_running=cancel_running)
        except PlanRefused as refusal:
            if not refusal.refused:
                print_nothing(as_json, "nothing is stale" if selection.changed else "nothing selected")
                return 0
            note_other_folders(workflow_queries.owners(session, [one.id for one in refusal.refused]))
            refusal.document = documents.nothing_planned(refusal.refused)
            raise
        note_other_folders(proposal.workflows)
        if not as_json:
            draw_plan(proposal.plan, proposal.children, plan_index(session, proposal.plan), verbose=verbose)
        if dry_run:
            if as_json:
                json_output.emit(documents.plan(proposal.plan, None))
            else:
                click.echo("a dry run: nothing is changed")
            return 0
        confirm(yes, (lambda: documents.plan(proposal.plan, None)) if as_json else None)
        applied = engine.apply(session, proposal)
        if as_json:
            json_output.emit(documents.plan(applied.plan, applied.rerun))
        else:
            click.echo(applied_text(applied))
        return 0


@click.command()
@selection_options
@click.option("--note", metavar="TEXT", callback=check_text, help="Keep a note with the record, for the history.")
@click.option("-v", "--verbose", is_flag=True, help="Show every row of a long list.")
@json_option
def accept(flags: SelectionFlags, note: str | None, verbose: bool, as_json: bool) -> int:
    """Accept the changes of a SELECTION, so that it is not stale.

    The current inputs, definition and code replace those that the attempts recorded. Use this for changes without
    effect: a comment, a renamed variable. Nothing runs; `rekindle undo` undoes the acceptance.

    \b
    Example:
      rekindle accept train --note 'only a comment'
      rekindle accept -w sweep --changed
    """
    selection = required_selection(flags, "accept", "--changed")
    with reconciled() as session:
        try:
            with reading_progress() as on_read:
                done = accept_jobs(session, selection, {"selection": flags.typed()}, note, on_read)
        except PlanRefused as refusal:
            note_other_folders(workflow_queries.owners(session, [one.id for one in refusal.refused]))
            refusal.document = documents.nothing_planned(refusal.refused) | {"current": []}
            raise
        if not (done.plan.jobs or done.plan.refused or done.current):
            if as_json:
                json_output.emit(documents.nothing_planned() | {"current": []})
            else:
                click.echo("nothing is stale" if selection.changed else "nothing selected")
            return 0
        answered = [*(job.id for job in done.plan.jobs), *(job.id for job in done.plan.refused), *done.current]
        note_other_folders(workflow_queries.owners(session, answered))
    if as_json:
        json_output.emit(documents.plan(done.plan, done.rerun) | {"current": list(done.current)})
    else:
        _print_accepted(done, None if verbose else FIRST)
    return 0


def _print_accepted(done: AcceptedChanges, most: int | None) -> None:
    if done.plan.jobs:
        draw_changed(done.plan.jobs, most, "ACCEPTED")
    if done.plan.refused:
        click.echo("\nrefused:")
        draw_refused(done.plan.refused, most)
    if done.rerun is None:
        click.echo("nothing is stale: there is nothing to accept")
        return
    current = f"; {len(done.current):,} current already" if done.current else ""
    click.echo(f"\nrerun {done.rerun} is recorded: {words.plural(len(done.plan.jobs), 'job')} accepted{current}")
