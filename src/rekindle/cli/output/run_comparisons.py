"""Print where two workflows part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rekindle.cli.output import terminal
from rekindle.presentation import revisions, words
from rekindle.presentation.parted_jobs import parted_groups, summary_lines, workflow_name
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from rekindle.engine.queries.run_comparison import RunComparison

_FIRST = 10
"""Groups of jobs, and lines of a group, that are printed without -v."""


def draw_comparison(found: RunComparison, *, verbose: bool) -> None:
    """Print the jobs at which two workflows part, those of one template together, and count the others."""
    most = None if verbose else _FIRST
    click.echo(_cut(f"{workflow_name(found.a)} -> {workflow_name(found.b)}"))
    groups = parted_groups(found)
    for template, lines, jobs in groups[:most]:
        names = [one.name for one in jobs]
        click.echo(click.style(_cut(f"  ~ {revisions.jobs_text(template, names)}"), fg="yellow"))
        for line in lines[:most]:
            click.echo(_cut(f"      {terminal.change_line(line)}"))
        if verbose and len(names) > 1:
            for name in names:
                click.echo(f"      {words.one_line(name)}")
    if most is not None and len(groups) > most:
        click.echo(f"  … and {words.plural(len(groups) - most, 'more group')} of jobs (-v shows all)")
    for line in summary_lines(found):
        click.echo(_cut(line))
    if verbose:
        for one in found.parted:
            if not one.is_first:
                click.echo(_cut(f"  > {words.one_line(one.name)}: other results of {', '.join(one.upstream)}"))
        for sign, several in (("-", found.only_a), ("+", found.only_b)):
            for name in several:
                click.echo(_cut(f"  {sign} {words.one_line(name)}"))


def _cut(text: str) -> str:
    return terminal.cut_painted(text, terminal_columns())
