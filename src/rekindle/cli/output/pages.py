"""Print long tables page by page."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rekindle.cli.output import terminal
from rekindle.engine.results import PageRequest
from rekindle.presentation import words

if TYPE_CHECKING:
    from rekindle.cli.output.terminal import Column

TERMINAL_ROWS = 100
"""Rows printed on a terminal without --limit."""

_BLOCK_ROWS = 1_000
"""Rows of a table that are laid out together."""

Command = TypeVar("Command", bound=Callable[..., Any])


def page_options(command: Command) -> Command:
    """Add `--limit` and `--offset` to a command with `as_json`. The command gets them as one argument, `page`. On a
    terminal a table is limited to TERMINAL_ROWS by default."""
    return _paged(command, TERMINAL_ROWS, f"Show N rows; 0: all. [default: {TERMINAL_ROWS} on a terminal, else all]")


def limit_options(command: Command) -> Command:
    """Add `--limit` and `--offset` to a command that has a limit of its own: `page` is None without these flags."""
    return _paged(command, None, "Show N rows; 0: all.")


def _paged(command: Command, on_terminal: int | None, about: str) -> Command:
    @functools.wraps(command)
    def with_page(*args: Any, **kwargs: Any) -> Any:
        limit, offset = kwargs.pop("limit"), kwargs.pop("offset")
        if on_terminal is None and limit is None and not offset:
            return command(*args, page=None, **kwargs)
        if limit is None and not kwargs["as_json"] and sys.stdout.isatty():
            limit = on_terminal
        return command(*args, page=PageRequest(limit or None, offset), **kwargs)

    whole = click.IntRange(min=0)
    first = click.option("--offset", type=whole, default=0, metavar="N", help="Skip the first N rows.")
    decorated: Any = click.option("--limit", type=whole, metavar="N", help=about)(first(with_page))
    return decorated  # type: ignore[no-any-return]


def print_table(
    columns: Sequence[Column],
    rows: Iterator[Any],
    cells: Callable[[Sequence[Any]], Iterable[Sequence[str]]] = lambda block: block,
) -> int:
    """Print a table block by block, and return the number of its rows. `cells` turns a block of rows into cells; by
    default the rows are cells."""
    shown = 0

    def blocks() -> Iterator[Iterable[Sequence[str]]]:
        nonlocal shown
        while block := list(islice(rows, _BLOCK_ROWS)):
            shown += len(block)
            yield cells(block)

    for text in terminal.tables(columns, blocks()):
        click.echo(text)
    return shown


def print_page_note(page: PageRequest, shown: int, total: int, thing: str) -> None:
    """If rows were left out, print on stderr which rows were shown, and the command for the next page."""
    if shown == total:
        return
    last = page.offset + shown
    if not shown:
        listed = words.plural(total, thing)
        click.echo(f"no row after the first {page.offset:,}: there {'is' if total == 1 else 'are'} {listed}", err=True)
        return
    rest = "; --limit 0 shows all" if page.limit is not None else ""
    rest += f"; next: {_command(last)}" if last < total else ""
    click.echo(f"showing {page.offset + 1:,}-{last:,} of {words.plural(total, thing)}{rest}", err=True)


def _command(offset: int) -> str:
    """Return the command as typed, for the page that begins at `offset`."""
    import shlex

    words = iter(click.get_current_context().find_root().obj.words)
    kept = []
    for word in words:
        if word == "--offset":
            next(words)
        elif not word.startswith("--offset="):
            kept.append(word)
    return shlex.join(["rekindle", *kept, "--offset", str(offset)])
