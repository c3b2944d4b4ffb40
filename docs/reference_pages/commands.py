"""The reference of the command line, from click's commands."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import NamedTuple

import click

from reference_pages.markdown import block, code, definitions, escaped
from rekindle.cli.command_table import DIALECTS
from rekindle.cli.root import cli

_EXPLAINED = re.compile(r" {3,}")
"""Between a command line of an example and its explanation."""


class Command(NamedTuple):
    """A command with its words: `rekindle jobs list`."""

    words: tuple[str, ...]
    command: click.Command
    context: click.Context

    @property
    def options(self) -> list[click.Option]:
        """The options that `--help` shows, without `--help` itself."""
        shown = [one for one in self.command.get_params(self.context) if isinstance(one, click.Option)]
        return [one for one in shown if not one.hidden and "--help" not in one.opts]

    @property
    def examples(self) -> list[str]:
        """The command lines of the examples in the help text."""
        return [line.strip() for text in _paragraphs(self.command) if _is_example(text) for line in text[2:]]


def all_commands() -> Iterator[Command]:
    """Yield `rekindle` and all its commands, also those of dialects; a group comes before its commands."""
    yield from _below(("rekindle",), cli, None)


def is_dialect(command: Command) -> bool:
    """Return whether a command is one of another system."""
    return len(command.words) > 1 and command.words[1] in DIALECTS


def own_commands() -> str:
    """Return the reference of rekindle's own commands."""
    return "\n\n".join(_section(one) for one in all_commands() if not is_dialect(one))


def dialect_commands() -> str:
    """Return the reference of the commands of other systems."""
    return "\n\n".join(_section(one) for one in all_commands() if is_dialect(one))


def _below(words: tuple[str, ...], command: click.Command, parent: click.Context | None) -> Iterator[Command]:
    # click makes a command's help option once, from the settings of the first context.
    context = click.Context(command, info_name=words[-1], parent=parent, **command.context_settings)
    yield Command(words, command, context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from _below((*words, name), below, context)


def _section(one: Command) -> str:
    """Return a command: its usage, help text, examples and options."""
    name = " ".join(one.words)
    level = min(len(one.words) + (len(one.words) == 1), 4)
    parts = [f"(command-{'-'.join(one.words[1:]) or 'rekindle'})=\n{'#' * level} {code(name)}"]
    pieces = one.command.collect_usage_pieces(one.context)
    parts.append(block(" ".join([name, *pieces]), "text"))
    for text in _paragraphs(one.command):
        if _is_example(text):
            parts.append(block("\n".join(f"$ {_EXPLAINED.sub('  # ', line.strip())}" for line in text[2:]), "console"))
        elif text[0] == "\b":
            parts.append(block(inspect.cleandoc("\n".join(text[1:])), "text"))
        else:
            parts.append(escaped(" ".join(text)))
    records = [option.get_help_record(one.context) for option in one.options]
    rows = [(_names(record[0]), escaped(record[1])) for record in records if record]
    if rows:
        parts.append(definitions(rows))
    return "\n\n".join(parts)


def _names(record: str) -> str:
    """Return the names and the value of an option as code: `-w`, `--workflow ID|NAME`."""
    return ", ".join(code(one) for one in record.split(", "))


def _paragraphs(command: click.Command) -> list[list[str]]:
    """Return the paragraphs of the help text as lines."""
    text = inspect.cleandoc(command.help or "").split("\f")[0]
    return [paragraph.split("\n") for paragraph in text.split("\n\n") if paragraph.strip()]


def _is_example(paragraph: list[str]) -> bool:
    return paragraph[0] == "\b" and len(paragraph) > 2 and paragraph[1].startswith("Example")
