"""Print a rerun's plan, ask whether to apply it, and report what was applied."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import click
import msgspec

from rekindle.cli.output import attempt_text, reasons, terminal
from rekindle.cli.output.terminal import Column
from rekindle.domain.errors import Refused, RefusedJob
from rekindle.domain.rerun.plan import ExpectedCost, PlannedJob, Reason, ReasonKind, RerunPlan
from rekindle.domain.rerun.request import FROM_BEGINNING
from rekindle.domain.texts.regexes import lazy_regex
from rekindle.engine.results import AppliedRerun, WorkOptions

if TYPE_CHECKING:
    from rekindle.engine.session import Session

FIRST = 20
"""Rows of a plan, refusals or overwritten files that are printed without -v."""

FOLDED = 3
"""Number of similar jobs under one parent that are printed as one line."""

_DEEPEST = 24
"""Columns of branches before a name; the branches of deeper jobs are shortened with an ellipsis."""

_DIGITS = lazy_regex(r"\d+")
_FOLDERS = {"copy": "in a copy", "same": "same folder"}


def draw_plan(plan: RerunPlan, children: Mapping[int, Sequence[int]], *, verbose: bool) -> None:
    """Print a plan: its jobs as a tree, refusals, warnings, overwritten files, a summary and the expected cost.
    `children`: for each job, the jobs that need it."""
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
        click.echo(f"{click.style('warning:', fg='yellow')} {terminal.one_line(warning)}")
    if plan.overwrites:
        saved = any(job.saves for job in plan.jobs)
        click.echo("\noverwrites, and saves before:" if saved else "\noverwrites:")
        for path in plan.overwrites[:most]:
            click.echo(f"  {terminal.one_line(path)}")
        _more(len(plan.overwrites), most, "file")
    click.echo(f"\n{summary(plan)}")
    if cost := _cost(plan):
        click.echo(cost)


def draw_revision(plan: RerunPlan, children: Mapping[int, Sequence[int]], *, verbose: bool) -> None:
    """Print what a new revision did: its jobs as a tree, and a summary."""
    if plan.jobs:
        _draw_jobs(plan.jobs, children, (), None if verbose else FIRST)
        click.echo("")
    from rekindle.cli.output.revisions import summary as revision_summary

    click.echo(revision_summary(plan))


def _draw_kept(jobs: Sequence[PlannedJob], most: int | None) -> None:
    """Print the steps of earlier attempts that are kept."""
    kept: dict[str, list[PlannedJob]] = {}
    for job in jobs:
        if job.keeps:
            kept.setdefault(f"from {job.start}, on {', '.join(job.keeps)}", []).append(job)
    if not kept:
        return
    click.echo("\nkept:")
    for text, alike in list(kept.items())[:most]:
        of = terminal.one_line(alike[0].name) if len(alike) == 1 else terminal.plural(len(alike), "job")
        whose = attempt_text.id_ranges(
            sorted(job.next.resume_attempt for job in alike if job.next.resume_attempt is not None)
        )
        click.echo(f"  {terminal.one_line(text)} of attempt{'s' if len(alike) > 1 else ''} {whose} ({of})")
    _more(len(kept), most, "way")


def _draw_changes(jobs: Sequence[PlannedJob], most: int | None) -> None:
    """Print the modified parameters and resources, each once for all its jobs."""
    names: dict[str, list[str]] = {}
    for job in jobs:
        for change in job.changes:
            names.setdefault(attempt_text.change_text(change), []).append(job.name)
    if not names:
        return
    click.echo("\nmodified:")
    for text, changed in list(names.items())[:most]:
        of = terminal.one_line(changed[0]) if len(changed) == 1 else terminal.plural(len(changed), "job")
        click.echo(f"  {text} ({of})")
    _more(len(names), most, "change")


def _draw_repeats(jobs: Sequence[PlannedJob]) -> None:
    """Print how often repeated jobs run."""
    for runs, number in sorted(Counter(1 + job.next.repeats for job in jobs if job.next.repeats).items()):
        ends = "runs" if number == 1 else "run"
        click.echo(f"\nrepeated: {terminal.plural(number, 'job')} {ends} {runs:,} times; the last one counts")


def draw_accepted(jobs: Sequence[PlannedJob], most: int | None) -> None:
    """Print each accepted job with its changes."""
    columns = [Column("ID", right=True), Column("NAME", cut="middle", keep=True), Column("ACCEPTED", cut="end")]
    rows = [(str(job.id), job.name, "; ".join(reason_text(reason) for reason in job.reasons)) for job in jobs[:most]]
    click.echo(terminal.table(columns, rows))
    _more(len(jobs), most, "job")


def draw_refused(refused: Sequence[RefusedJob], most: int | None) -> None:
    """Print each refused job with the reason."""
    columns = [Column("JOB", right=True), Column("NAME", cut="middle", keep=True), Column("WHY")]
    click.echo(terminal.table(columns, [(str(job.id), job.name, job.why) for job in refused[:most]], indent=2))
    _more(len(refused), most, "job")


def summary(plan: RerunPlan) -> str:
    """Return `12 jobs run again: 10 selected, 2 downstream; 3 refused`."""
    retired = {job for one in plan.dynamic for job in one.retires}
    jobs = [job for job in plan.jobs if job.id not in retired and _runs(job) and job.next.reuse_candidate is None]
    kinds = Counter(_kind(job) for job in jobs)
    parts = [f"{kinds[kind]:,} {kind}" for kind in ("selected", "let go", "downstream") if kinds[kind]]
    runs = f"{terminal.plural(len(jobs), 'job')} run{'s' if len(jobs) == 1 else ''} again: {', '.join(parts)}"
    runs += f"; {len(retired):,} retired" if retired else ""
    reusable = sum(job.next.reuse_candidate is not None and not job.stays for job in plan.jobs)
    runs += f"; {reusable:,} more unless unchanged" if reusable else ""
    held = sum(job.holds is not None for job in plan.jobs)
    runs += f"; {held:,} held until a restart" if held else ""
    left = sum(_is_left(job) for job in plan.jobs)
    runs += f"; {left:,} left as {'it is' if left == 1 else 'they are'}" if left else ""
    freed = sum(not _runs(job) and not _is_left(job) for job in plan.jobs)
    runs += f"; {freed:,} rolled back" if freed else ""
    return runs + (f"; {len(plan.refused):,} refused" if plan.refused else "")


def _is_left(job: PlannedJob) -> bool:
    """Return whether the job keeps its state although a job that it needs runs again."""
    return job.stays and not job.releases


def _runs(job: PlannedJob) -> bool:
    """Return whether the job runs again; false if a dynamic action on it is only rolled back."""
    return not _is_left(job) and any(reason.kind is not ReasonKind.DYNAMIC for reason in job.reasons)


def _kind(job: PlannedJob) -> str:
    kinds = {reason.kind for reason in job.reasons}
    if ReasonKind.SELECTED in kinds:
        return "selected"
    return "let go" if ReasonKind.RELEASED in kinds else "downstream"


def _draw_jobs(
    jobs: Sequence[PlannedJob], children: Mapping[int, Sequence[int]], retired: Collection[int], most: int | None
) -> None:
    def cells_of(job: PlannedJob) -> tuple[str, ...]:
        return _job_cells(job, job.id in retired)

    shown = list(islice(tree_lines(jobs, children, None if most is None else cells_of), most))
    columns = [
        Column("ID", cut="end"),
        Column("JOB", cut="middle", keep=True),
        Column("BEFORE"),
        Column("AFTER"),
        Column("START", cut="end", drop=True),
        Column("WHY", cut="end"),
    ]
    click.echo(terminal.table(columns, [_cells(line, retired) for line in shown]))
    printed = sum(len(line.jobs) for line in shown if not line.again)
    _more(len(jobs), printed, "job")


def _cells(line: TreeLine, retired: Collection[int]) -> tuple[str, ...]:
    if line.again:
        return ("", line.name, "", "", "", "see above")
    first = line.jobs[0]
    return (
        attempt_text.id_ranges([job.id for job in line.jobs]),
        line.name,
        *_job_cells(first, first.id in retired, line.lead),
    )


def _job_cells(job: PlannedJob, retired: bool, lead: str = "…") -> tuple[str, ...]:
    """Return the cells of a job after its name. Below another job (with a `lead`), the need for that job and a start at
    the beginning are left out. A job that a revision changes has no start."""
    changed = any(reason.kind in _REVISED for reason in job.reasons)
    start = "" if changed or (lead and job.start == FROM_BEGINNING) else job.start
    start += f", {_FOLDERS[job.next.take]}" if job.next.take else ""
    texts = [
        reason_text(reason)
        for reason in _shown_reasons(job.reasons)
        if not (lead and reason.kind is ReasonKind.UPSTREAM)
    ]
    return (
        job.before.label,
        "retired" if retired else "held" if job.holds else job.after.label,
        "" if retired or _is_left(job) else start,
        "; ".join(texts),
    )


def _shown_reasons(reasons: Sequence[Reason]) -> Sequence[Reason]:
    """Leave SELECTED out for a job that is retried or repeated: no user selected the job."""
    by_itself = any(reason.kind in (ReasonKind.RETRY, ReasonKind.REPEAT) for reason in reasons)
    return [reason for reason in reasons if not (by_itself and reason.kind is ReasonKind.SELECTED)]


_REVISED = (ReasonKind.ADDED, ReasonKind.RETIRED, ReasonKind.REDEFINED, ReasonKind.REWIRED)

_WORDS = {
    ReasonKind.ADDED: "added",
    ReasonKind.RETIRED: "left out",
}


def reason_text(reason: Reason) -> str:
    """Return a reason as text."""
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
        return f"rolled back from {who}"
    if reason.kind is ReasonKind.SUBTASKS:
        kept = f", {detail['keep']:,} kept" if detail.get("keep") else ""
        return f"{terminal.plural(detail.get('run', 0), 'subtask')}{kept}"
    if reason.kind is ReasonKind.REUSE:
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
    return reasons.short(reason)


def _rewired(gained: int, lost: int) -> str:
    parts = [f"{gained:,} more"] if gained else []
    parts += [f"{lost:,} less"] if lost else []
    return f"needs {' and '.join(parts)}"


def _cost(plan: RerunPlan) -> str:
    """Return `expected: about 3h 20m of 4 cores' work (12 attempts; 2 are guesses)`."""
    one = plan.expected
    if not one.attempts:
        return _at_most(one)
    counted = [terminal.plural(one.attempts, "attempt")]
    counted += [f"{one.guessed:,} {'is a guess' if one.guessed == 1 else 'are guesses'}"] if one.guessed else []
    more = f"\n{_at_most(one)}" if one.reserved else ""
    if one.unknown == one.attempts:
        return f"expected: {counted[0]}; how long is not known{more}"
    counted += [f"{one.unknown:,} unknown"] if one.unknown else []
    cores = "one core's" if one.cores == 1 else f"{one.cores:g} cores'"
    return f"expected: about {terminal.duration(one.wall_seconds)} of {cores} work ({'; '.join(counted)}){more}"


def _at_most(one: ExpectedCost) -> str:
    """Return the additional cost if no attempt can be reused."""
    if not one.reserved:
        return ""
    time = f", about {terminal.duration(one.reserved_seconds)} of running time" if one.reserved_seconds else ""
    return f"at most: {terminal.plural(one.reserved, 'attempt')} more{time}, if a result changes"


def _more(number: int, most: int | None, thing: str) -> None:
    if most is not None and number > most:
        click.echo(f"  … and {terminal.plural(number - most, f'more {thing}')} (-v shows all)")


class TreeLine(msgspec.Struct, frozen=True):
    """A line of the tree: one job, or several similar ones. `again`: the jobs are printed above already."""

    lead: str  # the branches in front of the name
    jobs: tuple[PlannedJob, ...]
    again: bool = False

    @property
    def name(self) -> str:
        """The name of the job; for several, their pattern and number."""
        first = self.jobs[0].name
        shown = first if len(self.jobs) == 1 else f"{_pattern(first)} ×{len(self.jobs):,}"
        return f"{self.lead}{shown}"


FoldKey = Callable[[PlannedJob], object]
"""Returns the cells of a job: jobs under one parent with equal cells may be printed as one line."""


def tree_lines(
    jobs: Sequence[PlannedJob], children: Mapping[int, Sequence[int]], fold_key: FoldKey | None
) -> Iterator[TreeLine]:
    """Yield every job once, parents first. Below its other parents a job has a line with `again`. Without a `fold_key`
    every job has a line of its own."""
    planned = {job.id: job for job in jobs}
    below = {child for job in planned for child in children.get(job, ()) if child in planned}
    shown: set[int] = set()
    pending = [TreeLine("", group) for group in _groups([job for job in jobs if job.id not in below], fold_key)][::-1]
    while pending:
        at = pending.pop()
        fresh = tuple(job for job in at.jobs if job.id not in shown)
        again = tuple(job for job in at.jobs if job.id in shown)
        if again:
            yield TreeLine(at.lead, again, again=True)
        if not fresh:
            continue
        yield TreeLine(at.lead, fresh)
        shown.update(job.id for job in fresh)
        under = dict.fromkeys(child for job in fresh for child in children.get(job.id, ()) if child in planned)
        groups = _groups([planned[child] for child in under if child not in shown], fold_key)
        groups += _groups([planned[child] for child in under if child in shown], _no_cells)
        trunk = _trunk(at.lead)
        branches = [*["├─ "] * (len(groups) - 1), "└─ "]
        pending += [TreeLine(trunk + branch, group) for branch, group in zip(branches, groups, strict=False)][::-1]


def _no_cells(_: PlannedJob) -> object:
    """Return one key for all jobs that are printed above already."""
    return None


def _trunk(lead: str) -> str:
    """Return the text before the branches below a line."""
    trunk = lead.replace("├─ ", "│  ").replace("└─ ", "   ")
    return trunk if len(trunk) < _DEEPEST else f"…  {trunk[6:]}"


def _groups(jobs: Iterable[PlannedJob], fold_key: FoldKey | None) -> list[tuple[PlannedJob, ...]]:
    """Group similar jobs, in the order of their first job."""
    alike: dict[object, list[PlannedJob]] = {}
    for job in jobs:
        alike.setdefault(job.id if fold_key is None else (_pattern(job.name), fold_key(job)), []).append(job)
    found: list[tuple[PlannedJob, ...]] = []
    for group in alike.values():
        found += [tuple(group)] if len(group) >= FOLDED else [(job,) for job in group]
    return found


def _pattern(name: str) -> str:
    """Return `train[*]` for a job of a matrix, and `part-*` for a numbered one."""
    base, bracket, _ = name.partition("[")
    return f"{base}[*]" if bracket else _DIGITS.sub("*", name)


def confirm(yes: bool, as_json: bool) -> None:
    """Ask whether to apply the plan. Raise Refused if the answer is no, or without a terminal."""
    if yes:
        return
    if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused("nothing is changed: there is no terminal to ask on", hint="add --yes to apply the plan")
    if not click.confirm("Apply it?", err=True):
        raise Refused("nothing is changed")


def print_nothing(as_json: bool, text: str = "nothing selected") -> None:
    """Print that there is nothing to do, and why."""
    if as_json:
        from rekindle.cli.output import json_output

        json_output.emit(json_output.nothing_planned())
    else:
        click.echo(text)


def print_applied(applied: AppliedRerun, *, and_work: bool = False) -> None:
    """Print `rerun 3 is applied: 12 ready; no runner is alive: rekindle work`."""
    held = f", {applied.held:,} held until `rekindle restart`" if applied.held else ""
    text = f"rerun {applied.rerun} is applied: {applied.ready:,} ready{held}"
    if ending := sum(reason.kind is ReasonKind.CANCELS for job in applied.plan.jobs for reason in job.reasons):
        text += f" once {terminal.plural(ending, 'running job')} {'has' if ending == 1 else 'have'} ended"
    if waiting := sum(len(one.waits) for one in applied.canaries):
        text += f", {waiting:,} wait{'s' if waiting == 1 else ''} for canaries"
    if applied.ready and not applied.runner_alive and not and_work:
        text += "; no runner is alive: rekindle work"
    click.echo(text)


def finish_applied(
    session: Session, applied: AppliedRerun, workflows: list[int], and_work: bool, slots: int | None, as_json: bool
) -> int:
    """Print what was applied, and with `and_work` run the jobs. Return the exit code."""
    if not as_json:
        print_applied(applied, and_work=and_work)
    if not and_work:
        return 0
    from rekindle.cli.output.runs import work_with_summary

    only = str(workflows[0]) if len(workflows) == 1 else None
    return work_with_summary(session, WorkOptions(workflow=only, slots=slots), quiet=as_json).exit_code
