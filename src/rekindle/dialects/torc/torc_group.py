"""A click group that takes torc's `-f json` anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekindle.dialects.original_commands import OriginalGroup

if TYPE_CHECKING:
    import click

_FORMAT_FLAGS = ("-f", "-F", "--format", "--output-format")
FORMATS = ("text", "table", "json")


class TorcGroup(OriginalGroup):
    """A group of torc's commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move torc's format options before the command, then parse as click does."""
        if ctx.parent is not None and isinstance(ctx.parent.command, TorcGroup):
            return super().parse_args(ctx, args)
        moved: list[str] = []
        left: list[str] = []
        rest = iter(args)
        for word in rest:
            if word == "--":
                left += [word, *rest]
            elif word in _FORMAT_FLAGS and (following := next(rest, None)) is not None:
                if following in FORMATS:
                    moved += ["--format", following]
                else:
                    left += [word, following]
            elif word.startswith(("--format=", "--output-format=")):
                moved += ["--format", word.partition("=")[2]]
            else:
                left.append(word)
        return super().parse_args(ctx, [*moved, *left])
