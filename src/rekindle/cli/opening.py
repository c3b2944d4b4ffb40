"""The store that the command line means, opened for as long as a command runs."""

from __future__ import annotations

from dataclasses import replace

import click

from rekindle.cli.showing import drawing
from rekindle.engine.session import Session, open_session


def opened(*, create: bool = False) -> Session:
    """An open session (a context manager). Without `create` a store that is not there is NotFound: looking must
    not leave an empty store behind in whatever folder one stands."""
    url = click.get_current_context().find_root().params.get("store")
    said: set[str] = set()

    def note(text: str) -> None:
        if text not in said:
            said.add(text)
            click.echo(drawing.flat(text), err=True)

    return replace(open_session(url, create=create), note=note)
