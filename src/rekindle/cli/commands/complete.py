"""`rekindle complete`: record jobs as completed, with results from elsewhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from rekindle.cli.options import check_text, json_option
from rekindle.cli.output import json_output
from rekindle.cli.output.file_progress import reading_progress
from rekindle.cli.output.plans import FIRST, draw_changed, draw_refused
from rekindle.cli.output.workflow_notes import note_other_folders
from rekindle.cli.selection_options import required_selection, selection_options
from rekindle.cli.sessions import reconciled
from rekindle.domain.errors import PlanRefused, UsageError
from rekindle.engine.queries import workflow_queries
from rekindle.engine.rerun import complete as engine
from rekindle.presentation import batch_documents, controls, documents, words

if TYPE_CHECKING:
    from rekindle.engine.rerun.complete import CompletedByHand
    from rekindle.query.selections import SelectionFlags


def _read_outputs(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise UsageError(f"--outputs: {text!r} is not NAME=PATH", hint="as in --outputs data=/scratch/data.npz")
        if name in found:
            raise UsageError(f"--outputs: {name} is given twice")
        found[name] = path
    return found


def _read_result(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return json.dumps(json.loads(text))
    except ValueError as error:
        raise UsageError(
            f"--result: {text!r:.60} is not JSON: {error}", hint="as in --result '{\"score\": 7}', or '\"a text\"'"
        ) from error


@click.command()
@selection_options
@click.option(
    "--outputs",
    multiple=True,
    metavar="NAME=PATH",
    callback=_read_outputs,
    help="Copy the file or folder at PATH to where the one selected job declares its output NAME. Repeatable.",
)
@click.option(
    "--result", metavar="JSON", callback=_read_result, help="Hand this value to the jobs that need the selected ones."
)
@click.option(
    "--note", metavar="TEXT", callback=check_text, help="Keep a note with the record: where results come from."
)
@click.option("--dry-run", is_flag=True, help="Show what would be recorded and copied, and change nothing.")
@click.option("-v", "--verbose", is_flag=True, help="Show every row of a long list.")
@json_option
def complete(
    flags: SelectionFlags,
    outputs: dict[str, str],
    result: str | None,
    note: str | None,
    dry_run: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Record a SELECTION as completed, with results from elsewhere.

    Each job gets an attempt with the files as they are: its outputs, and the inputs that it is compared with from now
    on. Nothing runs but the jobs that need these. A job whose declared outputs are not there is refused, and so is a
    running one. `rekindle undo` undoes the record.

    \b
    Example:
      rekindle complete prepare --note 'made on the cluster'
      rekindle complete prepare --outputs data=/scratch/data.npz --dry-run
    """
    selection = required_selection(flags, "complete", "-s failed")
    options = engine.CompleteOptions(outputs, result, note, dry_run)
    request = {"selection": flags.typed(), "by": engine.user_name()}
    with reconciled() as session:
        try:
            with reading_progress() as on_read:
                done = engine.complete(session, selection, request, options, on_read)
        except PlanRefused as refusal:
            note_other_folders(workflow_queries.owners(session, [one.id for one in refusal.refused]))
            refusal.document = documents.nothing_planned(refusal.refused) | {"completed": [], "copied": []}
            raise
        answered = [*done.plan.jobs.ids, *(job.id for job in done.plan.refused), *done.completed]
        note_other_folders(workflow_queries.owners(session, answered))
    if as_json:
        json_output.emit(batch_documents.completed(done))
    else:
        _print(done, None if verbose else FIRST, dry_run=dry_run)
    return 0


def _print(done: CompletedByHand, most: int | None, *, dry_run: bool) -> None:
    if done.plan.jobs:
        draw_changed(done.plan.jobs, most, "BEFORE")
    for source, target in done.copied:
        replaced = ", which is there already" if target in done.plan.overwrites else ""
        click.echo(f"{'copy' if dry_run else 'copied'} {words.one_line(source)} to {words.one_line(target)}{replaced}")
    if done.plan.refused:
        click.echo("\nrefused:")
        draw_refused(done.plan.refused, most)
    for text in done.plan.warnings:
        click.echo(f"warning: {words.one_line(text)}", err=True)
    if dry_run and done.plan.jobs:
        click.echo("a dry run: nothing is changed")
        return
    for line in controls.completed(done):
        click.echo(line)
