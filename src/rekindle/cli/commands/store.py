"""`rekindle store`."""

from __future__ import annotations

import sys

import click

from rekindle.cli.lazy import Entry, LazyGroup
from rekindle.cli.options import json_option
from rekindle.cli.showing import drawing, shapes
from rekindle.engine.session import store_url
from rekindle.store.inspection import Inspection, inspect
from rekindle.store.opening import folder_of

COMMANDS = {"check": Entry("rekindle.cli.commands.store:check", "Check whether the store is sound.")}


@click.group("store", cls=LazyGroup, entries=COMMANDS)
def store() -> None:
    """Check the store.

    \b
    Example:
      rekindle store check --deep
    """


@click.command()
@click.option("--deep", is_flag=True, help="Also read every row, journal and saved output, and compare all indexes.")
@json_option
def check(deep: bool, as_json: bool) -> int:
    """Check whether the store is sound. Nothing is written.

    The database's file is checked by SQLite, and the states and counts of jobs are compared with what follows from
    their attempts and needs. With --deep every row is decoded, journals are read, and saved outputs are compared with
    their digests. A changed value that still is a valid one cannot be recognised.

    Exit code: 0 sound, 1 not.

    \b
    Example:
      rekindle store check
      rekindle --store /data/.rekindle store check --deep --json
    """
    url = click.get_current_context().find_root().params.get("store")
    terminal = sys.stderr.isatty() and not as_json

    def tell(what: str) -> None:
        if terminal:
            click.echo(f"\r\x1b[K{drawing.cut(f'checking {what}', drawing.terminal_width() - 1)}", err=True, nl=False)

    found = inspect(folder_of(store_url(url)), deep=deep, tell=tell)
    if terminal:
        click.echo("\r\x1b[K", err=True, nl=False)
    if as_json:
        shapes.emit(
            {
                "store": found.folder,
                "version": found.version,
                "deep": deep,
                "sound": not found.problems,
                "checked": found.checked,
                "problems": [{"kind": one.kind, "text": one.text, "hint": one.hint} for one in found.problems],
            }
        )
    else:
        _show(found)
    return 1 if found.problems else 0


def _show(found: Inspection) -> None:
    """Print what was checked, or each problem with what to do."""
    checked = ", ".join(drawing.many(number, thing.removesuffix("s")) for thing, number in found.checked.items())
    if not found.problems:
        more = "" if found.deep else "; rows, journals and saved outputs: --deep"
        click.echo(f"the store is sound: {checked} (version {found.version}){more}")
        return
    for one in found.problems:
        click.echo(f"{drawing.flat(one.text)}")
    click.echo(f"the store {found.folder} is damaged: {drawing.many(len(found.problems), 'problem')}")
    for kind, hint in {one.kind: one.hint for one in found.problems}.items():
        click.echo(f"  {kind}: {hint}")
