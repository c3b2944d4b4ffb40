"""Read what a check of an installation needs to know of a store, without writing anything: no lock, no log, no shared
memory, no upgrade."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.errors import StoreUnavailable
from rekindle.store.archive import Snapshot
from rekindle.store.database import Access, Database
from rekindle.store.integrity import file_problems
from rekindle.store.opening import recorded_spool, version_of
from rekindle.store.queries import load
from rekindle.store.schema import newest_version
from rekindle.store.sqlite_connection import FILE, translate
from rekindle.store.sqlite_driver import SqliteDriver
from rekindle.store.stored_paths import StoredPaths

if TYPE_CHECKING:
    from rekindle.domain.models import Runner  # noqa: TC004  StoreFacts is never decoded
    from rekindle.store.postgres_driver import PostgresDriver

SQL = load("inspection")
POSTGRES = load("postgres")

SQLITE = sqlite3.sqlite_version

SERVER_SECONDS = 4
"""How long a database server has to accept a connection."""


class StoreFacts(msgspec.Struct, frozen=True):
    """What is known of a store. The rows of a store of another version are not read: they may have other columns."""

    version: int
    newest: int  # the version of stores that this rekindle makes
    spool: str = ""
    workflows: int = 0
    runners: tuple[Runner, ...] = ()  # those that have not ended
    last_event: float | None = None


class ServerFacts(msgspec.Struct, frozen=True):
    """What is known of a PostgreSQL server and of the store in it (None: the schema has none)."""

    version: str
    ahead: float  # seconds by which its clock is ahead
    may_write: bool
    store: StoreFacts | None


def read_facts(folder: Path) -> StoreFacts:
    """Read a store in SQLite. Raise StoreDamaged, StoreVersion or StoreUnavailable."""
    try:
        with closing(_read_only(folder)) as connection:
            version = version_of(connection, folder)
            if version != newest_version():
                return StoreFacts(version, newest_version(), str(folder))
            connection.execute("BEGIN")
            spool = recorded_spool(connection, folder)
            database = Database(SqliteDriver(connection, str(folder)), StoredPaths(str(spool)))
            return _facts(database, version, str(spool))
    except sqlite3.DatabaseError as error:
        raise translate(error, str(folder)) from error


def find_damage(folder: Path) -> str:
    """Return the first problem that SQLite finds in the file of a store, or an empty text."""
    with closing(_read_only(folder)) as connection:
        return next(iter(file_problems(connection, deep=False)), "")


def _read_only(folder: Path) -> sqlite3.Connection:
    """Open the file so that SQLite neither writes it nor makes files beside it."""
    log, shared = (folder / f"{FILE}-{end}" for end in ("wal", "shm"))
    if log.exists() and log.stat().st_size:
        if not shared.exists():
            raise StoreUnavailable(
                f"what was written last to {folder} is still in {log.name}", hint="rekindle status takes it over"
            )
        return sqlite3.connect(f"{(folder / FILE).as_uri()}?mode=ro", uri=True, check_same_thread=False)
    return sqlite3.connect(f"{(folder / FILE).as_uri()}?immutable=1", uri=True, check_same_thread=False)


def _facts(database: Database, version: int, spool: str) -> StoreFacts:
    archive = Snapshot(database)
    events = archive.events.listing(None, limit=1)
    return StoreFacts(
        version,
        version,
        spool,
        workflows=database.value(SQL["workflows"]),
        runners=tuple(archive.runners.alive()),
        last_event=events[0].at if events else None,
    )


def read_server(url: str, clock: float) -> ServerFacts:
    """Read a PostgreSQL server and the store in it. `clock` is the time here. Raise BadValue, StoreUnavailable or
    psycopg.Error."""
    import psycopg

    from rekindle.store.postgres_driver import PostgresDriver, unreachable
    from rekindle.store.postgres_opening import place_of

    place = place_of(url)
    separator = "&" if "?" in place.conninfo else "?"

    try:
        driver = PostgresDriver(f"{place.conninfo}{separator}connect_timeout={SERVER_SECONDS}", place.schema, place.url)
    except psycopg.Error as error:
        raise unreachable(place.url, error) from error
    with closing(driver):
        try:
            return _server_facts(driver, clock)
        except psycopg.Error as error:
            raise driver.translate(error, Access.READ) from error


def _server_facts(driver: PostgresDriver, clock: float) -> ServerFacts:
    server_clock, version = driver.run("server").fetchone() or (clock, "")
    if not driver.is_store():
        return ServerFacts(version, server_clock - clock, False, None)
    (may_write,) = driver.run("may_write").fetchone() or (0,)
    found, newest = dict(driver.run("properties").fetchall()), newest_version("postgres")
    facts = StoreFacts(int(found["version"]), newest, found["spool"])
    if facts.version == newest:
        driver.begin(Access.READ)
        facts = _facts(Database(driver, StoredPaths(found["spool"])), newest, found["spool"])
    return ServerFacts(version, server_clock - clock, bool(may_write), facts)
