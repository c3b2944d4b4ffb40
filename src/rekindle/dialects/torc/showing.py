"""Lists as torc prints them: `-F json`, or a table; and `-f FIELD=VALUE`, which keeps some of a list."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from rekindle.dialects.torc.asked import asked
from rekindle.domain.errors import BadSelection, UnknownWord
from rekindle.domain.texts.nearest import did_you_mean

Command = TypeVar("Command", bound=Callable[..., Any])

filter_option = click.option(
    "-f", "--filters", "filters", multiple=True, metavar="FIELD=VALUE", help="Only those of this value; repeat it."
)
"""`filters`."""

_ALIASES = {"_key": "key", "id": "key"}


def kept(
    documents: Sequence[dict[str, Any]],
    filters: Sequence[str],
    fields: Sequence[str],
    also: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Those that every filter fits. `also`: by field, another in which its value may stand instead."""
    left = list(documents)
    for written in filters:
        field, mark, value = written.partition("=")
        field = field.strip()
        if not mark:
            raise BadSelection(f"cannot read the filter {written!r}", hint="write FIELD=VALUE, as in status=ready")
        name = field if field in fields else _ALIASES.get(field, field)
        if name not in fields:
            raise UnknownWord(f"there is no field {field!r}", hint=did_you_mean(field, fields))
        names = [name, *([also[name]] if also and name in also else [])]
        left = [one for one in left if any(_fits(one.get(field), value.strip()) for field in names)]
    return left


def show(name: str, documents: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """`{"jobs": […]}`, or a table of some of their fields."""
    if asked().as_json:
        emit({name: list(documents)})
        return
    rows = [list(columns), *([_cell(one.get(column)) for column in columns] for one in documents)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(columns))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def emit(document: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _fits(found: Any, value: str) -> bool:
    if isinstance(found, str):
        return found.casefold() == value.casefold()
    try:
        wanted = json.loads(value)
    except ValueError:
        return value.casefold() == _cell(found).casefold()
    return bool(found == wanted) and isinstance(found, bool) == isinstance(wanted, bool)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else json.dumps(value)
