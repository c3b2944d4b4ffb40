"""The store that the command line means, opened for as long as a dialect's command runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import click

from rekindle.engine.results import Canceled
from rekindle.engine.running import reconciling
from rekindle.engine.session import Session, open_session


def opened(*, create: bool = False) -> Session:
    """An open session (a context manager). Without `create` a store that is not there is NotFound."""
    url = click.get_current_context().find_root().params.get("store")
    session = replace(open_session(url, create=create), note=partial(click.echo, err=True))
    if session.store.notice:
        click.echo(f"rekindle: {session.store.notice}", err=True)
    return session


@contextmanager
def reconciled(*, create: bool = False, looks: bool = False) -> Iterator[Session]:
    """Open a session as `opened` does, reconciled with dead runners (see engine.running.reconciling)."""
    with opened(create=create) as session, reconciling.reconciled(session, looks=looks):
        yield session


def report_ending(done: Canceled) -> None:
    """Print what became of the running jobs that were canceled: here, or by their runner."""
    for one in done.reconciled:
        click.echo(one.summary, err=True)
    ending = len(done.asked) - len(done.over)
    if ending:
        click.echo(f"{ending:,} running: their runner ends them", err=True)
