"""Print a rerun's plan, ask whether to apply it, and report what was applied."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import click

from rekindle.cli.output import terminal
from rekindle.cli.output.terminal import Column
from rekindle.domain.errors import Refused, RefusedJob
from rekindle.engine.results import AppliedRerun, WorkOptions
from rekindle.presentation import plans, words
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from rekindle.domain.models import ReuseSource
    from rekindle.domain.rerun.plan import PlannedJob, PlannedJobs, RerunPlan
    from rekindle.domain.texts.name_sets import NameIndex
    from rekindle.engine.session import Session
    from rekindle.presentation.plans import TreeLine

Names = Callable[[], "NameIndex"]
"""Returns the names of all jobs of a plan's workflows."""

FIRST = 20
"""Rows of a plan or refusals that are printed without -v."""

_NAMED_FILES = 3
"""Overwritten files up to which they are named without -v."""


def draw_plan(
    plan: RerunPlan,
    children: Mapping[int, Sequence[int]],
    index: Names,
    *,
    verbose: bool,
    reuses: Mapping[int, ReuseSource] | None = None,
    workflows: Collection[str] = (),
) -> None:
    """Print a plan: its jobs as a tree, refusals, warnings, overwritten files, a summary and the expected cost.
    `children`: for each job, the jobs that need it. `index`: the names of all jobs. `reuses`: see PlannedRerun;
    `workflows`: the names of the plan's workflows."""
    most = None if verbose else FIRST
    retired = {job for one in plan.dynamic for job in one.retires}
    _draw_jobs(plan.jobs, children, index, retired, most)
    draw_section("kept", plans.kept_lines(plan.jobs), most, "way")
    draw_section("modified", plans.change_lines(plan.jobs), most, "change")
    for line in plans.repeat_lines(plan.jobs):
        click.echo(f"\nrepeated: {line}")
    if plan.refused:
        click.echo("\nrefused:")
        draw_refused(plan.refused, most)
    for warning in plan.warnings:
        click.echo(f"{click.style('warning:', fg='yellow')} {words.one_line(warning)}")
    if plan.overwrites:
        _draw_overwritten(plan, verbose)
    click.echo(f"\n{plans.summary(plan)}")
    for line in plans.reuse_lines(plan, reuses or {}, workflows):
        click.echo(line)
    if cost := plans.cost(plan):
        click.echo(cost)


def plan_index(session: Session, plan: RerunPlan) -> Names:
    """Return a function that returns the names of all jobs of the plan's workflows. They are read once, if at all."""
    from rekindle.engine.queries.workflow_queries import name_index

    return functools.cache(lambda: name_index(session, plan.jobs.ids))


def _draw_overwritten(plan: RerunPlan, verbose: bool) -> None:
    """Print the files that are overwritten: their number or, if there are few, their paths; with `verbose` one a
    line."""
    head = "saves and overwrites" if plan.jobs.total(lambda job: bool(job.saves)) else "overwrites"
    paths = [words.one_line(path) for path in plan.overwrites]
    if verbose:
        draw_section(head, paths, None, "file")
        return
    line = f"{head} {', '.join(paths[:_NAMED_FILES])}"
    if len(paths) > _NAMED_FILES or words.display_width(line) > terminal_columns():
        line = f"{head} {words.plural(len(paths), 'file')} (-v lists them)"
    click.echo(f"\n{line}")


def draw_section(head: str, lines: Sequence[str], most: int | None, thing: str) -> None:
    """Print the lines below a heading, `most` of them; nothing if there are none. `thing`: the noun of a line. Long
    lines are folded."""
    if not lines:
        return
    click.echo(f"\n{head}:")
    for line in lines[:most]:
        click.echo(terminal.folded(line, indent=2))
    _more(len(lines), most, thing)


def draw_revision(plan: RerunPlan, children: Mapping[int, Sequence[int]], index: Names, *, verbose: bool) -> None:
    """Print what a new revision did: its jobs as a tree, and a summary."""
    if plan.jobs:
        _draw_jobs(plan.jobs, children, index, (), None if verbose else FIRST)
        click.echo("")
    from rekindle.presentation import revisions

    click.echo(revisions.summary(plan, terminal.coloured))


def draw_changed(jobs: Sequence[PlannedJob], most: int | None, head: str) -> None:
    """Print each job that was accepted or completed, with its reasons under `head`."""
    columns = [Column("ID", right=True), Column("NAME", cut="middle", keep=True), Column(head, cut="end")]
    rows = [
        (str(job.id), job.name, "; ".join(plans.reason_text(reason) for reason in job.reasons)) for job in jobs[:most]
    ]
    click.echo(terminal.table(columns, rows))
    _more(len(jobs), most, "job")


def draw_refused(refused: Sequence[RefusedJob], most: int | None) -> None:
    """Print the refused jobs, those with the same reason together."""
    by_reason: dict[str, list[RefusedJob]] = {}
    for job in refused[:most]:
        by_reason.setdefault(job.why, []).append(job)
    for why, jobs in by_reason.items():
        for job in jobs:
            click.echo(f"  {words.cut(f'{job.id} {words.one_line(job.name)}', terminal_columns() - 2, 'middle')}")
        click.echo(terminal.folded(words.one_line(why), indent=4, further=4))
    _more(len(refused), most, "job")


def _draw_jobs(
    jobs: PlannedJobs,
    children: Mapping[int, Sequence[int]],
    index: Names,
    retired: Collection[int],
    most: int | None,
) -> None:
    def cells_of(job: PlannedJob) -> tuple[str, ...]:
        return plans.job_cells(job, job.id in retired)

    shown = list(islice(plans.tree_lines(jobs, children, None if most is None else cells_of), most))
    columns = [
        Column("ID"),
        Column("JOB", cut="middle", keep=True),
        Column("BEFORE"),
        Column("AFTER"),
        Column("START", cut="end", drop=True, optional=True),
        Column("WHY", cut="end"),
    ]
    click.echo(terminal.table(columns, [_cells(line, index, retired) for line in shown]))
    printed = sum(line.number for line in shown if not line.again)
    _more(len(jobs), printed, "job")


_OTHERS = 36
"""Columns of the narrowest other cells of a plan."""


def _cells(line: TreeLine, index: Names, retired: Collection[int]) -> tuple[str, ...]:
    if line.again:
        return ("", line.name, "", "", "", "see above")
    name, ids = plans.line_cells(line, terminal_columns() - _OTHERS, index)
    return (ids, name, *line.cells(retired))


def _more(number: int, most: int | None, thing: str) -> None:
    if most is not None and number > most:
        click.echo(f"  … and {words.plural(number - most, f'more {thing}')} (-v shows all)")


def confirm(yes: bool, document: Callable[[], Mapping[str, object]] | None) -> None:
    """Ask whether to apply the plan. Raise Refused if the answer is no, without a terminal, or if a `document` is to be
    printed; that error has the document."""
    if yes:
        return
    if document is not None:
        refusal = Refused("nothing is changed: --json does not ask", hint="add --yes to apply the plan")
        refusal.document = document()
        raise refusal
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused("nothing is changed: there is no terminal to ask on", hint="add --yes to apply the plan")
    if not click.confirm("Apply it?", err=True):
        raise Refused("nothing is changed")


def print_nothing(as_json: bool, text: str = "nothing selected") -> None:
    """Print that there is nothing to do, and why."""
    if as_json:
        from rekindle.cli.output import json_output
        from rekindle.presentation import documents

        json_output.emit(documents.nothing_planned())
    else:
        click.echo(text)


def finish_applied(
    session: Session,
    applied: AppliedRerun,
    workflows: list[int],
    and_work: bool,
    slots: int | None,
    as_json: bool,
    *,
    reuse: bool = True,
) -> int:
    """Print what was applied, and with `and_work` run the jobs. Return the exit code."""
    if not as_json:
        click.echo(plans.applied_text(applied, and_work=and_work))
    if not and_work:
        return 0
    from rekindle.cli.output.runs import work_with_summary

    only = str(workflows[0]) if len(workflows) == 1 else None
    options = WorkOptions(workflow=only, slots=slots, reuse=reuse)
    return work_with_summary(session, options, quiet=as_json).exit_code
