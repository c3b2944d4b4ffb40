"""A rerun's plan on the screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from rich.text import Text

from rekindle.presentation import plans, words
from rekindle.tui import texts
from rekindle.tui.texts import Column

if TYPE_CHECKING:
    from rekindle.domain.errors import RefusedJob
    from rekindle.domain.rerun.plan import PlannedJob, RerunPlan
    from rekindle.engine.results import PlannedRerun, UndoneRerun

MOST = 200
"""Rows of each part of a plan that are shown."""

_COLUMNS = (
    Column("ID"),
    Column("JOB", cut=True),
    Column("BEFORE"),
    Column("AFTER"),
    Column("START", cut=True),
    Column("WHY", cut=True),
)


def plan_lines(planned: PlannedRerun, width: int) -> Iterator[Text]:
    """Yield the lines of a plan: a summary and the cost, what is refused and overwritten, warnings, and the jobs."""
    plan = planned.plan
    yield texts.line(plans.summary(plan), "bold")
    for line in plans.cost(plan).splitlines():
        yield texts.line(line)
    for warning in plan.warnings:
        yield Text.assemble(("warning: ", "bold yellow"), words.one_line(warning))
    if plan.refused:
        yield texts.line("")
        yield from refused_lines(plan.refused)
    yield from _overwritten(plan)
    yield texts.line("")
    yield from _jobs(plan, planned.children, width)
    yield from _listed("kept:", plans.kept_lines(plan.jobs))
    yield from _listed("modified:", plans.change_lines(plan.jobs))


def refused_lines(refused: Sequence[RefusedJob]) -> Iterator[Text]:
    """Yield each refused job with the reason."""
    yield texts.line(f"refused: {words.plural(len(refused), 'job')}", "bold red")
    for one in refused[:MOST]:
        yield Text(f"  {one.id} {words.one_line(one.name)}: {words.one_line(one.why)}")
    yield from _more(len(refused), "job")


def _overwritten(plan: RerunPlan) -> Iterator[Text]:
    if not plan.overwrites:
        return
    saved = bool(plan.jobs.total(lambda job: bool(job.saves)))
    yield texts.line("")
    yield texts.line("overwrites, and saves before:" if saved else "overwrites:", "bold" if saved else "bold yellow")
    for path in plan.overwrites[:MOST]:
        yield texts.line(f"  {path}")
    yield from _more(len(plan.overwrites), "file")


def _jobs(plan: RerunPlan, children: Mapping[int, Sequence[int]], width: int) -> Iterator[Text]:
    retired = {job for one in plan.dynamic for job in one.retires}

    def cells_of(job: PlannedJob) -> tuple[str, ...]:
        return plans.job_cells(job, job.id in retired)

    rows, shown = list[tuple[str, ...]](), 0
    for line in islice(plans.tree_lines(plan.jobs, children, cells_of), MOST):
        if line.again:
            rows.append(("", line.name, "", "", "", "see above"))
            continue
        shown += line.number
        name, ids = plans.line_cells(line, width // 2, lambda: None)
        rows.append((ids, name, *line.cells(retired)))
    yield from texts.table(_COLUMNS, rows, width)
    if shown < len(plan.jobs):
        yield texts.line(f"… and {words.plural(len(plan.jobs) - shown, 'more job')}")


def _listed(title: str, lines: Sequence[str]) -> Iterator[Text]:
    if lines:
        yield texts.line("")
        yield texts.line(title, "bold")
        yield from (texts.line(f"  {line}") for line in lines[:MOST])


def _more(number: int, thing: str) -> Iterator[Text]:
    if number > MOST:
        yield texts.line(f"… and {words.plural(number - MOST, f'more {thing}')}")


def moved_text(before: RerunPlan, after: RerunPlan) -> str:
    """Return what differs between two plans, by job: `left: failed -> completed`."""
    old = {job.id: job for job in before.jobs}
    new = {job.id: job for job in after.jobs}
    parts = [f"{old[one].name} is not in it any more" for one in old if one not in new]
    parts += [f"{new[one].name} is new in it" for one in new if one not in old]
    parts += [
        f"{job.name} was {old[one].before.label} and is {job.before.label}"
        for one, job in new.items()
        if one in old and old[one].before is not job.before
    ]
    more = f"; and {len(parts) - 3:,} more" if len(parts) > 3 else ""
    return "; ".join(parts[:3]) + more if parts else "its jobs have the same states as before"


def undone_text(undone: UndoneRerun) -> str:
    """Return `rerun 3 is undone: 3 jobs back`."""
    files = f", {words.plural(len(undone.restored), 'file')} restored" if undone.restored else ""
    return f"rerun {undone.rerun} is undone: {words.plural(len(undone.jobs), 'job')} back{files}"
