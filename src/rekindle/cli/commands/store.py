"""`rekindle store`: check whether a store is sound, copy it, and compact it."""

from __future__ import annotations

import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rekindle.cli.command_table import Entry
from rekindle.cli.groups import LazyGroup
from rekindle.cli.options import json_option
from rekindle.cli.output import json_output
from rekindle.domain.texts.quantities import format_size
from rekindle.engine.session import open_session, store_url
from rekindle.presentation import words
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from rekindle.store.inspection import Inspection

COMMANDS = {
    "check": Entry("rekindle.cli.commands.store:check", "Check whether the store is sound."),
    "copy": Entry("rekindle.cli.commands.store:copy", "Copy a store to another place or database."),
    "vacuum": Entry("rekindle.cli.commands.store:vacuum", "Give free pages of the database back to the file system."),
}


@click.group("store", cls=LazyGroup, entries=COMMANDS)
def store() -> None:
    """Check, copy or compact a store.

    \b
    Example:
      rekindle store check --deep
      rekindle store vacuum
      rekindle store copy .rekindle postgresql://db.example.org/science
    """


@click.command()
@click.option("--deep", is_flag=True, help="Also read every row, journal and saved output, and compare all indexes.")
@json_option
def check(deep: bool, as_json: bool) -> int:
    """Check whether the store is sound. Nothing is written.

    SQLite checks its file (a PostgreSQL server checks its own), and the states and counts of jobs are compared with
    those derived from their attempts and needs. With --deep every row is decoded, journals are read, and saved outputs
    are compared with their digests. A changed value that is still valid cannot be detected.

    Exit code: 0 sound, 1 not.

    \b
    Example:
      rekindle store check
      rekindle --store /data/.rekindle store check --deep --json
    """
    from rekindle.store.inspection import inspect, inspect_opened
    from rekindle.store.opening import is_in_postgres, rows_folder

    url = click.get_current_context().find_root().params.get("store")
    on_terminal = sys.stderr.isatty() and not as_json
    on_check = partial(_show_progress, on_terminal, "checking")
    location = store_url(url)
    if is_in_postgres(location):
        with open_session(location, create=False) as session:
            found = inspect_opened(session.store, deep=deep, progress=on_check)
    else:
        found = inspect(rows_folder(location), deep=deep, progress=on_check)
    if on_terminal:
        click.echo("\r\x1b[K", err=True, nl=False)
    if as_json:
        json_output.emit(
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


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@json_option
def copy(source: str, target: str, as_json: bool) -> None:
    """Copy a store to another place or database: rows, journals and attempts' folders.

    FROM and TO are folders or URLs; TO must not exist yet. Every row is compared with the original afterwards. FROM
    stays as it is; it is refused while a runner works on it. Paths beside the store stay relative to it: copy the
    projects along, unless TO is in the same folder. A store in PostgreSQL has its files, the spool, in ?spool=FOLDER
    of its URL, in $REKINDLE_SPOOL, or beside FROM in `.rekindle-postgres`.

    \b
    Example:
      rekindle store copy .rekindle postgresql://db.example.org/science
      rekindle store copy 'postgresql:///science?schema=sweep' /data/.rekindle
    """
    from rekindle.engine.running.reconcile import reconcile
    from rekindle.store.copying import copy_store
    from rekindle.store.opening import open_store

    on_terminal = sys.stderr.isatty() and not as_json
    with open_session(source, create=False) as session:
        reconcile(session)
        spool = Path(session.store.folder).parent / ".rekindle-postgres"
        with closing(open_store(target, create=True, spool=spool)) as made:
            found = copy_store(session.store, made, partial(_show_progress, on_terminal, "copying"))
    if on_terminal:
        click.echo("\r\x1b[K", err=True, nl=False)
    if as_json:
        json_output.emit({"store": made.name, "rows": found.rows, "file_bytes": found.file_bytes})
        return
    rows = words.plural(sum(found.rows.values()), "row")
    click.echo(f"copied {rows} and {format_size(found.file_bytes)} of files to {made.name}; all rows are equal")


@click.command()
@json_option
def vacuum(as_json: bool) -> None:
    """Give free pages of the database back to the file system.

    Refused while a runner works on the store: it could not write meanwhile. SQLite rewrites its file, which needs
    room for a second one; PostgreSQL rewrites each table. Files that an interrupted `rekindle prune` has left are
    removed first.

    \b
    Example:
      rekindle store vacuum
      rekindle store vacuum --json
    """
    from rekindle.cli.sessions import reconciled
    from rekindle.engine.retention.vacuum import vacuum_store

    with reconciled() as session:
        before, after = vacuum_store(session)
        name = session.store.name
    if as_json:
        json_output.emit({"store": name, "before": before, "after": after})
        return
    click.echo(f"{name}: {format_size(after)}, before {format_size(before)}")


def _show_progress(on_terminal: bool, act: str, what: str) -> None:
    if on_terminal:
        click.echo(f"\r\x1b[K{words.cut(f'{act} {what}', terminal_columns() - 1)}", err=True, nl=False)


def _show(found: Inspection) -> None:
    """Print what was checked, or each problem with a hint."""
    checked = ", ".join(words.plural(number, thing.removesuffix("s")) for thing, number in found.checked.items())
    if not found.problems:
        more = "" if found.deep else "; rows, journals and saved outputs: --deep"
        click.echo(f"the store is sound: {checked} (version {found.version}){more}")
        return
    for one in found.problems:
        click.echo(f"{words.one_line(one.text)}")
    state = "has files of killed imports" if {one.kind for one in found.problems} == {"import"} else "is damaged"
    click.echo(f"the store {found.folder} {state}: {words.plural(len(found.problems), 'problem')}")
    for kind, hint in {one.kind: one.hint for one in found.problems}.items():
        click.echo(f"  {kind}: {hint}")
