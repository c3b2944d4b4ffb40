"""`rekindle events`."""

from __future__ import annotations

import json

import click

from rekindle.cli.lazy import Entry, LazyGroup
from rekindle.cli.opening import opened
from rekindle.cli.options import json_option, workflow_option
from rekindle.cli.showing import drawing, shapes
from rekindle.cli.showing.drawing import Column
from rekindle.cli.showing.lists import emit_rows, page_options, print_table, tell_page
from rekindle.domain.texts.secrets import masked_document
from rekindle.engine.looking import lists
from rekindle.engine.looking.lists import Page

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
@json_option
def list_events(workflow: str | None, page: Page, as_json: bool) -> None:
    """List what happened, oldest first; with --limit the newest N events, without the --offset newest ones.

    \b
    Example:
      rekindle events list -w sweep --limit 20
    """
    with opened() as session:
        found = lists.events(session, workflow, page)
    if as_json:
        emit_rows("events", map(shapes.event, found.rows))
        return
    if not found.total:
        click.echo("nothing has happened yet")
        return
    columns = [Column("AT"), Column("WORKFLOW", right=True, drop=True), Column("WHAT"), Column("DETAIL", cut="end")]
    rows = (
        (
            drawing.when(one.at),
            str(one.workflow) if one.workflow is not None else "",
            one.kind,
            ", ".join(f"{key} {_said(value)}" for key, value in masked_document(one.detail).items()),
        )
        for one in found.rows
    )
    tell_page(page, print_table(columns, rows), found.total, "event")


def _said(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
