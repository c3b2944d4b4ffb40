"""The store that the command line means, opened for as long as a command runs."""

from __future__ import annotations

import click

from rekindle.engine.session import Session, open_session


def opened(*, create: bool = False) -> Session:
    """An open session (a context manager). Without `create` a store that is not there is NotFound: looking must
    not leave an empty store behind in whatever folder one stands."""
    url = click.get_current_context().find_root().params.get("store")
    session = open_session(url, create=create)
    if session.store.notice:
        click.echo(f"rekindle: {session.store.notice}", err=True)
    return session
