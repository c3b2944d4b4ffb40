#!/usr/bin/env python3
"""Write the tables of commands into the pages "Coming from …", from the list of each original and the commands here.

`make tables` runs it; a test fails while a page is outdated."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import click

from rekindle.cli.command_table import DIALECTS
from rekindle.dialects.original_commands import FOLDERS, OriginalCommand, read_original, spellings

DOCS = Path(__file__).resolve().parents[1] / "docs"
BEGIN, END = "<!-- made by `make tables` from the list of commands -->", "<!-- end of the table -->"
HEAD = ("command", "here", "flags", "flags that differ", "flags that are not here", "only here")
NOTED = ("Accepted", "Ignored", "Refused", "Not supported", "Same as")
"""The beginnings of the help of flags that are here and have another effect than the original's."""


def page_of(folder: str) -> Path:
    """Return the page of a dialect."""
    return DOCS / "how-to" / f"coming-from-{folder}.md"


def registered(folder: str) -> dict[str, click.Command]:
    """Return the commands of a dialect's folder by their words, each after its group."""
    found: dict[str, click.Command] = {}
    for program, in_folder in FOLDERS.items():
        if in_folder == folder:
            module, _, attribute = DIALECTS[program].target.partition(":")
            found.update(_below(getattr(importlib.import_module(module), attribute), program))
    return found


def _below(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _below(found, f"{path} {name}")


def options(command: click.Command) -> dict[str, click.Option]:
    """Return the options of a command by each of their spellings, without `--help`."""
    found = [one for one in command.params if isinstance(one, click.Option)]
    return {flag: one for one in found for flag in (*one.opts, *one.secondary_opts)}


def table(folder: str) -> list[str]:
    """Return the lines of a dialect's table: the commands of the original, then those that only rekindle has."""
    original, here = read_original(folder), registered(folder)
    rows = [_row(path, one, here.get(path)) for path, one in original.commands.items()]
    for path, command in here.items():
        if original.find(path.split()) is None:
            rows.append((_code(path), "rekindle's own", _flags(command), "", "", ""))
    kept = [column for column in range(len(HEAD)) if any(row[column] for row in rows)]
    lines = [HEAD, ("---",) * len(HEAD), *rows]
    return ["| " + " | ".join(line[column] for column in kept) + " |" for line in lines]


def _row(path: str, one: OriginalCommand, command: click.Command | None) -> tuple[str, ...]:
    group = path.rpartition(" ")[0]
    names = ", ".join(_code(name) for name in (path, *(f"{group} {other}" for other in one.also)))
    if command is None:
        names += f" ({', '.join(_code(name) for name in one.commands)})" if one.commands else ""
        return names, f"not here: use {one.use}", "", "", "", ""
    known = options(command)
    changed = dict(one.changed)
    taken = []
    for flag in spellings(one.flags):
        text = known[flag[-1]].help or ""
        if text.startswith(NOTED):
            changed[" ".join(flag)] = text[0].lower() + text[1:].rstrip(".")
        else:
            taken.append(" ".join(flag))
    listed = {flag for flags in (one.flags, *one.changed) for name in spellings(flags) for flag in name}
    about = command.get_short_help_str(200).rstrip(".")
    differs = one.differs or (about[0].lower() + about[1:] if "not supported" in about else "")
    return (
        names,
        f"different: {differs}" if differs else "taken",
        ", ".join(_code(flag) for flag in taken),
        _with_texts(changed),
        _with_texts({flags: f"use {use}" for flags, use in one.missing.items()}),
        _flags(command, listed),
    )


def _flags(command: click.Command, listed: set[str] | None = None) -> str:
    """Return the flags of a command that the original does not have."""
    ours = [one for one in command.params if isinstance(one, click.Option)]
    left = [one for one in ours if not (listed or set()) & {*one.opts, *one.secondary_opts}]
    return ", ".join(_code(" ".join(one.opts)) for one in left)


def _with_texts(texts: dict[str, str]) -> str:
    return "; ".join(
        f"{', '.join(_code(' '.join(one)) for one in spellings(flags))}: {text}" for flags, text in texts.items()
    )


def _code(words: str) -> str:
    return f"`{words}`"


def with_table(page: str, lines: list[str]) -> str:
    """Return a page with its table replaced."""
    begin, end = page.index(BEGIN), page.index(END)
    return "\n".join([page[:begin] + BEGIN, "", *lines, "", page[end:]])


def main() -> None:
    """Write the table of each dialect into its page."""
    for folder in dict.fromkeys(FOLDERS.values()):
        path = page_of(folder)
        path.write_text(with_table(path.read_text(), table(folder)))
        print(f"docs/how-to/{path.name}")


if __name__ == "__main__":
    main()
