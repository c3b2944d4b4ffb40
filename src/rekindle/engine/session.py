"""An open store and a clock: what every call of the engine works on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rekindle.domain.errors import NotFound
from rekindle.journal.durability import is_full
from rekindle.store.opening import open_store
from rekindle.store.port import Archive, Store

STORE_FOLDER = ".rekindle"
STORE_VARIABLE = "REKINDLE_STORE"


@dataclass(frozen=True, slots=True)
class Session:
    """An open store and the clock that dates what is written to it (seconds since the epoch)."""

    store: Store
    clock: Callable[[], float] = time.time
    note: Callable[[str], None] | None = None  # takes remarks for the user about what a selection means

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


def open_session(url: str | None = None, *, create: bool = True, directory: Path | None = None) -> Session:
    """Open the store that is meant.

    `url`, else $REKINDLE_STORE, else the nearest `.rekindle` at or above `directory` (default: the working
    directory), else a new one there; with `create` false a missing store is NotFound. $REKINDLE_DURABILITY says what
    a power cut may take back (see journal.durability).
    """
    here = (directory or Path.cwd()).absolute()
    meant = url or os.environ.get(STORE_VARIABLE)
    if meant is None:
        nearest = _nearest(here)
        if nearest is None and not create:
            raise NotFound(
                f"no store at or above {here}",
                hint="`rekindle run SPEC` makes one; --store or $REKINDLE_STORE names one elsewhere",
            )
        meant = str(nearest or here / STORE_FOLDER)
    return Session(open_store(meant, create=create, durable=is_full(os.environ)))


def _nearest(directory: Path) -> Path | None:
    for folder in (directory, *directory.parents):
        candidate = folder / STORE_FOLDER
        if candidate.is_dir():
            return candidate
    return None
