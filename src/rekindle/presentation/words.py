"""Words of every page and command: counts, times, and texts of jobs made safe to show."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import Literal

from rekindle.domain.states import State
from rekindle.domain.texts.display import show_bytes
from rekindle.domain.texts.quantities import format_duration

Paint = Callable[[str], str]
"""Returns the name of a state in its colour. `str` leaves the name unchanged."""


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
    if display_width(text) <= width:
        return text
    tail = beginning(text[::-1], (width - 1) // 2)[::-1] if where == "middle" else ""
    return beginning(text, width - 1 - display_width(tail)) + "…" + tail


def beginning(text: str, width: int) -> str:
    """Return as much of the text as fits in `width` columns."""
    kept = ""
    for character in text:
        if display_width(kept + character) > width:
            break
        kept += character
    return kept


def state_counts(counts: Iterable[tuple[State, int]], paint: Paint = str, *, urgent_first: bool = False) -> str:
    """Return counts by state: `3 completed, 1 failed`. `urgent_first`: for a cell that may be cut, failed jobs come
    first, then canceled ones."""
    ordered = sorted(counts)
    if urgent_first:
        ordered.sort(key=lambda one: {State.FAILED: 0, State.CANCELED: 1}.get(one[0], 2))
    return ", ".join(f"{number:,} {paint(state.label)}" for state, number in ordered if number)


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


def display_width(text: str) -> int:
    """Return the columns of a text in a terminal."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
