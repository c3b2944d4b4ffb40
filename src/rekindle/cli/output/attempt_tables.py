"""Tables of attempts, steps, subtasks and failures; the error of an attempt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from rekindle.cli.output import terminal
from rekindle.cli.output.terminal import Column
from rekindle.domain.states import State
from rekindle.domain.subtasks import Subtask, counts
from rekindle.domain.texts.display import show_json_bytes
from rekindle.domain.texts.quantities import format_size
from rekindle.presentation import attempts, words
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt, FailureGroup, StepOutcome
    from rekindle.domain.rerun.plan import Reason
    from rekindle.engine.results import JobNames, PageRequest

FIRST_SUBTASKS = 20
"""Rows of a fan-out that are printed without -v."""


def failure_lines(attempt: Attempt) -> str:
    """Return the cause, error and evidence of a failed attempt, and the end of its traceback or stderr."""
    lines = [f"attempt {attempt.number} {terminal.coloured(attempt.state.label)}: {attempts.full_cause(attempt)}"]
    failure = attempt.failure
    if failure is not None:
        headline = ": ".join(part for part in (failure.type, words.one_line(failure.message)) if part)
        text = failure.traceback or failure.stderr
        if headline and headline not in (text, f"exit code {attempt.exit_code}"):
            lines.append(f"  {headline}")
        lines += [
            f"  {click.style('│', dim=True)} {line}" for line in words.printable(text).rstrip().splitlines()[-20:]
        ]
    lines += [f"  evidence: {seen}"] if (seen := attempts.evidence(attempt.evidence)) else []
    return "\n".join(lines)


ATTEMPT_COLUMNS = (
    Column("ID", right=True),
    Column("JOB", cut="middle", drop=True, keep=True),
    Column("NO", right=True),
    Column("REV", right=True, drop=True),
    Column("STATE"),
    Column("CAUSE", drop=True),
    Column("TIME", right=True, optional=True),
    Column("STARTED", extra=True),
    Column("CPU", right=True, drop=True, extra=True),
    Column("MEMORY", right=True, drop=True, extra=True),
    Column("NOTE", cut="end", drop=True),
    Column("ERROR", cut="middle", drop=True, optional=True),
)


def attempts_table(of_job: Sequence[Attempt], retries: Mapping[int, Reason]) -> str:
    """Return a table of the attempts of one job. `retries`: the reasons of the attempts that are retries, by id."""
    return terminal.table(ATTEMPT_COLUMNS, attempt_cells([(one, "", retries.get(one.id)) for one in of_job]))


def attempt_cells(rows: Sequence[tuple[Attempt, str, Reason | None]]) -> Iterator[tuple[str, ...]]:
    """Return the cells of ATTEMPT_COLUMNS for rows of an attempt, the name of its job ("" to leave that column out)
    and the reason why it is a retry."""
    several = len({one.revision for one, _, _ in rows}) > 1
    return (_cells(one, name, several, retry) for one, name, retry in rows)


def _cells(one: Attempt, name: str, several: bool, retry: Reason | None) -> tuple[str, ...]:
    return (
        str(one.id),
        name,
        str(one.number),
        str(one.revision) if several else "",
        one.state.label,
        attempts.cause(one),
        words.duration(words.seconds(one.started, one.ended)),
        words.short_time(one.started),
        words.duration(one.cpu_seconds),
        format_size(one.max_rss_bytes) if one.max_rss_bytes is not None else "",
        ", ".join(attempts.notes(one, retry)),
        attempts.error(one),
    )


def steps_table(steps: Sequence[StepOutcome]) -> str:
    """Return a table of steps."""
    columns = [
        Column("STEP", right=True),
        Column("NAME", cut="middle", keep=True),
        Column("STATE"),
        Column("CAUSE", drop=True),
        Column("TIME", right=True),
        Column("NOTE", cut="end", drop=True),
    ]
    rows = [
        (
            str(step.position + 1),
            step.name,
            step.state.label,
            attempts.cause(step),
            words.duration(words.seconds(step.started, step.ended)),
            f"kept from attempt {step.kept_from}" if step.kept_from is not None else "",
        )
        for step in steps
    ]
    return terminal.table(columns, rows)


def jobs_cell(jobs: Sequence[int], names: JobNames) -> str:
    """Return what the names of jobs have in common, or their ids if there is little or no name is given."""
    if len(jobs) == 1 and jobs[0] in names.names:
        return names.names[jobs[0]]
    from rekindle.presentation.jobs import common_names

    known = [names.names[job] for job in sorted(jobs) if job in names.names]
    common = common_names(known, terminal_columns() // 2, names.index) if len(known) == len(jobs) else None
    return attempts.id_ranges(jobs) if common is None else common


def failures_table(groups: Sequence[FailureGroup], names: JobNames, *, indent: int = 0, most: int | None = None) -> str:
    """Return a table of failures by signature. Jobs with `names` are shown by these, others by their ids."""
    columns = [
        Column("COUNT", right=True),
        Column("SIGNATURE"),
        Column("CAUSE", optional=True),
        Column("ERROR", cut="middle"),
        Column("JOBS", cut="end", keep=True),
    ]
    rows = [
        (
            f"{group.count:,}",
            group.signature[:10],
            group.cause.value,
            attempts.group_error(group),
            jobs_cell(group.jobs, names),
        )
        for group in groups[:most]
    ]
    text = terminal.table(columns, rows, indent=indent)
    if most is not None and len(groups) > most:
        text += f"\n{' ' * indent}… and {words.plural(len(groups) - most, 'other kind')}: `rekindle failures`"
    return text


def subtasks_table(step: str, subtasks: Sequence[Subtask], page: PageRequest) -> str:
    """Return the number of subtasks of a step by state, and a table of them, incomplete ones first."""
    columns = [
        Column("SUBTASK", right=True),
        Column("ITEM", cut="middle", keep=True),
        Column("STATE"),
        Column("CAUSE", drop=True),
        Column("TRIES", right=True, optional=True),
        Column("TIME", right=True, drop=True, optional=True),
        Column("ATTEMPT", right=True),
    ]
    first = page.of(sorted(subtasks, key=lambda one: (one.state is State.COMPLETED, one.index)))
    by_state = words.state_counts(counts(subtasks).items(), terminal.coloured)
    head = f"subtasks of {words.one_line(step)}: {by_state or 'none'}"
    rows = [
        (
            str(one.index),
            show_json_bytes(one.item),
            "never started" if one.state is State.WAITING else one.state.label,
            _subtask_cause(one),
            str(one.attempts),
            words.duration(words.seconds(one.started, one.ended)),
            str(one.attempt),
        )
        for one in first
    ]
    lines = [head, terminal.table(columns, rows, indent=2)] if rows else [head]
    if len(first) < len(subtasks):
        lines.append(f"  … and {len(subtasks) - len(first):,} more (-v or --limit 0 shows all)")
    return "\n".join(lines)


def _subtask_cause(one: Subtask) -> str:
    if one.cause is None:
        return ""
    number = one.exit_code if one.cause == "exit" else one.signal if one.cause == "signal" else None
    return one.cause.value if number is None else f"{one.cause.value} {number}"
