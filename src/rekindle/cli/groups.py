"""Click groups that import a command when it is used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from click.shell_completion import CompletionItem

    from rekindle.cli.command_table import Entry


class LazyGroup(click.Group):
    """A click group that imports a command when it is used."""

    def __init__(self, *args: Any, entries: Mapping[str, Entry], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Return the names in the order of the table."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's signature)
        """Import the command."""
        if cmd_name not in self.entries:
            return None
        command = load_attribute(self.entries[cmd_name].target)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a command as click does. Raise UnknownWord with the nearest name for an unknown command."""
        name = args[0]
        if name not in self.entries and not name.startswith("-") and not ctx.resilient_parsing:
            from rekindle.cli.foreign_words import command_hint
            from rekindle.domain.errors import UnknownWord

            hint = "" if ctx.parent else command_hint(name, args[1:])
            raise UnknownWord(f"{ctx.command_path} has no command {name!r}", hint=hint or self._nearest(ctx, name))
        return super().resolve_command(ctx, args)

    def _nearest(self, ctx: click.Context, name: str) -> str:
        """Return a hint for an unknown command: the nearest name, or where the names are listed."""
        from rekindle.domain.texts.display import closest_word

        close = closest_word(name, self.entries)
        return f"did you mean `{close}`?" if close else f"`{ctx.command_path} --help` lists the commands"

    def invoke(self, ctx: click.Context) -> Any:
        """Invoke a command as click does. An error without a context, as for an option without its value, gets the
        context of its command."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            if error.ctx is None and command is not None:
                error.ctx = click.Context(command, info_name=ctx.invoked_subcommand, parent=ctx)
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (click's signature)
        """List the table without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.about) for name, entry in self.entries.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names of commands from the table, and options as click does."""
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=entry.about) for name, entry in self.entries.items()]
        found = [item for item in names if item.value.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]


def load_attribute(target: str) -> Any:
    """Return `module:attribute`."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
