"""How a run goes, while it goes: a live line on a terminal, a calm one elsewhere. Always on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol

import click

from rekindle.cli.showing import drawing
from rekindle.domain.states import State
from rekindle.engine.results import Progress

CALM_SECONDS = 10.0
FAILURE_SECONDS = 1.0

Kinds = Callable[[], Mapping[str, str]]
"""The kinds of failure that stand: one line of text by signature."""


class Display(Protocol):
    """Shows a run's progress, as a context manager that is called with each report."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __call__(self, progress: Progress) -> None: ...


def display(kinds: Kinds, *, quiet: bool) -> Display:
    """What fits stderr: live on a terminal, else a line every ten seconds; with `quiet` never a live one.
    Each kind of failure is shown once, when it is first seen."""
    if sys.stderr.isatty() and not quiet:
        from rekindle.cli.showing.live import LiveDisplay

        return LiveDisplay(News(kinds))
    return PlainDisplay(News(kinds))


class News:
    """Kinds of failure that have not been told yet."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._told = set(kinds())
        self._failed = 0
        self._looked = 0.0

    def lines(self, progress: Progress) -> list[str]:
        """One line for each new kind, looked up at most once a second and only when more have failed."""
        if progress.failed <= self._failed or progress.seconds - self._looked < FAILURE_SECONDS:
            return []
        self._failed, self._looked = progress.failed, progress.seconds
        fresh = {signature: text for signature, text in self._kinds().items() if signature not in self._told}
        self._told.update(fresh)
        room = drawing.terminal_width() - len("failed ")
        return [f"{drawing.coloured('failed')} {drawing.cut(text, room, 'middle')}" for text in fresh.values()]


def summary(progress: Progress) -> str:
    """Counts by state and the time, in one line."""
    parts = [drawing.counted(progress.counts.items())]
    parts += [f"{progress.reinstated:,} reinstated"] if progress.reinstated else []
    parts += [f"{progress.retried:,} retried"] if progress.retried else []
    parts += [f"{progress.delayed:,} waiting for a retry"] if progress.delayed else []
    return f"{', '.join(parts)} after {drawing.lasting(progress.seconds)}"


def share(progress: Progress) -> tuple[int, int]:
    """(jobs that ended, all jobs)."""
    ended = sum(progress.counts.get(state, 0) for state in (State.COMPLETED, State.FAILED, State.CANCELED))
    return ended, sum(progress.counts.values())


class PlainDisplay:
    """A line every ten seconds, and one for each new kind of failure."""

    def __init__(self, news: News) -> None:
        self._news = news
        self._next = CALM_SECONDS

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __call__(self, progress: Progress) -> None:
        for line in self._news.lines(progress):
            click.echo(line, err=True)
        if progress.seconds >= self._next:
            self._next = progress.seconds + CALM_SECONDS
            click.echo(summary(progress), err=True)
