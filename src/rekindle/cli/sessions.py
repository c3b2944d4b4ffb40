"""Open the store that the command line names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click
from msgspec.structs import replace

from rekindle.domain.errors import NotFound, Refused, StoreDamaged, StoreError, StoreUnavailable, StoreVersion
from rekindle.engine.session import STORE_FOLDER, Session, open_session, store_beside, store_url
from rekindle.presentation import words


def opened(*, create: bool = False) -> Session:
    """Return an open session, to be used as a context manager. Raise NotFound if there is no store and `create` is
    false, so that commands that only read leave no empty store in the working directory."""
    url = click.get_current_context().find_root().params.get("store")
    printed: set[str] = set()

    def note(text: str) -> None:
        if text not in printed:
            printed.add(text)
            click.echo(words.one_line(text), err=True)

    session = replace(open_session(url, create=create), note=note)
    if session.store.notice:
        click.echo(f"rekindle: {session.store.notice}", err=True)
    return session


@contextmanager
def opened_for(spec: str, *, dry_run: bool = False) -> Iterator[Session]:
    """Open a session as `reconciled` does, to submit a spec file, and make the store if there is none.

    If the folder of the spec has a store and this one has none, print a note, or raise Refused if that store has
    workflows of the spec. With `dry_run`, no store is made here: a temporary one takes the place of a missing one."""
    url = click.get_current_context().find_root().params.get("store")
    if url is None and (beside := store_beside(Path(spec))) is not None:
        _refuse_second_history(spec, beside)
    if dry_run and not _exists(url):
        from tempfile import TemporaryDirectory

        with TemporaryDirectory(prefix="rekindle-") as folder, open_session(folder) as session:
            yield session
        return
    with reconciled(create=True) as session:
        yield session


def _exists(url: str | None) -> bool:
    """Return whether the store of the command line exists."""
    try:
        open_session(url, create=False).close()
    except NotFound:
        return False
    return True


def _refuse_second_history(spec: str, store: str) -> None:
    """Raise Refused if a store has a workflow of the spec; else print a note that names the store."""
    import shlex

    from rekindle.store.database import LOCK_TIMEOUT
    from rekindle.store.opening import open_unchanged

    source, names = os.path.realpath(spec), []
    try:
        with closing(open_unchanged(store, LOCK_TIMEOUT)) as found, found.read() as archive:
            names = [one.name for one in archive.workflows.listing() if os.path.realpath(one.source or "") == source]
    except (NotFound, StoreError):
        pass  # it may be of another host or user: name it
    folder = shlex.quote(os.path.relpath(Path(store).parent))
    if names:
        raise Refused(
            f"the store {store} has workflow {names[-1]!r} of {spec}, and there is no store here",
            hint=f"cd {folder}, or `rekindle --store {shlex.quote(os.path.relpath(store))} …`; "
            "`rekindle init` makes a store here",
        )
    text = f"note: a new store, {STORE_FOLDER}; the folder of {spec} has one: {store}"
    click.echo(words.one_line(text), err=True)


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
    from rekindle.store.opening import is_in_postgres, rows_folder

    if not isinstance(error, (OSError, *UNREADABLE)):
        return
    try:
        location = store_url(url)
        if is_in_postgres(location):  # the server checks its files
            return
        found = inspect(rows_folder(location), deep=True, progress=lambda _: None)
    except (NotFound, StoreVersion, StoreUnavailable):
        return
    if found.problems:
        text = f"the store {found.folder} is damaged: {found.problems[0].text}"
        raise StoreDamaged(text, hint=found.problems[0].hint) from error
