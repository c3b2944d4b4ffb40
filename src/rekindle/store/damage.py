"""Damage to a store: rows that cannot be read, rows that refer to nothing, and what SQLite finds itself.

SQLite takes any value in any column, and reads most of a damaged file without complaint. A value that has the right
type and form but is not the one that was written cannot be recognised.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import msgspec

from rekindle.domain.batches.canaries import Outcome
from rekindle.domain.batches.supervised import Report
from rekindle.domain.causes import Cause
from rekindle.domain.changes.prints import Basis, Prints
from rekindle.domain.definition import JobTemplate
from rekindle.domain.errors import StoreDamaged
from rekindle.domain.overrides import modified_of
from rekindle.domain.rerunning.rerun import Expected, How, Manner, Pointers, Reason, RefusedJob, SavedFile
from rekindle.domain.states import State
from rekindle.domain.subtasks import Choice
from rekindle.domain.verdicts import Word
from rekindle.journal.encoding import json_reader
from rekindle.store.queries import load
from rekindle.store.revisions import Back
from rekindle.store.schema import migrations
from rekindle.store.translating import HINT

SQL = load("damage")

UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
    zlib.error,
)
"""What code raises that works with a value it did not expect."""

_LARGEST = 1e12  # of numbers that are times, durations or amounts
_MOST = 100  # problems of one table, or of one check of SQLite's

_TYPES: Mapping[str, tuple[type, ...]] = {"INTEGER": (int,), "REAL": (float, int), "TEXT": (bytes,), "BLOB": (bytes,)}
_WORDS: Mapping[str, str] = {"INTEGER": "a whole number", "REAL": "a number", "TEXT": "text", "BLOB": "bytes"}

Check = Callable[[Any], object]
"""Decodes a value that is not null; raises one of UNREADABLE."""


def refuse_damaged(connection: sqlite3.Connection, folder: str, error: BaseException) -> None:
    """Raise StoreDamaged if the store in `folder` is damaged: `error` may come from that."""
    for find in (damaged_rows, dangling, refused_by_sqlite):
        for line in find(connection):
            raise StoreDamaged(f"the store {folder} is damaged: {line}", hint=HINT) from error


def refused_by_sqlite(connection: sqlite3.Connection, *, deep: bool = True) -> Iterator[str]:
    """Yield what SQLite finds wrong in the file: a line each. Unless it is `deep`, indexes are not compared."""
    try:
        for (line,) in connection.execute(SQL["integrity" if deep else "quick"].text).fetchall():
            if line != "ok":
                yield f"the file: {line}"
    except sqlite3.DatabaseError as error:
        yield f"the file: {error}"


def dangling(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield rows that refer to rows that do not exist: a line each."""
    try:
        found = connection.execute(SQL["foreign_keys"].text).fetchmany(_MOST)
        for table, row, target, _ in found:
            yield f"{table} row {row if row is not None else '?'}: refers to a {target} that does not exist"
        for name in ("job_template", "attempt_template", "attempt_signature"):
            table, _, target = name.partition("_")
            for (row,) in connection.execute(SQL[name].text).fetchmany(_MOST):
                yield f"{table} row {row}: refers to a {target} that does not exist"
    except sqlite3.DatabaseError as error:
        yield f"references: {error}"


def damaged_rows(connection: sqlite3.Connection, tell: Callable[[str, int], None] | None = None) -> Iterator[str]:
    """Yield the values that cannot be read, as `attempt row 12, column result: not JSON`; and tables of which SQLite
    cannot read every row. `tell` is called with each table and the number of its rows that were read."""
    before, connection.text_factory = connection.text_factory, bytes
    try:
        for table, columns in _schema().items():
            rows = found = 0
            try:
                for row in connection.execute(SQL["rows"].text.replace("{table}", table)):
                    rows += 1
                    for line in _of_row(table, columns, row):
                        found += 1
                        if found <= _MOST:
                            yield line
            except (sqlite3.Error, *UNREADABLE) as error:
                yield f"{table}: its rows cannot all be read: {error}"
            if found > _MOST:
                yield f"{table}: {found - _MOST} more values cannot be read"
            if tell is not None:
                tell(table, rows)
    finally:
        connection.text_factory = before


_Column = tuple[str, str, bool, bool, Check | None]
"""(name, declared type, whether it may be null, whether it is of the primary key, what decodes its values)."""


def _schema() -> dict[str, list[_Column]]:
    """Return the columns of each table as the migrations make them: those of a damaged store may be others."""
    found: dict[str, list[_Column]] = {}
    with closing(sqlite3.connect(":memory:")) as new:
        for step in migrations():
            new.executescript(step.text)
        for (table,) in new.execute(SQL["tables"].text).fetchall():
            rows = new.execute(SQL["columns"].text.replace("{table}", table)).fetchall()
            found[table] = [
                (name, kind.upper(), not (required or key), bool(key), _CHECKS.get(f"{table}.{name}"))
                for _, name, kind, required, _, key in rows
            ]
    return found


def _of_row(table: str, columns: list[_Column], row: tuple[Any, ...]) -> Iterator[str]:
    for (name, kind, nullable, _, check), value in zip(columns, row, strict=True):
        if value is None:
            problem = "" if nullable else "it has no value"
        elif not isinstance(value, _TYPES.get(kind, (int, float, bytes))):
            problem = f"it is not {_WORDS.get(kind, kind)}"
        else:
            try:
                text = value.decode() if kind == "TEXT" and isinstance(value, bytes) else value
                if table == "fingerprint" and name == "document":
                    check = _FINGERPRINTS.get(row[_PART])
                if check is not None:
                    check(text)
                if isinstance(value, float) and not -_LARGEST < value < _LARGEST:
                    raise ValueError("it is out of range")
                problem = ""
            except UNREADABLE as error:
                problem = str(error) or type(error).__name__
        if problem:
            keys = [one for column, one in zip(columns, row, strict=True) if column[3]]
            shown = "/".join(one.decode(errors="replace") if isinstance(one, bytes) else str(one) for one in keys)
            yield f"{table} row {shown}, column {name}: {problem}"


def _json(kind: Any) -> Check:
    return json_reader(kind)


def _state(value: int) -> None:
    if value not in set(State):
        raise ValueError(f"there is no state {value}")


_MAPPING = _json(dict[str, Any])
_ANY = _json(Any)
_NUMBERS = _json(list[int])
_TEXTS = _json(list[str])

_CHECKS: Mapping[str, Check] = {
    "revision.params": _MAPPING,
    "revision.earlier": lambda value: msgspec.json.decode(zlib.decompress(value), type=Back),
    "resource_class.licences": _json(list[tuple[str, int]]),
    "template.body": _json(JobTemplate),
    "job.binding": _MAPPING,
    "job.state": _state,
    "job.subtasks": _json(Choice),
    "job.overrides": modified_of,
    "attempt.state": _state,
    "attempt.binding": _MAPPING,
    "attempt.cause": Cause,
    "attempt.evidence": _MAPPING,
    "attempt.result": _ANY,
    "attempt.verdict": Word,
    "attempt.overrides": modified_of,
    "step.state": _state,
    "step.cause": Cause,
    "step.result": _ANY,
    "step.action": _MAPPING,
    "step.verdict": Word,
    "fan_out.gone": _NUMBERS,
    "subtask.item": _ANY,
    "subtask.state": _state,
    "subtask.cause": Cause,
    "subtask.result": _ANY,
    "patch.change": _MAPPING,
    "rerun.request": _MAPPING,
    "rerun.refused": _json(tuple[RefusedJob, ...]),
    "rerun.warnings": _TEXTS,
    "rerun.expected": _json(Expected),
    "rerun.overwrites": _TEXTS,
    "rerun.dynamic": _MAPPING,
    "supervision.asked": _MAPPING,
    "supervision.report": _json(Report),
    "rerun_job.before": _state,
    "rerun_job.after": _state,
    "rerun_job.keeps": _TEXTS,
    "rerun_job.reasons": _json(tuple[Reason, ...]),
    "rerun_job.archives": _NUMBERS,
    "rerun_job.subtasks": _json(Choice),
    "rerun_job.pointers": _json(Pointers),
    "rerun_job.manner": _json(Manner),
    "rerun_job.saved": _json(tuple[SavedFile, ...]),
    "rerun_job.checked": _MAPPING,
    "canary_group.how": _json(How),
    "canary_group.outcome": Outcome,
    "accepted.document": _json(Basis),
    "source.modules": _json(dict[str, str]),
    "signature.cause": Cause,
    "event.detail": _MAPPING,
}
"""How the values of columns are decoded where they are read."""

_PART = 1  # the place of the column `part` in a row of `fingerprint`
_FINGERPRINTS: Mapping[bytes, Check] = {
    b"needed": _json(dict[int, int]),
    b"patched": _MAPPING,
    b"files": _json(Prints),
}
"""How the column `document` of `fingerprint` is decoded, by part."""
