"""Open a store in a PostgreSQL database: `postgresql://user@host:port/database?schema=NAME&spool=FOLDER`.

Rows are in a schema of the database, `rekindle` unless the URL names another. Journals and attempts' folders are in the
spool (see rekindle.store.spool).
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit
from uuid import uuid4

from rekindle.domain.errors import BadValue, NotFound, StoreUnavailable, StoreVersion
from rekindle.store.archive import Store
from rekindle.store.database import Access
from rekindle.store.queries import load
from rekindle.store.schema import migrations, newest_version
from rekindle.store.spool import find_spool, make_spool

POSTGRES = load("postgres")

if TYPE_CHECKING:
    from rekindle.store.postgres_driver import PostgresDriver

SPOOL_VARIABLE = "REKINDLE_SPOOL"
STORE_FOLDER = ".rekindle"

_HINT = f"name another folder in ${SPOOL_VARIABLE}, or in the URL: ?spool=FOLDER"
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
    conninfo = _joined(parts, query)
    shown = dict(query) | ({} if schema == "rekindle" else {"schema": schema})
    return Place(_joined(parts, shown), conninfo, schema, spool)


def _joined(parts: SplitResult, query: dict[str, str]) -> str:
    """Return a URL with another query. Without a host it keeps its `//`, which urlunsplit of Python 3.11 leaves out."""
    words = urlencode(query, safe="/")
    return f"{parts.scheme}://{parts.netloc}{parts.path}{'?' if words else ''}{words}"


def _without_password(url: str) -> str:
    return re.sub(r"(//[^/@]*:)[^/@]*@", r"\1…@", re.sub(r"(password=)[^&]*", r"\1…", url))


def open_postgres(
    url: str,
    *,
    create: bool,
    found_in: Path | None = None,
    shared: bool = False,
    spool: Path | None = None,
    upgrade: bool = True,
) -> Store:
    """Open the store that a URL names; with `create`, make it if it is not there. Without `upgrade`, an older store is
    refused.

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
                named = place.spool or os.environ.get(SPOOL_VARIABLE) or spool or STORE_FOLDER
                _create(driver, make_spool(Path(named), shared=shared, hint=_HINT))
            driver.identify()
            found = _properties(driver)
            if int(found["version"]) != newest_version("postgres"):
                if not upgrade:
                    raise StoreVersion(f"the store {driver.name} has another version", hint="`rekindle status`")
                _upgrade(driver)
            folder = _spool(driver, place, Path(found["spool"]), found_in)
        except psycopg.Error as error:
            raise driver.translate(error, Access.WRITE) from error
        on_error.pop_all()
    return Store(driver, str(folder), found["identity"])


def _properties(driver: PostgresDriver) -> dict[str, str]:
    return dict(driver.run("properties").fetchall())


def _upgrade(driver: PostgresDriver) -> None:
    """Apply the missing migrations, in one transaction beside which nobody writes. Raise StoreVersion if the store is
    of a newer version, or this user may not change its tables."""
    from psycopg.errors import InsufficientPrivilege

    ours = newest_version("postgres")
    driver.begin(Access.WRITE)
    try:
        version = int(_properties(driver)["version"])  # somebody else may have been faster
        if version > ours:
            raise StoreVersion(
                f"the store {driver.name} was written by a newer rekindle (its version is {version}, ours is {ours})",
                hint="upgrade rekindle",
            )
        _migrate(driver, version)
        driver.commit(notify=True)
    except InsufficientPrivilege as error:
        raise StoreVersion(
            f"the store {driver.name} was written by an older rekindle, and this user may not upgrade it",
            hint="run `rekindle status` as the user who made it",
        ) from error
    finally:
        driver.roll_back()


def _migrate(driver: PostgresDriver, version: int) -> None:
    """Apply the migrations after a version."""
    for step in migrations("postgres")[version:]:
        driver.run_text(step.text)
    driver.execute(POSTGRES["set_property"].text, {"key": "version", "value": str(newest_version("postgres"))})


def _create(driver: PostgresDriver, folder: Path) -> None:
    """Make the tables of a new store, in one transaction."""
    driver.begin(Access.WRITE)
    try:
        if not driver.is_store():  # nobody else was faster
            driver.run("create_schema")
            _migrate(driver, 0)
            for key, value in {"identity": str(uuid4()), "spool": str(folder)}.items():
                driver.execute(POSTGRES["set_property"].text, {"key": key, "value": value})
        driver.commit(notify=True)
    finally:
        driver.roll_back()


def _spool(driver: PostgresDriver, place: Place, recorded: Path, found_in: Path | None) -> Path:
    """Return the spool, which follows the folder that names the store if that has been moved."""
    spool = find_spool(place.url, recorded, found_in)
    if spool != recorded:
        driver.execute(POSTGRES["set_property"].text, {"key": "spool", "value": str(spool)})
    return spool
