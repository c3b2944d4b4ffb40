"""Print how revisions differ, and what a submission would do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rekindle.cli.output import terminal
from rekindle.domain.changes.revisions import RevisionDiff, TemplateJobs
from rekindle.presentation import revisions, words
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from rekindle.domain.changes.differences import Difference
    from rekindle.engine.results import SubmitPreview, SubmitResult

FIRST = 20
"""Groups of jobs, parameters or edges that are printed without -v."""


def draw_diff(diff: RevisionDiff, *, verbose: bool) -> None:
    """Print all differences: jobs by template, and with `verbose` by name."""
    if diff == RevisionDiff():
        click.echo("  no job, parameter or edge differs")
        return
    most = None if verbose else FIRST
    for one in diff.params[:most]:
        click.echo(_cut(f"  {revisions.parameter_change(one)}"))
    _more(len(diff.params), most, "parameter")
    _draw_jobs("+", "green", diff.added, verbose)
    _draw_jobs("-", "red", diff.removed, verbose)
    for changed in diff.changed[:most]:
        _draw_jobs("~", "yellow", (TemplateJobs(changed.template, changed.jobs),), verbose)
        for field in changed.fields:
            _draw_field(field)
    _more(len(diff.changed), most, "kind of change")
    for edge in diff.edges[:most]:
        for line in revisions.edge_lines(edge):
            click.echo(click.style(_cut(f"  > {line}"), fg="cyan"))
        if verbose:
            for sign, pairs in (("+", edge.gained), ("-", edge.lost)):
                for parent, child in pairs:
                    click.echo(f"      {sign} {words.one_line(child)} needs {words.one_line(parent)}")
    _more(len(diff.edges), most, "change of needs")


def _draw_jobs(sign: str, colour: str, groups: Sequence[TemplateJobs], verbose: bool) -> None:
    for group in groups[: None if verbose else FIRST]:
        click.echo(click.style(_cut(f"  {sign} {revisions.jobs_text(group.template, group.jobs)}"), fg=colour))
        if verbose and len(group.jobs) > 1:
            for job in group.jobs:
                click.echo(f"      {words.one_line(job)}")
    _more(len(groups), None if verbose else FIRST, "kind of job")


def _draw_field(one: Difference) -> None:
    name = words.one_line(one.field)
    if isinstance(one.a, str) and isinstance(one.b, str) and one.field.endswith(".run"):
        click.echo(f"      {name}")
        for line in revisions.text_diff(one.a, one.b):
            click.echo(f"        {terminal.change_line(line)}")
        return
    click.echo(
        _cut(f"      {name}: {revisions.field_value(one.field, one.a)} -> {revisions.field_value(one.field, one.b)}")
    )


def draw_preview(preview: SubmitPreview, *, verbose: bool) -> None:
    """Print what a submission would do."""
    one = preview.submitted
    name = words.one_line(one.name)
    if one.created:
        click.echo(f"{name}: would be a new workflow, {words.plural(one.jobs, 'job')}")
    elif one.unchanged:
        click.echo(f"{name}: workflow {one.workflow}, unchanged since revision {one.revision}: nothing to submit")
    else:
        click.echo(f"{name}: workflow {one.workflow}, would be revision {one.revision}")
        draw_diff(preview.diff, verbose=verbose)
        if one.params:
            click.echo(f"  {revisions.parameter_users(one)}")
        if one.plan is not None and one.plan.jobs:
            click.echo(f"\n{revisions.summary(one.plan, terminal.coloured)}")
    print_warnings(one)


def print_warnings(one: SubmitResult) -> None:
    """Print on stderr the warnings of a submission, and a note if the workflow came from another file."""
    if one.replaces is not None:
        gone = one.replaces != "Python" and not Path(one.replaces).exists()
        was = f"{words.one_line(one.replaces)}{', which is gone' if gone else ''}"
        click.echo(f"note: this is the next revision of {words.one_line(one.name)}, which came from {was}", err=True)
    for text in one.warnings:
        click.echo(f"warning: {words.one_line(text)}", err=True)


def _cut(line: str) -> str:
    return words.cut(line, terminal_columns())


def _more(number: int, most: int | None, thing: str) -> None:
    if most is not None and number > most:
        click.echo(f"  … and {number - most:,} more: {thing} (-v shows all)")
