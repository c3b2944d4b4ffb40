"""Print JSON documents on stdout."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import click
import msgspec

from rekindle.domain.errors import RekindleError, SpecError

if TYPE_CHECKING:
    from rekindle.cli.options import JsonForm

_ROWS = 500
"""Rows that are written at once."""


printed = 0
"""The number of documents that this process has begun to print."""


def emit(document: Mapping[str, Any]) -> None:
    """Print one document."""
    global printed
    printed += 1
    click.echo(json.dumps(document))


def emit_error(kind: str, message: str, hint: str, code: int, error: RekindleError | None = None) -> None:
    """Print the document of an error, with what the error has to print; nothing if another document is printed.
    `kind`: the name of a class of errors."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.removesuffix("Error") or kind).lower()
    if printed:
        return
    about: dict[str, Any] = {"message": message, "hint": hint, "kind": words, "exit_code": code}
    if isinstance(error, SpecError):
        about["problems"] = [problem._asdict() | {"file": problem.file or error.path} for problem in error.problems]
    emit({**(error.document or {} if error is not None else {}), "error": about})


def emit_list(document: Mapping[str, Sequence[Mapping[str, Any]]], form: JsonForm = "document") -> None:
    """Print a document that is one list, one row a line."""
    for key, rows in document.items():
        emit_rows(key, rows, form)


def emit_rows(key: str, rows: Iterable[Mapping[str, Any]], form: JsonForm = "document") -> None:
    """Print rows as `emit_texts` does."""
    emit_texts(key, map(_encoded, rows), form)


def emit_texts(key: str, rows: Iterable[str], form: JsonForm) -> None:
    """Print rows, each given as JSON text in one line, without holding all rows in memory: the document `{key: [rows]}`
    with a row a line, or only the rows."""
    global printed
    rows, printed = iter(rows), printed + 1
    if form == "lines":
        while block := list(islice(rows, _ROWS)):
            click.echo("\n".join(block))
        return
    before = f'{{"{key}": ['
    while block := list(islice(rows, _ROWS)):
        click.echo(before + ",\n".join(block), nl=False)
        before = ",\n"
    click.echo("]}" if before == ",\n" else before + "]}")


def emit_with_rows(document: Mapping[str, Any], key: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a document whose `key`, an empty list, has these rows, without holding all rows in memory."""
    global printed
    printed += 1
    before, _, after = json.dumps(document).partition(f'"{key}": []')
    click.echo(f'{before}"{key}": [', nl=False)
    comma = ""
    rows = iter(rows)
    while block := [_encoded(row) for row in islice(rows, _ROWS)]:
        click.echo(comma + ",\n".join(block), nl=False)
        comma = ",\n"
    click.echo("]" + after)


def _encoded(row: Mapping[str, Any]) -> str:
    """Return a row as ASCII JSON. msgspec takes a fifth of json's time; json encodes the rows that msgspec cannot
    (names that are not Unicode) and the rows that are not ASCII."""
    try:
        text = msgspec.json.encode(row).decode()
    except UnicodeEncodeError:
        text = "\N{REPLACEMENT CHARACTER}"
    return text if text.isascii() else json.dumps(row, separators=(",", ":"))
