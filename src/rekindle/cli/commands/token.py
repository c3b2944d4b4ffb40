"""`rekindle token`: tokens of the HTTP interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from rekindle.cli.command_table import Entry
from rekindle.cli.groups import LazyGroup
from rekindle.cli.options import json_option
from rekindle.cli.output import json_output, terminal
from rekindle.cli.output.terminal import Column
from rekindle.cli.sessions import opened
from rekindle.engine import api_tokens
from rekindle.presentation import documents, words

if TYPE_CHECKING:
    from rekindle.store.tokens import ApiToken

COMMANDS = {
    "new": Entry("rekindle.cli.commands.token:new", "Make a token, and print it once."),
    "list": Entry("rekindle.cli.commands.token:list_tokens", "List tokens, without their secrets."),
    "revoke": Entry("rekindle.cli.commands.token:revoke", "Revoke a token."),
}


@click.group("token", cls=LazyGroup, entries=COMMANDS)
def token() -> None:
    """Make and revoke the tokens of `rekindle serve`.

    \b
    Example:
      rekindle token new --scope pilot
    """


@click.command()
@click.option("--scope", "scopes", required=True, metavar="SCOPES", help="read, rerun, submit, pilot, with commas.")
@click.option("--name", default="", metavar="NAME", help="Whose it is: recorded with what the token changes.")
@json_option
def new(scopes: str, name: str, as_json: bool) -> None:
    """Make a token, and print it once.

    The store keeps a digest of it only.

    \b
    Example:
      rekindle token new --scope read,rerun --name laptop
    """
    with opened(create=True) as session:
        made = api_tokens.new_token(session, [scope.strip() for scope in scopes.split(",")], name)
    if as_json:
        json_output.emit({"token": made})
    else:
        click.echo(made)


@click.command("list")
@json_option
def list_tokens(as_json: bool) -> None:
    """List tokens, without their secrets.

    \b
    Example:
      rekindle token list
    """
    with opened() as session:
        found = api_tokens.list_tokens(session)
    if as_json:
        json_output.emit({"tokens": [_document(one) for one in found]})
        return
    columns = [
        Column("ID", right=True),
        Column("NAME", cut="middle", keep=True),
        Column("SCOPES"),
        Column("MADE", optional=True),
        Column("USED", optional=True),
        Column("REVOKED"),
    ]
    times = ((one, (one.created, one.last_used, one.revoked)) for one in found)
    rows = ((str(one.id), one.name, ", ".join(one.scopes), *map(words.short_time, at)) for one, at in times)
    click.echo(terminal.table(columns, rows))


def _document(one: ApiToken) -> dict[str, Any]:
    times = {"created": one.created, "last_used": one.last_used, "revoked": one.revoked}
    return {
        "id": one.id,
        "name": one.name,
        "scopes": [*one.scopes],
        **{name: documents.iso(at) for name, at in times.items()},
    }


@click.command()
@click.argument("number", metavar="ID", type=int)
@json_option
def revoke(number: int, as_json: bool) -> None:
    """Revoke a token. Whoever has it is refused from now on.

    \b
    Example:
      rekindle token revoke 2
    """
    with opened() as session:
        api_tokens.revoke_token(session, number)
    if as_json:
        json_output.emit({"revoked": number})
    else:
        click.echo(f"revoked token {number}")
