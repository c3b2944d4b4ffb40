"""`rekindle why`: explain whether jobs would run again, and why or why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from rekindle.cli.options import json_option
from rekindle.cli.output import json_output, terminal
from rekindle.cli.output.file_progress import reading_progress
from rekindle.cli.output.pages import limit_options, print_page_note
from rekindle.cli.output.workflow_notes import note_spec_changes
from rekindle.cli.selection_options import selection_options
from rekindle.cli.sessions import reconciled
from rekindle.domain.errors import UsageError
from rekindle.engine.queries import selections, workflow_queries
from rekindle.engine.queries.details import Explanations, explanations
from rekindle.engine.queries.job_queries import workflows_of
from rekindle.engine.results import PageRequest
from rekindle.presentation import attempts, job_documents, waits, words
from rekindle.presentation.explanations import explanation_lines, summary
from rekindle.query.selections import SelectionFlags, parse_selection
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from rekindle.domain.texts.name_sets import NameIndex
    from rekindle.engine.staleness.stale_jobs import Explanation

_FIRST = 20
"""Jobs, and reasons of one job, that are printed without -v."""

_HEADS = 3
"""Jobs with the same explanation that are named without -v."""


@click.command()
@selection_options
@click.option("-v", "--verbose", is_flag=True, help="Show every job and every reason.")
@limit_options
@json_option
def why(flags: SelectionFlags, verbose: bool, page: PageRequest | None, as_json: bool) -> None:
    """Explain whether jobs would run again, and why or why not.

    A job of the SELECTION is stale if a dependency of its last attempt has changed: its definition, the parameters and
    variables that it uses, the functions that it calls, its input files, the files that its commands name, the results
    of the jobs that it needs; or if its outputs are missing or changed. Files are compared by content. A job without
    anything to compare is unknown. Nothing is changed.

    A different interpreter, installed distribution or program is shown. It makes a job stale with --changed=all, or if
    the spec has `stale_on: [environment]`.

    A job that has not ended is explained by its open needs, holds, resources, retries and runners, or by the runner
    that has claimed it.

    \b
    Example:
      rekindle why train
      rekindle why -w sweep --changed
      rekindle why -w sweep --changed=all
    """
    selection = parse_selection(flags)
    if selection.empty:
        raise UsageError("say which jobs to explain", hint="for instance `rekindle why train`, -w WORKFLOW, or --all")
    with reconciled(looks=True) as session:
        with reading_progress() as on_read:
            every = selections.select(session, selection, on_read)
            jobs = page.of(every) if page else every
            found = explanations(session, jobs, on_read, strict=selection.changed == "all")
        ids = [one.job.id for one in found.jobs]
        workflows, index = workflows_of(session, ids), workflow_queries.name_index(session, ids)
        note_spec_changes(workflow_queries.owners(session, ids))
    if as_json:
        json_output.emit_rows("jobs", job_documents.explanations(found))
        return
    if not every:
        click.echo("nothing is stale" if selection.changed else "nothing selected")
    elif found.jobs:
        _draw(found, index, verbose, workflows)
    print_page_note(page or PageRequest(), len(jobs), len(every), "job")


def _draw(found: Explanations, index: NameIndex, verbose: bool, workflows: Sequence[int]) -> None:
    """Print jobs with the same explanation together. Of many jobs, leave out those that need no attention."""
    every = found.jobs
    if not verbose and len(every) > _FIRST:
        every = sorted(
            (one for one in every if one.word not in _QUIET or one.warnings), key=lambda one: one.word in _LAST
        )
    by_text: dict[tuple[str, ...], list[Explanation]] = {}
    for one in every:
        lines = explanation_lines(
            one, found, terminal_columns() - 2, most=None if verbose else _FIRST, paint=terminal.coloured
        )
        by_text.setdefault(tuple(lines), []).append(one)
    shown = 0
    for text, group in list(by_text.items())[: None if verbose else _FIRST]:
        _draw_heads(group, index, verbose)
        ids = attempts.id_ranges([one.job.id for one in group])
        for line in text:
            click.echo(f"  {terminal.change_line(line, 4).replace(waits.IDS, ids)}")
        if newest := _newest_error(group):
            click.echo(f"  {newest}")
        shown += len(group)
    if len(found.jobs) > 1:
        if shown < len(found.jobs):
            click.echo(f"… and {words.plural(len(found.jobs) - shown, 'more job')} (-v shows all)")
        click.echo(f"\n{summary(found.jobs)}")
    if any(one.word == "stale" and not one.forbidden for one in found.jobs):
        scope = f" -w {workflows[0]}" if len(workflows) == 1 else ""
        click.echo(f"again: rekindle rerun{scope} --changed --work")


def _newest_error(group: Sequence[Explanation]) -> str:
    """Return the error of the newest failed attempt of the jobs in one line."""
    failed = [one.failed for one in group if one.failed is not None]
    error = attempts.error(max(failed, key=lambda one: one.id)) if failed else ""
    return words.cut(f"e.g. {error}" if error and len(group) > 1 else error, terminal_columns() - 2)


def _draw_heads(group: Sequence[Explanation], index: NameIndex, verbose: bool) -> None:
    states = {one.job.state.label for one in group}
    if not verbose and len(group) > _HEADS + 1 and len(states) == 1:
        from rekindle.presentation.jobs import common_names

        tail = f" ×{len(group):,}  {states.pop()}"
        common = common_names([one.job.name for one in group], terminal_columns() - len(tail), index)
        if common is not None:
            click.echo(f"{common}{tail.rpartition(' ')[0]} {terminal.coloured(group[0].job.state.label)}")
            return
    heads = [
        (f"{one.job.id} {words.one_line(one.job.name)}", one.job.state.label)
        for one in (group if verbose or len(group) <= _HEADS + 1 else group[:_HEADS])
    ]
    for head, state in heads:
        cut = words.cut(head, terminal_columns() - len(state) - 2, "middle")
        click.echo(f"{cut}  {terminal.coloured(state)}")
    if len(heads) < len(group):
        click.echo(f"… and {len(group) - len(heads):,} more (-v names them)")


_QUIET = ("current", "unknown", "upstream", "retired")
_LAST = ("new", "reset")
"""Of many jobs, these are printed after the stale, failed and running ones."""
