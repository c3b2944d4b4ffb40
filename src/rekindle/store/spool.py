"""The spool of a store whose rows are elsewhere: the folder with its journals and attempts' folders.

The store remembers the folder. A file `database` in it has the URL of the store, so that a command that finds the
folder finds the store, and so that workers know that other hosts may use it."""

from __future__ import annotations

from pathlib import Path

from rekindle.domain.errors import BadValue, StoreUnavailable
from rekindle.files.store_files import DATABASE_FILE, IGNORE_FILE, PRIVATE, SHARED, database_of, set_mode, write_file


def make_spool(folder: Path, *, shared: bool, hint: str) -> Path:
    """Make the spool of a new store, and return its absolute path. `hint` says how another folder is named."""
    folder = folder.expanduser().absolute()
    try:
        folder.mkdir(PRIVATE, parents=True, exist_ok=True)
        foreign = sorted({path.name for path in folder.iterdir()} - {IGNORE_FILE})
        if foreign:
            raise BadValue(f"{folder} cannot be the spool of a new store: it holds {foreign[0]}", hint=hint)
        set_mode(str(folder), SHARED if shared else PRIVATE)
        write_file(folder / IGNORE_FILE, "*\n")
    except OSError as error:
        raise StoreUnavailable(
            f"no spool can be made at {folder}: {error.strerror}", hint="check who owns the folder, and the disk"
        ) from error
    return folder


def find_spool(url: str, recorded: Path, found_in: Path | None) -> Path:
    """Return the spool of the store with a URL: the folder in which the URL was found, if that is another than the
    recorded one, because it was moved; the caller then records it. Raise StoreUnavailable for a copy of the spool, and
    if the spool is not there."""
    if found_in is not None and found_in != recorded:
        if database_of(recorded) == url:
            raise StoreUnavailable(
                f"{found_in} is a copy of {recorded}, the spool of the store {url}",
                hint=f"use the store from there, or remove {found_in / DATABASE_FILE}",
            )
        return found_in
    try:
        if not (recorded / DATABASE_FILE).exists():
            write_file(recorded / DATABASE_FILE, url + "\n")
    except OSError as error:
        raise StoreUnavailable(
            f"the spool of the store {url} is not there: {recorded} ({error.strerror})",
            hint="mount it here; if it has been moved, name its folder: --store FOLDER",
        ) from error
    return recorded
