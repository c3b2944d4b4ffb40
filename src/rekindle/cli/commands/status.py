"""`rekindle status`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from rekindle.cli.options import json_option, workflow_option
from rekindle.cli.reconciling import reconciled
from rekindle.cli.showing import canaries, drawing, explaining, shapes, waiting
from rekindle.cli.showing.drawing import Column
from rekindle.cli.showing.lists import emit_rows, page_options, tell_page
from rekindle.cli.showing.specnote import spec_note
from rekindle.cli.showing.working import held_lines
from rekindle.domain.states import State
from rekindle.domain.verdicts import Word
from rekindle.engine.looking import look
from rekindle.engine.looking.lists import Page
from rekindle.engine.results import DeadRunner, WorkflowStatus

_BAR = 40
_SIGNS = ((State.COMPLETED, "green"), (State.FAILED, "red"), (State.CANCELED, "magenta"))


@click.command()
@workflow_option
@page_options
@json_option
def status(workflow: str | None, page: Page, as_json: bool) -> None:
    """Show each workflow at a glance: its state, counts by job state, time, failures, and whether a runner is alive.

    \b
    Example:
      rekindle status
      rekindle status -w sweep --json
    """
    with reconciled(looks=True) as session:
        every = look.status(session, workflow)
    found = page.of(every)
    if as_json:
        emit_rows("workflows", map(shapes.workflow_status, found))
        return
    if not every:
        click.echo("no workflows: `rekindle run SPEC` runs one")
        return
    click.echo(_lines(found))
    for one in found:
        _beneath(one, several=len(found) > 1)
    _runners(every)
    tell_page(page, len(found), len(every), "workflow")


def _lines(found: Sequence[WorkflowStatus]) -> str:
    columns = [
        Column("ID", right=True),
        Column("NAME", cut="middle", keep=True),
        Column("STATE"),
        Column("JOBS", right=True),
        Column("DONE", right=True),
        Column("TIME", right=True),
        Column("COUNTS", cut="end"),
    ]
    return drawing.table(columns, [_cells(one) for one in found])


def _cells(one: WorkflowStatus) -> tuple[str, ...]:
    total, completed = sum(one.counts.values()), one.counts.get(State.COMPLETED, 0)
    counts = ", ".join(f"{number:,} {state.label}" for state, number in sorted(one.counts.items()) if number)
    return (
        str(one.workflow.id),
        one.workflow.name,
        one.state,
        f"{total:,}",
        f"{100 * completed // total if total else 100}%",
        drawing.lasting(one.seconds),
        counts,
    )


def _beneath(one: WorkflowStatus, *, several: bool) -> None:
    """What else there is to say of a workflow: its bar, failures, and whether its spec file has changed."""
    bar = _bar(one) if sys.stdout.isatty() else ""
    note = spec_note(one)
    if not (
        bar
        or one.failures
        or one.overtaken
        or one.held
        or one.delayed
        or one.leaving
        or one.unfit
        or one.found
        or one.canaries
        or note
    ):
        return
    click.echo(f"\n{drawing.flat(one.workflow.name)}" if several else "")
    if bar:
        click.echo(f"  {bar}")
    if one.failures:
        click.echo(explaining.group_lines(one.failures, indent=2, most=5))
    if one.overtaken:
        are, they = ("is", "it needs") if one.overtaken == 1 else ("are", "they need")
        jobs = drawing.many(one.overtaken, "completed job")
        click.echo(f"  {jobs} {are} stale: {they} a job that is not done")
        click.echo(f"    why: rekindle why -w {one.workflow.id} --changed")
    if one.found:
        click.echo(f"  found: {', '.join(f'{one.found[word]:,} {word.value}' for word in Word if word in one.found)}")
    if one.delayed:
        click.echo(f"  {one.delayed:,} wait{'s' if one.delayed == 1 else ''} for a retry")
    if one.leaving:
        have = "has" if one.leaving == 1 else "have"
        click.echo(f"  {drawing.many(one.leaving, 'canceled attempt')} {have} not ended: what would disturb it waits")
    for line in waiting.unfit_lines(one.unfit):
        click.echo(f"  {line}")
    for group in one.canaries:
        click.echo(f"  {canaries.line(group)}")
    for line in held_lines(one.held, str(one.workflow.id)):
        click.echo(f"  {line}")
    if note:
        click.echo(f"  {note[0]}")
        click.echo(f"    look: {note[1]}")


def _bar(one: WorkflowStatus) -> str:
    total = sum(one.counts.values())
    if not total:
        return ""
    drawn, used, jobs = "", 0, 0
    for state, colour in _SIGNS:
        jobs += one.counts.get(state, 0)
        end = _BAR * jobs // total
        if end > used:
            drawn += click.style("█" * (end - used), fg=colour)
        used = end
    return drawn + (click.style("░" * (_BAR - used), dim=True) if used < _BAR else "")


def _runners(found: Sequence[WorkflowStatus]) -> None:
    """Whether anybody runs what is ready, and takes up what dead runners have left."""
    alive = {runner.id: runner for one in found for runner in one.runners}
    for runner in alive.values():
        slots = drawing.many(runner.slots, "slot")
        since = drawing.clock_time(runner.started)
        click.echo(f"\nrunner {runner.id} is alive: {runner.host}, pid {runner.pid}, {slots}, since {since}")
    dead = {one.runner.id: one for status in found for one in status.dead_runners}
    for one in dead.values():
        click.echo(f"\n{_dead(one)}")
    waiting = sum(one.counts.get(State.READY, 0) - sum(one.held.values()) for one in found)
    if waiting and not alive:
        click.echo(f"\n{waiting:,} ready; no runner is alive: rekindle work")


_WHY = {
    "gone": "is dead",
    "elsewhere": "works on the store that this one was copied from",
    "expired": "has let its lease expire",
    "superseded": "was taken for dead, and does not know yet",
}


def _dead(one: DeadRunner) -> str:
    who = f"runner {one.runner.id} ({one.runner.host}, pid {one.runner.pid}) {_WHY[one.why]}"
    if one.keeper is not None:
        return f"{who}; runner {one.keeper} sees to what it left"
    return f"{who}; nobody sees to what it left: rekindle work"
