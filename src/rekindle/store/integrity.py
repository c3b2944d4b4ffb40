"""Whether a store is sound: values that can be read, references that exist, and columns that follow from others.

SQLite takes any value in any column, and reads most of a damaged file without complaint. A wrong value of the right
type and form cannot be recognised.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from functools import cache
from typing import Any

from rekindle.domain.batches.canaries import GroupOutcome
from rekindle.domain.batches.supervision_report import SupervisionReport
from rekindle.domain.changes.fingerprints import Baseline, FileFingerprints
from rekindle.domain.definition import Hook, JobTemplate
from rekindle.domain.errors import RefusedJob, StoreDamaged
from rekindle.domain.models import ProcessIdentity
from rekindle.domain.next_attempt import NextAttempt
from rekindle.domain.overrides import decode_overrides
from rekindle.domain.rerun.plan import ExpectedCost, OverrideChange, Reason, SavedFile
from rekindle.domain.rerun.request import How
from rekindle.domain.states import Cause, State
from rekindle.domain.verdicts import VerdictLevel
from rekindle.journal.encoding import json_reader
from rekindle.store.database import UNREADABLE, Database
from rekindle.store.derived import misclassified
from rekindle.store.queries import load
from rekindle.store.revisions import read_delta
from rekindle.store.rows import STATES
from rekindle.store.schema import make_tables
from rekindle.store.sqlite_connection import DAMAGE_HINT

SQL = load("damage")
CONTRADICTIONS = load("contradictions")

_LARGEST = 1e12  # of numbers that are times, durations or amounts
_MOST = 100  # reported problems of one table, or of one check by SQLite

_TYPES: Mapping[str, tuple[type, ...]] = {
    "INTEGER": (int,),
    "REAL": (float, int),
    "TEXT": (bytes, str),
    "BLOB": (bytes,),
}
_WORDS: Mapping[str, str] = {"INTEGER": "a whole number", "REAL": "a number", "TEXT": "text", "BLOB": "bytes"}

CountRows = Callable[[str, int], None]
"""Called with a table, and the number of its rows."""

Check = Callable[[Any], object]
"""Decodes a value that is not null. Raises one of UNREADABLE."""


def find_damage(connection: sqlite3.Connection, folder: str) -> StoreDamaged | None:
    """Return the error to raise if the store in `folder` is damaged; None if it is sound."""
    for find in (damaged_rows, dangling_references, file_problems):
        for line in find(connection):
            return StoreDamaged(f"the store {folder} is damaged: {line}", hint=DAMAGE_HINT)
    return None


def file_problems(connection: sqlite3.Connection, *, deep: bool = True) -> Iterator[str]:
    """Yield a line for each problem that SQLite finds in the file. Unless `deep`, indexes are not compared."""
    try:
        for (line,) in connection.execute(SQL["integrity" if deep else "quick"].text).fetchall():
            if line != "ok":
                yield f"the file: {line}"
    except sqlite3.DatabaseError as error:
        yield f"the file: {error}"


def dangling_references(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield a line for each row that refers to a row that does not exist."""
    try:
        found = connection.execute(SQL["foreign_keys"].text).fetchmany(_MOST)
        for table, row, target, _ in found:
            yield f"{table} row {row if row is not None else '?'}: refers to a {target} that does not exist"
        yield from undeclared_references(lambda text: connection.execute(text).fetchmany(_MOST))
    except sqlite3.DatabaseError as error:
        yield f"references: {error}"


def undeclared_references(read: Callable[[str], list[Any]]) -> Iterator[str]:
    """Yield a line for each row that refers to a row that does not exist, by a column that the schema does not declare
    as a reference. `read` runs a query."""
    for name in ("job_template", "attempt_template", "attempt_signature"):
        table, _, target = name.partition("_")
        for (row,) in read(SQL[name].text)[:_MOST]:
            yield f"{table} row {row}: refers to a {target} that does not exist"


def damaged_rows(connection: sqlite3.Connection, report: CountRows | None = None) -> Iterator[str]:
    """Yield the values of SQLite's file that cannot be read, as `unreadable_values` does."""
    before, connection.text_factory = connection.text_factory, bytes
    try:
        yield from unreadable_values(connection.execute, report)
    finally:
        connection.text_factory = before


def unreadable_values(
    read: Callable[[str], Iterable[Any]], report: CountRows | None = None, errors: tuple[type[Exception], ...] = ()
) -> Iterator[str]:
    """Yield the values that cannot be read, as `attempt row 12, column result: not JSON`, and the tables that cannot be
    read completely. `read` runs a query. `report` is called with each table and the number of its rows that were
    read."""
    unreadable: tuple[type[Exception], ...] = (sqlite3.Error, *errors, *UNREADABLE)
    for table, columns in table_columns().items():
        rows = found = 0
        try:
            names = ", ".join(column[0] for column in columns)
            for row in read(SQL["rows"].text.replace("{names}", names).replace("{table}", table)):
                rows += 1
                for line in row_problems(table, columns, row):
                    found += 1
                    if found <= _MOST:
                        yield line
        except unreadable as error:
            yield f"{table}: its rows cannot all be read: {error}"
        if found > _MOST:
            yield f"{table}: {found - _MOST} more values cannot be read"
        if report is not None:
            report(table, rows)


_Column = tuple[str, str, bool, bool, Check | None]
"""(name, declared type, whether it may be null, whether it is in the primary key, the decoder of its values)."""


@cache
def table_columns() -> dict[str, list[_Column]]:
    """Return the columns of each table as a new store has them: those of a damaged store may differ."""
    found: dict[str, list[_Column]] = {}
    with closing(sqlite3.connect(":memory:")) as new:
        make_tables(new)
        for (table,) in new.execute(SQL["tables"].text).fetchall():
            rows = new.execute(SQL["columns"].text.replace("{table}", table)).fetchall()
            found[table] = [
                (name, kind.upper(), not (required or key), bool(key), _DECODERS.get(f"{table}.{name}"))
                for _, name, kind, required, _, key in rows
            ]
    return found


def row_problems(table: str, columns: list[_Column], row: tuple[Any, ...]) -> Iterator[str]:
    """Yield the values of a row of these columns that cannot be read."""
    values = {column[0]: value for column, value in zip(columns, row, strict=True)}
    for (name, kind, nullable, _, decode), value in zip(columns, row, strict=True):
        if value is None:
            problem = "" if nullable else "it has no value"
        elif not isinstance(value, _TYPES.get(kind, (int, float, bytes, str))):
            problem = f"it is not {_WORDS.get(kind, kind)}"
        else:
            try:
                text = value.decode() if kind == "TEXT" and isinstance(value, bytes) else value
                if table == "fingerprint" and name == "document":
                    decode = _FINGERPRINT_DECODERS.get(_shown(values["part"]))
                if decode is not None:
                    decode(text)
                if isinstance(value, float) and not -_LARGEST < value < _LARGEST:
                    raise ValueError("it is out of range")
                problem = ""
            except UNREADABLE as error:
                problem = str(error) or type(error).__name__
        if problem:
            keys = [values[column[0]] for column in columns if column[3]]
            shown = "/".join(map(_shown, keys))
            yield f"{table} row {shown}, column {name}: {problem}"


def _shown(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


_PROBLEMS: Mapping[str, str] = {
    "pointers": "its live attempt {0} is not there, not its own, or archived",
    "live": "attempt {0} is not archived, and {1} is the live one",
    "candidates": "its reuse candidate {0} is no archived, completed attempt, or not alone",
    "pinned": "it is pinned to {0}, which is no attempt of it",
    "active": "{0} attempts have not ended",
    "archived_active": "attempt {0} is archived, and nobody asks it to end",
}
"""By block of contradictions.sql that returns (job, name, value, other value)."""


def contradictions(database: Database) -> list[str]:
    """Return a line for each state, unmet count or count that differs from what attempts and edges imply (invariants 3
    and 11), and for each job with two live attempts. An empty list means that the store is consistent."""
    found = []
    for row in database.named_rows(CONTRADICTIONS["states"]):
        derived = STATES[row.derived].label
        found.append(f"job {row.id} {row.name}: is {STATES[row.state].label}, and {derived} follows")
    found += [
        f"job {row.id} {row.name}: unmet is {row.unmet}, and {row.derived} of what it needs is not done"
        for row in database.named_rows(CONTRADICTIONS["unmet"])
    ]
    found += [
        f"job {row.id} {row.name}: has had {row.attempts} attempts, and {row.derived} are there"
        for row in database.named_rows(CONTRADICTIONS["attempts"])
    ]
    for name, problem in _PROBLEMS.items():
        for job, title, one, other in database.rows(CONTRADICTIONS[name]):
            found.append(f"job {job} {title}: " + problem.format(one, other or "none"))
    for row in database.named_rows(CONTRADICTIONS["counts"]):
        label = STATES[row.state].label
        place = f"workflow {row.workflow}, class {row.resource_class}"
        found.append(f"{place}: counts {row.n} {label} jobs, and {row.derived} are")
    for job, name, kept, follows in misclassified(database):
        found.append(f"job {job} {name}: its class takes {kept}, and {follows} follows")
    for workflow, name, kept, derived in database.rows(CONTRADICTIONS["spans"]):
        found.append(f"workflow {workflow} {name}: keeps the time {kept}, and its attempts say {derived}")
    return found


def _json(kind: Any) -> Check:
    return json_reader(kind)


def _state(value: int) -> None:
    if value not in set(State):
        raise ValueError(f"there is no state {value}")


def _next_attempt(text: str) -> None:
    decode_overrides(_NEXT_ATTEMPT(text).overrides)


_NEXT_ATTEMPT = json_reader(NextAttempt)
_MAPPING = _json(dict[str, Any])
_ANY = _json(Any)
_NUMBERS = _json(list[int])
_TEXTS = _json(list[str])

_DECODERS: Mapping[str, Check] = {
    "revision.params": _MAPPING,
    "revision.hooks": _json(tuple[Hook, ...]),
    "hook_delivery.hook": _json(Hook),
    "hook_delivery.document": _MAPPING,
    "hook_delivery.owner": _json(ProcessIdentity),
    "judgement.command": _ANY,
    "judgement.owner": _json(ProcessIdentity),
    "revision.earlier": read_delta,
    "resource_class.licences": _json(list[list[str | int]]),
    "template.body": _json(JobTemplate),
    "job.binding": _MAPPING,
    "job.state": _state,
    "job.next_attempt": _next_attempt,
    "attempt.state": _state,
    "attempt.binding": _MAPPING,
    "attempt.cause": Cause,
    "attempt.evidence": _MAPPING,
    "attempt.result": _ANY,
    "attempt.verdict": VerdictLevel,
    "attempt.overrides": decode_overrides,
    "step.state": _state,
    "step.cause": Cause,
    "step.result": _ANY,
    "step.action": _MAPPING,
    "step.verdict": VerdictLevel,
    "fan_out.gone": _NUMBERS,
    "subtask.item": _ANY,
    "subtask.state": _state,
    "subtask.cause": Cause,
    "subtask.result": _ANY,
    "patch.change": _MAPPING,
    "rerun.request": _MAPPING,
    "rerun.refused": _json(tuple[RefusedJob, ...]),
    "rerun.warnings": _TEXTS,
    "rerun.expected": _json(ExpectedCost),
    "rerun.overwrites": _TEXTS,
    "rerun.dynamic": _MAPPING,
    "supervision.asked": _MAPPING,
    "supervision.report": _json(SupervisionReport),
    "rerun_change.before": _state,
    "rerun_change.after": _state,
    "rerun_change.keeps": _TEXTS,
    "rerun_change.reasons": _json(tuple[Reason, ...]),
    "rerun_change.archives": _NUMBERS,
    "rerun_change.next_attempt": _next_attempt,
    "rerun_change.changes": _json(tuple[OverrideChange, ...]),
    "rerun_change.saves": _TEXTS,
    "rerun_change.next_before": _next_attempt,
    "rerun_job.saved": _json(tuple[SavedFile, ...]),
    "rerun_job.checked": _MAPPING,
    "canary_group.how": _json(How),
    "canary_group.outcome": GroupOutcome,
    "accepted.document": _json(Baseline),
    "source.modules": _json(dict[str, str]),
    "signature.cause": Cause,
    "event.detail": _MAPPING,
}
"""The decoder of a column's values, by table and column."""

_FINGERPRINT_DECODERS: Mapping[str, Check] = {
    "needed": _json(dict[int, int]),
    "patched": _MAPPING,
    "files": _json(FileFingerprints),
}
"""The decoder of the column `document` of `fingerprint`, by part."""
