"""Open or create a store: a folder with `store.db` in it, on a local disk of the host that it belongs to.

Journals and attempts' folders are in the same folder, or in a spool that may be on a file system which other hosts use
(see rekindle.store.spool)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rekindle.domain.errors import BadValue, NotFound, StoreDamaged, StoreUnavailable, StoreVersion
from rekindle.domain.texts.regexes import lazy_regex
from rekindle.files.store_files import (
    IGNORE_FILE,
    PRIVATE,
    SHARED,
    database_of,
    is_open_to_others,
    is_writable_by_group,
    open_file,
    set_mode,
    set_modes,
    write_file,
)
from rekindle.journal.processes import host_name
from rekindle.store.archive import Store
from rekindle.store.database import LOCK_TIMEOUT, UNREADABLE
from rekindle.store.queries import load
from rekindle.store.schema import APPLICATION, make_tables, migrate, migrations, newest_version
from rekindle.store.sqlite_connection import DAMAGE_HINT, FILE, cannot_open, connect, is_disk_full, translate
from rekindle.store.sqlite_driver import SqliteDriver
from rekindle.store.stored_paths import StoredPaths

SQL = load("opening")

HOST_FILE = "host"

PROJECT_STORE = ".rekindle"
"""The store's folder in the folder of a project."""

NETWORKED = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "coda", "lustre", "gpfs", "beegfs", "panfs"}
    | {"pvfs2", "orangefs", "gfs", "gfs2", "ocfs2"}
    | {f"fuse.{name}" for name in ("sshfs", "glusterfs", "ceph", "beegfs", "s3fs", "gcsfuse", "rclone")}
)
"""File systems that several hosts share: SQLite's locks and shared memory do not work between hosts."""

BECOMES_PRIVATE = 3
"""The migration at which a store that other users can enter becomes private; its user may open it again."""

SCHEMES = ("postgresql://", "postgres://")
"""How the URL of a store in PostgreSQL begins."""

_SCHEME, _SPOOL = "sqlite://", "?spool="
_OCTAL = lazy_regex(r"\\([0-7]{3})")


def open_store(
    url: str,
    *,
    create: bool,
    timeout: float = LOCK_TIMEOUT,
    durable: bool = False,
    shared: bool = False,
    spool: Path | None = None,
) -> Store:
    """Open the store that `url` names: a folder, `sqlite:///absolute/folder`, the `store.db` in it, the same with
    `?spool=FOLDER` to make a store whose spool is elsewhere, or `postgresql://…` (see rekindle.store.postgres_opening).

    With `create`, a folder that does not exist or is empty becomes a new store, private to its user unless `shared`
    (see files.modes). `timeout` is how many seconds to wait for another process's transaction. `durable`: a commit
    survives a power cut. A store that nobody can write, on a read-only disk or in another user's folder, can be read.
    `spool` is the folder of a new store whose rows are in PostgreSQL, if nothing else names it.

    Raise NotFound (no store there), BadValue (not a store's URL), StoreDamaged (something else is there, or it is
    corrupt), StoreVersion, or StoreUnavailable (cannot be opened or written, on a network file system, or of another
    host).
    """
    if url.startswith(SCHEMES):
        from rekindle.store.postgres_opening import open_postgres

        return open_postgres(url, create=create, shared=shared, spool=spool)
    folder, found_in = folder_of(url), None
    if (database := database_of(folder)) is not None:
        found_in, create = folder, False
        if database.startswith(SCHEMES):
            from rekindle.store.postgres_opening import open_postgres

            return open_postgres(database, create=False, found_in=folder)
        folder = folder_of(database)
    refuse_network(folder)
    if not _exists(folder / FILE):
        if not create:
            inside = folder / PROJECT_STORE
            hint = "`rekindle run SPEC` makes one; --store names another"
            hint = f"did you mean {inside}?" if _exists(inside / FILE) else hint
            raise NotFound(f"no store at {folder}", hint=hint)
        _create(folder, shared, spool=_spool_in(url))
    claim_host(folder, this_host())
    return _open(folder, timeout, durable, shared, found_in)


def open_unchanged(url: str, timeout: float) -> Store:
    """Open a store only to read from it, as it is: unlike `open_store`, do not upgrade it, record its host or change
    modes, and do not wait longer than `timeout`. Raises as `open_store` does, and StoreVersion for an older store."""
    if is_in_postgres(url):
        from rekindle.store.postgres_opening import open_postgres

        return open_postgres(database_of(folder_of(url)) or url, create=False, upgrade=False)
    folder = rows_folder(url)
    refuse_network(folder)
    if not _exists(folder / FILE):
        raise NotFound(f"no store at {folder}", hint="--store names another")
    try:
        connection = connect(folder / FILE, timeout)
        version = version_of(connection, folder)
        if version < newest_version():
            raise StoreVersion(
                f"the store {folder} has the older version {version}", hint="`rekindle status` upgrades it"
            )
        return Store(SqliteDriver(connection, str(folder)), str(folder), _identity(connection, folder))
    except sqlite3.DatabaseError as error:
        raise translate(error, str(folder)) from error


def is_in_postgres(url: str) -> bool:
    """Return whether the rows of the store that a URL or path names are in PostgreSQL."""
    return url.startswith(SCHEMES) or (database_of(folder_of(url)) or "").startswith(SCHEMES)


def rows_folder(url: str) -> Path:
    """Return the folder of the SQLite rows of the store that a URL or path names, which may be that of its spool."""
    folder = folder_of(url)
    database = database_of(folder)
    return folder if database is None else folder_of(database)


def _spool_in(url: str) -> Path | None:
    """Return the spool that a URL names, if it names one."""
    spool = url.partition(_SPOOL)[2] if url.startswith(_SCHEME) else ""
    return Path(spool) if spool else None


def folder_of(url: str) -> Path:
    """Return the absolute folder that a URL or path names."""
    if url.startswith(_SCHEME):
        url = url.removeprefix(_SCHEME).partition(_SPOOL)[0]
        if not url.startswith("/"):
            raise BadValue(f"{_SCHEME}{url} is not absolute", hint="write sqlite:///absolute/folder, or only the path")
    elif "://" in url:
        raise BadValue(f"no such kind of store: {url}", hint="a store is a folder, sqlite:///path or postgresql://…")
    if not url:
        raise BadValue("the store's path is empty", hint="name a folder")
    try:
        path = Path(url).expanduser().resolve()
    except (RuntimeError, ValueError, OSError) as error:  # unknown home, loop of links, null byte
        raise BadValue(f"the store's path {url!r} cannot be followed: {error}", hint="name a folder") from error
    return path.parent if path.name == FILE else path


def file_system(folder: Path, mounts: str) -> str | None:
    """Return the type of the file system of an absolute folder, from the text of /proc/self/mountinfo; None if the
    text does not say."""
    best, kind, inner = "", None, f"{folder}/"
    for line in mounts.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split()
        if not dash or len(fields) < 5:
            continue
        point = fields[4] if "\\" not in fields[4] else _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
        inside = inner.startswith(f"{point.rstrip('/')}/")
        if inside and len(point) >= len(best):  # of two mounts on one point, the later hides the earlier
            best, kind = point, after.split()[0]
    return kind


def refuse_network(folder: Path, mounts: str | None = None) -> None:
    """Raise StoreUnavailable if the folder, or its nearest existing parent, is on a network file system."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return
    kind = file_system(folder.resolve(), mounts)
    if kind in NETWORKED:
        raise StoreUnavailable(
            f"{folder} is on a network file system ({kind}), where a store would not survive two hosts",
            hint="name a folder on a local disk: --store FOLDER, or $REKINDLE_STORE",
        )


def this_host() -> str:
    """Return the machine's id, or its name if it has no id."""
    try:
        machine = Path("/etc/machine-id").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        machine = ""
    return machine or host_name()


def claim_host(folder: Path, host: str) -> None:
    """Record the host that the store belongs to, if none is recorded. Raise StoreUnavailable if it is another one."""
    path = folder / HOST_FILE
    try:
        owner = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        owner = ""
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be read: {error.strerror}", hint="check who owns it") from error
    if owner == host:
        return
    if owner:
        raise StoreUnavailable(
            f"the store {folder} belongs to another host ({owner}; this one is {host})",
            hint=f"work there; if the folder has moved here for good, remove {path}",
        )
    draft = folder / f"{HOST_FILE}.{os.getpid()}.part"
    try:
        write_file(draft, host + "\n")
        draft.replace(path)
    except OSError as error:
        raise StoreUnavailable(
            f"the store {folder} cannot be written: {error.strerror}", hint="check who owns it, and the disk"
        ) from error


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError as error:
        raise StoreUnavailable(
            f"the store {file.parent} cannot be reached: {error.strerror}", hint="check who may enter its folders"
        ) from error


def _open(folder: Path, timeout: float, durable: bool, shared: bool, found_in: Path | None) -> Store:
    try:
        try:
            return _prepare(folder, connect(folder / FILE, timeout, durable=durable), shared, found_in)
        except sqlite3.OperationalError as error:
            if not is_unchanging(folder, error):
                raise
            return _prepare(folder, connect(folder / FILE, timeout, unchanging=True), shared, found_in)
    except sqlite3.DatabaseError as error:
        raise translate(error, str(folder)) from error
    except UNREADABLE as error:  # rows that an upgrade reads
        raise StoreDamaged(f"the store {folder} is damaged: {error}", hint=DAMAGE_HINT) from error


def _prepare(folder: Path, connection: sqlite3.Connection, shared: bool, found_in: Path | None) -> Store:
    """Upgrade the store if needed, and make an older store private."""
    with ExitStack() as on_error:
        on_error.callback(connection.close)
        version = version_of(connection, folder)
        if version < newest_version():
            _upgrade(connection, folder)
        identity = _identity(connection, folder)
        recorded = recorded_spool(connection, folder)
        spool = recorded
        if recorded != folder:
            from rekindle.store.spool import find_spool

            spool = find_spool(f"{_SCHEME}{folder}", recorded, found_in)
        if spool != recorded:
            connection.execute(SQL["write_meta"].text, {"key": "spool", "value": str(spool)})
        on_error.pop_all()
    store = Store(SqliteDriver(connection, str(folder)), str(spool), identity)
    if version < BECOMES_PRIVATE and is_open_to_others(folder):
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
    """Return whether no process can write to a store that failed to open, so that it can be read as it is.

    This is so if the files that every connection needs beside the store cannot be made, because the disk is full or
    the folder is not writable. Raise StoreUnavailable if the last writes are still in the log.
    """
    log = folder / f"{FILE}-wal"
    blocked = cannot_open(error) and (is_disk_full(str(folder)) or not os.access(folder, os.W_OK))
    if not blocked or not os.access(folder / FILE, os.R_OK):
        return False
    if log.exists() and log.stat().st_size:
        raise StoreUnavailable(
            f"the store {folder} cannot be written, and what was written last is still in {log.name}",
            hint="copy the folder to where it can be written, and name that: --store FOLDER",
        )
    return True


def version_of(connection: sqlite3.Connection, folder: Path) -> int:
    """Return the version of the store. Raise StoreDamaged if it is not a store, StoreVersion if it cannot be
    upgraded."""
    if connection.execute(SQL["application"].text).fetchone()[0] != APPLICATION:
        if not (folder / FILE).stat().st_size:
            raise StoreDamaged(f"the store {folder} is damaged: {FILE} is empty", hint=DAMAGE_HINT)
        raise StoreDamaged(f"{folder / FILE} is not a rekindle store", hint="--store names another folder")
    ours = newest_version()
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


def recorded_spool(connection: sqlite3.Connection, folder: Path) -> Path:
    """Return the spool of the store in a folder: that folder, unless the store has recorded another."""
    row = connection.execute(SQL["spool"].text).fetchone()
    return folder if row is None else Path(row[0])


def _upgrade(connection: sqlite3.Connection, folder: Path) -> None:
    """Apply the missing migrations, one process at a time. Raise StoreVersion if the store is read-only."""
    try:
        with _locked(folder):
            version = connection.execute(SQL["version"].text).fetchone()[0]
            migrate(connection, migrations()[version:], StoredPaths(str(folder)))
    except sqlite3.OperationalError as error:
        if not cannot_open(error):
            raise
        raise StoreVersion(
            f"the store {folder} was written by an older rekindle, and cannot be upgraded because it is read-only",
            hint="copy the folder to where it can be written, and name that: --store FOLDER",
        ) from error


def _create(folder: Path, shared: bool, spool: Path | None) -> None:
    if spool is not None:
        from rekindle.store.spool import make_spool

        spool = make_spool(spool, shared=shared, hint="name another folder in the URL: ?spool=FOLDER")
    try:
        folder.mkdir(PRIVATE, parents=True, exist_ok=True)
        with _locked(folder):
            if not (folder / FILE).exists():
                _refuse_occupied(folder)
                set_mode(str(folder), SHARED if shared else PRIVATE)
                _write_new(folder, spool)
    except FileExistsError as error:
        raise StoreDamaged(f"{folder} is a file, not a store's folder", hint="--store names a folder") from error
    except OSError as error:
        raise StoreUnavailable(
            f"no store can be made at {folder}: {error.strerror}", hint="check who owns the folder, and the disk"
        ) from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: only one process creates or upgrades a store at a time."""
    import fcntl

    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _refuse_occupied(folder: Path) -> None:
    foreign = sorted({path.name for path in folder.iterdir()} - {HOST_FILE, IGNORE_FILE, *_draft_files(FILE)})
    if foreign:
        raise StoreDamaged(
            f"{folder} is no store, and not empty: it holds {foreign[0]}",
            hint=f"for instance --store {folder}/.rekindle",
        )


def _draft_files(name: str) -> list[str]:
    """Return the files that a process which was killed while creating a store may have left."""
    return [f"{name}.part{end}" for end in ("", "-journal", "-wal", "-shm")]


def _write_new(folder: Path, spool: Path | None) -> None:
    """Write a complete database under another name, then rename it."""
    from uuid import uuid4

    _remove_drafts(folder)
    draft = folder / f"{FILE}.part"
    with ExitStack() as on_error:
        on_error.callback(_remove_drafts, folder)
        os.close(open_file(draft, os.O_RDWR))  # SQLite gives the files beside the database the same mode
        try:
            connection = connect(draft)
            try:
                connection.execute(SQL["journal"].text)
                make_tables(connection)
                properties = {"identity": str(uuid4())} | ({} if spool is None else {"spool": str(spool)})
                for key, value in properties.items():
                    connection.execute(SQL["write_meta"].text, {"key": key, "value": value})
            finally:
                connection.close()
        except sqlite3.DatabaseError as error:
            raise translate(error, str(folder)) from error
        write_file(folder / IGNORE_FILE, "*\n")
        draft.replace(folder / FILE)
        on_error.pop_all()


def _remove_drafts(folder: Path) -> None:
    for name in _draft_files(FILE):
        (folder / name).unlink(missing_ok=True)
