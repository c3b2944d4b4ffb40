"""Texts on the screen. Those of jobs may hold control characters and markup, which are shown and not interpreted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from rich.text import Text

from rekindle.presentation import words

STYLES = {
    "completed": "green",
    "failed": "bold red",
    "running": "cyan",
    "queued": "cyan",
    "ready": "blue",
    "canceled": "magenta",
    "held": "yellow",
}
"""The styles of states. The words say the same without colours."""

_GAP = 2
_NARROWEST = 8


class Column(msgspec.Struct, frozen=True):
    """A column of a table. `cut`: it may be shortened. Empty columns are left out."""

    title: str
    right: bool = False
    cut: bool = False


def line(text: str, style: str = "") -> Text:
    """Return a text in one line."""
    return Text(words.one_line(text), style=style, no_wrap=True, overflow="ellipsis", end="")


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int) -> list[Text]:
    """Return the lines of a table in `width` columns: the titles, then the rows. The columns that may be shortened
    share what the others leave."""
    cells = [[words.one_line(cell) for cell in row] for row in rows]
    shown = [at for at in range(len(columns)) if any(row[at] for row in cells)]
    natural = {
        at: max(words.display_width(text) for text in (columns[at].title, *(row[at] for row in cells))) for at in shown
    }
    widths = fit(natural, [at for at in shown if columns[at].cut], width - _GAP * (len(shown) - 1))
    titles = [column.title for column in columns]
    return [_row(columns, row, widths, "bold" if row is titles else None) for row in (titles, *cells)]


def fit(natural: dict[int, int], flexible: Sequence[int], width: int) -> dict[int, int]:
    """Return the widths of columns by position: the flexible ones are shortened, the widest first."""
    widths = dict(natural)
    while (excess := sum(widths.values()) - width) > 0:
        at = max(flexible, key=lambda one: widths[one], default=None)
        if at is None or widths[at] <= _NARROWEST:
            break
        second = max((widths[one] for one in flexible if one != at), default=0)
        widths[at] -= min(excess, max(1, widths[at] - second), widths[at] - _NARROWEST)
    return widths


def _row(columns: Sequence[Column], row: Sequence[str], widths: dict[int, int], style: str | None) -> Text:
    found = Text(no_wrap=True, end="", style=style or "")
    for number, (at, width) in enumerate(widths.items()):
        found.append(" " * _GAP if number else "")
        found.append_text(cell(row[at], width, right=columns[at].right))
    found.rstrip()
    return found


def cell(text: str, width: int, *, right: bool = False, middle: bool = False) -> Text:
    """Return a text in exactly `width` columns. The name of a state has its style."""
    shown = words.cut(text, width, "middle" if middle else "end")
    gap = " " * (width - words.display_width(shown))
    styled = Text(shown, style=STYLES.get(text, ""))
    return Text.assemble(gap, styled) if right else Text.assemble(styled, gap)
