"""Text and tables for the terminal: widths, colours, numbers and times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import click
import msgspec

from rekindle.domain.texts.regexes import lazy_regex
from rekindle.presentation import words
from rekindle.streams import terminal_columns

_COLOURS = {
    "completed": "green",
    "failed": "red",
    "running": "cyan",
    "queued": "cyan",
    "ready": "blue",
    "canceled": "magenta",
    "held": "yellow",
}
_PAINTED = {word: click.style(word, fg=colour) for word, colour in _COLOURS.items()}
_COMFORTABLE, _READABLE, _NARROWEST = 32, 12, 8
_PAINT, _UNPAINT = lazy_regex(r"(\x1b\[[0-9;]*m)"), "\x1b[0m"


class Column(msgspec.Struct, frozen=True):
    """A column of a table. On a narrow terminal, columns that may be cut are shortened a little; then extra columns are
    left out, the last ones first. Next, columns that may be cut become as short as they stay readable, and optional
    columns are left out. Then the columns that may be cut are shortened as far as possible, or left out if they are
    optional and whole names fit then. Names are shortened last.

    `cut`: the column may be shortened, at the end or in the middle of its cells; at the end where little room is left.
    `drop`: the column is left out when all its cells are empty.
    `keep`: the column has names, which are shortened last.
    `optional`: the column may be left out; an `extra` column is left out before these."""

    title: str
    right: bool = False
    cut: Literal["end", "middle"] | None = None
    drop: bool = False
    keep: bool = False
    optional: bool = False
    extra: bool = False


def folded(text: str, *, indent: int = 0, further: int | None = None) -> str:
    """Return a text in lines that fit the terminal's width (80 without a terminal). Further lines are indented by
    `further`, else by 2 more than the first."""
    import textwrap

    return textwrap.fill(
        text,
        terminal_columns(),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2 if further is None else further),
        break_long_words=False,
        break_on_hyphens=False,
    )


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, indent: int = 0) -> str:
    """Return an aligned table that fits the terminal's width (80 without a terminal). Each cell is one line; cells
    that are names of states are coloured."""
    return "\n".join(tables(columns, [rows], indent=indent))


def tables(columns: Sequence[Column], blocks: Iterable[Iterable[Sequence[str]]], *, indent: int = 0) -> Iterator[str]:
    """Yield a table block by block, one text for each block of rows. Columns never become narrower from one block to
    the next. The titles are printed above the first block, and again when a column that was empty gets cells."""
    filled = {at for at, column in enumerate(columns) if not column.drop}
    natural = [words.display_width(column.title) for column in columns]
    above: set[int] = set()
    for block in blocks:
        cells = [[words.one_line(cell) for cell in column] for column in zip(*block, strict=True)]
        for at, column in enumerate(cells):
            natural[at] = max(natural[at], *map(words.display_width, column))
            if any(column):
                filled.add(at)
        total = terminal_columns() - indent
        if not above:
            filled -= _left_out(columns, sorted(filled), natural, total)
        widths = _fit(columns, sorted(filled), natural, total)
        if widths.keys() != above:
            above = set(widths)
            yield " " * indent + _titles(columns, widths)
        if cells:
            drawn = [_column(cells[at], columns[at], width) for at, width in widths.items()]
            yield "\n".join(" " * indent + "  ".join(line).rstrip() for line in zip(*drawn, strict=True))


def details(pairs: Iterable[tuple[str, str]], *, indent: int = 0) -> str:
    """Return `name   value` lines. Pairs without a value are left out; the lines of a value are aligned."""
    given = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in given), default=0)
    under = "\n" + " " * (indent + width + 2)
    return "\n".join(
        f"{' ' * indent}{click.style(name.ljust(width), dim=True)}  {under.join(coloured(value).splitlines())}"
        for name, value in given
    )


def cut_painted(text: str, width: int) -> str:
    """Return a text with escape sequences for colours in at most `width` columns, with an ellipsis where it was
    shortened."""
    left = width - 1
    if painted_width(text) <= width:
        return text
    kept = ""
    for piece in _PAINT.split(text):
        if piece.startswith("\x1b"):
            kept += piece
            continue
        shown = words.beginning(piece, left)
        kept, left = kept + shown, left - words.display_width(shown)
        if shown != piece:
            break
    return f"{kept}…{_UNPAINT}" if "\x1b" in kept else f"{kept}…"


def painted_width(text: str) -> int:
    """Return the columns of a text without its escape sequences for colours."""
    return words.display_width(_PAINT.sub("", text))


def coloured(word: str) -> str:
    """Return the name of a state in its colour; any other word unchanged."""
    return _PAINTED.get(word, word)


def change_line(line: str, indent: int = 0) -> str:
    """Return a line of a diff, red or green by its sign, which comes after `indent` columns."""
    colour = {"-": "red", "+": "green"}.get(line[indent : indent + 1]) if not line[:indent].strip() else None
    return line[:indent] + click.style(line[indent:], fg=colour) if colour else line


def _left_out(columns: Sequence[Column], given: Sequence[int], natural: Sequence[int], total: int) -> set[int]:
    """Return the optional columns to leave out: the last ones first, until the other columns fit."""
    left_out: set[int] = set()
    for kind, least in (("extra", _COMFORTABLE), ("optional", _READABLE), ("cut", _NARROWEST)):
        candidates = [at for at in given if _kind(columns[at]) == kind]
        more = left_out
        while candidates and not _fits(columns, [at for at in given if at not in more], natural, total, least):
            more = more | {candidates.pop()}
        if kind != "cut" or _fits(columns, [at for at in given if at not in more], natural, total, least):
            left_out = more
    return left_out


def _kind(column: Column) -> Literal["extra", "optional", "cut", "needed"]:
    if column.extra or column.optional:
        return "extra" if column.extra else "cut" if column.cut else "optional"
    return "needed"


def _fits(columns: Sequence[Column], given: Sequence[int], natural: Sequence[int], total: int, least: int) -> bool:
    """Return whether whole names fit if other columns that may be cut are shortened to `least`."""
    widths = {at: natural[at] for at in given}
    _shorten(widths, _cut_first(columns, widths), total, least)
    return _excess(widths, total) <= 0


def _fit(columns: Sequence[Column], given: Sequence[int], natural: Sequence[int], total: int) -> dict[int, int]:
    """Return the width of each shown column by its position."""
    widths = {at: natural[at] for at in given}
    for least in (_READABLE, _NARROWEST):
        _shorten(widths, _cut_first(columns, widths), total, least)
    _shorten(widths, [at for at in given if columns[at].keep], total)
    return widths


def _cut_first(columns: Sequence[Column], given: Iterable[int]) -> list[int]:
    """Return the columns that are shortened before the names."""
    return [at for at in given if columns[at].cut and not columns[at].keep]


def _excess(widths: Mapping[int, int], total: int) -> int:
    return sum(widths.values()) + 2 * (len(widths) - 1) - total


def _shorten(widths: dict[int, int], positions: Sequence[int], total: int, least: int = _NARROWEST) -> None:
    """Shorten the columns at `positions`, the widest first and none below `least`, until all columns fit."""
    excess = _excess(widths, total)
    while excess > 0:
        candidates = [at for at in positions if widths[at] > least]
        if not candidates:
            break
        widest = max(candidates, key=lambda at: widths[at])
        others = [widths[at] for at in candidates if at != widest]
        step = min(excess, max(1, widths[widest] - max(others, default=least)), widths[widest] - least)
        widths[widest] -= step
        excess -= step


def _titles(columns: Sequence[Column], widths: Mapping[int, int]) -> str:
    cells = []
    for at, width in widths.items():
        title = words.cut(columns[at].title, width, columns[at].cut)
        gap, painted = " " * (width - words.display_width(title)), click.style(title, dim=True) if title else ""
        cells.append(gap + painted if columns[at].right else painted + gap)
    return "  ".join(cells).rstrip()


def _column(cells: Sequence[str], column: Column, width: int) -> list[str]:
    """Return the cells of a column, padded to one width."""
    where = column.cut if column.keep or width >= _READABLE else column.cut and "end"
    show_bytes = [words.cut(cell, width, where) for cell in cells]
    gaps = [" " * (width - words.display_width(cell)) for cell in show_bytes]
    painted = [_PAINTED.get(cell, cell) for cell in show_bytes]
    if column.right:
        return [gap + cell for gap, cell in zip(gaps, painted, strict=True)]
    return [cell + gap for gap, cell in zip(gaps, painted, strict=True)]
