"""The store that the command line means, opened for as long as a command runs."""

from __future__ import annotations

from dataclasses import replace

import click

from rekindle.cli.showing import drawing
from rekindle.domain.errors import NotFound, StoreDamaged, StoreUnavailable, StoreVersion
from rekindle.engine.session import Session, open_session, store_url


def opened(*, create: bool = False) -> Session:
    """An open session (a context manager). Without `create` a store that is not there is NotFound: looking must
    not leave an empty store behind in whatever folder one stands."""
    url = click.get_current_context().find_root().params.get("store")
    said: set[str] = set()

    def note(text: str) -> None:
        if text not in said:
            said.add(text)
            click.echo(drawing.flat(text), err=True)

    session = replace(open_session(url, create=create), note=note)
    if session.store.notice:
        click.echo(f"rekindle: {session.store.notice}", err=True)
    return session


def refuse_damaged(url: str | None, error: BaseException) -> None:
    """Raise StoreDamaged if the store that is meant exists and is damaged, after an error that nobody foresaw."""
    from rekindle.store.damage import UNREADABLE
    from rekindle.store.inspection import inspect
    from rekindle.store.opening import folder_of

    if not isinstance(error, (OSError, *UNREADABLE)):
        return
    try:
        found = inspect(folder_of(store_url(url)), deep=True, tell=lambda _: None)
    except (NotFound, StoreVersion, StoreUnavailable):
        return
    if found.problems:
        text = f"the store {found.folder} is damaged: {found.problems[0].text}"
        raise StoreDamaged(text, hint=found.problems[0].hint) from error
