"""Revisions and submissions compared: as text, and as JSON."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rekindle.cli.output import json_output, terminal
from rekindle.domain.changes.revisions import RevisionDiff, RewiredJobs, TemplateJobs
from rekindle.domain.rerun.plan import ReasonKind, RerunPlan
from rekindle.domain.texts.display import NOT_SET, format_change, format_value
from rekindle.domain.texts.quantities import format_size
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from rekindle.domain.changes.differences import Difference
    from rekindle.domain.states import State
    from rekindle.engine.results import SubmitPreview, SubmitResult

FIRST = 20
"""Groups of jobs, parameters or edges that are printed without -v."""

_FEW = 5  # parameters that are named in one line

_MADE_BY_KINDS = ((ReasonKind.ADDED, "added"), (ReasonKind.RETIRED, "left out"), (ReasonKind.REDEFINED, "changed"))


def draw_diff(diff: RevisionDiff, *, verbose: bool) -> None:
    """Print all differences: jobs by template, and with `verbose` by name."""
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
        _draw_jobs("~", "yellow", (TemplateJobs(changed.template, changed.jobs),), verbose)
        for field in changed.fields:
            _draw_field(field)
    _more(len(diff.changed), most, "kind of change")
    for edge in diff.edges[:most]:
        for line in _edge_lines(edge):
            click.echo(click.style(_cut(f"  > {line}"), fg="cyan"))
        if verbose:
            for sign, pairs in (("+", edge.gained), ("-", edge.lost)):
                for parent, child in pairs:
                    click.echo(f"      {sign} {terminal.one_line(child)} needs {terminal.one_line(parent)}")
    _more(len(diff.edges), most, "change of needs")


def _draw_jobs(sign: str, colour: str, groups: Sequence[TemplateJobs], verbose: bool) -> None:
    for group in groups[: None if verbose else FIRST]:
        click.echo(click.style(_cut(f"  {sign} {_jobs(group.template, group.jobs)}"), fg=colour))
        if verbose and len(group.jobs) > 1:
            for job in group.jobs:
                click.echo(f"      {terminal.one_line(job)}")
    _more(len(groups), None if verbose else FIRST, "kind of job")


def _jobs(template: str, jobs: Sequence[str]) -> str:
    """Return `900 jobs made from `train``, or the name of a single job."""
    if len(jobs) == 1:
        return terminal.one_line(jobs[0])
    return f"{terminal.plural(len(jobs), 'job')} made from `{terminal.one_line(template)}`"


def _draw_field(one: Difference) -> None:
    name = terminal.one_line(one.field)
    if isinstance(one.a, str) and isinstance(one.b, str) and one.field.endswith(".run"):
        click.echo(f"      {name}")
        for line in text_diff(one.a, one.b):
            click.echo(f"        {line}")
        return
    click.echo(_cut(f"      {name}: {_value(one.field, one.a)} -> {_value(one.field, one.b)}"))


def text_diff(before: str, after: str) -> Iterable[str]:
    """Yield a coloured unified diff of two texts, without headers. Lines are not shortened."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=1, lineterm="")
    for line in list(lines)[2:]:
        if line.startswith("@@"):
            continue
        colour = {"-": "red", "+": "green"}.get(line[0])
        shown = f"{line[0]} {terminal.printable(line[1:])}"
        yield click.style(shown, fg=colour) if colour else shown


def _value(field: str, value: Any) -> str:
    if value is None:
        return NOT_SET
    if field == "resources.memory":
        return format_size(value)
    if field == "resources.time":
        return terminal.duration(value)
    return terminal.one_line(format_value(value))


def parameter_change(one: Difference) -> str:
    """Return `params.k: 1 -> 5`."""
    return f"params.{terminal.one_line(one.field)}: {terminal.one_line(format_change(one.a, one.b, one.not_set))}"


def _edge_lines(edge: RewiredJobs) -> Iterable[str]:
    """Yield `report needs 3 more of `train``, `fit no longer needs clean`."""
    for pairs, more in ((edge.gained, True), (edge.lost, False)):
        if not pairs:
            continue
        children, parents = ({pair[at]: None for pair in pairs} for at in (1, 0))
        who, need = _jobs(edge.template, list(children)), "needs" if len(children) == 1 else "need"
        if len(parents) > 1:
            yield f"{who} {need} {len(parents):,} {'more' if more else 'less'} of `{terminal.one_line(edge.needs)}`"
        else:
            yield f"{who} {'now' if more else 'no longer'} {need} {terminal.one_line(next(iter(parents)))}"


def draw_preview(preview: SubmitPreview, *, verbose: bool) -> None:
    """Print what a submission would do."""
    one = preview.submitted
    name = terminal.one_line(one.name)
    if one.created:
        click.echo(f"{name}: would be a new workflow, {terminal.plural(one.jobs, 'job')}")
    elif one.unchanged:
        click.echo(f"{name}: workflow {one.workflow}, unchanged since revision {one.revision}: nothing to submit")
    else:
        click.echo(f"{name}: workflow {one.workflow}, would be revision {one.revision}")
        draw_diff(preview.diff, verbose=verbose)
        if one.params:
            click.echo(f"  {_users(one)}")
        if one.plan is not None and one.plan.jobs:
            click.echo(f"\n{summary(one.plan)}")
    print_warnings(one)


def changed_parameters(one: SubmitResult) -> list[str]:
    """Return the changed parameters and their use: `params.k: 1 -> 5`, `3 jobs use it`."""
    if not one.params:
        return []
    shown = ", ".join(parameter_change(each) for each in one.params[:_FEW])
    more = f", and {len(one.params) - _FEW:,} more" if len(one.params) > _FEW else ""
    return [shown + more, _users(one)]


def _users(one: SubmitResult) -> str:
    what = "it" if len(one.params) == 1 else "them"
    if not one.using:
        return f"no job uses {what}"
    return f"{terminal.plural(one.using, 'job')} {'uses' if one.using == 1 else 'use'} {what}"


def print_warnings(one: SubmitResult) -> None:
    """Print on stderr the warnings of a submission, and a note if the workflow came from another file."""
    if one.replaces is not None:
        gone = one.replaces != "Python" and not Path(one.replaces).exists()
        was = f"{terminal.one_line(one.replaces)}{', which is gone' if gone else ''}"
        click.echo(f"note: this is the next revision of {terminal.one_line(one.name)}, which came from {was}", err=True)
    for text in one.warnings:
        click.echo(f"warning: {terminal.one_line(text)}", err=True)


def rewired_counts(plan: RerunPlan | None) -> list[str]:
    """Return how many jobs have changed needs: `1 needs others`; nothing without any."""
    jobs = plan.jobs if plan else ()
    number = sum(any(reason.kind is ReasonKind.REWIRED for reason in job.reasons) for job in jobs)
    return [f"{number:,} {'needs' if number == 1 else 'need'} others"] if number else []


def summary(plan: RerunPlan) -> str:
    """Return the changes of a revision, and the new states of the jobs that it adds or moves: `2 added, 1 left out,
    3 changed; then 2 ready, 1 waiting`."""
    kinds = Counter(kind for job in plan.jobs for kind in {reason.kind for reason in job.reasons})
    parts = [f"{kinds[kind]:,} {word}" for kind, word in _MADE_BY_KINDS if kinds[kind]]
    parts += rewired_counts(plan)
    moved: Counter[State] = Counter()
    for job in plan.jobs:
        here = {reason.kind for reason in job.reasons}
        if ReasonKind.RETIRED not in here and (ReasonKind.ADDED in here or job.before is not job.after):
            moved[job.after] += 1
    then = f"; then {terminal.state_counts(moved.items())}" if moved else ""
    return f"{', '.join(parts) or 'no job changed'}{then}"


def _cut(line: str) -> str:
    return terminal.cut(line, terminal_columns())


def _more(number: int, most: int | None, thing: str) -> None:
    if most is not None and number > most:
        click.echo(f"  … and {number - most:,} more: {thing} (-v shows all)")


def diff_json(one: RevisionDiff | None) -> dict[str, Any]:
    """Return the differences of two revisions; None: there is nothing to compare with."""
    diff = one or RevisionDiff()
    return {
        "added": [job for group in diff.added for job in group.jobs],
        "retired": [job for group in diff.removed for job in group.jobs],
        "changed": [job for group in diff.changed for job in group.jobs],
        "params": [_field_json(each) for each in diff.params],
        "changes": [
            {
                "template": group.template,
                "jobs": list(group.jobs),
                "fields": [_field_json(each) for each in group.fields],
            }
            for group in diff.changed
        ],
        "needs": [
            {
                "template": each.template,
                "needs": each.needs,
                "gained": [{"job": child, "needs": parent} for parent, child in each.gained],
                "lost": [{"job": child, "needs": parent} for parent, child in each.lost],
            }
            for each in diff.edges
        ],
    }


def _field_json(one: Difference) -> dict[str, Any]:
    absent = {} if one.not_set is None else {"not_set": one.not_set}
    return {"field": one.field, "before": one.a, "after": one.b, **absent}


def preview_json(one: SubmitPreview) -> dict[str, Any]:
    """Return what a submission would do."""
    done = one.submitted
    document = {**json_output.submitted(done), "rerun": None, "dry_run": True, "diff": diff_json(one.diff)}
    return {**document, "plan": None if done.plan is None else json_output.plan(done.plan, None)}
