"""Opening a store, and making one: a folder with `store.db` in it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rekindle.domain.errors import BadValue, NotFound, StoreDamaged, StoreUnavailable, StoreVersion
from rekindle.files.modes import (
    PRIVATE,
    SHARED,
    is_open_to_others,
    is_writable_by_group,
    open_file,
    set_mode,
    set_modes,
    write_file,
)
from rekindle.store.damage import UNREADABLE
from rekindle.store.paths import StoredPaths
from rekindle.store.place import HOST_FILE, claim_host, refuse_network, this_host
from rekindle.store.port import Store
from rekindle.store.queries import load
from rekindle.store.schema import APPLICATION, migrate, migrations
from rekindle.store.sqlite import FILE, PATIENCE, Connection, SqliteStore, connect
from rekindle.store.translating import HINT, cannot_open, is_full, translate

SQL = load("opening")

_IGNORED = ".gitignore"
_SCHEME = "sqlite://"

CLOSES = 3
"""The migration at which a store that other users can enter becomes private: its user may open it again."""


def open_store(
    url: str, *, create: bool, patience: float = PATIENCE, durable: bool = False, shared: bool = False
) -> Store:
    """Open the store that `url` names: a folder, `sqlite:///absolute/folder`, or the `store.db` in it.

    With `create` a folder that is not there, or is empty, becomes a new store. `patience` is how many seconds to wait
    for another process's transaction; `durable`: what is committed survives a power cut. A store that nobody can write,
    on a disk that is mounted read-only or in another's folder, can be looked at. A new store is private to its user
    unless it is `shared` (see files.modes). Errors: NotFound (none there),
    BadValue (no such kind of store), StoreDamaged (something else is there, or it is corrupt), StoreVersion,
    StoreUnavailable (not to be written or opened, on a network file system, or of another host).
    """
    folder = folder_of(url)
    refuse_network(folder)
    if not _is_there(folder / FILE):
        if not create:
            raise NotFound(f"no store at {folder}", hint="`rekindle run SPEC` makes one; --store names another")
        _create(folder, shared)
    claim_host(folder, this_host())
    return _opened(folder, patience, durable, shared)


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError as error:
        raise StoreUnavailable(
            f"the store {file.parent} cannot be reached: {error.strerror}", hint="check who may enter its folders"
        ) from error


def folder_of(url: str) -> Path:
    """The absolute folder that a URL or path names."""
    if url.startswith(_SCHEME):
        url = url.removeprefix(_SCHEME)
        if not url.startswith("/"):
            raise BadValue(f"{_SCHEME}{url} is not absolute", hint="write sqlite:///absolute/folder, or only the path")
    elif "://" in url:
        raise BadValue(f"no such kind of store: {url}", hint="a store is a folder: a path, or sqlite:///path")
    if not url:
        raise BadValue("the store's path is empty", hint="name a folder")
    try:
        path = Path(url).expanduser().resolve()
    except (RuntimeError, ValueError, OSError) as error:  # an unknown home, a loop of links, a zero byte
        raise BadValue(f"the store's path {url!r} cannot be followed: {error}", hint="name a folder") from error
    return path.parent if path.name == FILE else path


def _opened(folder: Path, patience: float, durable: bool, shared: bool) -> SqliteStore:
    try:
        try:
            return _connected(folder, connect(folder / FILE, patience, durable=durable), shared)
        except sqlite3.OperationalError as error:
            if not is_unchanging(folder, error):
                raise
            return _connected(folder, connect(folder / FILE, patience, unchanging=True), shared)
    except sqlite3.DatabaseError as error:
        raise translate(error, str(folder)) from error
    except UNREADABLE as error:  # rows that an upgrade reads
        raise StoreDamaged(f"the store {folder} is damaged: {error}", hint=HINT) from error


def _connected(folder: Path, connection: Connection, shared: bool) -> SqliteStore:
    with ExitStack() as on_error:
        on_error.callback(connection.close)
        version = version_of(connection, folder)
        if version < len(migrations()):
            _upgrade(connection, folder)
        identity = _identity(connection, folder)
        on_error.pop_all()
    store = SqliteStore(connection, folder, identity)
    if version < CLOSES and is_open_to_others(folder):
        is_group = shared or is_writable_by_group(folder)
        set_modes(folder, shared=is_group)
        store.notice = (
            f"the store {folder} was open to other users and is now open to the group of its folder only"
            if is_group
            else f"the store {folder} was open to other users and is now private; "
            f"to share it with a group: rekindle --store {folder} init --shared"
        )
    return store


def is_unchanging(folder: Path, error: sqlite3.OperationalError) -> bool:
    """The store cannot be opened because the files beside it, which every connection needs, cannot be made: there is no
    room, or nobody may. Then nobody writes, and it can be looked at, as it is, if all of it is in its own file.
    StoreUnavailable when it is not."""
    log = folder / f"{FILE}-wal"
    hindered = cannot_open(error) and (is_full(str(folder)) or not os.access(folder, os.W_OK))
    if not hindered or not os.access(folder / FILE, os.R_OK):
        return False
    if log.exists() and log.stat().st_size:
        raise StoreUnavailable(
            f"the store {folder} cannot be written, and what was written last is still in {log.name}",
            hint="copy the folder to where it can be written, and name that: --store FOLDER",
        )
    return True


def version_of(connection: sqlite3.Connection, folder: Path) -> int:
    """Return the version of the store, once it is known to be a store. StoreVersion when it cannot be upgraded."""
    if connection.execute(SQL["application"].text).fetchone()[0] != APPLICATION:
        if not (folder / FILE).stat().st_size:
            raise StoreDamaged(f"the store {folder} is damaged: {FILE} is empty", hint=HINT)
        raise StoreDamaged(f"{folder / FILE} is not a rekindle store", hint="--store names another folder")
    ours = len(migrations())
    version: int = connection.execute(SQL["version"].text).fetchone()[0]
    if version > ours:
        raise StoreVersion(
            f"the store {folder} was written by a newer rekindle (its version is {version}, ours is {ours})",
            hint="upgrade rekindle",
        )
    if version < 1:
        raise StoreVersion(
            f"the store {folder} was written by an older rekindle (its version is {version}, ours is {ours})",
            hint="finish it with the rekindle that made it, or submit again to a new one with --store FOLDER",
        )
    return version


def _identity(connection: sqlite3.Connection, folder: Path) -> str:
    """Return the store's UUID."""
    row = connection.execute(SQL["identity"].text).fetchone()
    if row is None:
        raise StoreDamaged(f"the store {folder} has lost its identity", hint="go back to a copy of its folder")
    return str(row[0])


def _upgrade(connection: sqlite3.Connection, folder: Path) -> None:
    """Apply the migrations that a store of an older rekindle lacks; one process at a time. StoreVersion where the store
    cannot be written."""
    try:
        with _alone(folder):
            version = connection.execute(SQL["version"].text).fetchone()[0]
            migrate(connection, migrations()[version:], StoredPaths(str(folder)))
    except sqlite3.OperationalError as error:
        if not cannot_open(error):
            raise
        raise StoreVersion(
            f"the store {folder} was written by an older rekindle, and cannot be upgraded because it is read-only",
            hint="copy the folder to where it can be written, and name that: --store FOLDER",
        ) from error


def _create(folder: Path, shared: bool) -> None:
    try:
        folder.mkdir(PRIVATE, parents=True, exist_ok=True)
        with _alone(folder):
            if not (folder / FILE).exists():
                _refuse_occupied(folder)
                set_mode(str(folder), SHARED if shared else PRIVATE)
                _write_new(folder)
    except FileExistsError as error:
        raise StoreDamaged(f"{folder} is a file, not a store's folder", hint="--store names a folder") from error
    except OSError as error:
        raise StoreUnavailable(
            f"no store can be made at {folder}: {error.strerror}", hint="check who owns the folder, and the disk"
        ) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Of several processes that make the same store, one at a time."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _refuse_occupied(folder: Path) -> None:
    strange = sorted({path.name for path in folder.iterdir()} - {HOST_FILE, _IGNORED, *_leftovers(FILE)})
    if strange:
        raise StoreDamaged(
            f"{folder} is no store, and not empty: it holds {strange[0]}",
            hint=f"for instance --store {folder}/.rekindle",
        )


def _leftovers(name: str) -> list[str]:
    """What an earlier attempt to make a store, killed half-way, may have left."""
    return [f"{name}.part{end}" for end in ("", "-journal", "-wal", "-shm")]


def _write_new(folder: Path) -> None:
    """Under another name, complete, and only then where it is looked for."""
    _remove_leftovers(folder)
    draft = folder / f"{FILE}.part"
    with ExitStack() as on_error:
        on_error.callback(_remove_leftovers, folder)
        os.close(open_file(draft, os.O_RDWR))  # SQLite gives the files beside it the same mode
        try:
            connection = connect(draft)
            try:
                connection.execute(SQL["journal"].text)
                migrate(connection, migrations(), StoredPaths(str(folder)))
                connection.execute(SQL["write_meta"].text, {"key": "identity", "value": str(uuid.uuid4())})
            finally:
                connection.close()
        except sqlite3.DatabaseError as error:
            raise translate(error, str(folder)) from error
        write_file(folder / _IGNORED, "*\n")
        draft.replace(folder / FILE)
        on_error.pop_all()


def _remove_leftovers(folder: Path) -> None:
    for name in _leftovers(FILE):
        (folder / name).unlink(missing_ok=True)
