"""`rekindle status`: show workflows and runners."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from rekindle.cli.options import json_option, read_duration, workflow_option
from rekindle.cli.output import terminal
from rekindle.cli.output.pages import page_options, print_page_note
from rekindle.cli.output.terminal import Column
from rekindle.cli.sessions import reconciled
from rekindle.domain.errors import BadValue
from rekindle.domain.states import State
from rekindle.engine.queries import workflow_queries
from rekindle.presentation import words
from rekindle.presentation.workflows import dead_runner_line, element_wait_lines, status_lines

if TYPE_CHECKING:
    from rekindle.engine.results import JobNames, PageRequest, WorkflowStatus
    from rekindle.engine.session import Session

_BAR = 40
_INTERVAL = 2.0
_KINDS = 5
"""Kinds of failure of each workflow."""
_SIGNS = ((State.COMPLETED, "green"), (State.FAILED, "red"), (State.CANCELED, "magenta"))


@click.command()
@workflow_option
@click.option("--watch", "watching", is_flag=True, help="Show the status again at each change, until Ctrl-C.")
@click.option(
    "--interval",
    callback=read_duration,
    metavar="D",
    help="With --watch: look for changes at least this often. [default: 2s]",
)
@page_options
@json_option
def status(workflow: str | None, watching: bool, interval: float | None, page: PageRequest, as_json: bool) -> None:
    """Show each workflow at a glance: its state, counts by job state, time, failures, and whether a runner is alive.

    With --watch the status is drawn in place on a terminal. Elsewhere it is printed again at each change, with --json
    as one document a line. Ctrl-C ends the watch with exit code 0.

    \b
    Example:
      rekindle status
      rekindle status -w sweep --json
      rekindle status --watch
    """
    if interval is not None and interval <= 0:
        raise BadValue(f"--interval {interval:g}s is not more than 0", hint="--interval 2s")
    with reconciled(looks=True) as session:
        if watching:
            from rekindle.cli.output.watching import watch

            watch(session, lambda: _view(session, workflow, page, as_json), interval or _INTERVAL, in_place=not as_json)
            return
        if as_json:
            from rekindle.cli.output import json_output
            from rekindle.presentation import answers

            json_output.emit_list(answers.status(session, workflow, page))
            return
        every = workflow_queries.status(session, workflow)
        found = page.of(every)
        click.echo("\n".join(_text(session, every, found)))
    print_page_note(page, len(found), len(every), "workflow")


def _view(session: Session, workflow: str | None, page: PageRequest, as_json: bool) -> tuple[object, str]:
    """Return the document without running times, and the text or the whole document in one line."""
    import json

    from rekindle.presentation import answers

    document = answers.status(session, workflow, page)
    content = [{**one, "seconds": None} for one in document["workflows"]]
    if as_json:
        return content, json.dumps(document)
    every = workflow_queries.status(session, workflow)
    return content, "\n".join(_text(session, every, page.of(every)))


def _text(session: Session, every: Sequence[WorkflowStatus], found: Sequence[WorkflowStatus]) -> Iterator[str]:
    """Yield the lines of the status of the workflows that are `found` on the page."""
    if not every:
        yield "no workflows: `rekindle run SPEC` runs one"
        return
    names = _names(session, [group.jobs for one in found for group in one.failures[:_KINDS]])
    yield _lines(found)
    for one in found:
        yield from _details(one, names, several=len(found) > 1)
    yield from _runners(every)


def _names(session: Session, groups: Sequence[Sequence[int]]) -> JobNames | None:
    if not groups:
        return None
    return workflow_queries.names_of_groups(session, groups)


def _lines(found: Sequence[WorkflowStatus]) -> str:
    columns = [
        Column("ID", right=True),
        Column("NAME", cut="middle", keep=True),
        Column("STATE"),
        Column("JOBS", right=True),
        Column("DONE", right=True, optional=True),
        Column("TIME", right=True, optional=True),
        Column("COUNTS", cut="end"),
    ]
    return terminal.table(columns, [_cells(one) for one in found])


def _cells(one: WorkflowStatus) -> tuple[str, ...]:
    total, completed = sum(one.counts.values()), one.counts.get(State.COMPLETED, 0)
    return (
        str(one.workflow.id),
        one.workflow.name,
        one.state,
        f"{total:,}",
        f"{100 * completed // total if total else 100}%",
        words.duration(one.seconds),
        words.state_counts(one.counts.items(), urgent_first=True),
    )


def _details(one: WorkflowStatus, names: JobNames | None, *, several: bool) -> Iterator[str]:
    """Yield the bar, failures, holds and waits of a workflow, and whether its spec file has changed."""
    bar = _bar(one) if sys.stdout.isatty() else ""
    lines = list(status_lines(one, terminal.coloured))
    if not (bar or one.failures or lines):
        return
    yield f"\n{words.one_line(one.workflow.name)}" if several else ""
    if bar:
        yield f"  {bar}"
    if one.failures and names is not None:
        from rekindle.cli.output import attempt_tables

        yield attempt_tables.failures_table(one.failures, names, indent=2, most=_KINDS)
    for line in lines:
        yield f"  {line}"


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


def _runners(found: Sequence[WorkflowStatus]) -> Iterator[str]:
    """Yield the runners that are alive, the dead ones with orphaned attempts, and whether ready jobs need a runner."""
    alive = {runner.id: runner for one in found for runner in one.runners}
    for runner in alive.values():
        slots = words.plural(runner.slots, "slot")
        since = words.full_time(runner.started)
        yield f"\nrunner {runner.id} is alive: {runner.host}, pid {runner.pid}, {slots}, since {since}"
    dead = {one.runner.id: one for status in found for one in status.dead_runners}
    for one in dead.values():
        yield f"\n{dead_runner_line(one)}"
    waits = [line for status in found[:1] for line in element_wait_lines(status.element_waits)]
    if waits:
        yield "\n" + "\n".join(waits)
    waiting = sum(one.counts.get(State.READY, 0) - sum(one.held.values()) for one in found)
    if waiting and not alive:
        yield f"\n{waiting:,} ready; no runner is alive: rekindle work"
