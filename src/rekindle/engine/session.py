"""Sessions: an open store and a clock, which every call of the engine takes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from rekindle.domain.errors import NotFound
from rekindle.files.store_files import cache_limit, is_fully_durable, shared_requested, working_directory
from rekindle.journal.paths import JOB_PROJECT_VARIABLE, JOB_STORE_VARIABLE
from rekindle.store.archive import Store, Transaction
from rekindle.store.opening import PROJECT_STORE, SCHEMES, open_store

STORE_FOLDER = PROJECT_STORE
STORE_VARIABLE = "REKINDLE_STORE"
_ABSOLUTE = ("/", "sqlite:///", *SCHEMES, "~")


class Session(msgspec.Struct, frozen=True):
    """An open store and the clock that dates what is written to it (seconds since the epoch)."""

    store: Store
    clock: Callable[[], float] = time.time
    note: Callable[[str], None] | None = None  # receives messages for the user about selections and dead runners

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store."""
        self.store.close()


@contextmanager
def tentative(session: Session) -> Iterator[Transaction]:
    """Open a writing transaction that is rolled back at its end: for previews."""
    try:
        with session.store.write() as archive:
            yield archive
            raise _RollBack
    except _RollBack:
        return


class _RollBack(Exception):
    """Leaves a transaction so that it is rolled back."""


def open_session(
    url: str | None = None, *, create: bool = True, directory: Path | None = None, shared: bool = False
) -> Session:
    """Open a store.

    The store is `url`, else $REKINDLE_STORE, else the nearest `.rekindle` at or above `directory` (default: the working
    directory), else a new one there. To a process of a job, the nearest one in or above the folders of its workflow and
    of its attempt is the job's store, wherever that is. With `create` false, raise NotFound if there is none.
    $REKINDLE_DURABILITY sets which writes survive a power cut (see journal.log). With `shared` or $REKINDLE_SHARED, a
    new store can be written by its group.
    """
    location = store_url(url, create=create, directory=directory)
    shared = shared or shared_requested(os.environ)
    cache_limit(os.environ)  # a value that the runner refuses would be found after the submission
    try:
        return Session(open_store(location, create=create, durable=is_fully_durable(os.environ), shared=shared))
    except NotFound as none:
        if url is None and STORE_VARIABLE in os.environ:
            none.message += f", which ${STORE_VARIABLE} names"
        raise


def store_url(url: str | None = None, *, create: bool = False, directory: Path | None = None) -> str:
    """Return the path or URL of the store that `open_session` opens. Raise NotFound if there is none."""
    location = url or os.environ.get(STORE_VARIABLE)
    if location is not None:
        if not location.startswith(_ABSOLUTE):
            working_directory()
        return location
    here = (directory or working_directory()).absolute()
    nearest = _nearest(here)
    if nearest is None and not create:
        raise NotFound(
            f"no store at or above {here}",
            hint="`rekindle run SPEC` makes one; --store or $REKINDLE_STORE names one elsewhere",
        )
    return str(nearest or here / STORE_FOLDER)


def store_beside(spec: Path) -> str | None:
    """Return the nearest store at or above the folder of a spec, if a new store would be made in the working directory:
    it may have the history of the spec. `spec`: a path."""
    if os.environ.get(STORE_VARIABLE) is not None or _nearest(working_directory().absolute()) is not None:
        return None
    found = _nearest(spec.resolve().parent)
    return None if found is None else str(found)


def job_store() -> str | None:
    """Return the store of the job that this process belongs to. Return None outside of a job, and if the store has
    been moved since the job started."""
    store = os.environ.get(JOB_STORE_VARIABLE)
    return store if store and Path(store).is_dir() else None


def _nearest(directory: Path) -> Path | None:
    store = job_store()
    names = (JOB_PROJECT_VARIABLE, "REKINDLE_DIR") if store else ()
    job_folders = {os.path.realpath(os.environ[name]) for name in names if name in os.environ}
    for folder in (directory, *directory.parents):
        if store and os.path.realpath(folder) in job_folders:
            return Path(store)
        candidate = folder / STORE_FOLDER
        if os.path.isdir(candidate):  # noqa: PTH112 (Path.is_dir raises for a folder that this user may not enter)
            return candidate
    return None
