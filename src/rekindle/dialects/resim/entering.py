"""How ReSim's command line ends that is wrong: with 1, whatever is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from rekindle.domain.errors import Refused, UsageError
from rekindle.domain.texts.nearest import did_you_mean


class EndsWithOne(click.Group):
    """A group of which everything that is refused ends with 1, and an unknown command is answered with the nearest.
    `also` are other names of its commands; options in `anywhere`, which take a value, may stand behind the command."""

    def __init__(
        self, *args: Any, also: Mapping[str, str] | None = None, anywhere: Sequence[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._also, self._anywhere = also or {}, anywhere

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """As click does."""
        with _as_refused():
            return super().make_context(info_name, _first(args, self._anywhere), parent, **extra)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """By name, or by another one that it has."""
        return super().get_command(ctx, self._also.get(cmd_name, cmd_name))

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


def _first(args: list[str], options: Sequence[str]) -> list[str]:
    """These options with their values, wherever they stand, before everything else."""
    taken: list[str] = []
    rest: list[str] = []
    left = iter(args)
    for word in left:
        if word in options:
            taken += [word, *(value for value in [next(left, None)] if value is not None)]
        else:
            (taken if word.partition("=")[0] in options else rest).append(word)
    return [*taken, *rest]


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
