"""`rekindle reruns`: list and show."""

from __future__ import annotations

import json

import click

from rekindle.cli.lazy import Entry, LazyGroup
from rekindle.cli.opening import opened
from rekindle.cli.options import json_option, workflow_option
from rekindle.cli.showing import canaries, drawing, shapes
from rekindle.cli.showing.drawing import Column
from rekindle.cli.showing.lists import emit_rows, page_options, print_table, tell_page
from rekindle.cli.showing.planshow import FIRST, draw_accepted, draw_plan, draw_revision
from rekindle.domain.rerunning.rerun import RESET_HOLD, RerunRecord
from rekindle.engine.looking import lists, look
from rekindle.engine.looking.lists import Page

_HERE = "rekindle.cli.commands.reruns"

COMMANDS = {
    "list": Entry(f"{_HERE}:list_reruns", "List the reruns that were applied, newest first."),
    "show": Entry(f"{_HERE}:show", "Show a rerun: what was asked, and its plan."),
}


@click.group("reruns", cls=LazyGroup, entries=COMMANDS)
def reruns() -> None:
    """List and show the reruns that were applied.

    \b
    Example:
      rekindle reruns list
      rekindle reruns show 3
    """


@click.command("list")
@workflow_option
@page_options
@json_option
def list_reruns(workflow: str | None, page: Page, as_json: bool) -> None:
    """List the reruns that were applied, newest first.

    \b
    Example:
      rekindle reruns list -w sweep --limit 10
    """
    with opened() as session:
        found = lists.reruns(session, workflow, page)
    if as_json:
        emit_rows("reruns", (shapes.rerun(record, touched) for record, touched in found.rows))
        return
    if not found.total:
        click.echo("no reruns yet")
        return
    columns = [
        Column("ID", right=True),
        Column("AT"),
        Column("KIND"),
        Column("JOBS", right=True),
        Column("ASKED", cut="end"),
        Column("NOTE", cut="end", drop=True),
        Column("", drop=True),
    ]
    rows = (
        (
            str(record.id),
            drawing.when(record.at),
            record.kind,
            f"{touched:,}",
            asked(record.request),
            record.note or "",
            "undone" if record.undone is not None else "",
        )
        for record, touched in found.rows
    )
    tell_page(page, print_table(columns, rows), found.total, "rerun")


def asked(request: object) -> str:
    """A request in few words: `states failed, from failed-step`; `revision 3 of sweep`."""
    if not isinstance(request, dict):
        return ""
    if "import" in request:
        return f"import of {request['import']}"
    if "revision" in request:
        return f"revision {request['revision']} of {request.get('name')}"
    selection, how = request.get("selection"), request.get("how")
    parts = [_worded(key, value) for key, value in selection.items()] if isinstance(selection, dict) else []
    if isinstance(how, dict):
        parts += [_worded(key.replace("_", " "), value) for key, value in how.items() if _PLAIN.get(key) != value]
    return ", ".join(parts)


_PLAIN = {"from": "beginning", "downstream": "all", "definition": "latest", "hold": RESET_HOLD}


def _worded(key: str, value: object) -> str:
    if value is True:
        return "all" if key == "everything" else key
    if isinstance(value, dict):
        return f"{key} {' '.join(f'{name}={one}' for name, one in value.items())}"
    words = " ".join(str(one) for one in value) if isinstance(value, list) else str(value)
    return f"{key} {words}"


@click.command()
@click.argument("rerun", type=click.IntRange(min=1), metavar="RERUN")
@click.option("-v", "--verbose", is_flag=True, help="Show every row of a long plan.")
@json_option
def show(rerun: int, verbose: bool, as_json: bool) -> None:
    """Show a rerun: what was asked, and its plan as it was applied.

    \b
    Example:
      rekindle reruns show 3
    """
    with opened() as session:
        record = look.rerun(session, rerun)
        children = look.children_of(session, [job.id for job in record.plan.jobs])
        checked = look.checks(session, rerun)
        groups = look.canaries(session, rerun)
    if as_json:
        listed = shapes.rerun(record, len(record.plan.jobs))
        told = [{"id": job, **came} for job, came in sorted(checked.items())]
        waits = [canaries.group_shape(one) for one in groups]
        shapes.emit({**listed, **shapes.plan(record.plan, record.id), "checked": told, "canaries": waits})
        return
    click.echo(
        drawing.details(
            [
                ("rerun", f"{record.id} ({record.kind})"),
                ("applied", drawing.clock_time(record.at)),
                ("undone", drawing.clock_time(record.undone)),
                ("note", drawing.flat(record.note or "")),
                ("asked", drawing.flat(asked(record.request) or json.dumps(dict(record.request)))),
            ]
        )
    )
    click.echo("")
    if record.kind == "accept":
        draw_accepted(record.plan.jobs, None if verbose else FIRST)
        return
    if record.kind == "revision":
        draw_revision(record.plan, children, verbose=verbose)
        workflow, number = record.request["workflow"], record.request["revision"]
        click.echo(f"look: rekindle workflows diff {workflow} {number - 1} {number}")
        return
    if record.kind == "import":
        _draw_imported(record, verbose=verbose)
        return
    draw_plan(record.plan, children, verbose=verbose)
    canaries.draw_groups(groups)
    for result, what in (("reinstated", "reinstated, not run"), ("runs", "to run, for something had changed")):
        jobs = [drawing.flat(job.name) for job in record.plan.jobs if checked.get(job.id, {}).get("result") == result]
        if jobs:
            shown = jobs if verbose else jobs[:FIRST]
            more = f" and {len(jobs) - len(shown):,} more" if len(jobs) > len(shown) else ""
            click.echo(f"{what}: {', '.join(shown)}{more}")


def _draw_imported(record: RerunRecord, *, verbose: bool) -> None:
    """Which attempts had been archived before they came here."""
    jobs = record.plan.jobs if verbose else record.plan.jobs[:FIRST]
    click.echo("archived before they were imported:")
    for job in jobs:
        numbers = ", ".join(str(one) for one in job.archives)
        click.echo(f"  {drawing.flat(job.name)}: attempt{'s' * (len(job.archives) > 1)} {numbers}")
    if len(record.plan.jobs) > len(jobs):
        click.echo(f"  and {len(record.plan.jobs) - len(jobs):,} jobs more: --verbose")
