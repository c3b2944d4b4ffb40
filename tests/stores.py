"""Stores of both kinds: a real PostgreSQL server, from Debian's packages; what a store's tables hold; what it runs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from rekindle.store import opening
from rekindle.store.archive import Store
from rekindle.store.schema import migrations

SCRIPT = Path(__file__).parent.parent / "scripts" / "postgres-server"

TABLES = sorted({table for step in migrations("postgres") for table in re.findall(r"CREATE TABLE (\w+)", step.text)})

_numbers = count(1)


def missing_postgres() -> str | None:
    """Return why no server can be started; None if one can."""
    if not sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")):
        return "no PostgreSQL server: scripts/debian-packages installs it as root"
    return None


@contextmanager
def running_postgres(folder: Path) -> Iterator[str]:
    """Run a server whose data are in a folder; yield the URL of its database."""
    subprocess.run([SCRIPT, "start", folder], check=True, capture_output=True, timeout=60)
    try:
        yield f"postgresql://postgres@/postgres?host={folder}"
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=True, capture_output=True, timeout=60)


def new_store_url(server: str, spool: Path) -> str:
    """Return the URL of a store that does not exist yet."""
    return f"{server}&schema=store_{next(_numbers)}&spool={spool}"


def make_store_in_postgres(request: pytest.FixtureRequest, folder: Path) -> None:
    """With `--store postgres`, make a store in PostgreSQL that the folder names, for commands in other processes."""
    if request.config.getoption("--store") == "postgres":
        url = new_store_url(request.getfixturevalue("postgres_server"), folder)
        opening.open_store(url, create=True).close()


def make_stores_in_postgres(server: str, patch: pytest.MonkeyPatch) -> None:
    """Let every new store of this process be in PostgreSQL, with its spool in the folder that names it."""

    def open_store(url: str, *, create: bool, **more: Any) -> Store:
        if create and not url.startswith(opening.SCHEMES):
            folder = opening.folder_of(url)
            if not (folder / "store.db").exists() and not (folder / "database").exists():
                url = new_store_url(server, folder)
        return original(url, create=create, **more)

    original = opening.open_store
    for module in ("rekindle.store.opening", "rekindle.engine.session"):
        patch.setattr(f"{module}.open_store", open_store)


@contextmanager
def statements_of(store: Store) -> Iterator[list[str]]:
    """Collect the statements that run in blocks of a store."""
    driver = store._driver
    texts: list[str] = []

    def collect(run: Callable[..., Any], statement: Any, *values: Any) -> Any:
        texts.append(getattr(statement, "text", statement))
        return run(statement, *values)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("execute", "execute_each", "stream"):
            patch.setattr(driver, name, partial(collect, getattr(driver, name)))
        yield texts


def every_row(store: Store, *, without: Collection[str] = ()) -> dict[str, list[Any]]:
    """Return the rows of every table but some."""
    with store.read() as archive:
        found = {table: archive._db.select(f"SELECT * FROM {table}", {}) for table in TABLES if table not in without}
    return {table: sorted(rows, key=repr) for table, rows in found.items()}
