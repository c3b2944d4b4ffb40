"""`rekindle jobs`, and its command `list`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from rekindle.cli.command_table import Entry
from rekindle.cli.groups import LazyGroup
from rekindle.cli.options import JsonForm, json_rows_options
from rekindle.cli.output.file_progress import reading_progress
from rekindle.cli.output.pages import page_options, print_page_note, print_table
from rekindle.cli.output.terminal import Column
from rekindle.cli.selection_options import selection_options
from rekindle.cli.sessions import opened
from rekindle.engine.queries import lists
from rekindle.presentation import attempts, words
from rekindle.presentation.jobs import job_notes
from rekindle.query.selections import SelectionFlags, parse_selection

if TYPE_CHECKING:
    from rekindle.engine.results import JobRow, PageRequest

_HERE = "rekindle.cli.commands.job_list"

COMMANDS = {
    "list": Entry(f"{_HERE}:list_jobs", "List jobs and their states."),
    "show": Entry("rekindle.cli.commands.jobs:show", "Show everything about a job."),
}


@click.group("jobs", cls=LazyGroup, entries=COMMANDS)
def jobs() -> None:
    """List and show jobs.

    \b
    Example:
      rekindle jobs list -s failed
      rekindle jobs show 7
    """


@click.command("list")
@selection_options
@page_options
@json_rows_options
def list_jobs(flags: SelectionFlags, page: PageRequest, as_json: JsonForm | None) -> None:
    """List jobs and their states: all jobs, or a SELECTION.

    \b
    Example:
      rekindle jobs list -w sweep -s failed,canceled
      rekindle jobs list -f 'matrix.alpha>0.5' -f 'attempts>=2'
      rekindle jobs list --error 'out of memory'
    """
    selection = parse_selection(flags)
    with opened() as session, reading_progress() as on_read:
        if as_json:
            from rekindle.cli.output import json_output
            from rekindle.presentation.answers import known_stale
            from rekindle.presentation.job_lines import job_lines

            with lists.alike_jobs(session, selection, page, on_read) as alike:
                json_output.emit_texts("jobs", job_lines(alike, known_stale(selection)), as_json)
            return
        with lists.jobs(session, selection, page, on_read) as found:
            if found.total:
                print_page_note(page, print_table(_COLUMNS, found.rows, _block), found.total, "job")
                return
    click.echo("no jobs: `rekindle submit SPEC` stores some" if selection.empty else "nothing selected")


_COLUMNS = (
    Column("ID", right=True),
    Column("WORKFLOW", cut="end", drop=True),
    Column("NAME", cut="middle", keep=True),
    Column("STATE"),
    Column("CAUSE", drop=True),
    Column("TRIES", right=True, optional=True),
    Column("TIME", right=True, drop=True, optional=True),
    Column("ENDED", drop=True, optional=True),
    Column("NOTE", cut="end", drop=True),
)


def _block(rows: Sequence[JobRow]) -> Iterator[Sequence[str]]:
    several = len({row.job.workflow for row in rows}) > 1
    return (_cells(row, several) for row in rows)


def _cells(row: JobRow, several: bool) -> tuple[str, ...]:
    job, live = row.job, row.attempt
    return (
        str(job.id),
        row.workflow if several else "",
        job.name,
        job.state.label,
        attempts.cause(live) if live else "",
        str(job.attempts),
        words.duration(words.seconds(live.started, live.ended)) if live else "",
        words.short_time(live.ended) if live else "",
        ", ".join(job_notes(row)),
    )
