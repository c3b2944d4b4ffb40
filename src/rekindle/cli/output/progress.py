"""Progress on stderr: of a run, of reading files, of saving outputs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from rekindle.cli.output import terminal
from rekindle.domain.states import State
from rekindle.domain.texts.quantities import format_size
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from types import TracebackType

    from rekindle.engine.results import Progress
    from rekindle.engine.staleness.contents import ReadProgress

LINE_SECONDS = 10.0
FAILURE_SECONDS = 1.0

Kinds = Callable[[], Mapping[str, str]]
"""Returns the current kinds of failure: one line of text by signature."""


class Display(Protocol):
    """Shows the progress of a run: a context manager that is called with each report."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __call__(self, progress: Progress) -> None: ...


class NewFailures:
    """The kinds of failure that have not been shown yet."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._shown = set(kinds())
        self._failed = 0
        self._checked = 0.0

    def lines(self, progress: Progress) -> list[str]:
        """Return one line for each new kind. Read the store at most once a second, and only if more jobs failed."""
        if progress.failed <= self._failed or progress.seconds - self._checked < FAILURE_SECONDS:
            return []
        self._failed, self._checked = progress.failed, progress.seconds
        fresh = {signature: text for signature, text in self._kinds().items() if signature not in self._shown}
        self._shown.update(fresh)
        available = terminal_columns() - len("failed ")
        return [f"{terminal.coloured('failed')} {terminal.cut(text, available, 'middle')}" for text in fresh.values()]


def summary(progress: Progress) -> str:
    """Return the counts by state and the elapsed time in one line."""
    parts = [terminal.state_counts(progress.counts.items())]
    parts += [f"{progress.reinstated:,} reinstated"] if progress.reinstated else []
    parts += [f"{progress.retried:,} retried"] if progress.retried else []
    parts += [f"{progress.delayed:,} waiting for a retry"] if progress.delayed else []
    return f"{', '.join(parts)} after {terminal.duration(progress.seconds)}"


def ended_share(progress: Progress) -> tuple[int, int]:
    """Return (number of jobs that ended, number of jobs)."""
    ended = sum(progress.counts.get(state, 0) for state in (State.COMPLETED, State.FAILED, State.CANCELED))
    return ended, sum(progress.counts.values())


class PlainDisplay:
    """Prints a line every ten seconds, and one for each new kind of failure."""

    def __init__(self, failures: NewFailures) -> None:
        self._failures = failures
        self._next = LINE_SECONDS

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __call__(self, progress: Progress) -> None:
        for line in self._failures.lines(progress):
            click.echo(line, err=True)
        if progress.seconds >= self._next:
            self._next = progress.seconds + LINE_SECONDS
            click.echo(summary(progress), err=True)


_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_CLEAR_LINE, _CLEAR_LINE_ABOVE = "\r\x1b[2K", "\x1b[1A\x1b[2K"
_BAR = 24
_REST, _BEGUN, _COMPLETE = 237, 197, 70  # colours of the bar: grey, red, green
_IN_ASCII = str.maketrans("━╸╺…", "-- .")


def draws_in_place() -> bool:
    """Return whether stderr is a terminal whose cursor can be moved."""
    return sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


class LiveDisplay:
    """Draws a progress bar, counts by state, and names of running jobs, and erases them at the end. New kinds of
    failure are printed above."""

    def __init__(self, failures: NewFailures) -> None:
        self._failures = failures
        self._drawn: Sequence[int] = ()  # the widths of the lines that are on the screen

    def __enter__(self) -> LiveDisplay:
        _write(_HIDE_CURSOR)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _write(self._erase(_stderr_size()[0]) + _SHOW_CURSOR)

    def __call__(self, progress: Progress) -> None:
        columns, rows = _stderr_size()
        above = [_printable(line) for line in self._failures.lines(progress)]
        lines = [_printable(terminal.cut_painted(line, columns)) for line in _live_lines(progress, columns)]
        del lines[rows:]  # the cursor cannot move above the screen
        erased = self._erase(columns)
        self._drawn = [terminal.painted_width(line) for line in lines]
        _write(erased + "".join(f"{line}\n" for line in above) + "\n".join(lines))

    def _erase(self, columns: int) -> str:
        """Return the sequence that erases the lines and leaves the cursor at their start. A terminal that has become
        narrower has wrapped them."""
        rows = sum(max(1, -(-width // columns)) for width in self._drawn)
        self._drawn = ()
        return _CLEAR_LINE + _CLEAR_LINE_ABOVE * (rows - 1) if rows else ""


def _live_lines(progress: Progress, columns: int) -> Iterator[str]:
    ended, total = ended_share(progress)
    share = f" {100 * ended // total if total else 100:3d}% {ended:,} of {total:,}"
    yield _bar(ended, total, max(0, min(_BAR, columns - len(share)))) + share
    yield summary(progress)
    if progress.running:
        names = ", ".join(terminal.one_line(name) for name in progress.running)
        yield click.style(f"running: {names}", dim=True)


def _bar(done: int, total: int, columns: int) -> str:
    """Return a progress bar in steps of half a column."""
    halves = 2 * columns * done // total if total else 0
    full, half = divmod(halves, 2)
    begun = "━" * full + "╸" * half
    left = columns - full - half
    gap = "╺" if left and full and not half else ""
    rest = gap + "━" * (left - len(gap))
    if os.environ.get("NO_COLOR"):
        return begun.ljust(columns)
    colour = _COMPLETE if total and done >= total else _BEGUN
    return "".join(click.style(part, fg=fg) for part, fg in ((begun, colour), (rest, _REST)) if part)


def _printable(line: str) -> str:
    """Return the line with the colours and characters that stderr can show."""
    encoding = sys.stderr.encoding or "utf-8"
    if os.environ.get("NO_COLOR"):
        line = click.unstyle(line)
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        return line.translate(_IN_ASCII).encode(encoding, "replace").decode(encoding)
    return line


def _stderr_size() -> tuple[int, int]:
    """Return the columns and lines of the terminal on stderr; stdout may be another one, or none."""
    try:
        columns, lines = os.get_terminal_size(sys.stderr.fileno())
    except OSError:  # the terminal is gone
        columns, lines = 0, 0
    fixed = os.environ.get("COLUMNS", "")
    return (int(fixed) if fixed.isdecimal() else columns) or 80, lines or 24


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


_READING_SHOWN_AFTER = 0.5
_SHOWN_EVERY = 0.2
_CLEAR = "\r\x1b[K"


@contextmanager
def reading_progress() -> Iterator[ReadProgress | None]:
    """Yield a callback that shows how many files are left to read; the line is cleared at the end. Without a terminal
    on stderr the callback is None."""
    if not sys.stderr.isatty():
        yield None
        return
    shown, began = 0.0, time.monotonic()

    def show(read: int, left: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - began > _READING_SHOWN_AFTER and now - shown > _SHOWN_EVERY:
            shown = now
            text = f"reading files: {format_size(read)} read, {terminal.plural(left, 'file')} left"
            click.echo(_CLEAR + text, err=True, nl=False)

    try:
        yield show
    finally:
        if shown:
            click.echo(_CLEAR, err=True, nl=False)


def saving_progress() -> Callable[[int, int], None] | None:
    """Return a callback that shows on stderr how many bytes of outputs are saved; None if stderr is no terminal."""
    if not sys.stderr.isatty():
        return None
    shown = 0.0

    def show(done: int, whole: int) -> None:
        nonlocal shown
        over = done >= whole
        if time.monotonic() - shown > _SHOWN_EVERY or (over and shown):
            shown = time.monotonic()
            text = f"\rsaving outputs: {format_size(done)} of {format_size(whole)}"
            click.echo(text + ("\n" if over else ""), err=True, nl=False)

    return show
