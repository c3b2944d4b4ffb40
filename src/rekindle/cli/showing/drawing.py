"""Words, colours and tables for people. Nothing here knows what a job is."""

from __future__ import annotations

import functools
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

import click

from rekindle.domain.states import State
from rekindle.domain.texts.quantities import format_duration
from rekindle.domain.texts.surrogates import shown

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


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `cut`: it may be shortened where the terminal is narrow, at its end or in the middle (of
    names that differ in their ends). `drop`: it is left out when every cell of it is empty. `keep`: it is shortened
    only when all others are as narrow as they can be, and after those to its right. `spare`: it is left
    out before a column that is kept is shortened to less than half of the terminal's width."""

    title: str
    right: bool = False
    cut: Literal["end", "middle"] | None = None
    drop: bool = False
    keep: bool = False
    spare: bool = False


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, indent: int = 0) -> str:
    """Aligned text within the terminal's width (80 where there is none). Cells are one line each; a cell that is a
    state's word is coloured."""
    return "\n".join(tables(columns, [rows], indent=indent))


def tables(columns: Sequence[Column], blocks: Iterable[Iterable[Sequence[str]]], *, indent: int = 0) -> Iterator[str]:
    """The same for rows that come in blocks, each of which is laid out and given as one text. From one block to the
    next columns keep their width or gain some. The titles stand above the first block, and above each that has cells in
    a column that was empty before."""
    filled = {at for at, column in enumerate(columns) if not column.drop}
    natural = [_wide(column.title) for column in columns]
    above: set[int] = set()
    for block in blocks:
        cells = [[flat(cell) for cell in column] for column in zip(*block, strict=True)]
        for at, column in enumerate(cells):
            natural[at] = max(natural[at], *map(_wide, column))
            if any(column):
                filled.add(at)
        room = terminal_width() - indent
        if not above:
            filled -= _left_out(columns, sorted(filled), natural, room)
        widths = _fit(columns, sorted(filled), natural, room)
        if widths.keys() != above:
            above = set(widths)
            yield " " * indent + _titles(columns, widths)
        if cells:
            drawn = [_column(cells[at], columns[at], width) for at, width in widths.items()]
            yield "\n".join(" " * indent + "  ".join(line).rstrip() for line in zip(*drawn, strict=True))


def details(pairs: Iterable[tuple[str, str]], *, indent: int = 0) -> str:
    """`name   value` lines; pairs without a value are left out. The lines of a value stand under each other."""
    given = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in given), default=0)
    under = "\n" + " " * (indent + width + 2)
    return "\n".join(
        f"{' ' * indent}{click.style(name.ljust(width), dim=True)}  {under.join(coloured(value).splitlines())}"
        for name, value in given
    )


def flat(text: str) -> str:
    """One line without control characters: what a job printed must not steer the terminal."""
    if text.isprintable():
        return text
    joined = " ".join(shown(text).split())
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in joined)


def safe(text: str) -> str:
    """As `flat`, but lines and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in shown(text))


def cut(text: str, width: int, where: Literal["end", "middle"] | None = "end") -> str:
    """`text` in at most `width` columns, an ellipsis where something was left out."""
    if _wide(text) <= width:
        return text
    tail = _beginning(text[::-1], (width - 1) // 2)[::-1] if where == "middle" else ""
    return _beginning(text, width - 1 - _wide(tail)) + "…" + tail


def _beginning(text: str, width: int) -> str:
    kept = ""
    for character in text:
        if _wide(kept + character) > width:
            break
        kept += character
    return kept


def coloured(word: str) -> str:
    """A state's word in its colour; any other word as it is."""
    return _PAINTED.get(word, word)


def counted(counts: Iterable[tuple[State, int]]) -> str:
    """`3 completed, 1 failed`."""
    return ", ".join(f"{number:,} {coloured(state.label)}" for state, number in sorted(counts) if number)


def many(number: int, thing: str) -> str:
    """`1 job`, `3 jobs`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def unknown_jobs(number: int) -> str:
    """`1 job is unknown`, `3 jobs are unknown`."""
    return f"{many(number, 'job')} {'is' if number == 1 else 'are'} unknown"


def clock_time(at: float | None) -> str:
    """Local time to the second; "" for none."""
    if at is None:
        return ""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def when(at: float | None) -> str:
    """Local time, short, for a table: of today the time, of earlier days the date and the minute."""
    if at is None:
        return ""
    return _when(int(at), date.today())


@functools.lru_cache(maxsize=4096)
def _when(second: int, today: date) -> str:
    then = datetime.fromtimestamp(second, UTC).astimezone()
    return then.strftime("%H:%M:%S" if then.date() == today else "%Y-%m-%d %H:%M")


def lasting(seconds: float | None) -> str:
    """A duration as people write it; "" for none."""
    return "" if seconds is None else format_duration(seconds)


def terminal_width() -> int:
    """Columns of the terminal, or of $COLUMNS; 80 where there is none."""
    return shutil.get_terminal_size((80, 24)).columns


def _left_out(columns: Sequence[Column], given: Sequence[int], natural: Sequence[int], room: int) -> set[int]:
    """The spare columns that are left out, the last ones first, so that those that are kept have half of the room."""
    kept = [at for at in given if columns[at].keep]
    bearable = sum(max(0, natural[at] - room // 2) for at in kept)
    spare = [at for at in given if columns[at].spare]
    left_out: set[int] = set()
    while (
        spare
        and _excess(_shortened(columns, [at for at in given if at not in left_out], natural, room), room) > bearable
    ):
        left_out.add(spare.pop())
    return left_out


def _fit(columns: Sequence[Column], given: Sequence[int], natural: Sequence[int], room: int) -> dict[int, int]:
    """The width of each of the columns that are shown, by its position, such that all fit if they can."""
    widths = _shortened(columns, given, natural, room)
    kept = [at for at in given if columns[at].keep]
    _shorten(widths, kept, room, least=room // 2)
    for at in reversed(kept):
        _shorten(widths, [at], room)
    return widths


def _shortened(columns: Sequence[Column], given: Sequence[int], natural: Sequence[int], room: int) -> dict[int, int]:
    """The widths with only those columns shortened that are not kept."""
    widths = {at: natural[at] for at in given}
    _shorten(widths, [at for at in given if columns[at].cut and not columns[at].keep], room)
    return widths


def _excess(widths: Mapping[int, int], room: int) -> int:
    return sum(widths.values()) + 2 * (len(widths) - 1) - room


def _shorten(widths: dict[int, int], those: Sequence[int], room: int, least: int = _NARROWEST) -> None:
    """Shorten some columns, none below `least`, until all fit: the widest gives first."""
    excess = _excess(widths, room)
    while excess > 0:
        candidates = [at for at in those if widths[at] > least]
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
        gap, painted = " " * (width - _wide(title)), click.style(title, dim=True) if title else ""
        cells.append(gap + painted if columns[at].right else painted + gap)
    return "  ".join(cells).rstrip()


def _column(cells: Sequence[str], column: Column, width: int) -> list[str]:
    """The cells of a column, all of one width."""
    shown = [cut(cell, width, column.cut) for cell in cells]
    gaps = [" " * (width - _wide(cell)) for cell in shown]
    painted = [_PAINTED.get(cell, cell) for cell in shown]
    if column.right:
        return [gap + cell for gap, cell in zip(gaps, painted, strict=True)]
    return [cell + gap for gap, cell in zip(gaps, painted, strict=True)]


def _wide(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
