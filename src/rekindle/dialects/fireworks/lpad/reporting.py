"""`lpad report`, `lpad introspect` and `lpad webgui`."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from rekindle.dialects.fireworks.flows import date_text
from rekindle.dialects.fireworks.lpad.selecting import parse_query
from rekindle.dialects.fireworks.lpad.typed import Command
from rekindle.dialects.fireworks.queries import select_fireworks, select_workflows
from rekindle.dialects.fireworks.shown import firework_documents, summary_document
from rekindle.dialects.fireworks.words import STATES
from rekindle.dialects.opening import opened
from rekindle.domain.errors import Refused
from rekindle.engine.looking import look
from rekindle.engine.session import Session

_LENGTHS = {"minutes": 16, "hours": 13, "days": 10, "months": 7, "years": 4}
"""So much of a date names an interval."""

_SPANS = {
    "minutes": timedelta(minutes=1),
    "hours": timedelta(hours=1),
    "days": timedelta(days=1),
    "months": timedelta(days=31),
    "years": timedelta(days=366),
}


@click.command(cls=Command)
@click.option(
    *("-c", "--collection"),
    type=click.Choice(["fws", "fireworks", "wflows", "workflows", "launches"], case_sensitive=False),
    default="fws",
    help="What is counted. [default: fws]",
)
@click.option(*("-i", "--interval"), type=click.Choice(list(_LENGTHS)), default="days", help="By what. [default: days]")
@click.option("-n", "--num_intervals", type=click.IntRange(min=1), default=5, help="Of how many. [default: 5]")
@click.option("-q", "--query", metavar="JSON", help="Only those that a filter is for.")
def report(collection: str, interval: str, num_intervals: int, query: str | None) -> None:
    """Count what became of fireworks, by day.

    \b
    Example:
      rekindle lpad report
      rekindle lpad report -c launches -i hours -n 12
    """
    with opened() as session:
        since = date_text((datetime.fromtimestamp(session.clock(), UTC) - num_intervals * _SPANS[interval]).timestamp())
        entries = _entries(session, collection, {} if query is None else parse_query(query))
    counted: dict[str, Counter[str]] = {}
    for at, state in entries:
        if at is not None and at >= since:
            counted.setdefault(at[: _LENGTHS[interval]], Counter())[state] += 1
    title = f"Stats on {collection}"
    click.echo(f"{'-' * len(title)}\n{title}\n{'-' * len(title)}")
    if not counted:
        click.echo("There are no stats to display for the chosen time period.")
    for period in sorted(counted, reverse=True)[:num_intervals]:
        _draw(period, counted[period])


def _entries(session: Session, collection: str, query: dict[str, Any]) -> list[tuple[str | None, str]]:
    """When each was last changed, and how it stands."""
    if collection in ("wflows", "workflows"):
        known = {one.id: one for one in look.workflows(session, archived=True)}
        found = [summary_document(session, known[one], "more") for one in select_workflows(session, query)]
        return [(one["updated_on"], one["state"]) for one in found]
    if collection == "launches":
        chosen = firework_documents(session, select_fireworks(session, query, launches=True), times=True)
        return [(at["time_end"], at["state"]) for one in chosen for at in one.get("launches", ())]
    every = firework_documents(session, select_fireworks(session, query))
    return [(one["updated_on"], one["state"]) for one in every]


def _draw(period: str, states: Counter[str]) -> None:
    header = f"Stats for time-period {period}"
    click.echo(f"{header}\n{'=' * len(header)}")
    for state in STATES:
        click.echo(f"{state} : {states[state]}")
    ended = states["COMPLETED"] + states["FIZZLED"]
    click.echo(f"\ntotal : {sum(states.values())}")
    click.echo(f"C/(C+F) : {round(100 * states['COMPLETED'] / ended, 1) if ended else 0.0}%\n")


@click.command(cls=Command)
@click.option("-m", "--max", "most", type=click.IntRange(min=1), default=100, help="So many kinds. [default: 100]")
@click.option("-t", "--threshold", type=int, default=10, help="Taken, and has no effect: nothing is guessed.")
def introspect(most: int, threshold: int) -> None:  # noqa: ARG001 (kept, for scripts that give it)
    """Group what fizzled by how it did, the largest group first.

    \b
    Example:
      rekindle lpad introspect
    """
    with opened() as session:
        groups = look.failures(session)[:most]
    for one in groups:
        click.echo(f"{one.count:>6,}  {one.cause.value}  {one.type or '-'}  {json.dumps(one.message)[:200]}")
        click.echo(f"        fw_id {', '.join(str(job) for job in one.jobs[:10])}{' …' if len(one.jobs) > 10 else ''}")
    if not groups:
        click.echo("nothing has fizzled")


@click.command(cls=Command)
@click.option("--port", type=int, metavar="PORT", help="Kept.")
@click.option("--host", metavar="HOST", help="Kept.")
@click.option("--debug", is_flag=True, help="Kept.")
@click.option("-s", "--server_mode", is_flag=True, help="Kept.")
@click.option("--nworkers", type=int, metavar="N", help="Kept.")
@click.option("--fwquery", metavar="JSON", help="Kept.")
@click.option("--wflowquery", metavar="JSON", help="Kept.")
@click.option("--webgui_username", metavar="NAME", help="Kept.")
@click.option("--webgui_password", metavar="WORD", help="Kept.")
def webgui(**_: object) -> None:
    """Open the web interface: not yet.

    \b
    Example:
      rekindle lpad webgui
    """
    raise Refused("there is no web interface yet", hint="`rekindle status` and `lpad get_wflows -t` show how it stands")
