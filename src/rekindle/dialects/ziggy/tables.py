"""Tables as Ziggy's console prints them: a title, column names over a rule, and rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

_SPACE = 2


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print one; the columns named in `right` are aligned so. A cell is one line without control characters."""
    cells = [[_flat(cell) for cell in row] for row in rows]
    widths = [max(len(line[at]) for line in [columns, *cells]) + _SPACE for at in range(len(columns))]
    lines = [
        "".join(_padded(*cell) for cell in zip(line, widths, columns, [right] * len(columns), strict=True)).rstrip()
        for line in [columns, *cells]
    ]
    click.echo("\n".join(["", title, "", lines[0], "-" * sum(widths), *lines[1:]]))


def date(at: float | None) -> str:
    """Local time to the second, `-` for none."""
    return "-" if at is None else datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def clock(seconds: float | None) -> str:
    """`00:01:30`, `-` for none."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}"


def _flat(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text)


def _padded(cell: str, width: int, column: str, right: Sequence[str]) -> str:
    return (cell.rjust(width - _SPACE) + " " * _SPACE) if column in right else cell.ljust(width)
