"""What a revision changes, for people: names and numbers of jobs, fields before and after, commands line by line."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from rekindle.cli.showing import drawing
from rekindle.domain.changes.differences import Difference
from rekindle.domain.changes.revisions import JobsOf, RevisionDiff, Rewired
from rekindle.domain.rerunning.rerun import ReasonKind, RerunPlan
from rekindle.domain.states import State
from rekindle.domain.texts.quantities import format_size
from rekindle.domain.texts.values import NOT_SET, change_text, value_text
from rekindle.engine.results import Preview, Submitted

FIRST = 20
"""So many groups of jobs, parameters or edges are shown without -v."""

_FEW = 5  # parameters that are named in one line

_MADE_BY_KINDS = ((ReasonKind.ADDED, "added"), (ReasonKind.RETIRED, "left out"), (ReasonKind.REDEFINED, "changed"))


def draw_diff(diff: RevisionDiff, *, verbose: bool) -> None:
    """Everything that differs; jobs by the template that they are made from, each by name with `verbose`."""
    if diff == RevisionDiff():
        click.echo("  no job, parameter or edge differs")
        return
    most = None if verbose else FIRST
    for one in diff.params[:most]:
        click.echo(_cut(f"  {parameter_change(one)}"))
    _more(len(diff.params), most, "parameter")
    _draw_jobs("+", "green", diff.added, verbose)
    _draw_jobs("-", "red", diff.removed, verbose)
    for changed in diff.changed[:most]:
        _draw_jobs("~", "yellow", (JobsOf(changed.template, changed.jobs),), verbose)
        for field in changed.fields:
            _draw_field(field)
    _more(len(diff.changed), most, "kind of change")
    for edge in diff.edges[:most]:
        for told in _edges(edge):
            click.echo(click.style(_cut(f"  > {told}"), fg="cyan"))
        if verbose:
            for sign, pairs in (("+", edge.gained), ("-", edge.lost)):
                for parent, child in pairs:
                    click.echo(f"      {sign} {drawing.flat(child)} needs {drawing.flat(parent)}")
    _more(len(diff.edges), most, "change of needs")


def _draw_jobs(sign: str, colour: str, groups: Sequence[JobsOf], verbose: bool) -> None:
    for group in groups[: None if verbose else FIRST]:
        click.echo(click.style(_cut(f"  {sign} {_jobs(group.template, group.jobs)}"), fg=colour))
        if verbose and len(group.jobs) > 1:
            for job in group.jobs:
                click.echo(f"      {drawing.flat(job)}")
    _more(len(groups), None if verbose else FIRST, "kind of job")


def _jobs(template: str, jobs: Sequence[str]) -> str:
    """`900 jobs made from `train``, or the name of a single one."""
    if len(jobs) == 1:
        return drawing.flat(jobs[0])
    return f"{drawing.many(len(jobs), 'job')} made from `{drawing.flat(template)}`"


def _draw_field(one: Difference) -> None:
    name = drawing.flat(one.field)
    if isinstance(one.a, str) and isinstance(one.b, str) and one.field.endswith(".run"):
        click.echo(f"      {name}")
        for line in text_diff(one.a, one.b):
            click.echo(f"        {line}")
        return
    click.echo(_cut(f"      {name}: {_value(one.field, one.a)} -> {_value(one.field, one.b)}"))


def text_diff(before: str, after: str) -> Iterable[str]:
    """A small unified diff of two texts, without headers, coloured; lines are kept whole."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=1, lineterm="")
    for line in list(lines)[2:]:
        if line.startswith("@@"):
            continue
        colour = {"-": "red", "+": "green"}.get(line[0])
        shown = f"{line[0]} {drawing.safe(line[1:])}"
        yield click.style(shown, fg=colour) if colour else shown


def _value(field: str, value: Any) -> str:
    if value is None:
        return NOT_SET
    if field == "resources.memory":
        return format_size(value)
    if field == "resources.time":
        return drawing.lasting(value)
    return drawing.flat(value_text(value))


def parameter_change(one: Difference) -> str:
    """`params.k: 1 -> 5`."""
    return f"params.{drawing.flat(one.field)}: {drawing.flat(change_text(one.a, one.b, one.not_set))}"


def _edges(edge: Rewired) -> Iterable[str]:
    """`report needs 3 more of `train``, `fit no longer needs clean`."""
    for pairs, more in ((edge.gained, True), (edge.lost, False)):
        if not pairs:
            continue
        children, parents = ({pair[at]: None for pair in pairs} for at in (1, 0))
        who, need = _jobs(edge.template, list(children)), "needs" if len(children) == 1 else "need"
        if len(parents) > 1:
            yield f"{who} {need} {len(parents):,} {'more' if more else 'less'} of `{drawing.flat(edge.needs)}`"
        else:
            yield f"{who} {'now' if more else 'no longer'} {need} {drawing.flat(next(iter(parents)))}"


def draw_preview(preview: Preview, *, verbose: bool) -> None:
    """What a submission would do."""
    one = preview.submitted
    name = drawing.flat(one.name)
    if one.created:
        click.echo(f"{name}: would be a new workflow, {drawing.many(one.jobs, 'job')}")
    elif one.unchanged:
        click.echo(f"{name}: workflow {one.workflow}, unchanged since revision {one.revision}: nothing to submit")
    else:
        click.echo(f"{name}: workflow {one.workflow}, would be revision {one.revision}")
        draw_diff(preview.diff, verbose=verbose)
        if one.params:
            click.echo(f"  {_users(one)}")
        if one.plan is not None and one.plan.jobs:
            click.echo(f"\n{summary(one.plan)}")
    tell_warnings(one)


def changed_parameters(one: Submitted) -> list[str]:
    """`params.k: 1 -> 5` and `3 jobs use it`: what a revision has changed, and how far that goes."""
    if not one.params:
        return []
    shown = ", ".join(parameter_change(each) for each in one.params[:_FEW])
    more = f", and {len(one.params) - _FEW:,} more" if len(one.params) > _FEW else ""
    return [shown + more, _users(one)]


def _users(one: Submitted) -> str:
    what = "it" if len(one.params) == 1 else "them"
    if not one.using:
        return f"no job uses {what}"
    return f"{drawing.many(one.using, 'job')} {'uses' if one.using == 1 else 'use'} {what}"


def tell_warnings(one: Submitted) -> None:
    """Report the warnings of a submission on stderr, and that the workflow has another file."""
    if one.replaces is not None:
        gone = one.replaces != "Python" and not Path(one.replaces).exists()
        was = f"{drawing.flat(one.replaces)}{', which is gone' if gone else ''}"
        click.echo(f"note: this is the next revision of {drawing.flat(one.name)}, which came from {was}", err=True)
    for text in one.warnings:
        click.echo(f"warning: {drawing.flat(text)}", err=True)


def rewired(plan: RerunPlan | None) -> list[str]:
    """`1 needs others`: how many jobs need others than before; nothing where none does."""
    jobs = plan.jobs if plan else ()
    number = sum(any(reason.kind is ReasonKind.REWIRED for reason in job.reasons) for job in jobs)
    return [f"{number:,} {'needs' if number == 1 else 'need'} others"] if number else []


def summary(plan: RerunPlan) -> str:
    """`2 added, 1 left out, 3 changed; then 2 ready, 1 waiting`: what a revision does to jobs, and what becomes of
    those that it brings or moves."""
    kinds = Counter(kind for job in plan.jobs for kind in {reason.kind for reason in job.reasons})
    parts = [f"{kinds[kind]:,} {word}" for kind, word in _MADE_BY_KINDS if kinds[kind]]
    parts += rewired(plan)
    moved: Counter[State] = Counter()
    for job in plan.jobs:
        here = {reason.kind for reason in job.reasons}
        if ReasonKind.RETIRED not in here and (ReasonKind.ADDED in here or job.before is not job.after):
            moved[job.after] += 1
    then = f"; then {drawing.counted(moved.items())}" if moved else ""
    return f"{', '.join(parts) or 'no job changed'}{then}"


def _cut(line: str) -> str:
    return drawing.cut(line, drawing.terminal_width())


def _more(number: int, most: int | None, thing: str) -> None:
    if most is not None and number > most:
        click.echo(f"  … and {number - most:,} more: {thing} (-v shows all)")
