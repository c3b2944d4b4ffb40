"""Words, colours and tables for people. Nothing here knows what a job is."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
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
_NARROWEST = 8


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `cut`: it may be shortened where the terminal is narrow, at its end or in the middle (of
    names that differ in their ends). `drop`: it is left out when every cell of it is empty."""

    title: str
    right: bool = False
    cut: Literal["end", "middle"] | None = None
    drop: bool = False


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, indent: int = 0) -> str:
    """Aligned text within the terminal's width (80 where there is none). Cells are one line each; a cell that is a
    state's word is coloured."""
    cells = [[flat(cell) for cell in row] for row in rows]
    kept = [at for at, column in enumerate(columns) if not column.drop or any(row[at] for row in cells)]
    shown = [columns[at] for at in kept]
    lines = [[column.title for column in shown], *([row[at] for at in kept] for row in cells)]
    widths = _widths(shown, lines, terminal_width() - indent)
    return "\n".join(" " * indent + _line(line, shown, widths, head=number == 0) for number, line in enumerate(lines))


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
    colour = _COLOURS.get(word)
    return click.style(word, fg=colour) if colour else word


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
    then, now = datetime.fromtimestamp(at, UTC).astimezone(), datetime.now(UTC).astimezone()
    return then.strftime("%H:%M:%S" if then.date() == now.date() else "%Y-%m-%d %H:%M")


def lasting(seconds: float | None) -> str:
    """A duration as people write it; "" for none."""
    return "" if seconds is None else format_duration(seconds)


def terminal_width() -> int:
    """Columns of the terminal, or of $COLUMNS; 80 where there is none."""
    return shutil.get_terminal_size((80, 24)).columns


def _widths(columns: Sequence[Column], lines: Sequence[Sequence[str]], room: int) -> list[int]:
    """The natural widths, those that may be cut shortened until all fit: the widest gives first."""
    widths = [max(_wide(line[at]) for line in lines) for at in range(len(columns))]
    excess = sum(widths) + 2 * (len(widths) - 1) - room
    while excess > 0:
        candidates = [at for at, column in enumerate(columns) if column.cut and widths[at] > _NARROWEST]
        if not candidates:
            break
        widest = max(candidates, key=lambda at: widths[at])
        others = [widths[at] for at in candidates if at != widest]
        step = min(excess, max(1, widths[widest] - max(others, default=_NARROWEST)), widths[widest] - _NARROWEST)
        widths[widest] -= step
        excess -= step
    return widths


def _line(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int], *, head: bool) -> str:
    parts = []
    for at, (cell, column, width) in enumerate(zip(cells, columns, widths, strict=True)):
        shown = cut(cell, width, column.cut)
        gap = " " * (width - _wide(shown))
        last = at == len(cells) - 1
        painted = click.style(shown, dim=True) if head and shown else coloured(shown)
        parts.append(gap + painted if column.right else painted if last else painted + gap)
    return "  ".join(parts).rstrip()


def _wide(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
