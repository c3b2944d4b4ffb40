"""The rows of one workflow, as a bundle has them: read from a store, and written to another."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.errors import StoreDamaged
from rekindle.journal.paths import attempt_folder
from rekindle.store.attempts import Attempts
from rekindle.store.bundle_columns import (
    COLUMNS,
    ENDS,
    FINGERPRINTS,
    SHARED,
    VALUE,
    LeftOut,
    Numbers,
    Renumbering,
    is_open,
)
from rekindle.store.copying import Table
from rekindle.store.database import UNREADABLE
from rekindle.store.derived import derive_states, extend_spans, spans_of
from rekindle.store.events import Events
from rekindle.store.integrity import row_problems, table_columns
from rekindle.store.queries import Query, Row, load
from rekindle.store.revisions import first_version
from rekindle.store.stored_paths import StoredPaths, path_of, stored_text

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("bundles")
QUEUE_SQL, SUBMIT_SQL = load("queue"), load("submitting")

ProgressOfRows = Callable[[str, int], None]
"""Called with a table and the number of its rows so far."""

_TOGETHER = 1_000  # rows that are written, and jobs that are derived, together

_SCOPES = {
    "workflow": "is_workflow",
    "resource_class": "of_classes",
    "signature": "of_signatures",
    "source": "of_sources",
    "prune": "of_prunes",
    "runner": "of_runners",
    "rerun": "of_reruns",
    "edge": "of_parents",
    "rerun_change": "of_changes",
    "rerun_job": "of_jobs",
    "canary": "of_groups",
} | dict.fromkeys(
    ("step", "fan_out", "subtask", "patch", "fingerprint", "accepted", "verification", "temporary_output"),
    "of_attempts",
)
"""The block with the condition on the rows of a table; `in_workflow` for the others."""


class IdRuns:
    """Numbers ids 1, 2, 3 … in their order. Consecutive ids take no room."""

    def __init__(self, ids: Iterable[int]) -> None:
        self._firsts, self._numbers = array("q"), array("q")
        self.count, following = 0, None
        for one in ids:
            self.count += 1
            if one != following:
                self._firsts.append(one)
                self._numbers.append(self.count)
            following = one + 1

    def number(self, one: int) -> int | None:
        """Return the number of an id; None if it is not among them."""
        at = bisect_right(self._firsts, one) - 1
        if at < 0:
            return None
        found = self._numbers[at] + one - self._firsts[at]
        end = self._numbers[at + 1] if at + 1 < len(self._numbers) else self.count + 1
        return found if found < end else None

    def __iter__(self) -> Iterator[int]:
        ends = (*self._numbers, self.count + 1)[1:]
        for first, number, end in zip(self._firsts, self._numbers, ends, strict=True):
            yield from range(first, first + end - number)


class BundlePaths:
    """Converts the paths of a store to those of a bundle, and back: `.` is the workflow's folder, `@` the store's, and
    `@/attempts/N` the path of attempt number N. Other paths are absolute."""

    def __init__(self, paths: StoredPaths, directory: str) -> None:
        self._paths, self._directory = paths, directory
        self._store, self._below = f"{paths.folder}/", f"{directory.rstrip('/')}/"
        self._attempts = f"{paths.folder}/attempts/"

    def pack(self, numbers: Numbers) -> Callable[[str], str]:
        """Return what converts a stored path to that of a bundle."""

        def convert(stored: str) -> str:
            path = self._paths.decode(stored)
            if path.startswith(self._attempts):
                name, *inner = path[len(self._attempts) :].split("/", 3)[2:] or [""]
                digits = name.partition(".")[0]
                if digits.isdigit():
                    number = numbers(int(digits)) or 0
                    return stored_text("/".join((f"@/attempts/{number}{name[len(digits) :]}", *inner)))
            if path.startswith(self._store):
                return stored_text(f"@/{path[len(self._store) :]}")
            if path == self._directory:
                return "."
            return stored_text(f"./{path[len(self._below) :]}" if path.startswith(self._below) else path)

        return convert

    def unpack(self, numbers: Numbers) -> Callable[[str], str]:
        """Return what converts a path of a bundle to a stored one."""

        def convert(packed: str) -> str:
            path = path_of(packed)
            if path.startswith("@/attempts/"):
                name, *inner = path.removeprefix("@/attempts/").split("/", 1)
                digits = name.partition(".")[0]
                if digits.isdigit():
                    own = attempt_folder(self._paths.folder, (numbers(int(digits)) or 0) if int(digits) else 0)
                    return self._paths.encode("/".join((own + name[len(digits) :], *inner)))
            if path.startswith("@/"):
                return self._paths.encode(self._store + path[2:])
            if path == ".":
                return self._paths.encode(self._directory)
            return self._paths.encode(self._below + path[2:] if path.startswith("./") else path)

        return convert


class PackedTable(msgspec.Struct, frozen=True):
    """The rows of a table as a bundle has them. They are read while they are iterated over."""

    name: str
    columns: tuple[str, ...]
    rows: Iterator[list[Any]]


class WorkflowRows:
    """The rows of a workflow in a store, as a bundle has them: equal for equal histories, whatever the ids are."""

    def __init__(self, database: Database, workflow: int, directory: str) -> None:
        self._db, self._values = database, {"workflow": workflow}
        self.newest: float = database.value(SQL["newest_time"], workflow=workflow) or 0.0
        numbers: dict[str, Numbers] = {}
        for table, columns in COLUMNS.items():
            if "id" not in columns:
                continue
            ids = (one for (one,) in self._rows(table, ("id",)))
            if table in SHARED:
                numbers[table] = {one: number for number, one in enumerate(ids, 1)}.get
            else:
                numbers[table] = (runs := IdRuns(ids)).number
                if table == "attempt":
                    self.attempts = runs
        path = BundlePaths(database.paths, directory).pack(numbers["attempt"])
        self._to = Renumbering(numbers, path, packs=True)

    def tables(self) -> Iterator[PackedTable]:
        """Yield each table."""
        for table, columns in COLUMNS.items():
            names = tuple(name for name, column in columns.items() if not isinstance(column, LeftOut))
            yield PackedTable(table, names, self._packed(table, names))

    def _packed(self, table: str, names: Sequence[str]) -> Iterator[list[Any]]:
        convert, end = _converter(self._to, table, names), _ending(table, names, self.newest)
        for row in self._rows(table, names):
            found = list(row)
            if end is not None:
                end(found)
            convert(found)
            yield found

    def _rows(self, table: str, names: Sequence[str]) -> Iterator[Row]:
        order = SHARED.get(table) or tuple(name for name, _, _, key, _ in table_columns()[table] if key)
        text = self._db.text(SQL["rows_of"])
        scope = self._db.text(SQL[_SCOPES.get(table, "in_workflow")])
        parts = {"table": table, "names": ", ".join(names), "scope": scope, "key": ", ".join(order)}
        for name, part in parts.items():
            text = text.replace(f"{{{name}}}", part)
        return self._db.stream(text, self._values)


def _converter(to: Renumbering, table: str, names: Sequence[str]) -> Callable[[list[Any]], None]:
    """Return what converts the columns of a row in place."""
    known = COLUMNS[table]
    changes = [(at, known[name]) for at, name in enumerate(names) if known[name] is not VALUE]
    by_part = names.index("part") if table == "fingerprint" else None

    def convert(row: list[Any]) -> None:
        for at, change in changes:
            row[at] = change(to, row[at])  # type: ignore[operator]
        if by_part is not None:
            row[-1] = FINGERPRINTS.get(row[by_part], VALUE)(to, row[-1])

    return convert


def _ending(table: str, names: Sequence[str], newest: float) -> Callable[[list[Any]], None] | None:
    """Return what ends, in place, a row of something that has not ended; None: the table has no such rows."""
    if table not in ENDS:
        return None
    column, values = ENDS[table]
    decides = names.index(column)
    changes = [(names.index(name), newest if value == "" else value) for name, value in values.items()]

    def end(row: list[Any]) -> None:
        if is_open(column, row[decides]):
            for at, value in changes:
                if at == decides or row[at] is None:
                    row[at] = value

    return end


class NewWorkflow(msgspec.Struct, frozen=True):
    """How a workflow of a bundle is written to a store."""

    name: str | None  # None: that of the bundle
    directory: str  # absolute
    first_attempt: int  # the ids from here on are reserved for its attempts
    counts: Mapping[str, int]  # rows by table


EVENT = "imported"
"""The kind of event, of no workflow, that names the bundle of an imported workflow."""


def has_imported(database: Database, token: str, attempt: int | None) -> bool:
    """Return whether the rows of an import are committed. `attempt`: the first id that is reserved for it; None: it has
    no attempts."""
    if attempt is not None and Attempts(database).by_id([attempt]):
        return True
    return any(one.detail.get("token") == token for one in Events(database).of_kind(EVENT))


def reserve_attempts(database: Database, count: int) -> int:
    """Return the first of `count` attempt ids that are never given to anybody else."""
    highest = int(database.value(QUEUE_SQL["highest_attempt"]))
    if count:
        database.change(QUEUE_SQL["remember_attempts"], highest=highest + count)
        database.driver.continue_ids(())
    return highest + 1


class BundleWriter:
    """Writes the rows of a bundle to a store, in the caller's transaction. Raise StoreDamaged for a row that the store
    cannot have."""

    def __init__(self, database: Database, new: NewWorkflow) -> None:
        self._db, self._new = database, new
        database.driver.defer_references()
        self._shared: dict[str, list[int]] = {table: [] for table in SHARED}  # ids by their numbers
        self._first = {table: self._highest(table) + 1 for table, columns in COLUMNS.items() if "id" in columns}
        self._first["attempt"] = new.first_attempt
        self.workflow = self._first["workflow"]
        numbers: dict[str, Numbers] = {table: self._number(table) for table in self._first}
        path = BundlePaths(database.paths, new.directory).unpack(numbers["attempt"])
        self._to = Renumbering(numbers, path, packs=False)

    def _highest(self, table: str) -> int:
        if table in ("job", "workflow"):
            return int(self._db.value(SUBMIT_SQL["highest_job" if table == "job" else "highest_workflow"]))
        text = self._db.text(SQL["highest_id"]).replace("{table}", table)
        return int(self._db.select(text, {})[0][0])

    def _number(self, table: str) -> Numbers:
        first, count = self._first[table], self._new.counts.get(table, 0)
        shared = self._shared.get(table)

        def number(one: int) -> int:
            if not 1 <= one <= count:
                raise StoreDamaged(f"{table} {one} is not in the bundle")
            return first + one - 1 if shared is None else shared[one - 1]

        return number

    def write(self, table: str, names: Sequence[str], rows: Iterable[Any], progress: ProgressOfRows) -> int:
        """Write the rows of a table. Tables come in the order of COLUMNS. Return the number of rows."""
        known = COLUMNS.get(table, {})
        if unknown := [name for name in names if isinstance(known.get(name), LeftOut | None)]:
            raise StoreDamaged(f"the rows of {table} have an unknown column, {unknown[0]}")
        convert = _converter(self._to, table, names)
        constants = self._constants(table)
        written = (*names, *constants)
        by_name = {column[0]: column for column in table_columns()[table]}
        insert = Table(table, written, ()).insert()
        count = 0
        while some := list(islice(rows, _TOGETHER)):
            made = list[Row]()
            for row in some:
                count += 1
                made.append(self._made(table, by_name, written, row, convert, tuple(constants.values()), count))
            self._insert(table, written, insert, made)
            progress(table, count)
        return count

    def _constants(self, table: str) -> dict[str, Any]:
        """Return the values of columns that a bundle does not have and that may not be null."""
        found = {name: one.value for name, one in COLUMNS[table].items() if isinstance(one, LeftOut)}
        if table == "job":
            found["version"] = first_version(self._db)
        return {name: value for name, value in found.items() if value is not None}

    def _made(
        self,
        table: str,
        by_name: Mapping[str, Any],
        names: Sequence[str],
        row: Any,
        convert: Callable[[list[Any]], None],
        constants: Row,
        number: int,
    ) -> Row:
        if not isinstance(row, list) or len(row) + len(constants) != len(names):
            raise StoreDamaged(f"row {number} of {table} is no list of its columns")
        if table in SHARED:
            row[names.index("id")] = number  # its place in the list, which `_insert` completes
        else:
            try:
                convert(row)
            except UNREADABLE as error:
                raise StoreDamaged(f"row {number} of {table}: {error}") from error
        made = (*row, *constants)
        if table == "workflow":
            made = self._workflow(names, made)
        for problem in row_problems(table, [by_name[name] for name in names], made):
            raise StoreDamaged(problem)
        return made

    def _workflow(self, names: Sequence[str], row: Row) -> Row:
        values = dict(zip(names, row, strict=True))
        return tuple((values | ({"name": self._new.name} if self._new.name else {})).values())

    def _insert(self, table: str, names: Sequence[str], insert: Query, rows: Sequence[Row]) -> None:
        if table == "source":
            rows = [row for row in rows if not self._known(table, ("digest",), names, row)]
        elif table in SHARED:
            rows = [made for row in rows if (made := self._shared_row(table, names, row)) is not None]
        self._db.change_each(insert, rows)

    def _shared_row(self, table: str, names: Sequence[str], row: Row) -> Row | None:
        """Remember the id of a shared row. Return the row with its new id if the store does not have it."""
        known, ids = self._known(table, SHARED[table], names, row), self._shared[table]
        ids.append(known or self._first[table])
        if known:
            return None
        self._first[table] += 1
        at = names.index("id")
        return (*row[:at], ids[-1], *row[at + 1 :])

    def _known(self, table: str, key: Sequence[str], names: Sequence[str], row: Row) -> Any:
        text = self._db.text(SQL["shared_row"]).replace("{table}", table)
        text = text.replace("{names}", names[0]).replace("{scope}", " AND ".join(f"{name} = :{name}" for name in key))
        found = self._db.select(text, {name: row[names.index(name)] for name in key})
        return found[0][0] if found else None

    def finish(self) -> None:
        """Write what follows from the rows: states, counts and spans. Let the next ids follow those of the rows."""
        self._db.driver.continue_ids(list(self._first))
        jobs, attempts = self._new.counts.get("job", 0), self._new.counts.get("attempt", 0)
        for some in _parts(self._first["job"], jobs):
            derive_states(self._db, some, counts=False)
        for some in _parts(self._first["attempt"], attempts):
            extend_spans(self._db, spans_of(self._db, some))
        self._db.change(SUBMIT_SQL["clear_counts"], workflow=self.workflow)
        self._db.change(SUBMIT_SQL["count_again"], workflow=self.workflow)


def _parts(first: int, count: int) -> Iterator[range]:
    for at in range(first, first + count, _TOGETHER):
        yield range(at, min(at + _TOGETHER, first + count))
