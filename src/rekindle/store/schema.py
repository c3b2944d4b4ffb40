"""The tables of a new store, the numbered migrations of older ones, and the stamp that identifies a store's file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    import sqlite3

    from rekindle.store.stored_paths import StoredPaths

FOLDER = Path(__file__).parent / "migrations"

TABLES = Path(__file__).with_name("tables.sql")
"""The tables that all migrations of SQLite lead to, with the stamp of the newest."""

Dialect = Literal["sqlite", "postgres"]

APPLICATION = 0x524B4E44
"""`RKND`, in the file's header."""

ENCODES_PATHS = 2
"""The migration that encodes absolute paths."""


class Migration(msgspec.Struct, frozen=True):
    """One step of the schema: from version `number - 1` to `number`."""

    number: int
    name: str
    text: str


def make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables of a new store in one transaction, without the comments of the script: every connection reads
    the tables' text, and SQLite cannot drop a column after a comment with a comma. Raise sqlite3.Error."""
    text = re.sub(" *--.*", "", TABLES.read_text(encoding="utf-8"))
    connection.executescript(f"BEGIN IMMEDIATE;\n{text}\nCOMMIT;")


@cache
def newest_version(dialect: Dialect = "sqlite") -> int:
    """Return the version that all migrations lead to, without reading them."""
    return sum(name.endswith(".sql") for name in os.listdir(FOLDER / dialect))  # noqa: PTH208 (no need of paths)


def migrations(dialect: Dialect = "sqlite") -> Sequence[Migration]:
    """Return all migrations of a database in order. Raise ValueError if their numbers have gaps."""
    found: list[Migration] = []
    for path in sorted((FOLDER / dialect).glob("*.sql")):
        match = re.fullmatch(r"(\d{4})_(\w+)", path.stem)
        if match is None or int(match[1]) != len(found) + 1:
            raise ValueError(f"{path.name} is out of the row of migrations")
        found.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    return found


def migrate(connection: sqlite3.Connection, steps: Sequence[Migration], paths: StoredPaths) -> None:
    """Apply migrations to the store with these paths, each in one transaction with its number. Raise sqlite3.Error."""
    from rekindle.store.path_upgrade import encode_paths

    for step in steps:
        stamp = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {step.number};"
        connection.executescript(f"BEGIN IMMEDIATE;\n{step.text}\n{stamp}")
        if step.number == ENCODES_PATHS:
            encode_paths(connection, paths)
        connection.execute("COMMIT")
