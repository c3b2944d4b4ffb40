"""Show a view of the store again whenever it changes, until Ctrl-C."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING

import click

from rekindle.cli.output.progress import InPlace, draws_in_place
from rekindle.engine.notify import Notifier

if TYPE_CHECKING:
    from rekindle.engine.session import Session

LEAST_SECONDS = 0.1
"""The least time between two looks at the store, however many notifications arrive."""

AGE_SECONDS = 1.0
"""On a terminal, a running workflow is drawn again after this time, for the times in it."""

View = Callable[[], tuple[object, str]]
"""Returns what is shown without times that pass by themselves, to be compared, and the text."""


def watch(session: Session, view: View, interval: float, *, in_place: bool) -> None:
    """Print the view now and after each change; in the place of the earlier one if `in_place` and stdout is a
    terminal. Return on Ctrl-C. Other processes notify; without a notification the store is looked at each
    `interval`."""
    drawn = InPlace(sys.stdout) if in_place and draws_in_place(sys.stdout) else None
    try:
        with _notifier(session) as notifier, drawn or nullcontext():
            _follow(session, view, interval, notifier, drawn)
    except KeyboardInterrupt:
        return


def _notifier(session: Session) -> closing[Notifier] | nullcontext[None]:
    try:
        return closing(Notifier(session.store.folder, os.getpid(), "waiter"))
    except OSError:  # a store that this user only reads
        return nullcontext()


def _follow(session: Session, view: View, interval: float, notifier: Notifier | None, drawn: InPlace | None) -> None:
    version, shown, read = -1, object(), 0.0
    while True:
        if notifier is not None:
            notifier.drain()
        newest = session.store.data_version()
        if newest != version or (drawn is not None and time.monotonic() - read >= AGE_SECONDS):
            version, read = newest, time.monotonic()
            content, text = view()
            if drawn is not None:
                drawn.draw(text.splitlines())
            elif content != shown:
                click.echo(text)
            shown = content
        time.sleep(LEAST_SECONDS)
        seconds = max(0.0, (interval if drawn is None else min(interval, AGE_SECONDS)) - LEAST_SECONDS)
        if notifier is not None:
            notifier.wait(seconds)
        else:
            time.sleep(seconds)
