"""Open a store in a PostgreSQL database: `postgresql://user@host:port/database?schema=NAME&spool=FOLDER`.

Rows are in a schema of the database, `rekindle` unless the URL names another. Journals and attempts' folders are in the
spool: a folder that the store remembers. A file `database` in the spool has the URL, so that a command that finds the
folder finds the store.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import uuid4

from rekindle.domain.errors import BadValue, NotFound, StoreUnavailable, StoreVersion
from rekindle.files.store_files import DATABASE_FILE, PRIVATE, SHARED, database_of, set_mode, write_file
from rekindle.store.archive import Store
from rekindle.store.database import Access
from rekindle.store.queries import load
from rekindle.store.schema import migrations, newest_version

POSTGRES = load("postgres")

if TYPE_CHECKING:
    from rekindle.store.postgres_driver import PostgresDriver

SPOOL_VARIABLE = "REKINDLE_SPOOL"
STORE_FOLDER = ".rekindle"

_IGNORED = ".gitignore"
_EXTRA = "pip install 'rekindle[postgres]'"


class Place(NamedTuple):
    """A database, a schema in it, and the spool that the URL names, if any. `url` has no password."""

    url: str
    conninfo: str
    schema: str
    spool: str | None


def place_of(url: str) -> Place:
    """Return what a URL names. Raise BadValue for a URL with a password, or a bad schema."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    if parts.password is not None or "password" in query:
        raise BadValue(
            f"the store's URL has a password, which other users of this host could read: {_without_password(url)}",
            hint="leave it out; set PGPASSWORD, or write it to ~/.pgpass",
        )
    schema, spool = query.pop("schema", "rekindle"), query.pop("spool", None)
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,47}", schema) or schema.startswith("pg_"):
        raise BadValue(f"no schema can be called {schema!r}", hint="use small letters, digits and _: ?schema=sweep")
    conninfo = urlunsplit(parts._replace(query=urlencode(query, safe="/")))
    shown = dict(query) | ({} if schema == "rekindle" else {"schema": schema})
    return Place(urlunsplit(parts._replace(query=urlencode(shown, safe="/"))), conninfo, schema, spool)


def _without_password(url: str) -> str:
    return re.sub(r"(//[^/@]*:)[^/@]*@", r"\1…@", re.sub(r"(password=)[^&]*", r"\1…", url))


def open_postgres(
    url: str, *, create: bool, found_in: Path | None = None, shared: bool = False, spool: Path | None = None
) -> Store:
    """Open the store that a URL names; with `create`, make it if it is not there.

    `found_in` is the folder in which the URL was found. A new store's spool is the URL's, else $REKINDLE_SPOOL, else
    `spool`: by default `.rekindle` in the working directory. Raise NotFound, BadValue, StoreVersion or
    StoreUnavailable.
    """
    place = place_of(url)
    try:
        import psycopg

        from rekindle.store.postgres_driver import PostgresDriver, unreachable
    except ImportError as error:
        raise StoreUnavailable(f"a store in PostgreSQL needs psycopg: {error}", hint=_EXTRA) from error
    try:
        driver = PostgresDriver(place.conninfo, place.schema, place.url)
    except psycopg.Error as error:
        raise unreachable(place.url, error) from error
    with ExitStack() as on_error:
        on_error.callback(driver.close)
        try:
            if not driver.is_store():
                if not create:
                    raise NotFound(f"no store at {place.url}", hint="`rekindle --store URL run SPEC` makes one")
                _create(driver, _new_spool(place, shared, spool))
            driver.identify()
            found: dict[str, str] = dict(driver.run("properties").fetchall())
            _check_version(place, int(found["version"]))
            folder = _spool(driver, place, Path(found["spool"]), found_in)
        except psycopg.Error as error:
            raise driver.translate(error, Access.WRITE) from error
        on_error.pop_all()
    return Store(driver, str(folder), found["identity"])


def _check_version(place: Place, version: int) -> None:
    ours = newest_version("postgres")
    if version > ours:
        raise StoreVersion(
            f"the store {place.url} was written by a newer rekindle (its version is {version}, ours is {ours})",
            hint="upgrade rekindle",
        )


def _new_spool(place: Place, shared: bool, otherwise: Path | None) -> Path:
    """Make the spool of a new store."""
    folder = Path(place.spool or os.environ.get(SPOOL_VARIABLE) or otherwise or STORE_FOLDER).expanduser().absolute()
    try:
        folder.mkdir(PRIVATE, parents=True, exist_ok=True)
        foreign = sorted({path.name for path in folder.iterdir()} - {_IGNORED})
        if foreign:
            raise BadValue(
                f"{folder} cannot be the spool of a new store: it holds {foreign[0]}",
                hint=f"name another folder in ${SPOOL_VARIABLE}, or in the URL: ?spool=FOLDER",
            )
        set_mode(str(folder), SHARED if shared else PRIVATE)
        write_file(folder / _IGNORED, "*\n")
    except OSError as error:
        raise StoreUnavailable(
            f"no spool can be made at {folder}: {error.strerror}", hint="check who owns the folder, and the disk"
        ) from error
    return folder


def _create(driver: PostgresDriver, folder: Path) -> None:
    """Make the tables of a new store, in one transaction."""
    driver.begin(Access.WRITE)
    try:
        if not driver.is_store():  # nobody else was faster
            driver.run("create_schema")
            for step in migrations("postgres"):
                driver.run_text(step.text)
            values = {"identity": str(uuid4()), "version": str(newest_version("postgres")), "spool": str(folder)}
            for key, value in values.items():
                driver.execute(POSTGRES["set_property"].text, {"key": key, "value": value})
        driver.commit()
    finally:
        driver.roll_back()


def _spool(driver: PostgresDriver, place: Place, recorded: Path, found_in: Path | None) -> Path:
    """Return the spool, which follows the folder that names the store if that has been moved."""
    if found_in is not None and found_in != recorded:
        if database_of(recorded) == place.url:
            raise StoreUnavailable(
                f"{found_in} is a copy of {recorded}, the spool of the store {place.url}",
                hint=f"use the store from there, or remove {found_in / DATABASE_FILE}",
            )
        driver.execute(POSTGRES["set_property"].text, {"key": "spool", "value": str(found_in)})
        return found_in
    try:
        if not (recorded / DATABASE_FILE).exists():
            write_file(recorded / DATABASE_FILE, place.url + "\n")
    except OSError as error:
        raise StoreUnavailable(
            f"the spool of the store {place.url} is not there: {recorded} ({error.strerror})",
            hint="mount it here; if it has been moved, name its folder: --store FOLDER",
        ) from error
    return recorded
