"""Attempts as text: causes and errors, tables of attempts, steps, subtasks and failures."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from rekindle.cli.output import terminal
from rekindle.cli.output.terminal import Column, seconds
from rekindle.domain.states import State
from rekindle.domain.subtasks import Subtask, counts
from rekindle.domain.texts.display import format_value, mask_env, show_json_bytes
from rekindle.domain.texts.quantities import format_size

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt, FailureGroup, PartialOutput, StepOutcome
    from rekindle.domain.rerun.plan import OverrideChange, Reason
    from rekindle.domain.verdicts import Verdict
    from rekindle.engine.results import PageRequest

FIRST_SUBTASKS = 20
"""Rows of a fan-out that are printed without -v."""

_CODES = {
    126: "found, but it cannot be executed (no permission, or not a program)",
    127: "the command was not found",
    130: "ended by Ctrl-C (SIGINT)",
    134: "it aborted (SIGABRT)",
    137: "killed (SIGKILL): by another process, or out of memory",
    139: "it crashed (SIGSEGV)",
    143: "ended by SIGTERM",
    152: "it ran out of processor time (SIGXCPU)",
}

_OOM = "killed because memory ran out"


def cause(attempt: Attempt | StepOutcome) -> str:
    """Return the cause: `exit 3`, `signal SIGKILL`, `timeout`; "" without a cause."""
    if attempt.cause is None:
        return ""
    if attempt.cause == "exit" and attempt.exit_code is not None:
        return f"exit {attempt.exit_code}"
    if attempt.cause == "signal" and attempt.signal is not None:
        return f"signal {_signal_name(attempt.signal)}"
    return attempt.cause.value


def meaning(attempt: Attempt | StepOutcome) -> str:
    """Return the usual meaning of the exit code or signal; "" if there is none."""
    if attempt.cause == "oom":
        return _OOM
    if attempt.signal is not None:
        return _CODES.get(128 + attempt.signal, f"ended by {_signal_name(attempt.signal)}")
    return _CODES.get(attempt.exit_code or 0, "")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # realtime signals have only a number
        return str(number)


def full_cause(attempt: Attempt | StepOutcome) -> str:
    """Return the cause with its meaning: `exit 127: the command was not found`."""
    return ": ".join(part for part in (cause(attempt), meaning(attempt)) if part)


def failure_lines(attempt: Attempt) -> str:
    """Return the cause, error and evidence of a failed attempt, and the end of its traceback or stderr."""
    lines = [f"attempt {attempt.number} {terminal.coloured(attempt.state.label)}: {full_cause(attempt)}"]
    failure = attempt.failure
    if failure is not None:
        headline = ": ".join(part for part in (failure.type, terminal.one_line(failure.message)) if part)
        text = failure.traceback or failure.stderr
        if headline and headline not in (text, f"exit code {attempt.exit_code}"):
            lines.append(f"  {headline}")
        lines += [
            f"  {click.style('│', dim=True)} {line}" for line in terminal.printable(text).rstrip().splitlines()[-20:]
        ]
    lines += [f"  evidence: {seen}"] if (seen := evidence(attempt.evidence)) else []
    return "\n".join(lines)


def evidence(text: str | None) -> str:
    """Return the evidence for a cause in one line: `limit 64.0 MiB, peak 210.0 MiB, seen by samples of its memory`."""
    return terminal.one_line(
        ", ".join(_evidence_item(name, value) for name, value in json.loads(text or "{}").items() if value)
    )


def left_running(attempt: Attempt, *, allowed: bool, hint: bool = False) -> str:
    """Return the processes that an attempt left running: `killed at its end: sleep 600 (pid 123)`; "" if there were
    none. `allowed`: the job has `leave_running: true`, so its processes are killed only if the attempt did not
    complete."""
    found = attempt.left_running
    if found is None:
        return ""
    processes = [f"{terminal.cut(terminal.one_line(one.name), 60)} (pid {one.pid})" for one in found.processes]
    more = found.count - len(processes)
    named = ", ".join([*processes, *([f"{more:,} more"] if more else [])])
    if not found.killed:
        return f"left running at its end: {named}"
    if allowed:
        why = "failed" if attempt.state is State.FAILED else f"ended as {attempt.state.label}"
        return f"killed because the attempt {why}: {named}"
    return f"killed at its end: {named}" + ("; `leave_running: true` in the spec leaves them alone" if hint else "")


def _evidence_item(name: str, value: Any) -> str:
    if name == "at":
        return f"at {terminal.full_time(value)}"
    if name.endswith("_bytes"):
        return f"{_words(name, '_bytes')} {format_size(value)}"
    if name.endswith("_seconds"):
        return f"{_words(name, '_seconds')} {terminal.duration(value)}"
    return f"{_words(name)} {value}"


def _words(name: str, unit: str = "") -> str:
    return name.removesuffix(unit).replace("_", " ")


ATTEMPT_COLUMNS = (
    Column("ID", right=True),
    Column("JOB", cut="middle", drop=True, keep=True),
    Column("NO", right=True),
    Column("REV", right=True, drop=True),
    Column("STATE"),
    Column("CAUSE", drop=True),
    Column("STARTED", optional=True),
    Column("TIME", right=True),
    Column("CPU", right=True, drop=True, optional=True),
    Column("MEMORY", right=True, drop=True, optional=True),
    Column("NOTE", cut="end", drop=True),
    Column("ERROR", cut="middle", drop=True, keep=True),
)


def attempts_table(attempts: Sequence[Attempt], retries: Mapping[int, Reason]) -> str:
    """Return a table of the attempts of one job. `retries`: the reasons of the attempts that are retries, by id."""
    return terminal.table(ATTEMPT_COLUMNS, attempt_cells([(one, "", retries.get(one.id)) for one in attempts]))


def attempt_cells(rows: Sequence[tuple[Attempt, str, Reason | None]]) -> Iterator[tuple[str, ...]]:
    """Return the cells of ATTEMPT_COLUMNS for rows of an attempt, the name of its job ("" to leave that column out)
    and the reason why it is a retry."""
    several = len({one.revision for one, _, _ in rows}) > 1
    return (_cells(one, name, several, retry) for one, name, retry in rows)


def _retry_note(retry: Reason) -> str:
    from rekindle.cli.output.reasons import retry_text

    return retry_text(retry)


def _cells(one: Attempt, name: str, several: bool, retry: Reason | None) -> tuple[str, ...]:
    notes = [_retry_note(retry)] if retry is not None else []
    notes += [f"archived by rerun {one.archived_by}"] if one.archived_by is not None else []
    notes += [verdict(one.verdict)] if one.verdict is not None else []
    notes += [builds_on(one)] if one.start_step else []
    notes += ["pinned"] if one.pinned_to is not None else []
    notes += ["modified"] if one.overrides is not None else []
    notes += ["partial"] if one.partial else []
    return (
        str(one.id),
        name,
        str(one.number),
        str(one.revision) if several else "",
        one.state.label,
        cause(one),
        terminal.short_time(one.started),
        terminal.duration(seconds(one.started, one.ended)),
        terminal.duration(one.cpu_seconds),
        format_size(one.max_rss_bytes) if one.max_rss_bytes is not None else "",
        ", ".join(notes),
        error(one),
    )


def error(attempt: Attempt) -> str:
    """Return the error of a failed attempt in one line: `ValueError: too cold: '21.5'`; "" if there is none."""
    from rekindle.domain.signatures import headline

    if attempt.failure is None or attempt.cause is None or attempt.state is not State.FAILED:
        return ""
    failure = attempt.failure
    found = headline(attempt.cause, failure.type, failure.message, failure.traceback, failure.stderr)
    return terminal.one_line(": ".join(part for part in found if part))


def verdict(one: Verdict | None) -> str:
    """Return a verdict with its message: `warning: too warm`."""
    if one is None:
        return ""
    return f"{one.word.value}: {terminal.one_line(one.message)}" if one.message else one.word.value


def builds_on(one: Attempt) -> str:
    """Return where an attempt that keeps steps starts, and which: `from metrics, on experience of attempt 3`."""
    names = {step.position: terminal.one_line(step.name) for step in one.steps}
    start = names.get(one.start_step, f"step {one.start_step + 1}")
    by: dict[int, list[str]] = {}
    for step in one.steps:
        if step.kept_from is not None:
            by.setdefault(step.kept_from, []).append(names[step.position])
    kept = [f"{', '.join(listed)} of attempt {whose}" for whose, listed in by.items()]
    return f"from {start}, on {' and '.join(kept) or f'attempt {one.builds_on}'}"


def partial_output(one: PartialOutput, workdir: str | None, *, full: bool = False) -> str:
    """Return a partial output: `partial: data/rome.mean (0 bytes)`; with `full`, also where the file is now."""
    path = one.path.removeprefix(f"{workdir.rstrip('/')}/") if workdir else one.path
    size = format_size(one.size) if one.size >= 1024 else terminal.plural(one.size, "byte")
    text = f"partial: {terminal.one_line(path)} ({size})"
    if not full:
        return text if one.aside is None else f"{text}, set aside"
    if one.stays:
        return f"{text}, left there: {one.stays}"
    if one.aside is None:
        return text
    where = one.aside if os.path.lexists(one.aside) else "put back by a later attempt, or removed since"
    return f"{text}, set aside: {where}"


def steps_table(steps: Sequence[StepOutcome]) -> str:
    """Return a table of steps."""
    columns = [
        Column("STEP", right=True),
        Column("NAME", cut="middle"),
        Column("STATE"),
        Column("CAUSE", drop=True),
        Column("TIME", right=True),
        Column("NOTE", drop=True),
    ]
    rows = [
        (
            str(step.position + 1),
            step.name,
            step.state.label,
            cause(step),
            terminal.duration(seconds(step.started, step.ended)),
            f"kept from attempt {step.kept_from}" if step.kept_from is not None else "",
        )
        for step in steps
    ]
    return terminal.table(columns, rows)


def failures_table(groups: Sequence[FailureGroup], *, indent: int = 0, most: int | None = None) -> str:
    """Return a table of failures by signature."""
    columns = [
        Column("COUNT", right=True),
        Column("SIGNATURE"),
        Column("CAUSE"),
        Column("ERROR", cut="middle", keep=True),
        Column("JOBS", cut="end"),
    ]
    rows = [
        (
            f"{group.count:,}",
            group.signature[:10],
            group.cause.value,
            group_error(group),
            id_ranges(group.jobs),
        )
        for group in groups[:most]
    ]
    text = terminal.table(columns, rows, indent=indent)
    if most is not None and len(groups) > most:
        text += f"\n{' ' * indent}… and {terminal.plural(len(groups) - most, 'other kind')}: `rekindle failures`"
    return text


def group_error(group: FailureGroup) -> str:
    """Return an error of the group in one line, or its cause without an error."""
    return example_error(group.type, group.message, group.newest_message, group.count) or group.cause.value


def newest_error(group: FailureGroup) -> str:
    """Return the error of the newest attempt of the group in one line, or its cause without an error."""
    return example_error(group.type, group.message, group.newest_message, 1) or group.cause.value


def example_error(kind: str, normalised: str, message: str, count: int) -> str:
    """Return the newest error of a signature in one line. If other attempts may have another message:
    `e.g. ValueError: too cold: '21.5'`."""
    words = terminal.one_line(": ".join(part for part in (kind, message) if part))
    return f"e.g. {words}" if count > 1 and message != normalised else words


def id_ranges(jobs: Sequence[int]) -> str:
    """Return ids as -i takes them: `1,4-9,12`."""
    spans: list[list[int]] = []
    for job in sorted(jobs):
        if spans and job == spans[-1][1] + 1:
            spans[-1][1] = job
        else:
            spans.append([job, job])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def change_text(one: OverrideChange) -> str:
    """Return a change of a parameter or resource: `memory 512.0 MiB -> 1.0 GiB`, `alpha 0.1 -> 0.2`."""
    kind, _, name = one.name.partition(".")
    return f"{_override_name(kind, name)} {_override_value(kind, one.before)} -> {_override_value(kind, one.after)}"


def modifications(overrides: str | None) -> str:
    """Return the overrides of a job: `alpha=0.2, memory=1.0 GiB`; "" without any."""
    from rekindle.domain.overrides import decode_overrides

    found = decode_overrides(overrides)
    parts = [("params", name, value) for name, value in found.params.items()]
    parts += [("env", name, text) for name, text in mask_env(found.env).items()]
    parts += [(kind, "", getattr(found, kind)) for kind in ("memory", "time", "cpus")]
    return ", ".join(
        f"{_override_name(kind, name)}={_override_value(kind, value)}"
        for kind, name, value in parts
        if kind == "params" or value
    )


def _override_name(kind: str, name: str) -> str:
    return {"params": name, "env": f"${name}"}.get(kind, kind)


def _override_value(kind: str, value: Any) -> str:
    if value is None:
        return "null" if kind == "params" else "none"
    if kind == "memory":
        return format_size(int(value))
    if kind == "time":
        return terminal.duration(value)
    if kind == "cpus":
        return f"{value:g}"
    return terminal.cut(terminal.one_line(format_value(value) if kind == "params" else value), 60)


def subtasks_table(step: str, subtasks: Sequence[Subtask], page: PageRequest) -> str:
    """Return the number of subtasks of a step by state, and a table of them, incomplete ones first."""
    columns = [
        Column("SUBTASK", right=True),
        Column("ITEM", cut="middle"),
        Column("STATE"),
        Column("CAUSE", drop=True),
        Column("TRIES", right=True),
        Column("TIME", right=True, drop=True),
        Column("ATTEMPT", right=True),
    ]
    first = page.of(sorted(subtasks, key=lambda one: (one.state is State.COMPLETED, one.index)))
    head = f"subtasks of {terminal.one_line(step)}: {terminal.state_counts(counts(subtasks).items()) or 'none'}"
    rows = [
        (
            str(one.index),
            show_json_bytes(one.item),
            "never started" if one.state is State.WAITING else one.state.label,
            _subtask_cause(one),
            str(one.attempts),
            terminal.duration(seconds(one.started, one.ended)),
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
