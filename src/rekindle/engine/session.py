"""An open store and a clock: what every call of the engine works on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rekindle.domain.errors import NotFound
from rekindle.files.modes import shared_asked, working_directory
from rekindle.journal.durability import is_full
from rekindle.store.opening import open_store
from rekindle.store.port import Archive, Store

STORE_FOLDER = ".rekindle"
STORE_VARIABLE = "REKINDLE_STORE"
_ABSOLUTE = ("/", "sqlite:///", "~")


@dataclass(frozen=True, slots=True)
class Session:
    """An open store and the clock that dates what is written to it (seconds since the epoch)."""

    store: Store
    clock: Callable[[], float] = time.time
    note: Callable[[str], None] | None = None  # takes remarks for the user, on selections and on dead runners

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store."""
        self.store.close()


@contextmanager
def tentative(session: Session) -> Iterator[Archive]:
    """A transaction that writes, and of which nothing is kept: to see what would come of something."""
    try:
        with session.store.write() as archive:
            yield archive
            raise _Seen
    except _Seen:
        return


class _Seen(Exception):
    """What was to be seen has been: leaves a transaction so that it is rolled back."""


def open_session(
    url: str | None = None, *, create: bool = True, directory: Path | None = None, shared: bool = False
) -> Session:
    """Open the store that is meant.

    `url`, else $REKINDLE_STORE, else the nearest `.rekindle` at or above `directory` (default: the working
    directory), else a new one there; with `create` false a missing store is NotFound. $REKINDLE_DURABILITY says what
    a power cut may take back (see journal.durability). With `shared` or $REKINDLE_SHARED a new store is a group's.
    """
    meant = store_url(url, create=create, directory=directory)
    shared = shared or shared_asked(os.environ)
    return Session(open_store(meant, create=create, durable=is_full(os.environ), shared=shared))


def store_url(url: str | None = None, *, create: bool = False, directory: Path | None = None) -> str:
    """Return the path or URL of the store that is meant, as of `open_session`."""
    meant = url or os.environ.get(STORE_VARIABLE)
    if meant is not None:
        if not meant.startswith(_ABSOLUTE):
            working_directory()
        return meant
    here = (directory or working_directory()).absolute()
    nearest = _nearest(here)
    if nearest is None and not create:
        raise NotFound(
            f"no store at or above {here}",
            hint="`rekindle run SPEC` makes one; --store or $REKINDLE_STORE names one elsewhere",
        )
    return str(nearest or here / STORE_FOLDER)


def _nearest(directory: Path) -> Path | None:
    for folder in (directory, *directory.parents):
        candidate = folder / STORE_FOLDER
        if os.path.isdir(candidate):  # noqa: PTH112 (a folder above that may not be entered has none for this user)
            return candidate
    return None
