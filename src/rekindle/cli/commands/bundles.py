"""`rekindle export` and `rekindle import`: a workflow in one file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from rekindle.cli.command_table import IMPORTS
from rekindle.cli.groups import LazyGroup
from rekindle.cli.options import check_text, json_option
from rekindle.cli.output import json_output
from rekindle.cli.sessions import opened, reconciled
from rekindle.domain.errors import NotFound, UsageError
from rekindle.domain.texts.display import closest_word
from rekindle.domain.texts.quantities import format_size
from rekindle.engine.session import Session, open_session
from rekindle.presentation import words
from rekindle.presentation.bundles import export_document, import_document
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from rekindle.engine.bundles.exporting import ExportReport, ShowProgress
    from rekindle.engine.bundles.importing import ImportReport

_BUNDLE = "bundle"
"""The command of the group that takes what no other command of it takes."""


@click.command()
@click.argument("workflow", metavar="WF")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write here.")
@click.option("--inputs", is_flag=True, help="Add the files that jobs have read, and the spec file.")
@click.option("--outputs", is_flag=True, help="Add the files that jobs have written, kept ones and their folders too.")
@click.option("--no-logs", is_flag=True, help="Leave out what jobs have printed.")
@click.option("--dry-run", is_flag=True, help="Show what the bundle would contain, and write nothing.")
@json_option
def export(
    workflow: str, output: Path | None, inputs: bool, outputs: bool, no_logs: bool, dry_run: bool, as_json: bool
) -> None:
    """Write a workflow with its history as one file, a bundle.

    It has the revisions, jobs, attempts, steps, errors, reruns, fingerprints and events of the workflow as they are at
    one moment, and logs. What has not ended by then is canceled in the bundle. It is a zip file with RO-Crate metadata;
    the same history gives the same bytes. `rekindle import FILE` reads it.

    Environment variables, parameters, commands, paths and hooks are in it as they are stored, host names too. Tokens of
    the HTTP interface and other workflows are not.

    \b
    Example:
      rekindle export sweep -o sweep.rekindle
      rekindle export sweep -o sweep.rekindle --inputs --outputs
      rekindle export sweep --outputs --dry-run
    """
    from rekindle.engine.bundles.exporting import ExportOptions, export_workflow

    if output is None and not dry_run:
        raise UsageError("-o FILE is missing", hint=f"rekindle export {shlex.quote(workflow)} -o FILE")
    options = ExportOptions(logs=not no_logs, inputs=inputs, outputs=outputs)
    with reconciled(looks=True) as session, _progress("exporting", as_json) as show:
        report = export_workflow(session, workflow, None if dry_run else output, options, show)
    if as_json:
        json_output.emit(export_document(report))
        return
    for line in _export_lines(report):
        click.echo(line)


def _export_lines(report: ExportReport) -> Iterator[str]:
    contents = [
        words.plural(report.rows["job"], "job"),
        words.plural(report.rows["attempt"], "attempt"),
        f"{words.plural(report.attempt_files, 'file')} of attempts ({format_size(report.attempt_bytes)})",
    ]
    if report.project_files:
        contents.append(f"{words.plural(report.project_files, 'file')} ({format_size(report.project_bytes)})")
    if report.path is None:
        yield f"would write {words.one_line(report.name)}: {', '.join(contents)}"
    else:
        yield f"wrote {words.one_line(report.path)} ({format_size(report.bytes)}): {', '.join(contents)}"
    if report.left_out:
        verb = "is" if report.left_out == 1 else "are"
        yield f"{words.plural(report.left_out, 'file')} {verb} not in it:"
        yield from (f"  {words.one_line(one.path)}: {one.why}" for one in report.first_left_out)
        if report.left_out > len(report.first_left_out):
            yield f"  … and {report.left_out - len(report.first_left_out)} more"


class _Imports(LazyGroup):
    """Commands that import, and without one of their names the import of a bundle."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments as click does, those of a bundle too."""
        if args and args[0] not in (*self.entries, "-h", "--help"):
            misspelt = closest_word(args[0], self.entries) is not None and not Path(args[0]).exists()
            args = args if misspelt else [_BUNDLE, *args]
        return super().parse_args(ctx, args)


@click.group("import", cls=_Imports, entries=IMPORTS)
def import_history() -> None:
    """Import a workflow from a bundle, or from another system. Its history comes with it.

    `rekindle import FILE` imports a bundle that `rekindle export` wrote; `rekindle import bundle --help` tells more.

    \b
    Example:
      rekindle import sweep.rekindle
      rekindle import sweep.rekindle --as colleague-sweep --into ~/sweep
      rekindle import fireworks dump
    """


@click.command(_BUNDLE)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "name", metavar="NAME", callback=check_text, help="Name the workflow so in this store.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The workflow's folder: files are unpacked here. [default: a folder with its name beside the store]",
)
@click.option("--dry-run", is_flag=True, help="Verify the bundle, show what it contains, and import nothing.")
@json_option
def import_bundle(file: Path, name: str | None, into: Path | None, dry_run: bool, as_json: bool) -> None:
    """Import a bundle that `rekindle export` wrote: `rekindle import FILE`.

    The workflow is archived: its history, logs, failures and comparisons can be read, and no runner takes its jobs.
    `rekindle workflows archive WF --undo` makes it one that runs; its commands come from whoever wrote the bundle.

    Each byte is compared with its digest first; all rows are written, or none. No file is written outside of DIR, and
    none over another one.

    \b
    Example:
      rekindle import sweep.rekindle
      rekindle import sweep.rekindle --dry-run
      rekindle import sweep.rekindle --as colleague-sweep --into ~/sweep
    """
    from rekindle.engine.bundles.importing import Bundle, folder_name, import_bundle

    with Bundle(file) as bundle, _progress("importing", as_json) as show, _store(dry_run) as (session, temporary):
        if temporary:
            into = into or Path(folder_name(name or bundle.manifest.workflow))
        report = import_bundle(session, bundle, name=name, into=into, dry_run=dry_run, progress=show)
    if as_json:
        json_output.emit(import_document(report))
        return
    for line in _import_lines(report):
        click.echo(line)


def _import_lines(report: ImportReport) -> Iterator[str]:
    name = words.one_line(report.name)
    contents = f"{words.plural(report.rows['job'], 'job')}, {words.plural(report.rows['attempt'], 'attempt')}"
    contents += f", {words.plural(report.attempt_files, 'file')} of attempts"
    if report.workflow is None:
        yield f"would import {name}: {contents}"
    else:
        yield f"imported workflow {report.workflow} {name}: {contents}; it is archived"
    if report.project_files:
        there = f", {report.present} of them there already" if report.present else ""
        files = words.plural(report.project_files, "file")
        yield f"{files} in {words.one_line(report.directory)}{there}"
    if report.workflow is not None:
        yield f"look: rekindle workflows show {report.workflow}"
        yield f"run it: rekindle workflows archive {report.workflow} --undo"


@contextmanager
def _store(dry_run: bool) -> Iterator[tuple[Session, bool]]:
    """Open the store, and make it if there is none; for a dry run, one in a temporary folder. Yield the session, and
    whether it is temporary."""
    try:
        session = opened(create=not dry_run)
    except NotFound:
        if not dry_run:
            raise
        with TemporaryDirectory(prefix="rekindle-") as folder, open_session(folder) as made:
            yield made, True
        return
    with session:
        yield session, False


@contextmanager
def _progress(act: str, as_json: bool) -> Iterator[ShowProgress]:
    """Yield what shows on a terminal what is read or written."""
    on_terminal = sys.stderr.isatty() and not as_json

    def show(what: str) -> None:
        if on_terminal:
            click.echo(f"\r\x1b[K{words.cut(f'{act} {what}', terminal_columns() - 1)}", err=True, nl=False)

    try:
        yield show
    finally:
        if on_terminal:
            click.echo("\r\x1b[K", err=True, nl=False)
