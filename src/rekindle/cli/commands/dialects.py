"""`rekindle dialects`: list and install the commands of other systems."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from pathlib import Path

import click

from rekindle.cli.command_table import DIALECTS, Entry
from rekindle.cli.groups import LazyGroup
from rekindle.cli.options import json_option
from rekindle.cli.output import json_output
from rekindle.domain.errors import Refused

_MARK = "# written by `rekindle dialects install`"

COMMANDS = {
    "list": Entry("rekindle.cli.commands.dialects:list_dialects", "List the dialects: the commands of other systems."),
    "install": Entry("rekindle.cli.commands.dialects:install", "Write an executable for each dialect into DIR."),
}


@click.group(cls=LazyGroup, entries=COMMANDS)
def dialects() -> None:
    """List and install the commands of other systems.

    \b
    Example:
      rekindle dialects list
      rekindle dialects install ~/bin
    """


@click.command("list")
@json_option
def list_dialects(as_json: bool) -> None:
    """List the dialects: the commands of other systems.

    \b
    Example:
      rekindle dialects list
    """
    if as_json:
        json_output.emit({"dialects": [{"name": name, "about": entry.about} for name, entry in DIALECTS.items()]})
        return
    for name, entry in DIALECTS.items():
        click.echo(f"{name:10} {entry.about}")


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@json_option
def install(directory: Path, as_json: bool) -> None:
    """Write an executable for each dialect into DIR.

    With DIR in $PATH the commands in the documentation of other systems run as written. Files that this command did
    not write are never overwritten: if DIR has one, nothing is written.

    \b
    Example:
      rekindle dialects install ~/bin
    """
    paths = {name: directory / name for name in DIALECTS}
    taken = [path for path in paths.values() if os.path.lexists(path) and not _ours(path)]
    if taken:
        names = ", ".join(str(path) for path in taken)
        raise Refused(f"not written by rekindle, and kept: {names}", hint="choose another folder; nothing was written")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, path in paths.items():
            _write(path, name)
    except OSError as error:
        raise Refused(f"cannot write to {directory}: {error.strerror}", hint="choose another folder") from error
    if as_json:
        json_output.emit({"written": [str(path) for path in paths.values()]})
        return
    for path in paths.values():
        click.echo(str(path))


def _ours(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and _MARK.encode() in path.read_bytes()[:500]


def _write(path: Path, name: str) -> None:
    python = shlex.quote(sys.executable)
    path.write_text(f'#!/bin/sh\n{_MARK}\nexec {python} -m rekindle {name} "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
