"""Progress of reading files and of saving outputs, on stderr. Apart from that of a run, since most commands show it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from rekindle.domain.texts.quantities import format_size
from rekindle.presentation import words

if TYPE_CHECKING:
    from rekindle.engine.staleness.contents import ReadProgress

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
            text = f"reading files: {format_size(read)} read, {words.plural(left, 'file')} left"
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
