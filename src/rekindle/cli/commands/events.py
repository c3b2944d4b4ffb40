"""`rekindle events`: list what happened in the store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from rekindle.cli.command_table import Entry
from rekindle.cli.groups import LazyGroup
from rekindle.cli.options import JsonForm, json_rows_options, workflow_option
from rekindle.cli.output import json_output
from rekindle.cli.output.pages import page_options, print_page_note, print_table
from rekindle.cli.output.terminal import Column
from rekindle.cli.sessions import opened
from rekindle.domain.texts.display import mask_document
from rekindle.engine.queries import lists
from rekindle.presentation import documents, words

if TYPE_CHECKING:
    from rekindle.domain.models import LoggedEvent
    from rekindle.engine.results import PageRequest

COMMANDS = {"list": Entry("rekindle.cli.commands.events:list_events", "List what happened, oldest first.")}


@click.group("events", cls=LazyGroup, entries=COMMANDS)
def events() -> None:
    """List what happened in the store: submissions, runs, reruns, holds.

    \b
    Example:
      rekindle events list --limit 20
    """


@click.command("list")
@workflow_option
@page_options
@json_rows_options
def list_events(workflow: str | None, page: PageRequest, as_json: JsonForm | None) -> None:
    """List what happened, oldest first. --limit N lists the newest N events; --offset skips the newest ones.

    \b
    Example:
      rekindle events list -w sweep --limit 20
    """
    with opened() as session, lists.events(session, workflow, page) as found:
        if as_json:
            json_output.emit_rows("events", map(documents.event, found.rows), as_json)
        elif not found.total:
            click.echo("no events yet")
        else:
            print_page_note(page, print_table(_COLUMNS, map(_cells, found.rows)), found.total, "event")


_COLUMNS = (Column("AT"), Column("WORKFLOW", right=True, drop=True), Column("WHAT"), Column("DETAIL", cut="end"))


def _cells(one: LoggedEvent) -> tuple[str, ...]:
    return (
        words.short_time(one.at),
        str(one.workflow) if one.workflow is not None else "",
        one.kind,
        ", ".join(f"{key} {_text(value)}" for key, value in mask_document(one.detail).items()),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
