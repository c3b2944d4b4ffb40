"""A rerun's plan, drawn for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import click

from rekindle.cli import drawing, modified, reasons
from rekindle.cli.drawing import Column
from rekindle.domain.rerun import Expected, PlannedJob, Reason, ReasonKind, RefusedJob, RerunPlan

FIRST = 20
"""Rows of a plan, refusals or overwritten files that are shown without -v."""


_FOLDERS = {"copy": "in a copy", "same": "same folder"}


def draw_plan(plan: RerunPlan, *, verbose: bool) -> None:
    """The whole plan: its jobs, what is refused and why, warnings, files overwritten, the cost, and the sum."""
    most = None if verbose else FIRST
    retired = {job for one in plan.dynamic for job in one.retires}
    click.echo(_jobs_table(plan.jobs[:most], retired))
    _more(len(plan.jobs), most, "job")
    _draw_changes(plan.jobs, most)
    if plan.refused:
        click.echo("\nrefused:")
        draw_refused(plan.refused, most)
    for warning in plan.warnings:
        click.echo(f"{click.style('warning:', fg='yellow')} {drawing.flat(warning)}")
    if plan.overwrites:
        saved = any(job.manner.saves for job in plan.jobs)
        click.echo("\noverwrites, and saves before:" if saved else "\noverwrites:")
        for path in plan.overwrites[:most]:
            click.echo(f"  {drawing.flat(path)}")
        _more(len(plan.overwrites), most, "file")
    click.echo(f"\n{summary(plan)}")
    if cost := _cost(plan):
        click.echo(cost)


def _draw_changes(jobs: Sequence[PlannedJob], most: int | None) -> None:
    """What runs otherwise than before, once for all jobs of which it is true."""
    names: dict[str, list[str]] = {}
    for job in jobs:
        for change in job.manner.changes:
            names.setdefault(modified.change(change), []).append(job.name)
    if not names:
        return
    click.echo("\nmodified:")
    for text, changed in list(names.items())[:most]:
        of = drawing.flat(changed[0]) if len(changed) == 1 else drawing.many(len(changed), "job")
        click.echo(f"  {text} ({of})")
    _more(len(names), most, "change")


def draw_accepted(jobs: Sequence[PlannedJob], most: int | None) -> None:
    """Each job that was accepted as it is, and what had changed."""
    columns = [Column("ID", right=True), Column("NAME", cut="middle"), Column("ACCEPTED", cut="end")]
    rows = [(str(job.id), job.name, "; ".join(why(reason) for reason in job.reasons)) for job in jobs[:most]]
    click.echo(drawing.table(columns, rows))
    _more(len(jobs), most, "job")


def draw_refused(refused: Sequence[RefusedJob], most: int | None) -> None:
    """Each selected job that is not rerun, and why."""
    columns = [Column("JOB", right=True), Column("NAME", cut="middle"), Column("WHY")]
    click.echo(drawing.table(columns, [(str(job.id), job.name, job.why) for job in refused[:most]], indent=2))
    _more(len(refused), most, "job")


def summary(plan: RerunPlan) -> str:
    """`12 jobs run again: 10 selected, 2 downstream; 3 refused`."""
    retired = {job for one in plan.dynamic for job in one.retires}
    jobs = [job for job in plan.jobs if job.id not in retired and _runs(job) and job.reserve is None]
    kinds = Counter(_kind(job) for job in jobs)
    parts = [f"{kinds[kind]:,} {kind}" for kind in ("selected", "let go", "downstream") if kinds[kind]]
    runs = f"{drawing.many(len(jobs), 'job')} run{'s' if len(jobs) == 1 else ''} again: {', '.join(parts)}"
    runs += f"; {len(retired):,} retired" if retired else ""
    spared = sum(job.reserve is not None and not job.stays for job in plan.jobs)
    runs += f"; {spared:,} more unless unchanged" if spared else ""
    held = sum(job.holds is not None for job in plan.jobs)
    runs += f"; {held:,} held until a restart" if held else ""
    left = sum(_is_left(job) for job in plan.jobs)
    runs += f"; {left:,} left as {'it is' if left == 1 else 'they are'}" if left else ""
    freed = sum(not _runs(job) and not _is_left(job) for job in plan.jobs)
    runs += f"; {freed:,} set free" if freed else ""
    return runs + (f"; {len(plan.refused):,} refused" if plan.refused else "")


def _is_left(job: PlannedJob) -> bool:
    """What it needs runs again, and it does not."""
    return job.stays and not job.releases


def _runs(job: PlannedJob) -> bool:
    """Not only set free from what an action had done to it, and not left as it is."""
    return not _is_left(job) and any(reason.kind is not ReasonKind.DYNAMIC for reason in job.reasons)


def _kind(job: PlannedJob) -> str:
    kinds = {reason.kind for reason in job.reasons}
    if ReasonKind.SELECTED in kinds:
        return "selected"
    return "let go" if ReasonKind.RELEASED in kinds else "downstream"


def _jobs_table(jobs: Sequence[PlannedJob], retired: Collection[int]) -> str:
    columns = [
        Column("ID", right=True),
        Column("NAME", cut="middle"),
        Column("BEFORE"),
        Column(""),
        Column("AFTER"),
        Column("START", cut="end"),
        Column("WHY", cut="end"),
    ]
    rows = [
        (
            str(job.id),
            job.name,
            job.before.label,
            "->",
            "retired" if job.id in retired else "held" if job.holds else job.after.label,
            "" if job.id in retired or _is_left(job) else _start(job),
            "; ".join(why(reason) for reason in job.reasons),
        )
        for job in jobs
    ]
    return drawing.table(columns, rows)


def _start(job: PlannedJob) -> str:
    return f"{job.start}, {_FOLDERS[job.manner.take]}" if job.manner.take else job.start


def why(reason: Reason) -> str:
    """One reason in words."""
    detail = reason.detail
    if reason.kind is ReasonKind.UPSTREAM:
        return f"needs {detail.get('name') or detail.get('job')}"
    if reason.kind is ReasonKind.RECOVERY:
        return f"recovery kept by rerun {detail.get('rerun')}"
    if reason.kind is ReasonKind.DYNAMIC:
        return f"set free from {detail.get('name') or detail.get('job')}"
    if reason.kind is ReasonKind.SUBTASKS:
        kept = f", {detail['keep']:,} kept" if detail.get("keep") else ""
        return f"{drawing.many(detail.get('run', 0), 'subtask')}{kept}"
    if reason.kind is ReasonKind.RESERVE:
        return "unless unchanged"
    if reason.kind is ReasonKind.STAYS:
        return f"stays, stale if {detail.get('name') or detail.get('job')} comes out changed"
    if reason.kind is ReasonKind.RELEASED:
        return f"let go: it was held ({detail.get('held')})"
    if reason.kind is ReasonKind.PARTIAL:
        return f"accepts {detail.get('completed'):,} subtasks, gives up {detail.get('given_up'):,}"
    if reason.kind is not ReasonKind.SELECTED:
        return reasons.in_short(reason)
    cause = detail.get("cause")
    return f"selected ({cause})" if cause else "selected"


def _cost(plan: RerunPlan) -> str:
    expected = plan.expected
    if not expected.attempts:
        return _possible(expected)
    unknown = f", {expected.unknown:,} of them unknown" if expected.unknown else ""
    known = expected.attempts - expected.unknown
    time = f", about {drawing.lasting(expected.seconds)} of running time" if known > 0 else ""
    more = _possible(expected)
    return f"expected: {drawing.many(expected.attempts, 'attempt')}{time}{unknown}" + (f"\n{more}" if more else "")


def _possible(expected: Expected) -> str:
    if not expected.reserved:
        return ""
    time = f", about {drawing.lasting(expected.reserved_seconds)} more" if expected.reserved_seconds else ""
    return f"at most: {drawing.many(expected.reserved, 'attempt')}{time}, where something comes out changed"


def _more(number: int, most: int | None, thing: str) -> None:
    if most is not None and number > most:
        click.echo(f"  … and {drawing.many(number - most, f'more {thing}')} (-v shows all)")
