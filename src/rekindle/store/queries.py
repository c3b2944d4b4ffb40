"""Load the store's SQL: named, described blocks in `sql/*.sql`. Blocks that must differ between the databases are in
`sql/sqlite/` and `sql/postgres/`.

A block begins with `-- name: WORD`. The comment lines under the name describe the block; at least one is required.
Parameters are `:word`. `@word`, after IN, stands for a set (see `ValueSet`). `{word}` is replaced by the text of
another block of the same file. A block that runs once for each of many rows lists its parameters in `-- row: a, b, c`
and takes plain tuples in that order; in `-- distinct row: a, b, c` if no two of them ever concern the same row of the
table, so that a database may write all of them with one statement. Each database gets the parameters in its own form:
`written_for_sqlite`, `written_for_sqlite_rows`, `written_for_postgres`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from rekindle.domain.texts.regexes import lazy_regex

Row = tuple[Any, ...]

FOLDER = Path(__file__).parent / "sql"

_SET = re.compile(r"@([a-z_][a-z_0-9]*)")
_NOT_IN_SET = lazy_regex(r"NOT IN @([a-z_][a-z_0-9]*)")
_IN_SET = lazy_regex(r"IN @([a-z_][a-z_0-9]*)")
_ROW = ("row:", "distinct row:")
_PART = re.compile(r"\{([a-z_]+)\}")
_NUMBERED = lazy_regex(r"\$([0-9]+)")
_PARAMETER = lazy_regex(r"(?<!:):([a-z_][a-z_0-9]*)")

INTEGER_LIMIT = 2**63
"""Integers in a database are at least -INTEGER_LIMIT and below it."""


class ValueSet:
    """The values behind `@word`: integers, or texts. Integers that no column can hold are left out."""

    __slots__ = ("values",)

    def __init__(self, values: Iterable[int | str]) -> None:
        found: list[Any] = list(values)
        try:
            fit = not found or -INTEGER_LIMIT <= min(found) <= max(found) < INTEGER_LIMIT
        except TypeError:  # there are texts
            fit = False
        if not fit:
            found = [one for one in found if isinstance(one, str) or -INTEGER_LIMIT <= one < INTEGER_LIMIT]
        self.values: list[int | str] = found

    def __conform__(self, _: object) -> str:
        """Return the set as sqlite3 binds it: a JSON array."""
        return msgspec.json.encode(self.values).decode()


class Query(msgspec.Struct, frozen=True):
    """One block. `row` names the parameters that each tuple holds, in order; `distinct`: no two tuples concern the same
    row of a table. `postgres` is the text for PostgreSQL where it differs."""

    name: str
    about: str
    text: str
    row: tuple[str, ...] = ()
    distinct: bool = False
    postgres: str = ""

    def rows(self, named: Iterable[Mapping[str, Any]]) -> list[Row]:
        """Return the tuples for rows whose values are given by name."""
        return list(map(itemgetter(*self.row), named))


class Queries(Mapping[str, Query]):
    """The blocks of one file by name: those of `sql/FILE.sql`, and those of `sql/sqlite/FILE.sql`, whose form for
    PostgreSQL has the same name in `sql/postgres/FILE.sql`. The file is read, and each block is parsed, when a block is
    first used; ValueError for a malformed one."""

    def __init__(self, file: str) -> None:
        self._parsed: dict[str, Query] = {}
        self._file = file

    @cached_property
    def _blocks(self) -> dict[str, str]:
        found, others = _blocks(f"{FOLDER}/{self._file}.sql"), _overlay("sqlite", self._file)
        if twice := found.keys() & others.keys():
            raise ValueError(f"{self._file}.sql has two blocks {min(twice)}")
        return found | others

    @cached_property
    def _differ(self) -> dict[str, str]:
        """The blocks for PostgreSQL of those that differ."""
        return _overlay("postgres", self._file)

    def __getitem__(self, name: str) -> Query:
        query = self._parsed.get(name)
        if query is None:
            query = self._parse(self._blocks[name])
            if name in self._differ or (self._differ and _PART.search(self._blocks[name])):
                other = self._parse(self._differ.get(name, self._blocks[name]), postgres=True)
                if (query.row, query.about) != (other.row, other.about):
                    raise ValueError(f"the block {name} is not described alike for both databases")
                if other.text != query.text:
                    query = msgspec.structs.replace(query, postgres=other.text)
            self._parsed[name] = query
        return query

    def __iter__(self) -> Iterator[str]:
        return iter(self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)

    def _part(self, name: str, *, postgres: bool) -> str:
        if name not in self._blocks:
            return ""
        return (postgres and self[name].postgres) or self[name].text

    def _parse(self, block: str, *, postgres: bool = False) -> Query:
        name, *lines = block.splitlines()
        remarks = [line[2:].strip() for line in lines if line.startswith("--")]
        listed = next((remark for remark in remarks if remark.startswith(_ROW)), "")
        row = listed.partition(":")[2]
        about = " ".join(remark for remark in remarks if remark != listed)
        text = "\n".join(line for line in lines if not line.startswith("--")).strip().rstrip(";")
        if not about or not text:
            raise ValueError(f"the block {name} lacks {'a statement' if about else 'a description'}")
        text = _PART.sub(lambda match: self._part(match[1], postgres=postgres) or match[0], text)
        columns = tuple(column.strip() for column in row.split(",") if column.strip())
        if columns and {*_PARAMETER.findall(text), *_SET.findall(text)} != set(columns):
            raise ValueError(f"the block {name} does not use exactly the columns of its rows")
        return Query(name.strip(), about, text, columns, listed.startswith("distinct"))


def load(file: str) -> Queries:
    """Return the blocks of a file by name."""
    return Queries(file)


def _overlay(database: str, file: str) -> dict[str, str]:
    """Return the blocks of a file that are for one database."""
    try:
        return _blocks(f"{FOLDER}/{database}/{file}.sql")
    except FileNotFoundError:
        return {}


def _blocks(path: str) -> dict[str, str]:
    """Return the blocks of a file, not parsed, by name."""
    found: dict[str, str] = {}
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for block in text.split("-- name: ")[1:]:
        name = block.partition("\n")[0].strip()
        if name in found:
            raise ValueError(f"{path.rpartition('/')[2]} has two blocks {name}")
        found[name] = block
    return found


def as_set(values: Iterable[int | str]) -> ValueSet:
    """Return values as the parameter behind `@word`."""
    return ValueSet(values)


def column_names(columns: str) -> list[str]:
    """Return the names of a list of columns without function calls, such as `job.id, job.name AS title`."""
    return [column.split(" AS ")[-1].strip().rpartition(".")[2] for column in columns.split(",")]


def written_for_sqlite(text: str) -> str:
    """Return a statement with parameters as SQLite takes them."""
    return _SET.sub(r"(SELECT value FROM json_each(:\1))", text)


def written_for_sqlite_rows(query: Query) -> tuple[str, Callable[[Row], Row] | None]:
    """Return the statement of a block that takes rows, and how to order each row for it; None: as it is.

    The parameters are `?`: binding twenty of them by name costs as much as the update, and Python takes a tuple for
    neither `:name` (from 3.14) nor `?1` (before 3.12.4) without a warning."""
    text = written_for_sqlite(query.text)
    order = [query.row.index(name) for name in _PARAMETER.findall(text)]
    return _PARAMETER.sub("?", text), None if order == list(range(len(query.row))) else itemgetter(*order)


def written_for_sqlite_many(text: str, count: int) -> str | None:
    """Return an INSERT of `written_for_sqlite_rows` that inserts `count` rows at once, with the parameters of one row
    after those of another; None for any other statement."""
    before, word, after = _split(text, "VALUES") or (text, "", "")
    values, _, rest = after.strip().removeprefix("(").partition(")")
    if not word or "(" in values or "?" in before + rest:
        return None
    return f"{before}VALUES {', '.join([f'({values})'] * count)}{rest}"


def written_for_postgres(text: str, row: Sequence[str] = ()) -> tuple[str, tuple[str, ...]]:
    """Return a statement with parameters as PostgreSQL takes them, and their names in order."""
    text = _NOT_IN_SET.sub(r"<> ALL(:\1)", text)
    text = _IN_SET.sub(r"= ANY(:\1)", text)
    names = list(row)

    def number(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    return _PARAMETER.sub(number, text), tuple(names)


def written_for_many(text: str, kinds: Sequence[str]) -> str:
    """Return a statement of `written_for_postgres` that runs once for many distinct rows: its parameters are arrays of
    the values of all rows. `kinds` are the types of its parameters."""
    arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(kinds, 1))
    names = ", ".join(f"given_{number}" for number in range(1, len(kinds) + 1))
    source = f"unnest({arrays}) AS given ({names})"
    before, word, after = _split(text, "VALUES") or _split(text, "WHERE") or (text, "", "")
    before, after = (_NUMBERED.sub(r"given.given_\1", part) for part in (before, after))
    if word == "VALUES":
        values, _, rest = after.partition(")")
        return f"{before}SELECT {values.strip().removeprefix('(')} FROM {source} WHERE true{rest}"
    return f"{before}FROM {source} WHERE{after}"


def _split(text: str, word: str) -> tuple[str, str, str] | None:
    """Split a statement at a word that is not within brackets; None if there is none."""
    depth = 0
    for found in re.finditer(rf"[()]|\b{word}\b", text):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if found[0] == word and depth == 0:
            return text[: found.start()], word, text[found.end() :]
    return None
