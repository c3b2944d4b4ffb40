"""`rekindle reruns` and `undo`: list, show and undo reruns."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import click

from rekindle.cli.command_table import Entry
from rekindle.cli.groups import LazyGroup
from rekindle.cli.options import JsonForm, json_option, json_rows_options, workflow_option
from rekindle.cli.output import json_output, terminal
from rekindle.cli.output.pages import page_options, print_page_note, print_table
from rekindle.cli.output.plans import FIRST, draw_changed, draw_plan, draw_revision, draw_section
from rekindle.cli.output.terminal import Column
from rekindle.cli.sessions import opened, reconciled
from rekindle.engine.queries import job_queries, lists, workflow_queries
from rekindle.presentation import answers, documents, plans, waits, words

if TYPE_CHECKING:
    from rekindle.domain.rerun.plan import RerunRecord
    from rekindle.engine.results import PageRequest

_HERE = "rekindle.cli.commands.reruns"

COMMANDS = {
    "list": Entry(f"{_HERE}:list_reruns", "List the reruns that were applied, newest first."),
    "show": Entry(f"{_HERE}:show", "Show a rerun: its request, and its plan."),
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
@json_rows_options
def list_reruns(workflow: str | None, page: PageRequest, as_json: JsonForm | None) -> None:
    """List the reruns that were applied, newest first.

    \b
    Example:
      rekindle reruns list -w sweep --limit 10
    """
    with opened() as session:
        if as_json:
            json_output.emit_list(answers.reruns_list(session, workflow, page), as_json)
            return
        found = lists.reruns(session, workflow, page)
    if not found.total:
        click.echo("no reruns yet")
        return
    columns = [
        Column("ID", right=True),
        Column("AT"),
        Column("KIND"),
        Column("JOBS", right=True),
        Column("BY", cut="end", drop=True),
        Column("ASKED", cut="end"),
        Column("NOTE", cut="end", drop=True),
        Column("", drop=True),
    ]
    rows = (
        (
            str(record.id),
            words.short_time(record.at),
            record.kind,
            f"{touched:,}",
            record.by or "",
            plans.request_text(record.request),
            record.note or "",
            "undone" if record.undone is not None else "",
        )
        for record, touched in found.rows
    )
    print_page_note(page, print_table(columns, rows), found.total, "rerun")


@click.command()
@click.argument("rerun", type=click.IntRange(min=1), metavar="RERUN")
@click.option("-v", "--verbose", is_flag=True, help="Show every row of a long plan.")
@json_option
def show(rerun: int, verbose: bool, as_json: bool) -> None:
    """Show a rerun: its request, and its plan as applied.

    \b
    Example:
      rekindle reruns show 3
    """
    with opened() as session:
        if as_json:
            json_output.emit(answers.reruns_show(session, rerun))
            return
        record = workflow_queries.rerun(session, rerun)
        children = job_queries.child_ids(session, record.plan.jobs.ids)
        index = workflow_queries.name_index(session, record.plan.jobs.ids)
        checked = workflow_queries.reuse_checks(session, rerun)
        groups = workflow_queries.canary_groups(session, rerun)
    click.echo(
        terminal.details(
            [
                ("rerun", f"{record.id} ({record.kind})"),
                ("applied", words.full_time(record.at)),
                ("undone", words.full_time(record.undone)),
                ("by", words.one_line(record.by or "")),
                ("note", words.one_line(record.note or "")),
                ("asked", words.one_line(plans.request_text(record.request) or json.dumps(dict(record.request)))),
            ]
        )
    )
    click.echo("")
    if record.kind in _CHANGED:
        draw_changed(record.plan.jobs, None if verbose else FIRST, _CHANGED[record.kind])
        return
    if record.kind == "revision":
        draw_revision(record.plan, children, lambda: index, verbose=verbose)
        workflow, number = record.request["workflow"], record.request["revision"]
        click.echo(f"look: rekindle workflows diff {workflow} {number - 1} {number}")
        return
    if record.kind == "import":
        _draw_imported(record, verbose=verbose)
        return
    draw_plan(record.plan, children, lambda: index, verbose=verbose)
    draw_section("canaries", [waits.canary_line(one) for one in groups], None, "group")
    for result, what in (("reinstated", "reinstated, not run"), ("runs", "to run, for something had changed")):
        jobs = [words.one_line(job.name) for job in record.plan.jobs if checked.get(job.id, {}).get("result") == result]
        if jobs:
            shown = jobs if verbose else jobs[:FIRST]
            more = f" and {len(jobs) - len(shown):,} more" if len(jobs) > len(shown) else ""
            click.echo(f"{what}: {', '.join(shown)}{more}")


_CHANGED = {"accept": "ACCEPTED", "complete": "BEFORE"}
"""The head of the reasons of reruns that reset nothing, by kind."""


def _draw_imported(record: RerunRecord, *, verbose: bool) -> None:
    """Print the attempts that were archived before the import."""
    jobs = record.plan.jobs if verbose else record.plan.jobs[:FIRST]
    click.echo("archived before they were imported:")
    for job in jobs:
        numbers = ", ".join(str(one) for one in job.archives)
        click.echo(f"  {words.one_line(job.name)}: attempt{'s' * (len(job.archives) > 1)} {numbers}")
    if len(record.plan.jobs) > len(jobs):
        click.echo(f"  and {len(record.plan.jobs) - len(jobs):,} jobs more: --verbose")


@click.command()
@click.argument("rerun", required=False, type=click.IntRange(min=1), metavar="[RERUN]")
@json_option
def undo(rerun: int | None, as_json: bool) -> None:
    """Undo a rerun: the newest of the commands `rerun`, `restart`, `reset`, `accept` and `complete`, or RERUN. Refused
    once a job of the rerun has started.

    \b
    Example:
      rekindle undo
      rekindle undo 3
    """
    from rekindle.engine.rerun import rerun as engine

    with reconciled() as session:
        undone = engine.undo(session, rerun)
    if as_json:
        json_output.emit(documents.undone_rerun(undone))
        return
    counts = Counter(state for _, _, state in undone.jobs)
    jobs_back = words.plural(len(undone.jobs), "job")
    if undone.restored:
        click.echo(f"{words.plural(len(undone.restored), 'file')} put back")
    click.echo(
        f"rerun {undone.rerun} is undone: {jobs_back} back: {words.state_counts(counts.items(), terminal.coloured)}"
    )
