"""`rekindle reset`: plan, show, ask, apply; what is reset waits for a restart."""

from __future__ import annotations

import click

from rekindle.cli.asking import ask
from rekindle.cli.commands.rerun import tell_applied, tell_elsewhere, tell_nothing
from rekindle.cli.options import json_option, plan_options, selection_options, wanted_to_act
from rekindle.cli.reconciling import reconciled
from rekindle.cli.showing import shapes
from rekindle.cli.showing.planshow import draw_plan
from rekindle.cli.showing.reading import reading_shown
from rekindle.domain.errors import PlanRefused
from rekindle.engine.looking import look
from rekindle.engine.looking.whereabouts import workflows_of
from rekindle.engine.rerunning import rerun as engine
from rekindle.engine.rerunning.resetting import plan_reset
from rekindle.query.selections import Flags


@click.command()
@selection_options
@click.option("--cancel-running", is_flag=True, help="Cancel those that run first.")
@plan_options
@json_option
def reset(
    flags: Flags, cancel_running: bool, note: str | None, dry_run: bool, yes: bool, verbose: bool, as_json: bool
) -> int:
    """Archive a SELECTION and hold it until `restart`, or `release`, lets it go.

    Everything that needs one of these jobs is reset too, and waits for them. Their attempts are kept; `rekindle undo`
    takes the reset back.

    \b
    Example:
      rekindle reset -s failed --dry-run
      rekindle reset 4-9 --yes --note 'the disk was full'
    """
    selection = wanted_to_act(flags, "reset")
    with reconciled() as session:
        with reading_shown() as tell:
            ids = look.select(session, selection, tell)
        if not ids:
            tell_nothing(as_json, "nothing is stale" if selection.changed else "nothing selected")
            return 0
        tell_elsewhere(session, workflows_of(session, ids))
        try:
            request = {"selection": flags.typed()}
            proposal = plan_reset(session, ids, request, note, cancel_running=cancel_running)
        except PlanRefused as refusal:
            if as_json:
                shapes.emit(shapes.nothing_planned(refusal.refused))
            raise
        if not as_json:
            draw_plan(proposal.plan, proposal.children, verbose=verbose)
        if dry_run:
            if as_json:
                shapes.emit(shapes.plan(proposal.plan, None))
            else:
                click.echo("a dry run: nothing is changed")
            return 0
        ask(yes, as_json)
        applied = engine.apply(session, proposal)
        if as_json:
            shapes.emit(shapes.plan(applied.plan, applied.rerun))
        else:
            tell_applied(applied)
        return 0
