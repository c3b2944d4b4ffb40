"""`rekindle ziggy console`: Ziggy's commands over rekindle's workflows, which are its instances; jobs are its tasks."""

from __future__ import annotations

import click

from rekindle.dialects.ziggy.configuring import config
from rekindle.dialects.ziggy.displaying import display
from rekindle.dialects.ziggy.halting import halt
from rekindle.dialects.ziggy.logs import log
from rekindle.dialects.ziggy.restarting import restart
from rekindle.dialects.ziggy.starting import start
from rekindle.domain.errors import UnknownWord
from rekindle.domain.texts.nearest import did_you_mean


class Abbreviated(click.Group):
    """A group of which the beginning of a command's name will do, where only one begins so."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """By name, or by its beginning; UnknownWord where several begin so."""
        found = [cmd_name] if cmd_name in self.commands else [one for one in self.commands if one.startswith(cmd_name)]
        if len(found) > 1:
            raise UnknownWord(f"{cmd_name!r} could be {' or '.join(found)}", hint="write one letter more")
        return super().get_command(ctx, found[0]) if found else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown command is answered with the nearest known one."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise UnknownWord(
                f"{ctx.command_path} has no command {args[0]!r}", hint=did_you_mean(args[0], self.commands)
            )
        return super().resolve_command(ctx, args)


@click.group(cls=Abbreviated)
def ziggy() -> None:
    """Speak Ziggy: the commands of its console.

    \b
    Example:
      rekindle ziggy console start sample.yaml "Test 1"
      rekindle ziggy console display --instance 1 --displayType full
      rekindle ziggy console restart --restartMode resubmit --task 3,4,7-10
    """


@click.group(cls=Abbreviated)
def console() -> None:
    """Start, show, halt and restart pipelines. A command's name may be cut short.

    An instance is a workflow, and its ID is the workflow's; a task is a job, and its ID is the job's. Whoever works
    (`rekindle work`) runs what these commands start.

    \b
    Example:
      rekindle ziggy console start sample.yaml "Test 2" permuter flip
      rekindle ziggy console display --instance 2
      rekindle ziggy console halt --task 2 --task 3,4,7-10
    """


@click.command()
def version() -> None:
    """Display the version.

    \b
    Example:
      rekindle ziggy console version
    """
    from rekindle import __version__

    click.echo(f"rekindle {__version__}")


ziggy.add_command(console)
for command in (config, display, halt, log, restart, start, version):
    console.add_command(command)
