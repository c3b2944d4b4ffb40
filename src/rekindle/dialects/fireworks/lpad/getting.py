"""`lpad get_fws`, `get_fws_in_wflows` and `get_wflows`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from rekindle.dialects.fireworks.lpad.options import (
    STATE,
    display_option,
    firework_options,
    launches_option,
    sort_options,
    workflow_options,
)
from rekindle.dialects.fireworks.lpad.printing import emit
from rekindle.dialects.fireworks.lpad.selecting import Asked, fireworks_shown, sorting, workflows_shown
from rekindle.dialects.fireworks.lpad.typed import Command, Several
from rekindle.dialects.fireworks.shown import firework_documents, summary_document
from rekindle.dialects.fireworks.standing import fireworks_of
from rekindle.dialects.opening import opened
from rekindle.engine.looking import look
from rekindle.engine.session import Session

_LESS = ("spec", "archived_launches", "launches")
_MORE = ("spec", "archived_launches")

qid_option = click.option("--qid", metavar="ID", help="Those with this reservation: nothing has one before Slurm.")
"""`qid`."""


@click.command(cls=Command)
@firework_options
@qid_option
@display_option
@sort_options
def get_fws(display_format: str, qid: str | None, most: int, sort: str | None, rsort: str | None, **words: Any) -> None:
    """Show fireworks: all, or those that are named.

    The same words work for the commands that change something: this shows what they would change.

    \b
    Example:
      rekindle lpad get_fws -s FIZZLED
      rekindle lpad get_fws -i 1,2 -d all
      rekindle lpad get_fws -q '{"spec.alpha": {"$gt": 0.5}}' -d count
    """
    asked = Asked(**words, most=most, sort=sorting(sort, rsort))
    with opened() as session:
        ids = [] if qid is not None else fireworks_shown(session, asked)
        _show(session, ids, display_format)


@click.command(cls=Command)
@click.option("-wfi", "--wf_fw_id", "wf_ids", cls=Several, ids=True, metavar="IDS", help="Workflows that have these.")
@click.option("-wfn", "--wf_name", metavar="NAME", help="Workflows of this name.")
@click.option("-wfs", "--wf_state", type=STATE, help="Workflows in this state.")
@click.option("-wfq", "--wf_query", metavar="JSON", help="Workflows that a filter is for.")
@click.option("-fwi", "--fw_fw_id", "ids", cls=Several, ids=True, metavar="IDS", help="Of them, fireworks by id.")
@click.option("-fwn", "--fw_name", "name", metavar="NAME", help="Of them, fireworks of this name.")
@click.option("-fws", "--fw_state", "state", type=STATE, help="Of them, fireworks in this state.")
@click.option("-fwq", "--fw_query", "query", metavar="JSON", help="Of them, fireworks that a filter is for.")
@launches_option
@qid_option
@display_option
@sort_options
def get_fws_in_wflows(
    wf_ids: tuple[str, ...],
    wf_name: str | None,
    wf_state: str | None,
    wf_query: str | None,
    display_format: str,
    qid: str | None,
    most: int,
    sort: str | None,
    rsort: str | None,
    **words: Any,
) -> None:
    """Show fireworks of workflows: all, or those that are named.

    \b
    Example:
      rekindle lpad get_fws_in_wflows -wfn demo -fws FIZZLED
    """
    asked = Asked(**words, sort=sorting(sort, rsort))
    with opened() as session:
        chosen = workflows_shown(session, Asked(wf_ids, wf_name, wf_state, wf_query))
        within = set(fireworks_of(session, chosen))
        ids = [one for one in fireworks_shown(session, asked) if one in within]
        _show(session, [] if qid is not None else ids[: most or None], display_format)


@click.command(cls=Command)
@workflow_options
@display_option
@sort_options
@click.option("-t", "--table", is_flag=True, help="As a table.")
def get_wflows(display_format: str, most: int, sort: str | None, rsort: str | None, table: bool, **words: Any) -> None:
    """Show workflows: all, or those that are named.

    \b
    Example:
      rekindle lpad get_wflows -d more
      rekindle lpad get_wflows -s FIZZLED -t
    """
    with opened() as session:
        ids = workflows_shown(session, Asked(**words, most=most, sort=sorting(sort, rsort)))
        if display_format == "count":
            documents: list[Any] = [len(ids)]
        elif display_format == "ids":
            documents = [min(fireworks_of(session, [one]), default=one) for one in ids]
        else:
            known = {one.id: one for one in look.workflows(session, archived=True)}
            documents = [summary_document(session, known[one], display_format) for one in ids]
    if table:
        _draw([one if isinstance(one, dict) else {"workflow": one} for one in documents])
    else:
        emit(documents[0] if len(documents) == 1 else documents)


def _show(session: Session, ids: Sequence[int], display_format: str) -> None:
    documents = shown(session, ids, display_format)
    emit(documents[0] if len(documents) == 1 else documents)


def shown(session: Session, ids: Sequence[int], display_format: str) -> list[Any]:
    """Fireworks, as much of them as is wanted."""
    if display_format == "count":
        return [len(ids)]
    if display_format == "ids":
        return list(ids)
    away = {"less": _LESS, "more": _MORE}.get(display_format, ())
    found = firework_documents(session, ids)
    return [{key: value for key, value in one.items() if key not in away} for one in found]


def _draw(documents: Sequence[dict[str, Any]]) -> None:
    if not documents:
        return
    columns = list(documents[0])
    rows = [columns, *([str(one.get(column, "")) for column in columns] for one in documents)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(columns))]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    lines = [
        "| " + " | ".join(cell.center(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    click.echo("\n".join([rule, lines[0], rule, *lines[1:], rule]))
