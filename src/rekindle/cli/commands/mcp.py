"""`rekindle mcp`: tools for agents."""

from __future__ import annotations

import click

from rekindle.cli.sessions import opened
from rekindle.domain.errors import BadValue, missing_extra
from rekindle.engine.session import open_session, store_url

_SCOPES = ("read", "rerun", "submit")


def _read_scopes(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...]:
    """Return the scopes of `read,rerun`; `read` is always one. A click callback."""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in _SCOPES:
            raise BadValue(f"--scope: {word!r} is not a scope", hint=f"scopes are {', '.join(_SCOPES)}")
    return tuple(dict.fromkeys(("read", *words)))


@click.command()
@click.option(
    "--scope",
    "scopes",
    callback=_read_scopes,
    default="read",
    show_default=True,
    metavar="SCOPES",
    help="What the tools may do: read; read,rerun: also plan, apply and undo reruns; read,rerun,submit: also with "
    "other parameters and variables.",
)
@click.option("--name", default="mcp", show_default=True, metavar="NAME", help="Record this name with what is written.")
def mcp(scopes: tuple[str, ...], name: str) -> None:
    """Serve tools for an agent over standard input and output (Model Context Protocol).

    Needs the extra `rekindle[mcp]`. An agent's program starts this command; it ends when standard input closes. The
    tools return the documents of the commands with --json, in bounded pages. A rerun is applied only if its plan was
    shown by the same server and is still the plan, and can be undone. No tool reads files outside of the project.

    \b
    Example:
      rekindle mcp
      rekindle --store build/.rekindle mcp --scope read,rerun
    """
    try:
        from rekindle.web.mcp_server import serve
    except ModuleNotFoundError as error:
        raise missing_extra(error, "mcp", "mcp") from None
    opened().close()
    url = store_url(click.get_current_context().find_root().params.get("store"))
    serve(lambda: open_session(url, create=False), scopes, name)
