"""Text and tables for the terminal: widths, colours, numbers and times."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Literal

import click
import msgspec

from rekindle.domain.texts.display import show_bytes
from rekindle.domain.texts.quantities import format_duration
from rekindle.domain.texts.regexes import lazy_regex
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from rekindle.domain.states import State

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
_NARROWEST = 8
_PAINT, _UNPAINT = lazy_regex(r"(\x1b\[[0-9;]*m)"), "\x1b[0m"


class Column(msgspec.Struct, frozen=True):
    """A column of a table.

    `cut`: the column may be shortened on a narrow terminal, at the end or in the middle of its cells.
    `drop`: the column is left out when all its cells are empty.
    `keep`: the column is shortened last, from right to left.
    `optional`: the column is left out before a `keep` column is shortened below half of the terminal's width."""

    title: str
    right: bool = False
    cut: Literal["end", "middle"] | None = None
    drop: bool = False
    keep: bool = False
    optional: bool = False


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, indent: int = 0) -> str:
    """Return an aligned table that fits the terminal's width (80 without a terminal). Each cell is one line; cells
    that are names of states are coloured."""
    return "\n".join(tables(columns, [rows], indent=indent))


def tables(columns: Sequence[Column], blocks: Iterable[Iterable[Sequence[str]]], *, indent: int = 0) -> Iterator[str]:
    """Yield a table block by block, one text for each block of rows. Columns never become narrower from one block to
    the next. The titles are printed above the first block, and again when a column that was empty gets cells."""
    filled = {at for at, column in enumerate(columns) if not column.drop}
    natural = [_display_width(column.title) for column in columns]
    above: set[int] = set()
    for block in blocks:
        cells = [[one_line(cell) for cell in column] for column in zip(*block, strict=True)]
        for at, column in enumerate(cells):
            natural[at] = max(natural[at], *map(_display_width, column))
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


def one_line(text: str) -> str:
    """Return the text in one line, without control characters: job output must not control the terminal."""
    if text.isprintable():
        return text
    joined = " ".join(show_bytes(text).split())
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in joined)


def printable(text: str) -> str:
    """Return the text without control characters, but with its line breaks and tabs."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in show_bytes(text))


def cut(text: str, width: int, where: Literal["end", "middle"] | None = "end") -> str:
    """Return the text in at most `width` columns, with an ellipsis where it was shortened."""
    if _display_width(text) <= width:
        return text
    tail = _beginning(text[::-1], (width - 1) // 2)[::-1] if where == "middle" else ""
    return _beginning(text, width - 1 - _display_width(tail)) + "…" + tail


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
        shown = _beginning(piece, left)
        kept, left = kept + shown, left - _display_width(shown)
        if shown != piece:
            break
    return f"{kept}…{_UNPAINT}" if "\x1b" in kept else f"{kept}…"


def painted_width(text: str) -> int:
    """Return the columns of a text without its escape sequences for colours."""
    return _display_width(_PAINT.sub("", text))


def _beginning(text: str, width: int) -> str:
    kept = ""
    for character in text:
        if _display_width(kept + character) > width:
            break
        kept += character
    return kept


def coloured(word: str) -> str:
    """Return the name of a state in its colour; any other word unchanged."""
    return _PAINTED.get(word, word)


def state_counts(counts: Iterable[tuple[State, int]]) -> str:
    """Return counts by state: `3 completed, 1 failed`."""
    return ", ".join(f"{number:,} {coloured(state.label)}" for state, number in sorted(counts) if number)


def plural(number: int, thing: str) -> str:
    """Return a count with its noun: `1 job`, `3 jobs`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def unknown_jobs(number: int) -> str:
    """Return `1 job is unknown`, `3 jobs are unknown`."""
    return f"{plural(number, 'job')} {'is' if number == 1 else 'are'} unknown"


def full_time(at: float | None) -> str:
    """Return the local date and time to the second; "" for None."""
    if at is None:
        return ""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def short_time(at: float | None) -> str:
    """Return the local time for a table: today's as a time, earlier ones as date and minute; "" for None."""
    if at is None:
        return ""
    return _short_time(int(at), date.today())


@functools.lru_cache(maxsize=4096)
def _short_time(second: int, today: date) -> str:
    then = datetime.fromtimestamp(second, UTC).astimezone()
    return then.strftime("%H:%M:%S" if then.date() == today else "%Y-%m-%d %H:%M")


def seconds(started: float | None, ended: float | None) -> float | None:
    """Return the seconds between two times; None if one is unknown."""
    return None if started is None or ended is None else round(max(0.0, ended - started), 6)


def duration(seconds: float | None) -> str:
    """Return a duration such as `1h 30m`; "" for None."""
    return "" if seconds is None else format_duration(seconds)


def _left_out(columns: Sequence[Column], given: Sequence[int], natural: Sequence[int], total: int) -> set[int]:
    """Return the optional columns to leave out, the last ones first, so that `keep` columns get half of the width."""
    kept = [at for at in given if columns[at].keep]
    bearable = sum(max(0, natural[at] - total // 2) for at in kept)
    optional = [at for at in given if columns[at].optional]
    left_out: set[int] = set()
    while (
        optional
        and _excess(_shortened(columns, [at for at in given if at not in left_out], natural, total), total) > bearable
    ):
        left_out.add(optional.pop())
    return left_out


def _fit(columns: Sequence[Column], given: Sequence[int], natural: Sequence[int], total: int) -> dict[int, int]:
    """Return the width of each shown column by its position."""
    widths = _shortened(columns, given, natural, total)
    kept = [at for at in given if columns[at].keep]
    _shorten(widths, kept, total, least=total // 2)
    for at in reversed(kept):
        _shorten(widths, [at], total)
    return widths


def _shortened(columns: Sequence[Column], given: Sequence[int], natural: Sequence[int], total: int) -> dict[int, int]:
    """Return the widths after shortening the columns that are not `keep` columns."""
    widths = {at: natural[at] for at in given}
    _shorten(widths, [at for at in given if columns[at].cut and not columns[at].keep], total)
    return widths


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
        title = cut(columns[at].title, width, columns[at].cut)
        gap, painted = " " * (width - _display_width(title)), click.style(title, dim=True) if title else ""
        cells.append(gap + painted if columns[at].right else painted + gap)
    return "  ".join(cells).rstrip()


def _column(cells: Sequence[str], column: Column, width: int) -> list[str]:
    """Return the cells of a column, padded to one width."""
    show_bytes = [cut(cell, width, column.cut) for cell in cells]
    gaps = [" " * (width - _display_width(cell)) for cell in show_bytes]
    painted = [_PAINTED.get(cell, cell) for cell in show_bytes]
    if column.right:
        return [gap + cell for gap, cell in zip(gaps, painted, strict=True)]
    return [cell + gap for gap, cell in zip(gaps, painted, strict=True)]


def _display_width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
