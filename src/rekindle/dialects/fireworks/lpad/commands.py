"""`rekindle lpad`: FireWorks' commands. Each is imported when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click

from rekindle.dialects.fireworks.lpad.printing import LEVELS, Printing
from rekindle.domain.errors import NotFound, UnknownWord
from rekindle.domain.texts.nearest import did_you_mean

_HERE = "rekindle.dialects.fireworks.lpad"

COMMANDS = {
    "init": ("starting:init", "Make a store in this folder."),
    "reset": ("resetting:reset", "Remove the workflows that came through FireWorks' commands."),
    "add": ("adding:add", "Add workflows from files."),
    "add_scripts": ("starting:add_scripts", "Add scripts to be run in sequence, as one workflow."),
    "append_wflow": ("starting:append_wflow", "Append a workflow to one that is stored."),
    "check_wflow": ("files:check_wflow", "Check a workflow: its links, and that it has no circle."),
    "dump_wflow": ("files:dump_wflow", "Write a workflow to a file, as `add` takes it."),
    "get_fws": ("getting:get_fws", "Show fireworks."),
    "get_fws_in_wflows": ("getting:get_fws_in_wflows", "Show fireworks of workflows."),
    "get_wflows": ("getting:get_wflows", "Show workflows."),
    "get_launchdir": ("launches:get_launchdir", "Print the folder of a firework's latest launch."),
    "track_fws": ("launches:track_fws", "Print what trackers say of fireworks."),
    "rerun_fws": ("rerunning:rerun_fws", "Rerun fireworks, and everything that needs them."),
    "rerun_wflows": ("rerunning:rerun_wflows", "Rerun whole workflows."),
    "defuse_fws": ("holding:defuse_fws", "Defuse fireworks: they do not run until they are reignited."),
    "reignite_fws": ("holding:reignite_fws", "Reignite fireworks that are defused."),
    "pause_fws": ("holding:pause_fws", "Pause fireworks: they do not start until they are resumed."),
    "resume_fws": ("holding:resume_fws", "Resume fireworks that are paused."),
    "update_fws": ("updating:update_fws", "Change the spec of fireworks."),
    "set_priority": ("updating:set_priority", "Set the priority of fireworks."),
    "defuse_wflows": ("holding:defuse_wflows", "Defuse workflows: nothing of them starts until they are reignited."),
    "reignite_wflows": ("holding:reignite_wflows", "Reignite the defused fireworks of workflows."),
    "pause_wflows": ("holding:pause_wflows", "Pause workflows: nothing of them starts until it is resumed."),
    "archive_wflows": ("removing:archive_wflows", "Archive workflows: they are kept, and not run."),
    "delete_wflows": ("removing:delete_wflows", "Delete workflows with all their history."),
    "detect_lostruns": ("detecting:detect_lostruns", "Find launches of which the process is gone."),
    "detect_unreserved": ("detecting:detect_unreserved", "Find launches that were handed out and never started."),
    "get_qids": ("reservations:get_qids", "Print the queue's ids of fireworks."),
    "cancel_qid": ("reservations:cancel_qid", "Cancel a reservation: not yet."),
    "recover_offline": ("reservations:recover_offline", "Take in what ran without a runner."),
    "forget_offline": ("reservations:forget_offline", "Forget offline launches: there are none."),
    "report": ("reporting:report", "Count what became of fireworks, by day."),
    "introspect": ("reporting:introspect", "Group what fizzled by how it did."),
    "webgui": ("reporting:webgui", "Open the web interface: not yet."),
    "admin": ("admin:admin", "Maintain the store."),
    "version": ("starting:version", "Print the version."),
}

_ALSO = {
    "get_fws_in_wfs": "get_fws_in_wflows",
    "get_wfs": "get_wflows",
    "defuse_wfs": "defuse_wflows",
    "pause_wfs": "pause_wflows",
    "reignite_wfs": "reignite_wflows",
    "archive_wfs": "archive_wflows",
    "delete_wfs": "delete_wflows",
    "rerun_wfs": "rerun_wflows",
}
"""Other names of commands."""

_ADMIN = ("unlock", "refresh", "maintain", "tuneup", "orphaned")
"""Commands of `admin` that may stand without it, as they once did."""


class Lazy(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """By any of its names."""
        if cmd_name in _ADMIN:
            admin = self.get_command(ctx, "admin")
            assert isinstance(admin, click.Group)
            return admin.get_command(ctx, cmd_name)
        entry = COMMANDS.get(_ALSO.get(cmd_name, cmd_name))
        return None if entry is None else _imported(entry[0])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown command is answered with the nearest known one."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            hint = did_you_mean(name, [*COMMANDS, *_ALSO, *_ADMIN])
            raise UnknownWord(f"{ctx.command_path} has no command {name!r:.60}", hint=hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (click's signature)
        """From the table: nothing is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


def _imported(target: str) -> click.Command:
    module, _, attribute = target.partition(":")
    found = getattr(importlib.import_module(f"{_HERE}.{module}"), attribute)
    assert isinstance(found, click.Command)
    return found


def _tell_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from rekindle import __version__

        click.echo(f"lpad of rekindle {__version__}")
        ctx.exit()


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-v", "--version", is_flag=True, is_eager=True, expose_value=False, callback=_tell_version, help="Print it."
)
@click.option(
    *("-o", "--output"),
    type=click.Choice(["json", "yaml"], case_sensitive=False),
    default="json",
    help="How documents are printed. [default: json]",
)
@click.option("-l", "--launchpad_file", metavar="FILE", help="A LaunchPad's file: must be there, and has no effect.")
@click.option("-c", "--config_dir", metavar="DIR", help="Where a LaunchPad's file is: taken, and has no effect.")
@click.option("--logdir", metavar="DIR", help="Taken, and has no effect: the store has the log.")
@click.option("--loglvl", metavar="LEVEL", default="INFO", help="Which messages are printed. [default: INFO]")
@click.option("-s", "--silencer", is_flag=True, help="Print no messages.")
@click.pass_context
def lpad(
    ctx: click.Context,
    output: str,
    launchpad_file: str | None,
    loglvl: str,
    silencer: bool,
    config_dir: str | None,  # noqa: ARG001 (kept)
    logdir: str | None,  # noqa: ARG001 (kept)
) -> None:
    """Speak FireWorks: its workflow files and the commands of its LaunchPad.

    \b
    Example:
      rekindle lpad add workflow.yaml
      rekindle lpad get_fws -s FIZZLED -d more
      rekindle lpad rerun_fws -s FIZZLED --task-level
    """
    import os

    if launchpad_file is not None and not os.path.exists(launchpad_file):  # noqa: PTH110 (one look)
        raise NotFound(f"no such file: {launchpad_file}", hint="leave -l out: rekindle needs no LaunchPad's file")
    ctx.obj = Printing(output.lower(), not silencer and _level(loglvl, LEVELS) <= LEVELS["INFO"])


def _level(word: str, levels: Mapping[str, int]) -> int:
    if word.upper() not in levels:
        raise UnknownWord(f"there is no log level {word!r:.60}", hint=did_you_mean(word.upper(), levels))
    return levels[word.upper()]
