"""Open the store that the command line names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from msgspec.structs import replace

from rekindle.cli.output import terminal
from rekindle.domain.errors import NotFound, StoreDamaged, StoreUnavailable, StoreVersion
from rekindle.engine.session import Session, open_session, store_url


def opened(*, create: bool = False) -> Session:
    """Return an open session, to be used as a context manager. Raise NotFound if there is no store and `create` is
    false, so that commands that only read leave no empty store in the working directory."""
    url = click.get_current_context().find_root().params.get("store")
    printed: set[str] = set()

    def note(text: str) -> None:
        if text not in printed:
            printed.add(text)
            click.echo(terminal.one_line(text), err=True)

    session = replace(open_session(url, create=create), note=note)
    if session.store.notice:
        click.echo(f"rekindle: {session.store.notice}", err=True)
    return session


@contextmanager
def reconciled(*, create: bool = False, looks: bool = False) -> Iterator[Session]:
    """Open a session as `opened` does, and resolve the attempts of dead runners first. `looks`: for a command that
    only reads."""
    with opened(create=create) as session:
        with session.store.read() as archive:
            unended = archive.runners.alive()
        if not unended:  # the common case need not import the runner
            yield session
            return
        from rekindle.engine.running import reconcile

        with reconcile.reconciled(session, looks=looks):
            yield session


def refuse_damaged(url: str | None, error: BaseException) -> None:
    """After an unexpected error, raise StoreDamaged if the store exists and is damaged."""
    from rekindle.store.database import UNREADABLE
    from rekindle.store.inspection import inspect
    from rekindle.store.opening import folder_of, is_in_postgres

    if not isinstance(error, (OSError, *UNREADABLE)):
        return
    try:
        location = store_url(url)
        if is_in_postgres(location):  # the server checks its files
            return
        found = inspect(folder_of(location), deep=True, progress=lambda _: None)
    except (NotFound, StoreVersion, StoreUnavailable):
        return
    if found.problems:
        text = f"the store {found.folder} is damaged: {found.problems[0].text}"
        raise StoreDamaged(text, hint=found.problems[0].hint) from error
