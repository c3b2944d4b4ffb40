"""The archive's SQL: named, described blocks in `sql/*.sql`.

A block begins with `-- name: WORD`; the comment lines under it describe it, and at least one is required. Parameters
are `:word`. `@word` stands for a set that is passed as one JSON array (see `as_set`). `{word}` is the text of an
earlier block of the file. A block that is run for many rows names their columns in `-- row: a, b, c`: it then takes
plain tuples in that order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

FOLDER = Path(__file__).parent / "sql"

_SET = re.compile(r"@([a-z_]+)")
_PART = re.compile(r"\{([a-z_]+)\}")
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")


@dataclass(frozen=True, slots=True)
class Query:
    """One block: `text` is ready to run; `row` names the columns of the tuples that it takes, if it does."""

    name: str
    about: str
    text: str
    row: tuple[str, ...] = ()


def load(file: str) -> Mapping[str, Query]:
    """The blocks of `sql/<file>.sql` by name. ValueError for a block that is not as it should be."""
    found: dict[str, Query] = {}
    for block in (FOLDER / f"{file}.sql").read_text(encoding="utf-8").split("-- name: ")[1:]:
        query = _parse(block, found)
        if query.name in found:
            raise ValueError(f"{file}.sql has two blocks {query.name}")
        found[query.name] = query
    return found


def as_set(values: Iterable[int | str]) -> str:
    """Values as the parameter behind `@word`."""
    return msgspec.json.encode(list(values)).decode()


def _parse(block: str, earlier: Mapping[str, Query]) -> Query:
    name, *lines = block.splitlines()
    remarks = [line[2:].strip() for line in lines if line.startswith("--")]
    row = next((remark[4:] for remark in remarks if remark.startswith("row:")), "")
    about = " ".join(remark for remark in remarks if not remark.startswith("row:"))
    text = "\n".join(line for line in lines if not line.startswith("--")).strip().rstrip(";")
    if not about or not text:
        raise ValueError(f"the block {name} lacks {'a statement' if about else 'a description'}")
    text = _PART.sub(lambda match: earlier[match[1]].text if match[1] in earlier else match[0], text)
    text = _SET.sub(r"(SELECT value FROM json_each(:\1))", text)
    columns = tuple(column.strip() for column in row.split(",") if column.strip())
    return Query(name.strip(), about, _numbered(name, text, columns), columns)


def _numbered(name: str, text: str, columns: tuple[str, ...]) -> str:
    """Parameters by position where rows are taken: binding twenty of them by name costs as much as the update."""
    if not columns:
        return text
    if set(_PARAMETER.findall(text)) != set(columns):
        raise ValueError(f"the block {name} does not use exactly the columns of its rows")
    return _PARAMETER.sub(lambda match: f"?{columns.index(match[1]) + 1}", text)
