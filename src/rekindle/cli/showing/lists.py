"""Lists that may be long, on stdout: a table page by page, or a JSON document row by row."""

from __future__ import annotations

import functools
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import click
import msgspec

from rekindle.cli.showing import drawing
from rekindle.cli.showing.drawing import Column
from rekindle.engine.looking.lists import Page

ON_A_TERMINAL = 100
"""Rows that are shown on a terminal without --limit."""

_BLOCK = 1_000
"""Rows of a table that are laid out together."""

_WRITTEN = 100
"""Rows of a JSON document that are written at once."""

Command = TypeVar("Command", bound=Callable[..., Any])


def page_options(command: Command) -> Command:
    """Give a command with `as_json` the flags `--limit` and `--offset`; it gets them as one argument, `page`. On a
    terminal a page of a table is the default."""
    return _paged(command, ON_A_TERMINAL, f"Show N rows; 0: all. [default: {ON_A_TERMINAL} on a terminal, else all]")


def limit_options(command: Command) -> Command:
    """The same for a command that bounds by itself what it shows: without these flags it gets None."""
    return _paged(command, None, "Show N rows; 0: all.")


def _paged(command: Command, on_terminal: int | None, about: str) -> Command:
    @functools.wraps(command)
    def with_page(*args: Any, **kwargs: Any) -> Any:
        limit, offset = kwargs.pop("limit"), kwargs.pop("offset")
        if on_terminal is None and limit is None and not offset:
            return command(*args, page=None, **kwargs)
        if limit is None and not kwargs["as_json"] and sys.stdout.isatty():
            limit = on_terminal
        return command(*args, page=Page(limit or None, offset), **kwargs)

    whole = click.IntRange(min=0)
    first = click.option("--offset", type=whole, default=0, metavar="N", help="Leave the first N rows out.")
    decorated: Any = click.option("--limit", type=whole, metavar="N", help=about)(first(with_page))
    return decorated  # type: ignore[no-any-return]


def emit_rows(key: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Print the document `{key: [rows]}` on stdout, a row a line, without holding it in memory."""
    rows, before = iter(rows), f'{{"{key}": ['
    while block := [_encoded(row) for row in islice(rows, _WRITTEN)]:
        click.echo(before + ",\n".join(block), nl=False)
        before = ",\n"
    click.echo("]}" if before == ",\n" else before + "]}")


def _encoded(row: Mapping[str, Any]) -> str:
    """A row in ASCII, as `shapes.emit` writes it but for spaces. msgspec takes a fifth of the time; what it cannot
    write (names that are no Unicode) or writes in other characters is left to json."""
    try:
        text = msgspec.json.encode(row).decode()
    except UnicodeEncodeError:
        text = "\N{REPLACEMENT CHARACTER}"
    return text if text.isascii() else json.dumps(row, separators=(",", ":"))


def print_table(
    columns: Sequence[Column],
    rows: Iterator[Any],
    cells: Callable[[Sequence[Any]], Iterable[Sequence[str]]] = lambda block: block,
) -> int:
    """Print a table block by block, and return the number of its rows. `cells` makes the cells of a block of rows;
    by default rows are cells."""
    shown = 0

    def blocks() -> Iterator[Iterable[Sequence[str]]]:
        nonlocal shown
        while block := list(islice(rows, _BLOCK)):
            shown += len(block)
            yield cells(block)

    for text in drawing.tables(columns, blocks()):
        click.echo(text)
    return shown


def tell_page(page: Page, shown: int, total: int, thing: str) -> None:
    """Say on stderr which rows of a list were shown, where others were left out, and the command for the next page."""
    if shown == total:
        return
    last = page.offset + shown
    if not shown:
        listed = drawing.many(total, thing)
        click.echo(f"no row after the first {page.offset:,}: there {'is' if total == 1 else 'are'} {listed}", err=True)
        return
    rest = "; --limit 0 shows all" if page.limit is not None else ""
    rest += f"; next: {_command(last)}" if last < total else ""
    click.echo(f"showing {page.offset + 1:,}-{last:,} of {drawing.many(total, thing)}{rest}", err=True)


def _command(offset: int) -> str:
    """The command as it was typed, for the page that begins at `offset`."""
    words = iter(click.get_current_context().find_root().obj.words)
    kept = []
    for word in words:
        if word == "--offset":
            next(words)
        elif not word.startswith("--offset="):
            kept.append(word)
    return shlex.join(["rekindle", *kept, "--offset", str(offset)])
