"""Commands that show: `get_fws`, `get_fws_in_wflows`, `get_wflows`, `get_launchdir`, `track_fws`, `check_wflow`,
`dump_wflow`, `report`, `introspect` and `webgui`."""

from __future__ import annotations

import json
import webbrowser
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rekindle.dialects.command_session import open_store
from rekindle.dialects.fireworks.flow import date_text
from rekindle.dialects.fireworks.flow_file import read_flow
from rekindle.dialects.fireworks.fw_documents import firework_documents, flow_document, summary_document
from rekindle.dialects.fireworks.fw_states import STATES
from rekindle.dialects.fireworks.lpad.messages import print_document, print_message
from rekindle.dialects.fireworks.lpad.options import (
    STATE,
    FireworkFilter,
    LpadCommand,
    MultiValueOption,
    display_option,
    filter_fireworks,
    filter_workflows,
    firework_options,
    launches_option,
    parse_query,
    required_fireworks,
    sort_options,
    sort_order,
    workflow_options,
)
from rekindle.dialects.fireworks.offline import queue_ids
from rekindle.dialects.fireworks.queries import select_fireworks, select_workflows
from rekindle.dialects.fireworks.stored_fireworks import fireworks_of
from rekindle.domain.errors import NotFound, RekindleError, missing_extra
from rekindle.engine.queries import failure_queries, job_queries, workflow_queries
from rekindle.engine.session import open_session, store_url

if TYPE_CHECKING:
    from rekindle.engine.session import Session

_LESS = ("spec", "archived_launches", "launches")
_MORE = ("spec", "archived_launches")

qid_option = click.option("--qid", metavar="ID", help="Fireworks with this id of a queue.")
"""Sets `qid`."""


@click.command(cls=LpadCommand)
@firework_options
@qid_option
@display_option
@sort_options
def get_fws(
    display_format: str, qid: str | None, most: int, sort: str | None, rsort: str | None, **filters: Any
) -> None:
    """Show fireworks: all, or the selected ones.

    The commands that change fireworks take the same options: this shows which fireworks they would change.

    \b
    Example:
      rekindle lpad get_fws -s FIZZLED
      rekindle lpad get_fws -i 1,2 -d all
      rekindle lpad get_fws -q '{"spec.alpha": {"$gt": 0.5}}' -d count
    """
    chosen = FireworkFilter(**filters, most=most, sort=sort_order(sort, rsort))
    with open_store() as session:
        ids = _with_queue_id(session, filter_fireworks(session, chosen), qid)
        _print_fireworks(session, ids, display_format)


@click.command(cls=LpadCommand)
@click.option(
    "-wfi",
    "--wf_fw_id",
    "wf_ids",
    cls=MultiValueOption,
    ids=True,
    metavar="IDS",
    help="Workflows with these fireworks.",
)
@click.option("-wfn", "--wf_name", metavar="NAME", help="Workflows of this name.")
@click.option("-wfs", "--wf_state", type=STATE, help="Workflows in this state.")
@click.option("-wfq", "--wf_query", metavar="JSON", help="Workflows that match a filter.")
@click.option("-fwi", "--fw_fw_id", "ids", cls=MultiValueOption, ids=True, metavar="IDS", help="Fireworks by id.")
@click.option("-fwn", "--fw_name", "name", metavar="NAME", help="Fireworks of this name.")
@click.option("-fws", "--fw_state", "state", type=STATE, help="Fireworks in this state.")
@click.option("-fwq", "--fw_query", "query", metavar="JSON", help="Fireworks that match a filter.")
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
    **filters: Any,
) -> None:
    """Show fireworks of workflows: all, or the selected ones.

    \b
    Example:
      rekindle lpad get_fws_in_wflows -wfn demo -fws FIZZLED
    """
    chosen = FireworkFilter(**filters, sort=sort_order(sort, rsort))
    with open_store() as session:
        workflows = filter_workflows(session, FireworkFilter(wf_ids, wf_name, wf_state, wf_query))
        within = set(fireworks_of(session, workflows))
        ids = [one for one in filter_fireworks(session, chosen) if one in within]
        _print_fireworks(session, _with_queue_id(session, ids, qid)[: most or None], display_format)


def _with_queue_id(session: Session, ids: list[int], qid: str | None) -> list[int]:
    if qid is None:
        return ids
    known = queue_ids(session)
    return [one for one in ids if known.get(one) == qid]


@click.command(cls=LpadCommand)
@workflow_options
@display_option
@sort_options
@click.option("-t", "--table", is_flag=True, help="Print a table.")
def get_wflows(
    display_format: str, most: int, sort: str | None, rsort: str | None, table: bool, **filters: Any
) -> None:
    """Show workflows: all, or the selected ones.

    \b
    Example:
      rekindle lpad get_wflows -d more
      rekindle lpad get_wflows -s FIZZLED -t
    """
    with open_store() as session:
        ids = filter_workflows(session, FireworkFilter(**filters, most=most, sort=sort_order(sort, rsort)))
        if display_format == "count":
            documents: list[Any] = [len(ids)]
        elif display_format == "ids":
            documents = [min(fireworks_of(session, [one]), default=one) for one in ids]
        else:
            known = {one.id: one for one in workflow_queries.workflows(session, archived=True)}
            documents = [summary_document(session, known[one], display_format) for one in ids]
    if table:
        _print_table([one if isinstance(one, dict) else {"workflow": one} for one in documents])
    else:
        print_document(documents[0] if len(documents) == 1 else documents)


def _print_fireworks(session: Session, ids: Sequence[int], display_format: str) -> None:
    documents = display_fireworks(session, ids, display_format)
    print_document(documents[0] if len(documents) == 1 else documents)


def display_fireworks(session: Session, ids: Sequence[int], display_format: str) -> list[Any]:
    """Return fireworks in a display format."""
    if display_format == "count":
        return [len(ids)]
    if display_format == "ids":
        return list(ids)
    omitted = {"less": _LESS, "more": _MORE}.get(display_format, ())
    found = firework_documents(session, ids)
    return [{key: value for key, value in one.items() if key not in omitted} for one in found]


def _print_table(documents: Sequence[dict[str, Any]]) -> None:
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


@click.command(cls=LpadCommand)
@click.argument("fw_id", type=int)
@click.option("--launch_idx", type=int, default=-1, metavar="N", help="Which launch. [default: -1, the latest]")
def get_launchdir(fw_id: int, launch_idx: int) -> None:
    """Print the folder of a firework's latest launch.

    \b
    Example:
      rekindle lpad get_launchdir 3
      cd $(rekindle lpad get_launchdir 3)
    """
    with open_store() as session:
        if not job_queries.jobs(session, [fw_id]):
            raise NotFound(f"No Firework exists with id: {fw_id}", hint="`lpad get_fws` lists them")
        launches = job_queries.attempts(session, [fw_id], live=True)
    if launches and not -len(launches) <= launch_idx < len(launches):
        raise NotFound(f"firework {fw_id} has no launch {launch_idx}: it has {len(launches)}", hint="-1 is the latest")
    click.echo(str(launches[launch_idx].folder if launches else None))


@click.command(cls=LpadCommand)
@firework_options
@click.option("-c", "--include", cls=MultiValueOption, metavar="FILES", help="Only these files.")
@click.option("-x", "--exclude", cls=MultiValueOption, metavar="FILES", help="Not these files.")
@click.option("-m", "--max", "most", type=click.IntRange(min=0), default=0, metavar="N", help="Show at most this many.")
def track_fws(include: tuple[str, ...], exclude: tuple[str, ...], most: int, **filters: Any) -> None:
    """Print the last lines of the files that `_trackers` in the specs of fireworks name.

    \b
    Example:
      rekindle lpad track_fws -s RUNNING -c error.log
    """
    sections = []
    with open_store() as session:
        ids = required_fireworks(session, FireworkFilter(**filters, most=most), "track")
        for one in firework_documents(session, ids):
            lines = list(_tracked(one, include, exclude))
            if lines:
                sections.append("\n".join([f"# FW id: {one['fw_id']}, FW name={one['name']!r}", *lines]))
    if sections:
        click.echo("\n>------<\n".join(sections))


def _tracked(one: Mapping[str, Any], include: tuple[str, ...], exclude: tuple[str, ...]) -> Iterator[str]:
    for launch in one.get("launches", ()):
        for tracker in launch["trackers"]:
            name = tracker["filename"]
            if (include and name not in include) or name in exclude:
                continue
            yield f"## Launch id: {launch['launch_id']}\n### Filename: {name}\n{tracker.get('content', '')}"


_id_option = click.option("-i", "--fw_id", type=int, required=True, metavar="ID", help="A firework of the workflow.")


@click.command(cls=LpadCommand)
@_id_option
def check_wflow(fw_id: int) -> None:
    """Check the links of a workflow, and that it has no cycle.

    \b
    Example:
      rekindle lpad check_wflow -i 1
    """
    flow = read_flow(_flow_document(fw_id))
    print_message(f"{flow.name}: {len(flow.fireworks)} FWs, links are valid")


@click.command(cls=LpadCommand)
@_id_option
@click.option(
    "-f", "--wf_file", type=click.Path(path_type=Path), required=True, help="The file to write; .json or .yaml."
)
def dump_wflow(fw_id: int, wf_file: Path) -> None:
    """Write a workflow to a file that `add` reads.

    \b
    Example:
      rekindle lpad dump_wflow -i 1 -f saved.yaml
    """
    document = _flow_document(fw_id)
    try:
        wf_file.write_text(_dump_text(document, wf_file.suffix))
    except OSError as error:
        raise RekindleError(f"cannot write to {wf_file}: {error.strerror}") from error
    print_message(f"Wrote the workflow to {wf_file}")


def _flow_document(fw_id: int) -> dict[str, Any]:
    with open_store() as session:
        found = workflow_queries.owners(session, [fw_id])
        if not found:
            raise NotFound(f"Could not find a Workflow with fw_id={fw_id}", hint="`lpad get_fws` lists them")
        return flow_document(session, found[0])


def _dump_text(document: dict[str, Any], suffix: str) -> str:
    if suffix == ".json":
        return json.dumps(document, indent=4) + "\n"
    import yaml

    text: str = yaml.safe_dump(document, default_flow_style=False, allow_unicode=True)
    return text


_DATE_LENGTHS = {"minutes": 16, "hours": 13, "days": 10, "months": 7, "years": 4}
"""The length of a date prefix that names an interval."""

_SPANS = {
    "minutes": timedelta(minutes=1),
    "hours": timedelta(hours=1),
    "days": timedelta(days=1),
    "months": timedelta(days=31),
    "years": timedelta(days=366),
}


@click.command(cls=LpadCommand)
@click.option(
    *("-c", "--collection"),
    type=click.Choice(["fws", "fireworks", "wflows", "workflows", "launches"], case_sensitive=False),
    default="fws",
    help="What to count. [default: fws]",
)
@click.option(
    *("-i", "--interval"), type=click.Choice(list(_DATE_LENGTHS)), default="days", help="The interval. [default: days]"
)
@click.option(
    "-n", "--num_intervals", type=click.IntRange(min=1), default=5, help="The number of intervals. [default: 5]"
)
@click.option("-q", "--query", metavar="JSON", help="Only entries that match a filter.")
def report(collection: str, interval: str, num_intervals: int, query: str | None) -> None:
    """Count fireworks by state and day.

    \b
    Example:
      rekindle lpad report
      rekindle lpad report -c launches -i hours -n 12
    """
    with open_store() as session:
        since = date_text((datetime.fromtimestamp(session.clock(), UTC) - num_intervals * _SPANS[interval]).timestamp())
        entries = _report_entries(session, collection, {} if query is None else parse_query(query))
    counted: dict[str, Counter[str]] = {}
    for at, state in entries:
        if at is not None and at >= since:
            counted.setdefault(at[: _DATE_LENGTHS[interval]], Counter())[state] += 1
    title = f"Stats on {collection}"
    click.echo(f"{'-' * len(title)}\n{title}\n{'-' * len(title)}")
    if not counted:
        click.echo("There are no stats to display for the chosen time period.")
    for period in sorted(counted, reverse=True)[:num_intervals]:
        _print_period(period, counted[period])


def _report_entries(session: Session, collection: str, query: dict[str, Any]) -> list[tuple[str | None, str]]:
    """Return when each entry changed last, and its state."""
    if collection in ("wflows", "workflows"):
        known = {one.id: one for one in workflow_queries.workflows(session, archived=True)}
        found = [summary_document(session, known[one], "more") for one in select_workflows(session, query)]
        return [(one["updated_on"], one["state"]) for one in found]
    if collection == "launches":
        chosen = firework_documents(session, select_fireworks(session, query, launches=True), times=True)
        return [(at["time_end"], at["state"]) for one in chosen for at in one.get("launches", ())]
    every = firework_documents(session, select_fireworks(session, query))
    return [(one["updated_on"], one["state"]) for one in every]


def _print_period(period: str, states: Counter[str]) -> None:
    header = f"Stats for time-period {period}"
    click.echo(f"{header}\n{'=' * len(header)}")
    for state in STATES:
        click.echo(f"{state} : {states[state]}")
    ended = states["COMPLETED"] + states["FIZZLED"]
    click.echo(f"\ntotal : {sum(states.values())}")
    click.echo(f"C/(C+F) : {round(100 * states['COMPLETED'] / ended, 1) if ended else 0.0}%\n")


@click.command(cls=LpadCommand)
@click.option(
    "-m", "--max", "most", type=click.IntRange(min=1), default=100, help="Show at most this many groups. [default: 100]"
)
@click.option("-t", "--threshold", type=int, default=10, help="Accepted and ignored.")
def introspect(most: int, threshold: int) -> None:  # noqa: ARG001 (accepted and ignored)
    """Group fizzled fireworks by their failure, the largest group first.

    \b
    Example:
      rekindle lpad introspect
    """
    with open_store() as session:
        groups = failure_queries.failures(session)[:most]
    title = "Introspection report for launches.actions.stored_data._exception._stacktrace"
    click.echo(f"{'=' * len(title)}\n{title}\n{'=' * len(title)}")
    for one in groups:
        click.echo(f"{one.count:>6,}  {one.cause.value}  {one.type or '-'}  {json.dumps(one.message)[:200]}")
        click.echo(f"        fw_id {', '.join(str(job) for job in one.jobs[:10])}{' …' if len(one.jobs) > 10 else ''}")
    if not groups:
        click.echo("no launch has fizzled")


@click.command(cls=LpadCommand)
@click.option("--port", type=click.IntRange(0, 65535), default=5000, show_default=True, help="0: any free port.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="HOST", help="Listen on this address.")
@click.option("-s", "--server_mode", is_flag=True, help="Open no browser.")
@click.option("--debug", is_flag=True, help="Accepted and ignored.")
@click.option("--nworkers", type=int, metavar="N", help="Accepted and ignored.")
@click.option("--fwquery", metavar="JSON", help="Accepted and ignored: the console's pages filter.")
@click.option("--wflowquery", metavar="JSON", help="Accepted and ignored: the console's pages filter.")
@click.option("--webgui_username", metavar="NAME", help="Accepted and ignored: the link that is printed logs in.")
@click.option("--webgui_password", metavar="WORD", help="Accepted and ignored: the link that is printed logs in.")
def webgui(port: int, host: str, server_mode: bool, **_: object) -> None:
    """Serve the console, and open it in a browser.

    \b
    Example:
      rekindle lpad webgui
    """
    try:
        from rekindle.web.server import serve
    except ModuleNotFoundError as error:
        raise missing_extra(error, "the console", "web") from None
    with open_store():
        pass  # refused before the server starts if there is no store
    url = store_url(click.get_current_context().find_root().params.get("store"))

    def announce(_: str, link: str) -> None:
        click.echo(f"open {link} (works once)")
        if not server_mode:
            webbrowser.open(link)

    serve(lambda: open_session(url, create=False), host, port, announce)
