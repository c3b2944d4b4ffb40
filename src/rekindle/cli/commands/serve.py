"""`rekindle serve`: the console and the HTTP API of a store."""

from __future__ import annotations

import click

from rekindle.cli.command_table import MODE_SETS
from rekindle.cli.groups import load_attribute
from rekindle.cli.options import check_then_work, json_option, read_duration
from rekindle.cli.output import json_output
from rekindle.cli.sessions import opened
from rekindle.domain.errors import missing_extra
from rekindle.engine.results import WorkOptions
from rekindle.engine.session import open_session, store_url


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Listen on this address.")
@click.option("--port", type=click.IntRange(0, 65535), default=8642, show_default=True, help="0: any free port.")
@click.option("--work", "works", is_flag=True, help="Run jobs on this host too.")
@click.option("-j", "--jobs", "slots", type=click.IntRange(min=1), metavar="N", help="With --work: run N jobs at once.")
@click.option("--read-only", is_flag=True, help="Refuse all that changes something.")
@click.option(
    "--pilot-timeout",
    callback=read_duration,
    default="2m",
    show_default=True,
    metavar="D",
    help="Take a silent pilot for lost after this time.",
)
@click.option(
    "--allow-host", "allowed", multiple=True, metavar="NAME", help="Another name of this server, as of a proxy."
)
@json_option
def serve(
    host: str,
    port: int,
    works: bool,
    slots: int | None,
    read_only: bool,
    pilot_timeout: float,
    allowed: tuple[str, ...],
    as_json: bool,
) -> None:
    """Serve the console and the HTTP API.

    The console is a web page to see what failed, choose what runs again, and take it back. Open the link that is
    printed: it works once, and logs the browser in. For another browser or a program, `rekindle
    token new` makes a token. What is typed at the console becomes commands on this host, so it listens on this host
    alone unless --host says otherwise; then put a proxy with TLS in front of it.

    Each pilot (`rekindle work --server URL`, `rekindle slurm schedule-nodes --server URL`) needs a token of `rekindle
    token new --scope pilot`, and the store's folder on a file system that it shares with this host. Running jobs
    survive the end of the server: the next one takes them over.

    \b
    Example:
      rekindle serve
      rekindle serve --work -j 4
      rekindle serve --read-only --port 8643
    """
    check_then_work(works, slots)
    try:
        from rekindle.web.server import serve as run
    except ModuleNotFoundError as error:
        raise missing_extra(error, "serving", "web") from None
    with opened(create=True) as session:
        name = session.store.name
    url = store_url(click.get_current_context().find_root().params.get("store"))

    def announce(address: str, link: str) -> None:
        if as_json:
            json_output.emit({"url": address, "store": name, "link": link})
        else:
            click.echo(f"serving {name} at {address}")
            click.echo(f"open {link} (works once, for ten minutes)")

    working = WorkOptions(watch=True, slots=slots) if works else None
    run(
        lambda: open_session(url, create=False),
        host,
        port,
        announce,
        working=working,
        read_only=read_only,
        silence=pilot_timeout,
        allowed=allowed,
        modes=[load_attribute(target) for target in MODE_SETS],
    )
