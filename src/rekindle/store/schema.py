"""The numbered migrations, and the stamp by which a store's file is known."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rekindle.store.paths import StoredPaths
from rekindle.store.upgrading import encode_paths

FOLDER = Path(__file__).parent / "migrations"

ENCODES_PATHS = 2
"""The migration that finds absolute paths, and encodes them."""

APPLICATION = 0x524B4E44
"""`RKND`, in the file's header."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema: from version `number - 1` to `number`."""

    number: int
    name: str
    text: str


def migrations() -> Sequence[Migration]:
    """All of them in order; ValueError when their numbers have gaps."""
    found: list[Migration] = []
    for path in sorted(FOLDER.glob("*.sql")):
        match = re.fullmatch(r"(\d{4})_(\w+)", path.stem)
        if match is None or int(match[1]) != len(found) + 1:
            raise ValueError(f"{path.name} is out of the row of migrations")
        found.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    return found


def migrate(connection: sqlite3.Connection, steps: Sequence[Migration], paths: StoredPaths) -> None:
    """Apply migrations to the store with these paths, each in one transaction with its number. Raises sqlite3.Error."""
    for step in steps:
        stamp = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {step.number};"
        connection.executescript(f"BEGIN IMMEDIATE;\n{step.text}\n{stamp}")
        if step.number == ENCODES_PATHS:
            encode_paths(connection, paths)
        connection.execute("COMMIT")
