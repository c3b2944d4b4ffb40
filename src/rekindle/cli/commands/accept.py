"""`rekindle accept`: what changed is cosmetic."""

from __future__ import annotations

import click

from rekindle.cli.commands.rerun import tell_elsewhere
from rekindle.cli.options import check_text, json_option, selection_options, wanted_to_act
from rekindle.cli.reconciling import reconciled
from rekindle.cli.showing import drawing, shapes
from rekindle.cli.showing.planshow import FIRST, draw_accepted, draw_refused
from rekindle.cli.showing.reading import reading_shown
from rekindle.domain.errors import PlanRefused
from rekindle.engine.looking import look
from rekindle.engine.looking.whereabouts import workflows_of
from rekindle.engine.rerunning.accepting import accept as accept_jobs
from rekindle.engine.results import Accepted
from rekindle.query.selections import Flags


@click.command()
@selection_options
@click.option(
    "--note", metavar="TEXT", callback=check_text, help="Kept with the record, for whoever reads the history."
)
@click.option("-v", "--verbose", is_flag=True, help="Show every row of a long list.")
@json_option
def accept(flags: Flags, note: str | None, verbose: bool, as_json: bool) -> int:
    """Let what changed count as the same, for a SELECTION.

    What the jobs depend on as it is now takes the place of what their attempts recorded, so that they are stale no
    more. For changes that cannot matter: a comment, a renamed variable. Nothing runs; `rekindle undo` takes it back.

    \b
    Example:
      rekindle accept train --note 'only a comment'
      rekindle accept -w sweep --changed
    """
    selection = wanted_to_act(flags, "accept", "--changed")
    with reconciled() as session:
        with reading_shown() as tell:
            ids = look.select(session, selection, tell)
        if not ids:
            if as_json:
                shapes.emit(shapes.nothing_planned() | {"current": []})
            else:
                click.echo("nothing is stale" if selection.changed else "nothing selected")
            return 0
        tell_elsewhere(session, workflows_of(session, ids))
        try:
            with reading_shown() as tell:
                done = accept_jobs(session, ids, {"selection": flags.typed()}, note, tell)
        except PlanRefused as refusal:
            if as_json:
                shapes.emit(shapes.nothing_planned(refusal.refused) | {"current": []})
            raise
    if as_json:
        shapes.emit(shapes.plan(done.plan, done.rerun) | {"current": list(done.current)})
    else:
        _tell(done, None if verbose else FIRST)
    return 0


def _tell(done: Accepted, most: int | None) -> None:
    if done.plan.jobs:
        draw_accepted(done.plan.jobs, most)
    if done.plan.refused:
        click.echo("\nrefused:")
        draw_refused(done.plan.refused, most)
    if done.rerun is None:
        click.echo("nothing is stale: there is nothing to accept")
        return
    current = f"; {len(done.current):,} current already" if done.current else ""
    click.echo(f"\nrerun {done.rerun} is recorded: {drawing.many(len(done.plan.jobs), 'job')} accepted{current}")
