"""Inspect a store: whether its file, its rows, what follows from them, and the files that they name are sound.

Nothing is written, and an older store is not upgraded.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from rekindle.domain.errors import JournalError, NotFound, StoreDamaged, StoreError, StoreVersion
from rekindle.domain.rerunning.rerun import SavedFile
from rekindle.journal.encoding import json_reader
from rekindle.journal.ledger import read_past_damage
from rekindle.journal.partial import missing_copies, missing_hint, missing_text
from rekindle.store.check import check
from rekindle.store.damage import UNREADABLE, damaged_rows, dangling, refused_by_sqlite
from rekindle.store.database import Database
from rekindle.store.fingerprints import Fingerprints
from rekindle.store.opening import is_unchanging, version_of
from rekindle.store.paths import StoredPaths, with_saved
from rekindle.store.queries import load
from rekindle.store.schema import migrations
from rekindle.store.sqlite import FILE, connect
from rekindle.store.translating import HINT, translate

SQL = load("inspection")

Tell = Callable[[str], None]

_FROM_COPY = "go back to a copy of the store's folder, or submit the workflows again to a new store"
_CONTRADICTS = "report it with the output of `rekindle events list`; going back to a copy of the folder mends it"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a store, and what to do about it."""

    kind: str  # file, reference, row, derived, journal, folder, output
    text: str
    hint: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was inspected: how many of each, and what is wrong."""

    folder: str
    version: int
    deep: bool
    checked: dict[str, int]
    problems: tuple[Problem, ...]


def inspect(folder: Path, *, deep: bool, tell: Tell) -> Inspection:
    """Inspect the store in a folder; `deep`: every row, journal and saved file too. `tell` is called with what is
    inspected next. NotFound, StoreDamaged (not a store), StoreVersion (of another version), StoreUnavailable."""
    if not (folder / FILE).exists():
        raise NotFound(f"no store at {folder}", hint="--store names another")
    try:
        try:
            return _inspected(folder, connect(folder / FILE), deep, tell)
        except sqlite3.OperationalError as error:
            if not is_unchanging(folder, error):
                raise
            return _inspected(folder, connect(folder / FILE, unchanging=True), deep, tell)
    except sqlite3.DatabaseError as error:
        raise _without_check(translate(error, str(folder)), folder) from error
    except StoreDamaged as error:
        raise _without_check(error, folder) from error


def _without_check(error: StoreError, folder: Path) -> StoreError:
    """Return the error with a hint that does not name the command that has just run."""
    if error.hint != HINT:
        return error
    recover = f"sqlite3 {shlex.quote(str(folder / FILE))} .recover | sqlite3 recovered.db"
    return StoreDamaged(
        error.message, hint=f"{_FROM_COPY}; `{recover}` copies the rows that can be read, to look at them"
    )


def _inspected(folder: Path, opened: sqlite3.Connection, deep: bool, tell: Tell) -> Inspection:
    with closing(opened) as connection:
        connection.execute(SQL["only_read"].text)
        version = version_of(connection, folder)
        if version < len(migrations()):
            raise StoreVersion(
                f"the store {folder} was written by an older rekindle (its version is {version})",
                hint="`rekindle status` upgrades it; then check it",
            )
        connection.execute("BEGIN")
        looking = _Looking(Database(connection, StoredPaths(str(folder)), ""), folder, deep, tell)
        problems = tuple(looking.problems())
        return Inspection(str(folder), version, deep, dict(looking.checked), problems)


class _Looking:
    """One inspection, in one transaction; `checked` counts."""

    def __init__(self, database: Database, folder: Path, deep: bool, tell: Tell) -> None:
        self._db, self._folder, self._deep, self._tell = database, folder, deep, tell
        self.checked: Counter[str] = Counter()

    def problems(self) -> Iterator[Problem]:
        connection = self._db.connection
        self._tell("the file")
        yield from (Problem("file", line, _FROM_COPY) for line in refused_by_sqlite(connection, deep=self._deep))
        self._tell("references between rows")
        yield from (Problem("reference", line, _FROM_COPY) for line in dangling(connection))
        unreadable = False
        if self._deep:
            for line in damaged_rows(connection, self._count_rows):
                unreadable = True
                yield Problem("row", line, _FROM_COPY)
        self._tell("states and counts")
        try:
            for thing in ("workflows", "jobs", "attempts"):
                self.checked[thing] = self._db.value(SQL[thing])
            yield from (Problem("derived", line, _CONTRADICTS) for line in check(self._db))
        except (sqlite3.DatabaseError, *UNREADABLE) as error:
            if not unreadable:
                lines = [str(error)] if self._deep else list(damaged_rows(connection)) or [str(error)]
                yield from (Problem("row", line, _FROM_COPY) for line in lines)
            return
        if self._deep and not unreadable:
            yield from self._journals()
            yield from self._folders()
            yield from self._saved()
            yield from self._set_aside()

    def _count_rows(self, table: str, rows: int) -> None:
        self._tell(f"rows: {table}")
        self.checked["rows"] += rows

    def _journals(self) -> Iterator[Problem]:
        """Journals that cannot be read, beyond the damage that a runner has already seen to."""
        self._tell("journals")
        for path, position, closed, known in self._db.rows(SQL["journals"]):
            file = self._folder / path
            if not file.exists():
                if not closed and position:
                    yield Problem("journal", f"{file}: it is gone", "`rekindle work` counts its attempts as lost")
                continue
            self.checked["journals"] += 1
            try:
                _, end, damaged = read_past_damage(file)
            except JournalError as error:
                yield Problem("journal", error.message, error.hint)
                continue
            hint = "attempts that only it knew of count as lost, and run again: rekindle work"
            if known is None:
                yield from (Problem("journal", one.told(file), hint) for one in damaged)
            if end < position and not closed:
                yield Problem("journal", f"{file}: it is shorter than the {position} bytes that were read", hint)

    def _folders(self) -> Iterator[Problem]:
        """Folders of earlier attempts that jobs start from, and that do not exist."""
        self._tell("attempts' folders")
        for job, name, stored in self._db.rows(SQL["folders"]):
            self.checked["folders"] += 1
            folder = self._db.paths.decode(stored)
            if not Path(folder).is_dir():
                text = f"job {job} {name}: it continues in the folder of an earlier attempt, which is gone: {folder}"
                yield Problem("folder", text, f"rekindle rerun -i {job} --workdir new")

    def _saved(self) -> Iterator[Problem]:
        """Saved outputs that are not what was saved."""
        decode = json_reader(tuple[SavedFile, ...])
        for rerun, stored in self._db.rows(SQL["saved"]):
            for one in with_saved(decode(stored), self._db.paths.decode):
                self._tell(f"saved outputs: {one.path}")
                self.checked["saved outputs"] += 1
                if wrong := _wrong(one):
                    text = f"rerun {rerun}: the saved copy of {one.path} {wrong}: {one.kept}"
                    yield Problem("output", text, f"without it `rekindle undo {rerun}` cannot put the output back")

    def _set_aside(self) -> Iterator[Problem]:
        """Partial outputs that a resume would put back, and that do not exist."""
        self._tell("partial outputs")
        jobs: dict[int, int] = dict(self._db.rows(SQL["resumable"]))
        for attempt, aside in Fingerprints(self._db).aside(list(jobs)).items():
            self.checked["partial outputs"] += len(aside)
            try:
                missing = missing_copies(aside)
            except OSError as error:
                yield Problem("output", f"job {jobs[attempt]}: {error.filename}: {error.strerror}", "make it readable")
                continue
            for one in missing:
                yield Problem("output", f"job {jobs[attempt]}: {missing_text([one])}", missing_hint(jobs[attempt]))


def _wrong(one: SavedFile) -> str:
    """Return what is wrong with a saved output; "": nothing."""
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
