"""Print where two workflows part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from rekindle.cli.output import terminal
from rekindle.presentation import reasons, revisions, words
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.engine.queries.run_comparison import PartedJob, RunComparison

_FIRST = 10
"""Groups of jobs, and lines of a group, that are printed without -v."""


def draw_comparison(found: RunComparison, *, verbose: bool) -> None:
    """Print the jobs at which two workflows part, those of one template together, and count the others."""
    most = None if verbose else _FIRST
    click.echo(_cut(f"{_name(found.a)} -> {_name(found.b)}"))
    groups: dict[tuple[str, ...], list[str]] = {}
    for one in found.first:
        groups.setdefault((one.name.partition("[")[0], *_lines(one)), []).append(one.name)
    for (template, *lines), names in list(groups.items())[:most]:
        click.echo(click.style(_cut(f"  ~ {revisions.jobs_text(template, names)}"), fg="yellow"))
        for line in lines[:most]:
            click.echo(_cut(f"      {terminal.change_line(line)}"))
        if verbose and len(names) > 1:
            for name in names:
                click.echo(f"      {words.one_line(name)}")
    if most is not None and len(groups) > most:
        click.echo(f"  … and {words.plural(len(groups) - most, 'more group')} of jobs (-v shows all)")
    for line in _summary(found):
        click.echo(_cut(line))
    if verbose:
        for one in found.parted:
            if not one.is_first:
                click.echo(_cut(f"  > {words.one_line(one.name)}: other results of {', '.join(one.upstream)}"))
        for sign, several in (("-", found.only_a), ("+", found.only_b)):
            for name in several:
                click.echo(_cut(f"  {sign} {words.one_line(name)}"))


def _lines(one: PartedJob) -> Iterator[str]:
    """Yield why the attempts of a job differ, or that nothing explains it."""
    for reason in one.reasons:
        yield from reasons.full(reason)
    before, after = one.states
    if before is not after:
        yield f"{before.label} -> {after.label}"
    if not one.reasons:
        ended = "ended otherwise" if before is not after else f"made other {', '.join(one.results)}"
        yield f"{ended} with the same definition, inputs and code"


def _summary(found: RunComparison) -> Iterator[str]:
    first, below = len(found.first), len(found.parted) - len(found.first)
    if not found.parted:
        yield f"  {words.plural(found.same, 'job')} compared: no difference"
    else:
        rest = f", {words.plural(below, 'job')} below differ with them" if below else ""
        yield f"they part at {words.plural(first, 'job')}{rest}, {found.same:,} are the same"
    for names, where in ((found.only_a, found.a), (found.only_b, found.b)):
        if names:
            yield f"only in {_name(where)}: {words.plural(len(names), 'job')}"
    if found.not_compared:
        yield f"not compared: {words.plural(len(found.not_compared), 'job')} that did not end in both"


def _name(one: Workflow) -> str:
    return f"{words.one_line(one.name)} (workflow {one.id})"


def _cut(text: str) -> str:
    return terminal.cut_painted(text, terminal_columns())
