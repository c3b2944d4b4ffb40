"""`rekindle attempts`: list and show; `diff` is in `attemptsdiff`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from rekindle.cli.lazy import Entry, LazyGroup
from rekindle.cli.opening import opened
from rekindle.cli.options import json_option, selection_options
from rekindle.cli.showing import drawing, explaining, reasons, shapes
from rekindle.cli.showing.lists import emit_rows, limit_options, page_options, print_table, tell_page
from rekindle.cli.showing.modified import modifications
from rekindle.cli.showing.subtasks import FIRST, subtasks_table
from rekindle.domain.acting import ActingSet
from rekindle.domain.changes.prints import Prints
from rekindle.domain.models import Attempt
from rekindle.domain.rerunning.rerun import Reason
from rekindle.domain.texts.quantities import format_size
from rekindle.domain.texts.secrets import masked_text
from rekindle.engine.acting import acted
from rekindle.engine.looking import lists, look
from rekindle.engine.looking.lists import Page
from rekindle.engine.looking.whereabouts import workdirs
from rekindle.query.selections import Flags, parse_selection

_HERE = "rekindle.cli.commands.attempts"

COMMANDS = {
    "list": Entry(f"{_HERE}:list_attempts", "List attempts, archived ones too."),
    "show": Entry(f"{_HERE}:show", "Show everything about an attempt."),
    "diff": Entry("rekindle.cli.commands.attemptsdiff:diff", "Show what differs between two attempts."),
}


@click.group("attempts", cls=LazyGroup, entries=COMMANDS)
def attempts() -> None:
    """List, show and compare attempts: every execution there has been. A rerun archives them and never removes any.

    \b
    Example:
      rekindle attempts list train
      rekindle attempts show 12
      rekindle attempts diff 12 15
    """


@click.command("list")
@selection_options
@click.option("--live", is_flag=True, help="Leave archived ones out.")
@page_options
@json_option
def list_attempts(flags: Flags, live: bool, page: Page, as_json: bool) -> None:
    """List attempts, archived ones too: of all jobs, or of a SELECTION, oldest first. Archived ones are marked.

    \b
    Example:
      rekindle attempts list -s failed
      rekindle attempts list train --live --json
    """
    selection = parse_selection(flags)
    with opened() as session:
        with lists.attempts(session, selection, page, live=live) as found:
            if as_json:
                parts = ((row.attempt, row.workdir, row.subtasks, row.retries, row.partial) for row in found.rows)
                emit_rows("attempts", (shapes.attempt(*each) for each in parts))
            elif found.total:
                rows = ((row.attempt, row.name, row.retries.get(row.attempt.id)) for row in found.rows)
                shown = print_table(explaining.ATTEMPT_COLUMNS, rows, explaining.attempt_cells)
                tell_page(page, shown, found.total, "attempt")
        if not (found.total or as_json):
            nobody = not selection.empty and not look.select(session, selection)
            click.echo("nothing selected" if nobody else "no attempts yet")


@click.command()
@click.argument("attempt", type=click.IntRange(min=1), metavar="ID")
@click.option("-v", "--verbose", is_flag=True, help="Show every file, and every subtask of a long fan-out.")
@limit_options
@json_option
def show(attempt: int, verbose: bool, page: Page | None, as_json: bool) -> None:
    """Show everything about an attempt: its files, its steps and their subtasks, times, cost, and how it failed.
    --limit and --offset bound the subtasks of each step.

    \b
    Example:
      rekindle attempts show 12
      rekindle attempts show 12 --limit 50 --offset 100
    """
    with opened() as session:
        found = look.attempt(session, attempt)
        workdir = workdirs(session, [found])[found.id]
        row = look.jobs(session, [found.job])[0]
        acting = acted.in_force(session, [found.job]).get(found.job)
        in_force = acting if acting is not None and acting.attempt == found.id else None
        copying, saved = look.copying(session, found), look.saved(session, found.id)
        prints, partial = look.prints(session, found.id), look.partial_outputs(session, [found.id])
        counts, (retries, _) = look.subtask_counts(session, [found]), look.retries(session, [found.job])
        subtasks = look.subtasks(session, found) if counts else {}
        steps = look.step_names(session, found) if counts else ()
        environment, spares = look.environment(session, found), look.leaves_running(session, found)
    if as_json:
        document = shapes.attempt(found, workdir, counts, retries, partial)
        names = list(in_force.names) if in_force else []
        told = {"done": copying[0], "whole": copying[1]} if copying else None
        more = {"actions_in_force": in_force is not None, "added": names, "copying": told, "saved_outputs": saved}
        more |= {"inputs": [*map(shapes.file, prints.inputs)], "outputs": [*map(shapes.file, prints.outputs)]}
        rows = page or Page()
        listed = [shapes.subtask(steps[step], one) for step, several in subtasks.items() for one in rows.of(several)]
        parts = [{"part": part.kind, "name": part.name, "value": value} for part, value in environment.items()]
        shapes.emit({**document, **more, "subtasks": listed, "environment": parts})
        return
    click.echo(_facts(found, row.job.name, row.workflow, workdir, retries.get(found.id), spares=spares))
    if copying:
        click.echo(f"copying the folder it goes on in: {format_size(copying[0])} of {format_size(copying[1])}")
    if saved:
        click.echo(f"its outputs were saved before a rerun wrote over them: {saved}")
    for one in partial.get(found.id, ()):
        click.echo(explaining.partial_output(one, workdir, full=True))
    if environment:
        click.echo(f"it ran with {', '.join(reasons.part_shown(*each) for each in environment.items())}")
    if prints.inputs or prints.outputs:
        click.echo("")
        click.echo("\n".join(_files(prints, None if verbose else FIRST)))
    if found.steps:
        click.echo("")
        click.echo(explaining.steps_table(found.steps))
    if any(step.action for step in found.steps):
        click.echo("")
        click.echo(_actions(found, in_force))
    for step, several in subtasks.items():
        click.echo("")
        click.echo(subtasks_table(steps[step], several, page or Page(None if verbose else FIRST)))
    if found.cause is not None:
        click.echo("")
        click.echo(explaining.failure(found))
    click.echo(f"\n`rekindle logs {found.job} --attempt {found.number}` prints what it printed")


def _actions(one: Attempt, in_force: ActingSet | None) -> str:
    """What its steps asked for, and whether that holds."""
    lines = [f"  {step.name}: {masked_text(step.action)}" for step in one.steps if step.action]
    head = "actions, in force:" if in_force else "actions, not in force:"
    added = (
        [f"  added: {', '.join(drawing.flat(name) for name in in_force.names)}"] if in_force and in_force.added else []
    )
    return "\n".join([head, *lines, *added])


def _files(prints: Prints, most: int | None) -> Iterator[str]:
    """The files that it depended on and made, with the beginnings of their digests."""
    every = [("input", one) for one in prints.inputs] + [("output", one) for one in prints.outputs]
    for kind, one in every[:most]:
        name = reasons.named_file(one.name) if one.implicit else f"{kind} {drawing.flat(one.name)}"
        held = reasons.digest_shown(one.digest) if one.digest else "was not there"
        content = held if one.compared else "written by the attempt, not compared"
        yield drawing.cut(f"{name}: {content}", drawing.terminal_width())
    if most is not None and len(every) > most:
        yield f"… and {drawing.many(len(every) - most, 'more file')} (-v shows all)"


def _defined(one: Attempt) -> str:
    return f"pinned: that of attempt {one.pinned_to}" if one.pinned_to is not None else ""


def _facts(one: Attempt, name: str, workflow: str, workdir: str | None, retry: Reason | None, *, spares: bool) -> str:
    where = f"{one.host} (pid {one.pid})" if one.host and one.pid else one.host or ""
    return drawing.details(
        [
            ("attempt", f"{one.id}, number {one.number} of job {one.job} {drawing.flat(name)}"),
            ("workflow", f"{one.workflow} {workflow}, revision {one.revision}"),
            ("definition", _defined(one)),
            ("retry", reasons.in_short(retry) if retry is not None else ""),
            ("state", one.state.label),
            ("cause", explaining.ending(one)),
            ("signature", one.signature or ""),
            ("verdict", explaining.verdict(one.verdict)),
            ("partial", "it goes on without subtasks that failed" if one.partial else ""),
            ("archived", f"by rerun {one.archived_by}" if one.archived_by is not None else ""),
            ("builds on", explaining.builds_on(one) if one.builds_on else ""),
            ("modified", modifications(one.overrides)),
            ("started", drawing.clock_time(one.started)),
            ("ended", drawing.clock_time(one.ended)),
            ("time", drawing.lasting(shapes.seconds(one.started, one.ended))),
            ("cpu", drawing.lasting(one.cpu_seconds)),
            ("memory", format_size(one.max_rss_bytes) if one.max_rss_bytes is not None else ""),
            ("on", where),
            ("in", workdir or ""),
            ("own folder", one.folder or ""),
            ("left running", explaining.left_running(one, spares=spares) if one.left_running else ""),
            ("result", drawing.cut(drawing.flat(masked_text(one.result) if one.result else ""), 200)),
        ]
    )
