"""`rekindle lpad`: FireWorks' commands. A command's module is imported when the command is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click

from rekindle.dialects.fireworks.lpad.messages import LEVELS, OutputOptions
from rekindle.dialects.original_commands import OriginalGroup
from rekindle.domain.errors import NotFound, UnknownWord
from rekindle.domain.texts.display import did_you_mean

_PACKAGE = "rekindle.dialects.fireworks.lpad"

COMMANDS = {
    "init": ("add_commands:init", "Make a store in this folder."),
    "reset": ("admin_commands:reset", "Remove the workflows that FireWorks' commands added."),
    "add": ("add_commands:add", "Add workflows from files."),
    "add_scripts": ("add_commands:add_scripts", "Add scripts to be run in sequence, as one workflow."),
    "append_wflow": ("add_commands:append_wflow", "Append a workflow to a stored one."),
    "check_wflow": ("show_commands:check_wflow", "Check the links of a workflow, and that it has no cycle."),
    "dump_wflow": ("show_commands:dump_wflow", "Write a workflow to a file that `add` reads."),
    "get_fws": ("show_commands:get_fws", "Show fireworks."),
    "get_fws_in_wflows": ("show_commands:get_fws_in_wflows", "Show fireworks of workflows."),
    "get_wflows": ("show_commands:get_wflows", "Show workflows."),
    "get_launchdir": ("show_commands:get_launchdir", "Print the folder of a firework's latest launch."),
    "track_fws": ("show_commands:track_fws", "Print the tracked files of fireworks."),
    "rerun_fws": ("rerun_commands:rerun_fws", "Rerun fireworks and their descendants."),
    "rerun_wflows": ("rerun_commands:rerun_wflows", "Rerun whole workflows."),
    "defuse_fws": ("change_commands:defuse_fws", "Defuse fireworks: they do not run until they are reignited."),
    "reignite_fws": ("change_commands:reignite_fws", "Reignite fireworks that are defused."),
    "pause_fws": ("change_commands:pause_fws", "Pause fireworks: they do not start until they are resumed."),
    "resume_fws": ("change_commands:resume_fws", "Resume fireworks that are paused."),
    "update_fws": ("change_commands:update_fws", "Change the spec of fireworks."),
    "set_priority": ("change_commands:set_priority", "Set the priority of fireworks."),
    "defuse_wflows": (
        "change_commands:defuse_wflows",
        "Defuse workflows: their fireworks do not run until they are reignited.",
    ),
    "reignite_wflows": ("change_commands:reignite_wflows", "Reignite the defused fireworks of workflows."),
    "pause_wflows": (
        "change_commands:pause_wflows",
        "Pause workflows: their fireworks do not start until they are resumed.",
    ),
    "archive_wflows": ("admin_commands:archive_wflows", "Archive workflows: they are kept and do not run."),
    "delete_wflows": ("admin_commands:delete_wflows", "Delete workflows with all their history."),
    "detect_lostruns": ("admin_commands:detect_lostruns", "Find launches whose process is gone."),
    "detect_unreserved": ("admin_commands:detect_unreserved", "Find launches that were reserved and never started."),
    "get_qids": ("admin_commands:get_qids", "Print the queue ids of fireworks."),
    "cancel_qid": ("admin_commands:cancel_qid", "Give back the reserved fireworks with a queue's id."),
    "reserve": ("offline_commands:reserve", "Reserve a firework to be launched without the store."),
    "recover_offline": ("offline_commands:recover_offline", "Record what offline launches have done."),
    "forget_offline": ("offline_commands:forget_offline", "Give up offline launches."),
    "report": ("show_commands:report", "Count fireworks by state and day."),
    "introspect": ("show_commands:introspect", "Group fizzled fireworks by their failure."),
    "webgui": ("show_commands:webgui", "Serve the console, and open it in a browser."),
    "admin": ("admin_commands:admin", "Maintain the store."),
    "version": ("add_commands:version", "Print the version."),
}

_ALIASES = {
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
"""Commands of `admin` that also work without it, as in older FireWorks."""


class LazyLpadGroup(OriginalGroup):
    """A group that imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def full_name(self, typed: str) -> str:
        """Return the name of a command of that name or alias."""
        return _ALIASES.get(typed, typed)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command. Import it."""
        if cmd_name in _ADMIN:
            admin = self.get_command(ctx, "admin")
            assert isinstance(admin, click.Group)
            return admin.get_command(ctx, cmd_name)
        entry = COMMANDS.get(cmd_name)
        return None if entry is None else _import_command(entry[0])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (click's signature)
        """Write the command list from the table, without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


def _import_command(target: str) -> click.Command:
    module, _, attribute = target.partition(":")
    found = getattr(importlib.import_module(f"{_PACKAGE}.{module}"), attribute)
    assert isinstance(found, click.Command)
    return found


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from rekindle import __version__

        click.echo(f"lpad of rekindle {__version__}")
        ctx.exit()


@click.group(cls=LazyLpadGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-v",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version.",
)
@click.option(
    *("-o", "--output"),
    type=click.Choice(["json", "yaml"], case_sensitive=False),
    default="json",
    help="The output format of documents. [default: json]",
)
@click.option("-l", "--launchpad_file", metavar="FILE", help="A LaunchPad file. It must exist, and is ignored.")
@click.option("-c", "--config_dir", metavar="DIR", help="Accepted and ignored.")
@click.option("--logdir", metavar="DIR", help="Accepted and ignored: the store has the log.")
@click.option("--loglvl", metavar="LEVEL", default="INFO", help="Which messages are printed. [default: INFO]")
@click.option("-s", "--silencer", is_flag=True, help="Print no messages.")
@click.pass_context
def lpad(
    ctx: click.Context,
    output: str,
    launchpad_file: str | None,
    loglvl: str,
    silencer: bool,
    config_dir: str | None,  # noqa: ARG001 (accepted and ignored)
    logdir: str | None,  # noqa: ARG001 (accepted and ignored)
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
    ctx.obj = OutputOptions(output.lower(), not silencer and _level(loglvl, LEVELS) <= LEVELS["INFO"])


def _level(word: str, levels: Mapping[str, int]) -> int:
    if word.upper() not in levels:
        raise UnknownWord(f"there is no log level {word!r:.60}", hint=did_you_mean(word.upper(), levels))
    return levels[word.upper()]
