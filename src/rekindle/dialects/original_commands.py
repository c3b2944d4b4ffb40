"""The commands and flags of other systems: which are here, which differ, and what replaces the others.

The list of a dialect is `original.yaml` in its folder. `scripts/command_tables` makes the tables on the pages "Coming
from …" of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import click
import msgspec

from rekindle.domain.errors import UnknownWord, UsageError
from rekindle.domain.texts.display import did_you_mean

FOLDERS = {
    **dict.fromkeys(("lpad", "rlaunch", "qlaunch", "mlaunch"), "fireworks"),
    **{name: name for name in ("torc", "resim", "ziggy")},
}
"""The folder of each dialect's command."""


class OriginalCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command or group of the original. Flags are separated by commas, the spellings of one by spaces."""

    differs: str = ""  # how
    use: str = ""  # the command is not here; follows "is not here: use"
    also: tuple[str, ...] = ()  # other names, in place of the last word
    commands: tuple[str, ...] = ()  # of a group that is not here
    flags: str = ""  # as in the original
    changed: dict[str, str] = {}  # by flags, how they differ
    missing: dict[str, str] = {}  # by flags that are not here, what follows "is not here: use"

    def replacement(self, flag: str) -> str | None:
        """Return what replaces a flag that is not here."""
        return next((use for flags, use in self.missing.items() if any(flag in one for one in spellings(flags))), None)


def spellings(flags: str) -> list[list[str]]:
    """Return the spellings of each flag."""
    return [one.split() for one in flags.split(",") if one.strip()]


class OriginalCommands(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The commands of an original, by the words of each."""

    commands: dict[str, OriginalCommand]

    def find(self, words: Sequence[str]) -> OriginalCommand | None:
        """Return a command by any of its names."""
        group, name = " ".join(words[:-1]), words[-1]
        if (found := self.commands.get(" ".join(words))) is not None:
            return found
        return next(
            (one for path, one in self.commands.items() if name in one.also and path.rpartition(" ")[0] == group), None
        )


def read_original(folder: str) -> OriginalCommands:
    """Return the commands of the original that a dialect's folder lists."""
    text = files(f"rekindle.dialects.{folder}").joinpath("original.yaml").read_bytes()
    return msgspec.yaml.decode(text, type=OriginalCommands)


class OriginalGroup(click.Group):
    """A group of a dialect's commands. A command or flag of the original that is not here is refused, and the message
    names what to use."""

    group_class = type  # a group in this group is of the same class

    def full_name(self, typed: str) -> str:
        """Return the name of the command that a word means, or the word."""
        return typed

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the options of the group. Raise UsageError for a flag that is not here."""
        words = list(args)
        with _refused_flags(words):
            ctx = super().make_context(info_name, args, parent, **extra)
        ctx.meta[__name__] = words
        return ctx

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Raise UsageError for a flag of it that is not here."""
        with _refused_flags(ctx.meta.get(__name__, ())):
            return super().invoke(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by its name. Raise UsageError for one that is not here, and UnknownWord for an unknown one."""
        name = self.full_name(args[0])
        if not name.startswith("-") and self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            path = [*_path(ctx), name]
            found = read_original(FOLDERS[path[0]]).find(path)
            if found is not None and found.use:
                raise UsageError(_not_here(path, found.use))
            hint = did_you_mean(name, self.list_commands(ctx)) or f"`{ctx.command_path} --help` lists them"
            raise UnknownWord(f"{ctx.command_path} has no command {name!r:.60}", hint=hint)
        return super().resolve_command(ctx, [name, *args[1:]])


@contextmanager
def _refused_flags(words: Sequence[str]) -> Iterator[None]:
    """Raise UsageError if a flag of the original is not here. `words`: those behind the group; click may have read only
    the first letter of a flag such as `-pe`."""
    try:
        yield
    except click.NoSuchOption as error:
        path = _path(error.ctx) if error.ctx is not None else []
        flags = [error.option_name, *(word.partition("=")[0] for word in words if word.startswith(error.option_name))]
        original = read_original(FOLDERS[path[0]]) if path else None
        while original is not None and path:
            command = original.find(path)
            for flag in flags:
                use = command.replacement(flag) if command is not None else None
                if use is not None:
                    raise UsageError(_not_here([*path, flag], use)) from None
            path.pop()  # flags of a group may stand behind its commands
        raise


def _path(ctx: click.Context) -> list[str]:
    """Return the words of a command, without `rekindle`."""
    return ctx.command_path.split()[1:]


def _not_here(path: Sequence[str], use: str) -> str:
    return f"{path[0]}'s {' '.join(path[1:])} is not here: use {use}"
