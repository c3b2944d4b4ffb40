"""How ReSim's command line ends that is wrong: with 1, whatever is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from rekindle.domain.errors import Refused, UsageError
from rekindle.domain.texts.nearest import did_you_mean


class EndsWithOne(click.Group):
    """A group of which everything that is refused ends with 1, and an unknown command is answered with the nearest."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """As click does."""
        with _as_refused():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """As click does."""
        with _as_refused():
            return super().invoke(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            hint = did_you_mean(args[0], self.commands) or f"`{ctx.command_path} --help` lists them"
            raise Refused(f"{ctx.command_path} has no command {args[0]!r}", hint=hint)
        return super().resolve_command(ctx, args)


@contextmanager
def _as_refused() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except UsageError as error:
        raise Refused(error.message, hint=error.hint) from error
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "rekindle resim"
        raise Refused(error.format_message(), hint=f"`{path} --help` tells what it takes") from error
