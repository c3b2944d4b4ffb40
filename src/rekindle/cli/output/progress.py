"""Progress on stderr: of a run, of reading files, of saving outputs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
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
