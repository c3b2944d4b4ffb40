"""How far the reading of files is, where it takes long: on a terminal, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from rekindle.cli.showing import drawing
from rekindle.domain.texts.quantities import format_size
from rekindle.engine.changes.reading import Tell

_AFTER = 0.5
_EVERY = 0.2
_CLEAR = "\r\x1b[K"


@contextmanager
def reading_shown() -> Iterator[Tell | None]:
    """Gives what is to be called while files are read; what it shows is gone afterwards. None: there is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    shown, began = 0.0, time.monotonic()

    def show(read: int, left: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - began > _AFTER and now - shown > _EVERY:
            shown = now
            text = f"reading files: {format_size(read)} read, {drawing.many(left, 'file')} left"
            click.echo(_CLEAR + text, err=True, nl=False)

    try:
        yield show
    finally:
        if shown:
            click.echo(_CLEAR, err=True, nl=False)
