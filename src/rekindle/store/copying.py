"""Copy a store to another place or database: its rows, its journals and its attempts' folders."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from blake3 import blake3

from rekindle.domain.errors import Refused, StoreDamaged, StoreUnavailable
from rekindle.domain.texts.quantities import format_size
from rekindle.journal.trees import copy_tree
from rekindle.store.integrity import table_columns
from rekindle.store.queries import Query, load

if TYPE_CHECKING:
    from rekindle.store.archive import Store
    from rekindle.store.database import Database

SQL = load("copying")

ShowProgress = Callable[[str], None]
"""Called with what is copied or compared next."""

_ROWS = 1_000  # are written together

_OF_ONE_STORE = ("run",)
"""Folders in a store's folder that its copy has of its own: FIFOs of processes."""


class CopiedStore(msgspec.Struct, frozen=True):
    """What was copied: the number of rows by table, and the bytes of files."""

    rows: dict[str, int]
    file_bytes: int


class Table(msgspec.Struct, frozen=True):
    """A table with the columns that are written, and those of its primary key."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    def rows(self, database: Database) -> Iterator[tuple[Any, ...]]:
        text = self._text(SQL["rows"])
        return database.stream(text, {})

    def insert(self) -> Query:
        values = ", ".join(f":{column}" for column in self.columns)
        return Query("insert", "A row.", self._text(SQL["insert"]).replace("{values}", values), self.columns)

    def _text(self, query: Query) -> str:
        names, key = ", ".join(self.columns), ", ".join(self.key)
        return query.text.replace("{table}", self.name).replace("{names}", names).replace("{key}", key)


def copy_store(source: Store, target: Store, progress: ShowProgress) -> CopiedStore:
    """Copy everything in a store to a new one, and compare. All rows are written in one transaction, after the files.

    Paths beside the store stay relative to it: projects are looked for beside the copy. Raise Refused if a runner of
    the source has not ended, or the target has workflows; StoreUnavailable if a file cannot be copied; StoreDamaged if
    what was written is not what was read.
    """
    with source.read() as archive:
        if running := archive.runners.alive():
            raise Refused(
                f"runner {running[0].id} of {source.name} has not ended: what it writes would be lost",
                hint="wait for it, or end it: `rekindle status` names its process",
            )
    with target.read() as archive:
        if archive.workflows.listing(archived=True):
            raise Refused(f"{target.name} has workflows already", hint="name a store that does not exist yet")
    size = _copy_files(Path(source.folder), Path(target.folder), progress)
    rows: dict[str, int] = {}
    with source.read() as archive, target.write() as copy:
        copy.database.driver.defer_references()
        for table in _tables():
            progress(f"rows: {table.name}")
            rows[table.name] = _copy_rows(table, archive.database, copy.database)
        properties = archive.database.rows(SQL["properties"])
        copy.database.change_each(SQL["set_property"], properties)
        copy.database.driver.continue_ids([table.name for table in _tables() if table.key == ("id",)])
    for table in _tables():
        progress(f"compare: {table.name}")
        if _digest(source, table) != _digest(target, table):
            raise StoreDamaged(
                f"the rows of {table.name} in {target.name} are not those of {source.name}",
                hint="something else has written to one of them: copy again, to a new store",
            )
    return CopiedStore(rows, size)


def _tables() -> list[Table]:
    """Return the tables but `meta`, each after those that it refers to."""
    return [
        Table(name, tuple(column[0] for column in columns), tuple(column[0] for column in columns if column[3]))
        for name, columns in table_columns().items()
        if name != "meta"
    ]


def _copy_rows(table: Table, source: Database, target: Database) -> int:
    insert, batch, count = table.insert(), [], 0
    for row in table.rows(source):
        batch.append(row)
        count += 1
        if len(batch) == _ROWS:
            target.change_each(insert, batch)
            batch = []
    if batch:
        target.change_each(insert, batch)
    return count


def _digest(store: Store, table: Table) -> str:
    """Return the digest of all rows of a table as JSON. NUL, which PostgreSQL cannot store, is its sign."""
    found = blake3()
    with store.read() as archive:
        for row in table.rows(archive.database):
            found.update(msgspec.json.encode([_shown(value) for value in row]))
    return found.hexdigest()


def _shown(value: Any) -> Any:
    return value.replace("\0", "\u2400") if isinstance(value, str) else value


def _copy_files(source: Path, target: Path, progress: ShowProgress) -> int:
    """Copy the journals and the attempts' folders. Return the number of bytes."""
    copied = 0

    def on_copied(count: int) -> None:
        nonlocal copied
        copied += count
        progress(f"files: {format_size(copied)}")

    try:
        for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False) and entry.name not in _OF_ONE_STORE:
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(target / entry.name)  # of a copy that was interrupted
                copy_tree(entry.path, str(target / entry.name), on_copied)
    except OSError as error:
        raise StoreUnavailable(f"the files of {source} cannot be copied: {error}", hint="copy again") from error
    return copied
