"""A rerun's plan, drawn for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import islice

import click

from rekindle.cli.showing import drawing, explaining, modified, plantree, reasons, revisionshow
from rekindle.cli.showing.drawing import Column
from rekindle.cli.showing.plantree import Line
from rekindle.domain.rerunning.rerun import (
    FROM_BEGINNING,
    Expected,
    PlannedJob,
    Reason,
    ReasonKind,
    RefusedJob,
    RerunPlan,
)

FIRST = 20
"""Rows of a plan, refusals or overwritten files that are shown without -v."""


_FOLDERS = {"copy": "in a copy", "same": "same folder"}


def draw_plan(plan: RerunPlan, children: Mapping[int, Sequence[int]], *, verbose: bool) -> None:
    """The whole plan: its jobs as a tree, what is refused and why, warnings, files overwritten, the cost, and the sum.
    `children` are the jobs that need each of the plan's."""
    most = None if verbose else FIRST
    retired = {job for one in plan.dynamic for job in one.retires}
    _draw_jobs(plan.jobs, children, retired, most)
    _draw_kept(plan.jobs, most)
    _draw_changes(plan.jobs, most)
    _draw_repeats(plan.jobs)
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


def draw_revision(plan: RerunPlan, children: Mapping[int, Sequence[int]], *, verbose: bool) -> None:
    """What a new revision did: its jobs as a tree, and the sum."""
    if plan.jobs:
        _draw_jobs(plan.jobs, children, (), None if verbose else FIRST)
        click.echo("")
    click.echo(revisionshow.summary(plan))


def _draw_kept(jobs: Sequence[PlannedJob], most: int | None) -> None:
    """On what of which earlier attempts those go on that do not start at the beginning."""
    kept: dict[str, list[PlannedJob]] = {}
    for job in jobs:
        if job.keeps:
            kept.setdefault(f"from {job.start}, on {', '.join(job.keeps)}", []).append(job)
    if not kept:
        return
    click.echo("\nkept:")
    for text, alike in list(kept.items())[:most]:
        of = drawing.flat(alike[0].name) if len(alike) == 1 else drawing.many(len(alike), "job")
        whose = explaining.ids(sorted(job.resume_attempt for job in alike if job.resume_attempt is not None))
        click.echo(f"  {drawing.flat(text)} of attempt{'s' if len(alike) > 1 else ''} {whose} ({of})")
    _more(len(kept), most, "way")


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


def _draw_repeats(jobs: Sequence[PlannedJob]) -> None:
    """How often jobs run, of a plan by which they do so more than once."""
    for runs, number in sorted(Counter(1 + job.manner.repeats for job in jobs if job.manner.repeats).items()):
        ends = "runs" if number == 1 else "run"
        click.echo(f"\nrepeated: {drawing.many(number, 'job')} {ends} {runs:,} times; the last one counts")


def draw_accepted(jobs: Sequence[PlannedJob], most: int | None) -> None:
    """Each job that was accepted as it is, and what had changed."""
    columns = [Column("ID", right=True), Column("NAME", cut="middle", keep=True), Column("ACCEPTED", cut="end")]
    rows = [(str(job.id), job.name, "; ".join(why(reason) for reason in job.reasons)) for job in jobs[:most]]
    click.echo(drawing.table(columns, rows))
    _more(len(jobs), most, "job")


def draw_refused(refused: Sequence[RefusedJob], most: int | None) -> None:
    """Each selected job that is not rerun, and why."""
    columns = [Column("JOB", right=True), Column("NAME", cut="middle", keep=True), Column("WHY")]
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


def _draw_jobs(
    jobs: Sequence[PlannedJob], children: Mapping[int, Sequence[int]], retired: Collection[int], most: int | None
) -> None:
    def looks(job: PlannedJob) -> tuple[str, ...]:
        return _looks(job, job.id in retired)

    shown = list(islice(plantree.lines(jobs, children, None if most is None else looks), most))
    columns = [
        Column("ID", cut="end"),
        Column("JOB", cut="middle", keep=True),
        Column("BEFORE"),
        Column("AFTER"),
        Column("START", cut="end", drop=True),
        Column("WHY", cut="end"),
    ]
    click.echo(drawing.table(columns, [_cells(line, retired) for line in shown]))
    told = sum(len(line.jobs) for line in shown if not line.again)
    _more(len(jobs), told, "job")


def _cells(line: Line, retired: Collection[int]) -> tuple[str, ...]:
    if line.again:
        return ("", line.name, "", "", "", "see above")
    first = line.jobs[0]
    return (explaining.ids([job.id for job in line.jobs]), line.name, *_looks(first, first.id in retired, line.lead))


def _looks(job: PlannedJob, retired: bool, lead: str = "…") -> tuple[str, ...]:
    """What is told of a job beside its name. Below another (with a `lead`) it goes without saying that it needs it, and
    where it starts; what a revision changes does not start."""
    changed = any(reason.kind in _REVISED for reason in job.reasons)
    start = "" if changed or (lead and job.start == FROM_BEGINNING) else job.start
    start += f", {_FOLDERS[job.manner.take]}" if job.manner.take else ""
    texts = [why(reason) for reason in _told(job.reasons) if not (lead and reason.kind is ReasonKind.UPSTREAM)]
    return (
        job.before.label,
        "retired" if retired else "held" if job.holds else job.after.label,
        "" if retired or _is_left(job) else start,
        "; ".join(texts),
    )


def _told(reasons: Sequence[Reason]) -> Sequence[Reason]:
    """Nobody selected what is retried or repeated."""
    by_itself = any(reason.kind in (ReasonKind.RETRY, ReasonKind.REPEAT) for reason in reasons)
    return [reason for reason in reasons if not (by_itself and reason.kind is ReasonKind.SELECTED)]


_REVISED = (ReasonKind.ADDED, ReasonKind.RETIRED, ReasonKind.REDEFINED, ReasonKind.REWIRED)

_WORDS = {
    ReasonKind.ADDED: "added",
    ReasonKind.RETIRED: "left out",
}


def why(reason: Reason) -> str:
    """One reason in words."""
    detail = reason.detail
    who = detail.get("name") or detail.get("job")
    if reason.kind in _WORDS:
        return _WORDS[reason.kind]
    if reason.kind is ReasonKind.SELECTED:
        cause = detail.get("cause")
        return f"selected ({cause})" if cause else "selected"
    if reason.kind is ReasonKind.UPSTREAM:
        return f"needs {who}"
    if reason.kind is ReasonKind.RECOVERY:
        return f"recovery kept by rerun {detail.get('rerun')}"
    if reason.kind is ReasonKind.DYNAMIC:
        return f"set free from {who}"
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
    if reason.kind is ReasonKind.REDEFINED:
        return f"{', '.join(detail['fields'])} changed" if detail.get("fields") else "redefined"
    if reason.kind is ReasonKind.REWIRED:
        return _rewired(detail.get("gained", 0), detail.get("lost", 0))
    return reasons.in_short(reason)


def _rewired(gained: int, lost: int) -> str:
    parts = [f"{gained:,} more"] if gained else []
    parts += [f"{lost:,} less"] if lost else []
    return f"needs {' and '.join(parts)}"


def _cost(plan: RerunPlan) -> str:
    """`expected: about 3h 20m of 4 cores' work (12 attempts; 2 are guesses)`."""
    one = plan.expected
    if not one.attempts:
        return _possible(one)
    counted = [drawing.many(one.attempts, "attempt")]
    counted += [f"{one.guessed:,} {'is a guess' if one.guessed == 1 else 'are guesses'}"] if one.guessed else []
    more = f"\n{_possible(one)}" if one.reserved else ""
    if one.unknown == one.attempts:
        return f"expected: {counted[0]}; how long is not known{more}"
    counted += [f"{one.unknown:,} unknown"] if one.unknown else []
    cores = "one core's" if one.cores == 1 else f"{one.cores:g} cores'"
    return f"expected: about {drawing.lasting(one.wall_seconds)} of {cores} work ({'; '.join(counted)}){more}"


def _possible(one: Expected) -> str:
    """What comes on top where nothing can be spared."""
    if not one.reserved:
        return ""
    time = f", about {drawing.lasting(one.reserved_seconds)} of running time" if one.reserved_seconds else ""
    return f"at most: {drawing.many(one.reserved, 'attempt')} more{time}, where something comes out changed"


def _more(number: int, most: int | None, thing: str) -> None:
    if most is not None and number > most:
        click.echo(f"  … and {drawing.many(number - most, f'more {thing}')} (-v shows all)")
