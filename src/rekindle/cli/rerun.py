"""`rekindle rerun`: plan, show, ask, apply."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import click

from rekindle.cli import drawing, shapes
from rekindle.cli.howoptions import how_options
from rekindle.cli.opening import opened
from rekindle.cli.options import json_option, selection_options, wanted_to_act
from rekindle.cli.planshow import draw_plan
from rekindle.cli.reading import reading_shown
from rekindle.cli.subtasks import FanOutFlags, fan_out_options
from rekindle.cli.working import work_shown
from rekindle.domain.asking import how_to_json
from rekindle.domain.errors import PlanRefused, Refused, UsageError
from rekindle.domain.quantities import format_size
from rekindle.domain.rerun import How, Reason
from rekindle.domain.selection import Selection
from rekindle.engine import look, staleness
from rekindle.engine import rerun as engine
from rekindle.engine.results import Applied, Proposal, WorkOptions
from rekindle.engine.session import Session
from rekindle.engine.whereabouts import workflows_of
from rekindle.query.selections import Flags


@click.command()
@selection_options
@how_options
@fan_out_options
@click.option("--note", metavar="TEXT", help="Kept with the rerun, for whoever reads the history.")
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@click.option("--save-plan", type=click.Path(path_type=Path), metavar="FILE", help="Save the plan; do not apply it.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--work", "and_work", is_flag=True, help="Run it at once.")
@click.option("-j", "--jobs", "slots", type=click.IntRange(min=1), metavar="N", help="With --work: N jobs at once.")
@click.option("-v", "--verbose", is_flag=True, help="Show every row of a long plan.")
@json_option
def rerun(
    flags: Flags,
    how: How,
    fan_out: FanOutFlags,
    note: str | None,
    dry_run: bool,
    save_plan: Path | None,
    yes: bool,
    and_work: bool,
    slots: int | None,
    verbose: bool,
    as_json: bool,
) -> int:
    """Plan a rerun of a SELECTION, show it, and apply it.

    The selected jobs run again, and every job that needs one of them (`--downstream changed` spares those for which
    nothing comes out different). Their earlier attempts are archived, never lost; `rekindle undo` takes the rerun back
    as long as nothing of it has started.

    \b
    Example:
      rekindle rerun -s failed --dry-run
      rekindle rerun -s failed --from failed-step --work -j 4
      rekindle rerun --error 'out of memory' --memory x2 --save-plan plan.json
      rekindle rerun train --set alpha=0.2 --work
      rekindle rerun prepare --downstream changed --work
      rekindle rerun train --definition pinned
      rekindle rerun slices --from failed-step --subtasks 0,3-5
      rekindle rerun slices --accept-partial
      rekindle rerun -w sweep --changed --work
    """
    selection = wanted_to_act(flags, "rerun")
    if slots is not None and not and_work:
        raise UsageError("-j says how to work", hint="add --work, or leave it out")
    with opened() as session:
        why = _changed(session, selection) if selection.changed else None
        ids = list(why) if why is not None else look.select(session, selection)
        if not ids:
            tell_nothing(as_json, "nothing is stale" if selection.changed else "nothing selected")
            return 0
        workflows = workflows_of(session, ids)
        tell_spec_changed(session, workflows)
        if why is not None:
            how = replace(how, keep_modified=True)  # what is modified is not stale for that: it stays
        proposal = _planned(session, ids, fan_out.how(how), flags, note, as_json, why)
        if not as_json:
            _tell_definition(session, proposal, workflows)
            draw_plan(proposal.plan, verbose=verbose)
        if save_plan is not None:
            engine.save(session, proposal, save_plan)
        if dry_run or save_plan is not None:
            _tell_kept(proposal, save_plan, as_json)
            return 0
        ask(yes, as_json)
        applied = engine.apply(session, proposal, saving_shown())
        if as_json:
            shapes.emit(shapes.plan(applied.plan, applied.rerun))
        return finish(session, applied, workflows, and_work, slots, as_json)


def _changed(session: Session, selection: Selection) -> Mapping[int, tuple[Reason, ...]]:
    """Those of the selected jobs that are stale, with the reasons; those of which nobody can know are counted."""
    ids = look.select(session, replace(selection, changed=False))
    with reading_shown() as tell:
        found = staleness.changed(session, ids, tell)
    if found.unknown:
        number = len(found.unknown)
        declare, are = ("declares", "is") if number == 1 else ("declare", "are")
        text = f"{drawing.many(number, 'job')} {declare} nothing to compare, and {are} left alone; -n NAME names {{}}"
        click.echo(text.format("it" if number == 1 else "them"), err=True)
    return found.stale


def _planned(
    session: Session,
    ids: list[int],
    how: How,
    flags: Flags,
    note: str | None,
    as_json: bool,
    why: Mapping[int, tuple[Reason, ...]] | None,
) -> Proposal:
    request = {"selection": flags.typed(), "how": how_to_json(how)}
    try:
        return engine.plan(session, [(ids, how)], request, note, why)
    except PlanRefused as refusal:
        if as_json:
            shapes.emit(shapes.nothing_planned(refusal.refused))
        raise


def tell_nothing(as_json: bool, text: str = "nothing selected") -> None:
    """That there is nothing to do, and why."""
    if as_json:
        shapes.emit(shapes.nothing_planned())
    else:
        click.echo(text)


def _tell_kept(proposal: Proposal, path: Path | None, as_json: bool) -> None:
    if as_json:
        shapes.emit(shapes.plan(proposal.plan, None))
    if path is not None:
        click.echo(f"saved: `rekindle apply {path}` applies it, unless its jobs have moved by then", err=as_json)
    elif not as_json:
        click.echo("a dry run: nothing is changed")


def ask(yes: bool, as_json: bool) -> None:
    """Refused when the user does not want it, or cannot be asked."""
    if yes:
        return
    if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused("nothing is changed: there is no terminal to ask on", hint="add --yes to apply the plan")
    if not click.confirm("Apply it?", err=True):
        raise Refused("nothing is changed")


def tell_spec_changed(session: Session, workflows: list[int]) -> None:
    """That the file on disk is not what runs."""
    for workflow in workflows:
        status = look.status(session, str(workflow))[0]
        if status.spec_changed:
            owner = status.workflow
            which = f"revision {owner.revision} of {drawing.flat(owner.name)}"
            click.echo(f"note: the spec file differs from {which}, which is what runs", err=True)
            click.echo(f"  hint: `rekindle submit {owner.source}` takes the file in first", err=True)


def _tell_definition(session: Session, proposal: Proposal, workflows: list[int]) -> None:
    """Which revision is meant, where there are several."""
    latest = {one: look.status(session, str(one))[0].workflow.revision for one in workflows}
    if max(latest.values()) == 1:
        return
    newest = ", ".join(sorted({f"revision {number}" for number in latest.values()}))
    pinned = look.revisions(session, [job.pinned_to for job in proposal.plan.jobs if job.pinned_to is not None])
    if not pinned:
        click.echo(f"definition: {newest}, the latest")
        return
    earlier = ", ".join(f"revision {number}" for number in pinned)
    click.echo(f"definition: pinned to {earlier} (the latest is {newest})")


def finish(
    session: Session, applied: Applied, workflows: list[int], and_work: bool, slots: int | None, as_json: bool
) -> int:
    """Say what was applied, and run it where that was asked for; the exit code."""
    if not as_json:
        tell_applied(applied, and_work=and_work)
    if not and_work:
        return 0
    only = str(workflows[0]) if len(workflows) == 1 else None
    return work_shown(session, WorkOptions(workflow=only, slots=slots), quiet=as_json).exit_code


def saving_shown() -> Callable[[int, int], None] | None:
    """Shows on a terminal how far the saving of outputs is."""
    if not sys.stderr.isatty():
        return None
    shown = 0.0

    def show(done: int, whole: int) -> None:
        nonlocal shown
        over = done >= whole
        if time.monotonic() - shown > _SHOWN_EVERY or (over and shown):
            shown = time.monotonic()
            text = f"\rsaving outputs: {format_size(done)} of {format_size(whole)}"
            click.echo(text + ("\n" if over else ""), err=True, nl=False)

    return show


_SHOWN_EVERY = 0.2


def tell_applied(applied: Applied, *, and_work: bool = False) -> None:
    """`rerun 3 is applied: 12 ready; no runner is alive: rekindle work`."""
    held = f", {applied.held:,} held until `rekindle restart`" if applied.held else ""
    text = f"rerun {applied.rerun} is applied: {applied.ready:,} ready{held}"
    if applied.ready and not applied.runner_alive and not and_work:
        text += "; no runner is alive: rekindle work"
    click.echo(text)
