"""`rekindle status`: show workflows and runners."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from rekindle.cli.options import json_option, workflow_option
from rekindle.cli.output import attempt_text, terminal
from rekindle.cli.output.pages import emit_rows, page_options, print_page_note
from rekindle.cli.output.terminal import Column
from rekindle.cli.output.workflow_notes import held_lines, spec_note
from rekindle.cli.sessions import reconciled
from rekindle.domain.states import State
from rekindle.domain.verdicts import VerdictLevel
from rekindle.engine.queries import workflow_queries

if TYPE_CHECKING:
    from rekindle.engine.results import DeadRunner, PageRequest, WorkflowStatus

_BAR = 40
_SIGNS = ((State.COMPLETED, "green"), (State.FAILED, "red"), (State.CANCELED, "magenta"))


@click.command()
@workflow_option
@page_options
@json_option
def status(workflow: str | None, page: PageRequest, as_json: bool) -> None:
    """Show each workflow at a glance: its state, counts by job state, time, failures, and whether a runner is alive.

    \b
    Example:
      rekindle status
      rekindle status -w sweep --json
    """
    with reconciled(looks=True) as session:
        every = workflow_queries.status(session, workflow)
    found = page.of(every)
    if as_json:
        from rekindle.cli.output import json_output

        emit_rows("workflows", map(json_output.workflow_status, found))
        return
    if not every:
        click.echo("no workflows: `rekindle run SPEC` runs one")
        return
    click.echo(_lines(found))
    for one in found:
        _details(one, several=len(found) > 1)
    _runners(every)
    print_page_note(page, len(found), len(every), "workflow")


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
    return terminal.table(columns, [_cells(one) for one in found])


def _cells(one: WorkflowStatus) -> tuple[str, ...]:
    total, completed = sum(one.counts.values()), one.counts.get(State.COMPLETED, 0)
    counts = ", ".join(f"{number:,} {state.label}" for state, number in sorted(one.counts.items()) if number)
    return (
        str(one.workflow.id),
        one.workflow.name,
        one.state,
        f"{total:,}",
        f"{100 * completed // total if total else 100}%",
        terminal.duration(one.seconds),
        counts,
    )


def _details(one: WorkflowStatus, *, several: bool) -> None:
    """Print the bar, failures, holds and waits of a workflow, and whether its spec file has changed."""
    bar = _bar(one) if sys.stdout.isatty() else ""
    note = spec_note(one.workflow, one.spec)
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
    click.echo(f"\n{terminal.one_line(one.workflow.name)}" if several else "")
    if bar:
        click.echo(f"  {bar}")
    if one.failures:
        click.echo(attempt_text.failures_table(one.failures, indent=2, most=5))
    if one.overtaken:
        are, they = ("is", "it needs") if one.overtaken == 1 else ("are", "they need")
        jobs = terminal.plural(one.overtaken, "completed job")
        click.echo(f"  {jobs} {are} stale: {they} a job that is not done")
        click.echo(f"    why: rekindle why -w {one.workflow.id} --changed")
    if one.found:
        click.echo(
            f"  found: {', '.join(f'{one.found[word]:,} {word.value}' for word in VerdictLevel if word in one.found)}"
        )
    if one.delayed:
        click.echo(f"  {one.delayed:,} wait{'s' if one.delayed == 1 else ''} for a retry")
    if one.leaving:
        have = "has" if one.leaving == 1 else "have"
        click.echo(
            f"  {terminal.plural(one.leaving, 'canceled attempt')} {have} not ended: jobs that would disturb it wait"
        )
    if one.unfit or one.canaries:
        from rekindle.cli.output import waits

        for line in waits.unfit_lines(one.unfit):
            click.echo(f"  {line}")
        for group in one.canaries:
            click.echo(f"  {waits.canary_line(group)}")
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
    """Print the runners that are alive, the dead ones with orphaned attempts, and whether ready jobs need a runner."""
    alive = {runner.id: runner for one in found for runner in one.runners}
    for runner in alive.values():
        slots = terminal.plural(runner.slots, "slot")
        since = terminal.full_time(runner.started)
        click.echo(f"\nrunner {runner.id} is alive: {runner.host}, pid {runner.pid}, {slots}, since {since}")
    dead = {one.runner.id: one for status in found for one in status.dead_runners}
    for one in dead.values():
        click.echo(f"\n{_dead_runner(one)}")
    waiting = sum(one.counts.get(State.READY, 0) - sum(one.held.values()) for one in found)
    if waiting and not alive:
        click.echo(f"\n{waiting:,} ready; no runner is alive: rekindle work")


_DEATHS = {
    "gone": "is dead",
    "elsewhere": "works on the store that this one was copied from",
    "expired": "has let its lease expire",
    "superseded": "was taken for dead, and does not know yet",
}


def _dead_runner(one: DeadRunner) -> str:
    who = f"runner {one.runner.id} ({one.runner.host}, pid {one.runner.pid}) {_DEATHS[one.why]}"
    if one.keeper is not None:
        return f"{who}; runner {one.keeper} resolves its attempts"
    return f"{who}; no runner resolves its attempts: rekindle work"
