"""Inspect a store: its file, its rows, the columns that follow from others, and the files that rows name.

An inspection writes nothing and does not upgrade an older store.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from blake3 import blake3

from rekindle.domain.errors import JournalError, NotFound, StoreDamaged, StoreError, StoreVersion
from rekindle.domain.rerun.plan import SavedFile
from rekindle.journal.content_store import ContentStore
from rekindle.journal.encoding import json_reader
from rekindle.journal.import_drafts import unfinished
from rekindle.journal.kept_outputs import read_document
from rekindle.journal.log import read_past_damage
from rekindle.journal.partial_outputs import missing_copies, missing_hint, missing_text
from rekindle.store.bundles import has_imported
from rekindle.store.cached_outputs import CachedOutputRows
from rekindle.store.database import UNREADABLE, Database
from rekindle.store.fingerprints import Fingerprints
from rekindle.store.integrity import (
    contradictions,
    damaged_rows,
    dangling_references,
    file_problems,
    undeclared_references,
    unreadable_values,
)
from rekindle.store.opening import is_unchanging, recorded_spool, version_of
from rekindle.store.paths import with_saved
from rekindle.store.queries import load
from rekindle.store.schema import newest_version
from rekindle.store.sqlite_connection import DAMAGE_HINT, FILE, connect, translate
from rekindle.store.sqlite_driver import SqliteDriver
from rekindle.store.stored_paths import StoredPaths

if TYPE_CHECKING:
    from rekindle.store.archive import Store

SQL = load("inspection")

ShowProgress = Callable[[str], None]
"""Called with a text that says which part of the store is inspected next."""

_FROM_COPY = "go back to a copy of the store's folder, or submit the workflows again to a new store"
_CONTRADICTS = "report it with the output of `rekindle events list`; going back to a copy of the folder mends it"


class StoreProblem(msgspec.Struct, frozen=True):
    """A problem of a store, with a hint about what to do."""

    kind: str  # file, reference, row, derived, import, journal, folder, output, cache
    text: str
    hint: str


class Inspection(msgspec.Struct, frozen=True):
    """The result of an inspection: the number of inspected things by kind, and the problems."""

    folder: str
    version: int
    deep: bool
    checked: dict[str, int]
    problems: tuple[StoreProblem, ...]


def inspect(folder: Path, *, deep: bool, progress: ShowProgress) -> Inspection:
    """Inspect the store in a folder; with `deep`, every row, journal and saved file too.

    Raise NotFound, StoreDamaged (not a store), StoreVersion (another version) or StoreUnavailable.
    """
    if not (folder / FILE).exists():
        raise NotFound(f"no store at {folder}", hint="--store names another")
    try:
        try:
            return _inspect(folder, connect(folder / FILE), deep, progress)
        except sqlite3.OperationalError as error:
            if not is_unchanging(folder, error):
                raise
            return _inspect(folder, connect(folder / FILE, unchanging=True), deep, progress)
    except sqlite3.DatabaseError as error:
        raise _with_recover_hint(translate(error, str(folder)), folder) from error
    except StoreDamaged as error:
        raise _with_recover_hint(error, folder) from error


def _with_recover_hint(error: StoreError, folder: Path) -> StoreError:
    """Return the error with a hint to recover rows, instead of one to run the check that is running."""
    if error.hint != DAMAGE_HINT:
        return error
    recover = f"sqlite3 {shlex.quote(str(folder / FILE))} .recover | sqlite3 recovered.db"
    return StoreDamaged(
        error.message, hint=f"{_FROM_COPY}; `{recover}` copies the rows that can be read, to look at them"
    )


def _inspect(folder: Path, opened: sqlite3.Connection, deep: bool, progress: ShowProgress) -> Inspection:
    with closing(opened) as connection:
        connection.execute(SQL["only_read"].text)
        version = version_of(connection, folder)
        if version < newest_version():
            raise StoreVersion(
                f"the store {folder} was written by an older rekindle (its version is {version})",
                hint="`rekindle status` upgrades it; then check it",
            )
        connection.execute("BEGIN")
        spool = recorded_spool(connection, folder)
        database = Database(SqliteDriver(connection, str(folder)), StoredPaths(str(spool)))
        inspector = _Inspector(database, spool, deep, progress)
        problems = (*inspector.problems_of_file(connection), *inspector.problems())
        return Inspection(str(folder), version, deep, dict(inspector.checked), problems)


def inspect_opened(store: Store, *, deep: bool, progress: ShowProgress) -> Inspection:
    """Inspect an open store whose database checks its own files and references: one in PostgreSQL."""
    with store.read() as archive:
        inspector = _Inspector(archive.database, Path(store.folder), deep, progress)
        problems = (*inspector.problems_of_rows(), *inspector.problems())
    return Inspection(store.name, newest_version("postgres"), deep, dict(inspector.checked), problems)


class _Inspector:
    """One inspection, in one transaction. `checked` counts the inspected things by kind."""

    def __init__(self, database: Database, folder: Path, deep: bool, progress: ShowProgress) -> None:
        self._db, self._folder, self._deep, self._progress = database, folder, deep, progress
        self._lines_of_damage: Callable[[], Iterable[str]] = tuple  # of rows
        self._unreadable = False  # such lines were found
        self.checked: Counter[str] = Counter()

    def problems_of_file(self, connection: sqlite3.Connection) -> Iterator[StoreProblem]:
        """Yield what SQLite finds in its file, and rows that cannot be read."""
        self._progress("the file")
        yield from (StoreProblem("file", line, _FROM_COPY) for line in file_problems(connection, deep=self._deep))
        self._progress("references between rows")
        yield from (StoreProblem("reference", line, _FROM_COPY) for line in dangling_references(connection))
        self._lines_of_damage = lambda: damaged_rows(connection)
        yield from self._unreadable_rows(damaged_rows(connection, self._count_rows))

    def problems_of_rows(self) -> Iterator[StoreProblem]:
        """Yield references to rows that are not there, and rows that cannot be read, of any database."""
        self._progress("references between rows")
        read = partial(self._db.select, values={})
        yield from (StoreProblem("reference", line, _FROM_COPY) for line in undeclared_references(read))
        stream = partial(self._db.stream, values={})
        yield from self._unreadable_rows(unreadable_values(stream, self._count_rows, self._db.driver.errors))

    def _unreadable_rows(self, lines: Iterable[str]) -> Iterator[StoreProblem]:
        for line in lines if self._deep else ():
            self._unreadable = True
            yield StoreProblem("row", line, _FROM_COPY)

    def problems(self) -> Iterator[StoreProblem]:
        """Yield states and counts that contradict each other, and, of a deep inspection, files that are not there."""
        self._progress("states and counts")
        errors: tuple[type[Exception], ...] = (*self._db.driver.errors, *UNREADABLE)
        try:
            for kind in ("workflows", "jobs", "attempts"):
                self.checked[kind] = self._db.value(SQL[kind])
            yield from (StoreProblem("derived", line, _CONTRADICTS) for line in contradictions(self._db))
        except errors as error:
            if not self._unreadable:
                lines = [str(error)] if self._deep else list(self._lines_of_damage()) or [str(error)]
                yield from (StoreProblem("row", line, _FROM_COPY) for line in lines)
            return
        yield from self._unfinished_imports()
        if self._deep and not self._unreadable:
            yield from self._journals()
            yield from self._folders()
            yield from self._saved()
            yield from self._set_aside()
            yield from self._cached()

    def _count_rows(self, table: str, rows: int) -> None:
        self._progress(f"rows: {table}")
        self.checked["rows"] += rows

    def _unfinished_imports(self) -> Iterator[StoreProblem]:
        """Yield imports whose processes have died before their rows were committed."""
        for one in unfinished(str(self._folder)):
            if not has_imported(self._db, one.token, one.first if one.count else None):
                text = f"an import was killed, and has left files: bundle {one.bundle[:12]}"
                yield StoreProblem("import", text, "remove them: rekindle store vacuum")

    def _journals(self) -> Iterator[StoreProblem]:
        """Yield journals that cannot be read, except damage that a runner has already recorded."""
        self._progress("journals")
        for path, position, closed, damaged_at in self._db.rows(SQL["journals"]):
            file = self._folder / path
            if not file.exists():
                if not closed and position:
                    yield StoreProblem("journal", f"{file}: it is gone", "`rekindle work` counts its attempts as lost")
                continue
            self.checked["journals"] += 1
            try:
                _, end, damaged = read_past_damage(file)
            except JournalError as error:
                yield StoreProblem("journal", error.message, error.hint)
                continue
            hint = "attempts that only it knew of count as lost, and run again: rekindle work"
            if damaged_at is None:
                yield from (StoreProblem("journal", one.describe(file), hint) for one in damaged)
            if end < position and not closed:
                yield StoreProblem("journal", f"{file}: it is shorter than the {position} bytes that were read", hint)

    def _folders(self) -> Iterator[StoreProblem]:
        """Yield missing folders of earlier attempts that jobs continue in."""
        self._progress("attempts' folders")
        for job, name, stored in self._db.rows(SQL["folders"]):
            self.checked["folders"] += 1
            folder = self._db.paths.decode(stored)
            if not Path(folder).is_dir():
                text = f"job {job} {name}: it continues in the folder of an earlier attempt, which is gone: {folder}"
                yield StoreProblem("folder", text, f"rekindle rerun -i {job} --workdir new")

    def _saved(self) -> Iterator[StoreProblem]:
        """Yield saved outputs that have changed or are missing."""
        decode = json_reader(tuple[SavedFile, ...])
        for rerun, stored in self._db.rows(SQL["saved"]):
            for one in with_saved(decode(stored), self._db.paths.decode):
                self._progress(f"saved outputs: {one.path}")
                self.checked["saved outputs"] += 1
                if wrong := _saved_problem(one):
                    text = f"rerun {rerun}: the saved copy of {one.path} {wrong}: {one.kept}"
                    yield StoreProblem("output", text, f"without it `rekindle undo {rerun}` cannot put the output back")

    def _set_aside(self) -> Iterator[StoreProblem]:
        """Yield missing partial outputs that a resume would put back."""
        self._progress("partial outputs")
        jobs: dict[int, int] = dict(self._db.rows(SQL["resumable"]))
        for attempt, aside in Fingerprints(self._db).aside(list(jobs)).items():
            self.checked["partial outputs"] += len(aside)
            try:
                missing = missing_copies(aside)
            except OSError as error:
                yield StoreProblem(
                    "output", f"job {jobs[attempt]}: {error.filename}: {error.strerror}", "make it readable"
                )
                continue
            for one in missing:
                yield StoreProblem("output", f"job {jobs[attempt]}: {missing_text([one])}", missing_hint(jobs[attempt]))

    def _cached(self) -> Iterator[StoreProblem]:
        """Yield contents of the content store that have changed, and attempts whose outputs are not complete there."""
        contents, there = ContentStore(str(self._folder)), set[str]()
        for one in contents.contents():
            self._progress(f"cached contents: {one.digest[:12]}")
            self.checked["cached contents"] += 1
            there.add(one.digest)
            if not contents.is_sound(one.digest):
                text = f"the cached content {one.digest} has changed on the disk"
                yield StoreProblem("cache", text, "set it aside, so that jobs run instead: rekindle cache verify")
        for cached in CachedOutputRows(self._db).listing():
            document = read_document(contents, cached.attempt)
            if document is None or not document.contents.keys() <= there:
                text = f"attempt {cached.attempt} of {cached.name}: its cached outputs are not complete"
                yield StoreProblem("cache", text, "forget them: rekindle cache verify")


def _saved_problem(one: SavedFile) -> str:
    """Return the problem of a saved output, or an empty text."""
    try:
        if Path(one.kept).is_symlink():
            digest = blake3(os.fsencode(Path(one.kept).readlink())).hexdigest()
        else:
            digest = blake3().update_mmap(one.kept).hexdigest()
    except FileNotFoundError:
        return "is gone"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if digest == one.digest else "does not hold what was saved"
