"""A line on the terminal that says what a command is doing, until it has something to print."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rekindle.cli.output.progress import draws_in_place
from rekindle.presentation import words
from rekindle.streams import terminal_columns

AFTER_SECONDS = 0.03
"""What takes less time is not shown."""

_SHOWN_EVERY = 0.1
_CLEAR = "\r\x1b[K"


@contextmanager
def busy(text: str, *, quiet: bool, after: float = AFTER_SECONDS) -> Iterator[Callable[[str], None]]:
    """Show the text on stderr after a moment, if stderr is a terminal, and clear it at the end. Yield a function that
    replaces the text. `quiet`: show nothing."""
    if quiet or not draws_in_place(sys.stderr):
        yield lambda _: None
        return
    ended, shown = threading.Event(), 0.0

    def show(line: str) -> None:
        nonlocal shown
        if time.monotonic() - shown >= _SHOWN_EVERY and not ended.is_set():
            shown = time.monotonic()
            sys.stderr.write(_CLEAR + words.cut(line, terminal_columns() - 1))
            sys.stderr.flush()

    def show_later() -> None:
        if not ended.wait(after):
            show(text)

    waiting = threading.Thread(target=show_later, daemon=True)
    waiting.start()
    try:
        yield show
    finally:
        ended.set()
        waiting.join()
        if shown:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()


def reading_text(spec: str) -> str:
    """Return `reading sweep.yaml …`."""
    return f"reading {words.one_line(Path(spec).name)} …"


def storing_progress(jobs: int, show: Callable[[str], None]) -> Callable[[int, int], None]:
    """Return a callback that shows which part of the rows of a new workflow is stored."""

    def stored(done: int, whole: int) -> None:
        show(f"{words.plural(jobs, 'job')}; storing … {100 * done // max(1, whole)} %")

    return stored
