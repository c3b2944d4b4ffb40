"""The progress of a run on stderr."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

import click
import msgspec

from rekindle.cli.output import terminal
from rekindle.domain.states import State
from rekindle.presentation import words
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from rekindle.domain.pace import Pace
    from rekindle.engine.results import Progress

LINE_SECONDS = 10.0
FAILURE_SECONDS = 1.0

MOST_KINDS = 5
"""Kinds of failure that are printed at once."""


class FailureKind(msgspec.Struct, frozen=True):
    """A kind of failure: the name of the job that failed last, its error, and the number of jobs."""

    name: str
    error: str
    jobs: int


Kinds = Callable[[], Mapping[str, FailureKind]]
"""Returns the current kinds of failure by signature."""


class Display(Protocol):
    """Shows the progress of a run: a context manager that is called with each report."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __call__(self, progress: Progress) -> None: ...


class NewFailures:
    """The failures that have not been printed yet, as a line for each kind. The end of a run completes what was printed
    during the run: all failed jobs are printed, or none."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._known = {signature: kind.jobs for signature, kind in kinds().items()}
        self._printed = False
        self._failed = 0
        self._checked = 0.0

    def lines(self, progress: Progress) -> list[str]:
        """Return one line for each new kind. Read the store at most once a second, and only if more jobs failed."""
        if progress.failed <= self._failed or progress.seconds - self._checked < FAILURE_SECONDS:
            return []
        self._failed, self._checked = progress.failed, progress.seconds
        return self._more(grown=False)

    def last(self) -> list[str]:
        """Return the lines that complete what was printed, also for kinds that more jobs have now."""
        return self._more(grown=True) if self._printed else []

    def _more(self, *, grown: bool) -> list[str]:
        kinds = self._kinds()
        texts = []
        for signature, kind in kinds.items():
            more = kind.jobs - self._known.get(signature, 0)
            if more > 0 and (grown or signature not in self._known):
                like = f"{more:,} more like {kind.name}" if signature in self._known else _and_more(kind)
                texts.append(f"{like}: {kind.error}")
                self._known[signature] = kind.jobs
        left = len(texts) - MOST_KINDS
        if left > 0:
            texts[MOST_KINDS:] = [f"in {left:,} more way{'' if left == 1 else 's'}: rekindle failures"]
        self._printed = self._printed or bool(texts)
        available = terminal_columns() - len("failed ")
        return [f"{terminal.coloured('failed')} {words.cut(text, available, 'middle')}" for text in texts]


def _and_more(kind: FailureKind) -> str:
    return f"{kind.name} and {kind.jobs - 1:,} more" if kind.jobs > 1 else kind.name


def summary(progress: Progress) -> str:
    """Return the counts by state and the elapsed time in one line."""
    parts = [words.state_counts(progress.counts.items(), terminal.coloured)]
    parts += [f"{progress.reinstated:,} reinstated"] if progress.reinstated else []
    parts += [f"{progress.retried:,} retried"] if progress.retried else []
    parts += [f"{progress.delayed:,} waiting for a retry"] if progress.delayed else []
    return f"{', '.join(parts)} after {words.duration(progress.seconds)}"


def ended_share(progress: Progress) -> tuple[int, int]:
    """Return (number of jobs that ended, number of jobs)."""
    ended = sum(progress.counts.get(state, 0) for state in (State.COMPLETED, State.FAILED, State.CANCELED))
    return ended, sum(progress.counts.values())


def pace_text(pace: Pace) -> str:
    """Return the rate and the time that is left: `12 jobs/s, about 3m left`; "" if neither is known."""
    rate, left = pace.rate, pace.left
    parts = []
    if rate is not None:
        seconds, unit = next((one for one in _UNITS if rate * one[0] >= 1), _UNITS[-1])
        number = rate * seconds
        shown = f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
        parts.append(f"{shown} {'job' if shown == '1' else 'jobs'}/{unit}")
    if left is not None:
        step = next(step for most, step in _STEPS if left < most)
        time = words.duration(float(step * max(1, round(left / step))))
        parts.append(f"about {time.replace('.0 s', ' s').removesuffix(' 00s').removesuffix(' 00m')} left")
    return ", ".join(parts)


_UNITS = ((1, "s"), (60, "min"), (3600, "h"))
_STEPS = ((10, 1), (60, 5), (600, 30), (3600, 60), (36_000, 600), (math.inf, 3600))
"""(seconds, multiple to which times below that are rounded)."""


class PlainDisplay:
    """Prints a line every ten seconds, and one for each new kind of failure."""

    def __init__(self, failures: NewFailures, pace: Pace) -> None:
        self._failures, self._pace = failures, pace
        self._next = LINE_SECONDS

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            for line in self._failures.last():
                click.echo(line, err=True)

    def __call__(self, progress: Progress) -> None:
        for line in self._failures.lines(progress):
            click.echo(line, err=True)
        ended, total = ended_share(progress)
        self._pace.report(progress.seconds, ended, total - ended)
        if progress.seconds >= self._next:
            self._next = progress.seconds + LINE_SECONDS
            pace = pace_text(self._pace)
            click.echo(f"{summary(progress)}{f'; {pace}' if pace else ''}", err=True)


_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_CLEAR_LINE, _CLEAR_LINE_ABOVE = "\r\x1b[2K", "\x1b[1A\x1b[2K"
_BAR = 24
_REST, _BEGUN, _COMPLETE = 237, 197, 70  # colours of the bar: grey, red, green
_IN_ASCII = str.maketrans("━╸╺…", "-- .")


def draws_in_place(stream: TextIO) -> bool:
    """Return whether the stream is a terminal whose cursor can be moved."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


@contextmanager
def _interrupted_afterwards() -> Iterator[None]:
    """Let Ctrl-C interrupt after the block only. A write that is interrupted is in the stream's buffer still, and would
    be written a second time."""
    import signal  # lists, whose progress is in this module too, import neither
    import threading

    before = signal.getsignal(signal.SIGINT)
    pressed: list[tuple[int, FrameType | None]] = []
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, lambda *args: pressed.append(args))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            before(*pressed[0])


class InPlace:
    """Lines that are drawn again at the same place of a terminal. A context manager; the last lines stay."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn: Sequence[int] = ()  # the widths of the lines that are on the screen

    def __enter__(self) -> InPlace:
        self._write(_HIDE_CURSOR)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write(("\n" if self._drawn else "") + _SHOW_CURSOR)

    @property
    def columns(self) -> int:
        """The width of the terminal."""
        return _size(self._stream)[0]

    def draw(self, lines: Sequence[str], above: Sequence[str] = ()) -> None:
        """Draw the lines in the place of the earlier ones, cut to the screen. Lines `above` stay above them."""
        columns, rows = _size(self._stream)
        fitting = [_printable(terminal.cut_painted(line, columns), self._stream) for line in lines[:rows]]
        printed = "".join(f"{_printable(line, self._stream)}\n" for line in above) + "\n".join(fitting)
        with _interrupted_afterwards():
            erased = self._erase(columns)  # the cursor cannot move above the screen
            self._drawn = [terminal.painted_width(line) for line in fitting]
            self._write(erased + printed)

    def erase(self) -> None:
        """Erase the lines."""
        with _interrupted_afterwards():
            self._write(self._erase(self.columns))

    def _erase(self, columns: int) -> str:
        """Return the sequence that erases the lines and leaves the cursor at their start. A terminal that has become
        narrower has wrapped them."""
        rows = sum(max(1, -(-width // columns)) for width in self._drawn)
        self._drawn = ()
        return _CLEAR_LINE + _CLEAR_LINE_ABOVE * (rows - 1) if rows else ""

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class LiveDisplay:
    """Draws a progress bar, counts by state, and names of running jobs, and erases them at the end. New kinds of
    failure are printed above."""

    def __init__(self, failures: NewFailures, pace: Pace) -> None:
        self._failures, self._pace = failures, pace
        self._lines = InPlace(sys.stderr)

    def __enter__(self) -> LiveDisplay:
        self._lines.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._lines.draw([], self._failures.last())
        self._lines.erase()
        self._lines.__exit__(kind, error, trace)

    def __call__(self, progress: Progress) -> None:
        above = self._failures.lines(progress)
        ended, total = ended_share(progress)
        self._pace.report(progress.seconds, ended, total - ended)
        self._lines.draw(list(_live_lines(progress, pace_text(self._pace), self._lines.columns)), above)


def _live_lines(progress: Progress, pace: str, columns: int) -> Iterator[str]:
    ended, total = ended_share(progress)
    share = f" {100 * ended // total if total else 100:3d}% {ended:,} of {total:,}"
    yield _bar(ended, total, max(0, min(_BAR, columns - len(share)))) + share + (f"  {pace}" if pace else "")
    yield summary(progress)
    if progress.running:
        names = ", ".join(words.one_line(name) for name in progress.running)
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


def _printable(line: str, stream: TextIO) -> str:
    """Return the line with the colours and characters that the stream can show."""
    encoding = getattr(stream, "encoding", None) or "utf-8"  # a stream put in the place of stderr may have none
    if os.environ.get("NO_COLOR"):
        line = click.unstyle(line)
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        return line.translate(_IN_ASCII).encode(encoding, "replace").decode(encoding)
    return line


def _size(stream: TextIO) -> tuple[int, int]:
    """Return the columns and lines of the stream's terminal; stdout and stderr may be on different ones."""
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except OSError:  # the terminal is gone
        columns, lines = 0, 0
    fixed = os.environ.get("COLUMNS", "")
    return (int(fixed) if fixed.isdecimal() else columns) or 80, lines or 24
