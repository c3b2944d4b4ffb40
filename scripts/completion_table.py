#!/usr/bin/env python3
"""Write `src/rekindle/cli/shells/commands.tsv`, which completion reads instead of importing the commands.

`make tables` runs it; a test fails while the table is outdated. A line without a tab names a command; the lines after
it describe what may follow:

    TAB . TAB KIND TAB                 an argument; KIND ends with `…` if it repeats
    TAB NAMES TAB KIND TAB HELP        an option: its spellings with commas; no KIND: a flag
    TAB + NAME TAB TAB HELP            a command of the group

KIND is a word of `rekindle.cli.completion_values.VALUES`, `files`, `folders`, `-` for text, or choices as `a|b|c`; with
`=` before it, the value is optional; with `+files` behind it, files are completed where no other word fits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from rekindle.cli.command_table import DIALECTS
from rekindle.cli.root import cli

TABLE = Path(__file__).resolve().parents[1] / "src/rekindle/cli/shells/commands.tsv"

BY_NAME = {
    "--store": "folders",
    "--from": "starts",
    "--step": "steps",
    "--executor": "executors",
    "--set": "parameters",
    "--signature": "signatures",
    "--from-attempt": "attempts",
    "--group-by": "groups",
    "revisions": "revisions",
    "number": "tokens",
}
"""How the values of our options and arguments are completed, by name."""

BY_METAVAR = {
    **dict.fromkeys(("ID|NAME", "WORKFLOW", "[WORKFLOW]", "WF"), "workflows"),
    **dict.fromkeys(("JOB", "[JOB]...", "NAME|GLOB"), "jobs"),
    **dict.fromkeys(("RERUN", "[RERUN]"), "reruns"),
    **dict.fromkeys(("SPEC", "FILE", "PATH", "FILE..."), "files"),
    **dict.fromkeys(("DIR", "FROM", "TO"), "folders"),
    **dict.fromkeys(("ID", "A", "B", "ATTEMPT"), "attempts"),
    "WORKFLOW|SPEC": "workflows+files",
    "IDS": "ids",
    "STATE": "states",
    "STATUSES": "statuses",
    "CAUSES": "causes",
    "FIELD=VALUE": "filters",
    "VERDICTS": "verdicts",
    "SCOPES": "scopes",
    "K|all|failed": "all|failed",
    "failed|all|0,3-5": "all|failed",
    "N|auto": "auto",
}
"""The same for what has no special name, by metavar."""

OTHERS = {"SPEC", "FILE", "PATH", "FILE...", "DIR"}
"""The metavars that mean the same in the commands of other systems."""


def lines() -> list[str]:
    """Return the lines of the table."""
    return [*_command("", cli)]


def _command(path: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command)
    theirs = path.split(" ")[0] in DIALECTS
    yield path
    for parameter in command.params:
        if not getattr(parameter, "hidden", False):
            yield _row(parameter, theirs=theirs)
    yield "\t-h,--help\t\tShow the help"
    if not isinstance(command, click.Group):
        return
    found = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
    for name, one in found:
        assert one is not None
        yield f"\t+ {name}\t\t{_first_sentence(one.get_short_help_str(200))}"
    for name, one in found:
        assert one is not None
        yield from _command(f"{path} {name}".strip(), one)


def _row(parameter: click.Parameter, *, theirs: bool) -> str:
    kind = _kind(parameter, theirs=theirs)
    if isinstance(parameter, click.Option):
        names = ",".join((*parameter.opts, *parameter.secondary_opts))
        return f"\t{names}\t{kind}\t{_first_sentence(parameter.help or '')}"
    return f"\t.\t{kind}{'…' if parameter.nargs != 1 else ''}\t"


def _kind(parameter: click.Parameter, *, theirs: bool) -> str:
    if isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count):
        return ""
    name, metavar = (parameter.opts[-1] if parameter.param_type_name == "option" else parameter.name), parameter.metavar
    if isinstance(parameter.type, click.Choice):
        optional = isinstance(parameter, click.Option) and isinstance(parameter.flag_value, str)
        return ("=" if optional else "") + "|".join(map(str, parameter.type.choices))
    if isinstance(parameter.type, click.Path):
        return "files" if parameter.type.file_okay else "folders"
    if theirs:
        return BY_METAVAR[metavar] if metavar in OTHERS else "-"
    if isinstance(parameter.type, click.Tuple) and isinstance(parameter.type.types[0], click.Choice):
        return "|".join(map(str, parameter.type.types[0].choices))
    return BY_NAME.get(name or "") or BY_METAVAR.get(metavar or "", "-")


def _first_sentence(text: str) -> str:
    """Return the first sentence of a help text, in one line."""
    return " ".join(text.partition(" [default")[0].split()).partition(". ")[0].partition("; ")[0].rstrip(".")


if __name__ == "__main__":
    TABLE.write_text("\n".join(lines()) + "\n")
