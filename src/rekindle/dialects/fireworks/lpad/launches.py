"""`lpad get_launchdir` and `lpad track_fws`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from rekindle.dialects.fireworks.lpad.options import firework_options
from rekindle.dialects.fireworks.lpad.selecting import Asked, fireworks_meant
from rekindle.dialects.fireworks.lpad.typed import Command, Several
from rekindle.dialects.fireworks.shown import firework_documents
from rekindle.dialects.opening import opened
from rekindle.domain.errors import NotFound
from rekindle.engine.looking import look

_LINES = 25


@click.command(cls=Command)
@click.argument("fw_id", type=int)
@click.option("--launch_idx", type=int, default=-1, metavar="N", help="Which launch. [default: -1, the latest]")
def get_launchdir(fw_id: int, launch_idx: int) -> None:
    """Print the folder of a firework's latest launch.

    \b
    Example:
      rekindle lpad get_launchdir 3
      cd $(rekindle lpad get_launchdir 3)
    """
    with opened() as session:
        if not look.jobs(session, [fw_id]):
            raise NotFound(f"there is no firework {fw_id}", hint="`lpad get_fws` lists them")
        launches = look.attempts(session, [fw_id], live=True)
    if launches and not -len(launches) <= launch_idx < len(launches):
        raise NotFound(f"firework {fw_id} has no launch {launch_idx}: it has {len(launches)}", hint="-1 is the latest")
    click.echo(str(launches[launch_idx].folder if launches else None))


@click.command(cls=Command)
@firework_options
@click.option("-c", "--include", cls=Several, metavar="FILES", help="Only these files.")
@click.option("-x", "--exclude", cls=Several, metavar="FILES", help="Not these files.")
@click.option("-m", "--max", "most", type=click.IntRange(min=0), default=0, metavar="N", help="So many at the most.")
def track_fws(include: tuple[str, ...], exclude: tuple[str, ...], most: int, **words: Any) -> None:
    """Print what trackers say of fireworks: the last lines of the files that `_trackers` of their specs name.

    \b
    Example:
      rekindle lpad track_fws -s RUNNING -c error.log
    """
    told = []
    with opened() as session:
        ids = fireworks_meant(session, Asked(**words, most=most), "track")
        for one in firework_documents(session, ids):
            lines = list(_tracked(one, include, exclude))
            if lines:
                told.append("\n".join([f"# FW id: {one['fw_id']}, FW name={one['name']!r}", *lines]))
    if told:
        click.echo("\n>------<\n".join(told))


def _tracked(one: Mapping[str, Any], include: tuple[str, ...], exclude: tuple[str, ...]) -> Iterator[str]:
    for launch in one.get("launches", ()):
        for tracker in launch["trackers"]:
            name = tracker["filename"]
            if (include and name not in include) or name in exclude:
                continue
            lines = _tail(Path(launch["launch_dir"] or ".", name), int(tracker.get("nlines", _LINES)))
            yield f"## Launch id: {launch['launch_id']}\n### Filename: {name}\n{lines}"


def _tail(path: Path, lines: int) -> str:
    try:
        with path.open(errors="replace") as file:
            return "".join(deque(file, lines)).rstrip("\n")
    except OSError:
        return ""
