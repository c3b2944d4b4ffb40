"""Load the store's SQL: named, described blocks in `sql/*.sql`.

A block begins with `-- name: WORD`. The comment lines under the name describe the block; at least one is required.
Parameters are `:word`. `@word` stands for a set that is passed as one JSON array (see `as_set`). `{word}` is replaced
by the text of another block of the same file. A block that runs once for each of many rows lists its parameters in
`-- row: a, b, c` and takes plain tuples in that order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

Row = tuple[Any, ...]

FOLDER = Path(__file__).parent / "sql"

_SET = re.compile(r"@([a-z_]+)")
_PART = re.compile(r"\{([a-z_]+)\}")
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")


class Query(msgspec.Struct, frozen=True):
    """One block. `text` is ready to run; `row` names the parameters that each tuple holds, in order."""

    name: str
    about: str
    text: str
    row: tuple[str, ...] = ()

    def rows(self, named: Iterable[Mapping[str, Any]]) -> list[Row]:
        """Return the tuples for rows whose values are given by name."""
        return list(map(itemgetter(*self.row), named))


class Queries(Mapping[str, Query]):
    """The blocks of one file by name. Each is parsed when it is first used; ValueError for a malformed one."""

    def __init__(self, file: str) -> None:
        self._blocks: dict[str, str] = {}
        self._parsed: dict[str, Query] = {}
        for block in (FOLDER / f"{file}.sql").read_text(encoding="utf-8").split("-- name: ")[1:]:
            name = block.partition("\n")[0].strip()
            if name in self._blocks:
                raise ValueError(f"{file}.sql has two blocks {name}")
            self._blocks[name] = block

    def __getitem__(self, name: str) -> Query:
        query = self._parsed.get(name)
        if query is None:
            query = self._parsed[name] = self._parse(self._blocks[name])
        return query

    def __iter__(self) -> Iterator[str]:
        return iter(self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)

    def _parse(self, block: str) -> Query:
        name, *lines = block.splitlines()
        remarks = [line[2:].strip() for line in lines if line.startswith("--")]
        row = next((remark[4:] for remark in remarks if remark.startswith("row:")), "")
        about = " ".join(remark for remark in remarks if not remark.startswith("row:"))
        text = "\n".join(line for line in lines if not line.startswith("--")).strip().rstrip(";")
        if not about or not text:
            raise ValueError(f"the block {name} lacks {'a statement' if about else 'a description'}")
        text = _PART.sub(lambda match: self[match[1]].text if match[1] in self._blocks else match[0], text)
        text = _SET.sub(r"(SELECT value FROM json_each(:\1))", text)
        columns = tuple(column.strip() for column in row.split(",") if column.strip())
        return Query(name.strip(), about, _numbered(name, text, columns), columns)


def load(file: str) -> Queries:
    """Return the blocks of `sql/<file>.sql` by name."""
    return Queries(file)


def as_set(values: Iterable[int | str]) -> str:
    """Return values as the parameter behind `@word`."""
    return msgspec.json.encode(list(values)).decode()


def column_names(columns: str) -> list[str]:
    """Return the names of a list of columns without function calls, such as `job.id, job.name AS title`."""
    return [column.split(" AS ")[-1].strip().rpartition(".")[2] for column in columns.split(",")]


def _numbered(name: str, text: str, columns: tuple[str, ...]) -> str:
    """Number the parameters of a block that takes rows: binding twenty of them by name costs as much as the update."""
    if not columns:
        return text
    if set(_PARAMETER.findall(text)) != set(columns):
        raise ValueError(f"the block {name} does not use exactly the columns of its rows")
    return _PARAMETER.sub(lambda match: f"?{columns.index(match[1]) + 1}", text)
