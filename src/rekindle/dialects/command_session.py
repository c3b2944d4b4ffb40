"""Open the store of the command line for a dialect's command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from rekindle.engine.running import reconcile
from rekindle.engine.session import Session, open_session

if TYPE_CHECKING:
    from rekindle.engine.results import CancelResult


def open_store(*, create: bool = False) -> Session:
    """Return an open session (a context manager). Without `create`, raise NotFound if the store does not exist."""
    url = click.get_current_context().find_root().params.get("store")
    session = replace(open_session(url, create=create), note=partial(click.echo, err=True))
    if session.store.notice:
        click.echo(f"rekindle: {session.store.notice}", err=True)
    return session


@contextmanager
def open_reconciled(*, create: bool = False, looks: bool = False) -> Iterator[Session]:
    """Open a session like `open_store`, and reconcile the attempts of dead runners."""
    with open_store(create=create) as session, reconcile.reconciled(session, looks=looks):
        yield session


def print_canceled(done: CancelResult) -> None:
    """Print the outcome of running jobs that were canceled, by this command or by their runner."""
    for one in done.reconciled:
        click.echo(one.summary, err=True)
    ending = len(done.asked) - len(done.over)
    if ending:
        click.echo(f"{ending:,} running: their runner terminates them", err=True)
