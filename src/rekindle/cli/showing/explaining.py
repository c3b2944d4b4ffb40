"""Attempts in words: how one ended, what its codes usually mean, tables of many."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from rekindle.cli.showing import drawing
from rekindle.cli.showing.drawing import Column
from rekindle.cli.showing.reasons import which_retry
from rekindle.cli.showing.shapes import seconds
from rekindle.domain.models import Attempt, FailureGroup, PartialOutput, StepOutcome
from rekindle.domain.rerunning.rerun import Reason
from rekindle.domain.signatures import headline
from rekindle.domain.states import State
from rekindle.domain.texts.quantities import format_size
from rekindle.domain.verdicts import Verdict

_CODES = {
    126: "found, but it cannot be executed (no permission, or not a program)",
    127: "the command was not found",
    130: "ended by Ctrl-C (SIGINT)",
    134: "it aborted (SIGABRT)",
    137: "killed (SIGKILL): by somebody, or out of memory",
    139: "it crashed (SIGSEGV)",
    143: "ended by SIGTERM",
    152: "it ran out of processor time (SIGXCPU)",
}

_OOM = "killed because memory ran out"


def cause(attempt: Attempt | StepOutcome) -> str:
    """`exit 3`, `signal SIGKILL`, `timeout`; "" for one that did not fail."""
    if attempt.cause is None:
        return ""
    if attempt.cause == "exit" and attempt.exit_code is not None:
        return f"exit {attempt.exit_code}"
    if attempt.cause == "signal" and attempt.signal is not None:
        return f"signal {_signal_name(attempt.signal)}"
    return attempt.cause.value


def meaning(attempt: Attempt | StepOutcome) -> str:
    """What its exit code or signal usually means; "" where there is nothing to say."""
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


def ending(attempt: Attempt | StepOutcome) -> str:
    """The cause with its meaning: `exit 127: the command was not found`."""
    return ": ".join(part for part in (cause(attempt), meaning(attempt)) if part)


def failure(attempt: Attempt) -> str:
    """What an attempt that failed said: its cause, error, traceback and the tail of its stderr."""
    lines = [f"attempt {attempt.number} {drawing.coloured(attempt.state.label)}: {ending(attempt)}"]
    told = attempt.failure
    if told is not None:
        headline = ": ".join(part for part in (told.type, drawing.flat(told.message)) if part)
        text = told.traceback or told.stderr
        if headline and headline not in (text, f"exit code {attempt.exit_code}"):
            lines.append(f"  {headline}")
        lines += [f"  {click.style('│', dim=True)} {line}" for line in drawing.safe(text).rstrip().splitlines()[-20:]]
    lines += [f"  evidence: {seen}"] if (seen := evidence(attempt.evidence)) else []
    return "\n".join(lines)


def evidence(text: str | None) -> str:
    """What a cause was concluded from, in one line: `limit 64.0 MiB, peak 210.0 MiB, seen by samples of its memory`."""
    return drawing.flat(", ".join(_said(name, value) for name, value in json.loads(text or "{}").items() if value))


def left_running(one: Attempt, *, spares: bool, hint: bool = False) -> str:
    """The processes that an attempt left running: `killed at its end: sleep 600 (pid 123), which it left running`.
    `spares`: the job's `leave_running` is true, so that they were killed because the attempt did not complete."""
    text = one.left_running or ""
    found = json.loads(text)
    processes = [f"{drawing.cut(drawing.flat(one['name']), 60)} (pid {one['pid']})" for one in found["processes"]]
    more = found["count"] - len(processes)
    named = ", ".join([*processes, *([f"{more:,} more"] if more else [])])
    if not found["killed"]:
        return f"left running at its end: {named}"
    if spares:
        why = "failed" if one.state is State.FAILED else f"ended as {one.state.label}"
        return f"killed because the attempt {why}: {named}"
    return f"killed at its end: {named}" + ("; `leave_running: true` in the spec leaves them alone" if hint else "")


def _said(name: str, value: Any) -> str:
    if name == "at":
        return f"at {drawing.clock_time(value)}"
    if name.endswith("_bytes"):
        return f"{_words(name, '_bytes')} {format_size(value)}"
    if name.endswith("_seconds"):
        return f"{_words(name, '_seconds')} {drawing.lasting(value)}"
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
    Column("STARTED", spare=True),
    Column("TIME", right=True),
    Column("CPU", right=True, drop=True, spare=True),
    Column("MEMORY", right=True, drop=True, spare=True),
    Column("NOTE", cut="end", drop=True),
    Column("ERROR", cut="middle", drop=True, keep=True),
)


def attempts_table(attempts: Sequence[Attempt], retries: Mapping[int, Reason]) -> str:
    """The attempts of one job, a line each; `retries` says which are retries."""
    return drawing.table(ATTEMPT_COLUMNS, attempt_cells([(one, "", retries.get(one.id)) for one in attempts]))


def attempt_cells(rows: Sequence[tuple[Attempt, str, Reason | None]]) -> Iterator[tuple[str, ...]]:
    """Cells of ATTEMPT_COLUMNS for attempts, each with its job's name ("": the jobs' column is left out) and why it is
    a retry."""
    several = len({one.revision for one, _, _ in rows}) > 1
    return (_cells(one, name, several, retry) for one, name, retry in rows)


def _cells(one: Attempt, name: str, several: bool, retry: Reason | None) -> tuple[str, ...]:
    notes = [which_retry(retry)] if retry is not None else []
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
        drawing.when(one.started),
        drawing.lasting(seconds(one.started, one.ended)),
        drawing.lasting(one.cpu_seconds),
        format_size(one.max_rss_bytes) if one.max_rss_bytes is not None else "",
        ", ".join(notes),
        error(one),
    )


def error(attempt: Attempt) -> str:
    """The error of a failed attempt in one line: `ValueError: too cold: '21.5'`; "" where it said nothing."""
    if attempt.failure is None or attempt.cause is None or attempt.state is not State.FAILED:
        return ""
    said = attempt.failure
    found = headline(attempt.cause, said.type, said.message, said.traceback, said.stderr)
    return drawing.flat(": ".join(part for part in found if part))


def verdict(one: Verdict | None) -> str:
    """`warning: too warm`."""
    if one is None:
        return ""
    return f"{one.word.value}: {drawing.flat(one.message)}" if one.message else one.word.value


def builds_on(one: Attempt) -> str:
    """Where an attempt that keeps steps starts, and whose they are: `from metrics, on experience of attempt 3`."""
    names = {step.position: drawing.flat(step.name) for step in one.steps}
    start = names.get(one.start_step, f"step {one.start_step + 1}")
    by: dict[int, list[str]] = {}
    for step in one.steps:
        if step.kept_from is not None:
            by.setdefault(step.kept_from, []).append(names[step.position])
    told = [f"{', '.join(listed)} of attempt {whose}" for whose, listed in by.items()]
    return f"from {start}, on {' and '.join(told) or f'attempt {one.builds_on}'}"


def partial_output(one: PartialOutput, workdir: str | None, *, full: bool = False) -> str:
    """`partial: data/rome.mean (0 bytes)`; in `full`, also where it is now."""
    path = one.path.removeprefix(f"{workdir.rstrip('/')}/") if workdir else one.path
    size = format_size(one.size) if one.size >= 1024 else drawing.many(one.size, "byte")
    text = f"partial: {drawing.flat(path)} ({size})"
    if not full:
        return text if one.aside is None else f"{text}, set aside"
    if one.stays:
        return f"{text}, left there: {one.stays}"
    if one.aside is None:
        return text
    where = one.aside if os.path.lexists(one.aside) else "put back by a later attempt, or removed since"
    return f"{text}, set aside: {where}"


def steps_table(steps: Sequence[StepOutcome]) -> str:
    """One line a step."""
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
            drawing.lasting(seconds(step.started, step.ended)),
            f"kept from attempt {step.kept_from}" if step.kept_from is not None else "",
        )
        for step in steps
    ]
    return drawing.table(columns, rows)


def group_lines(groups: Sequence[FailureGroup], *, indent: int = 0, most: int | None = None) -> str:
    """Failures by signature, one line each, the largest first."""
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
            said(group),
            ids(group.jobs),
        )
        for group in groups[:most]
    ]
    text = drawing.table(columns, rows, indent=indent)
    if most is not None and len(groups) > most:
        text += f"\n{' ' * indent}… and {drawing.many(len(groups) - most, 'other kind')}: `rekindle failures`"
    return text


def said(group: FailureGroup) -> str:
    """The error of a group in one line, or its cause where it said nothing."""
    return example(group.type, group.message, group.newest_message, group.count) or group.cause.value


def newest(group: FailureGroup) -> str:
    """The error of the newest attempt of a group in one line, or its cause where it said nothing."""
    return example(group.type, group.message, group.newest_message, 1) or group.cause.value


def example(kind: str, normalised: str, message: str, count: int) -> str:
    """The newest error of those that share a signature, in one line: `e.g. ValueError: too cold: '21.5'`, where others
    may have another message."""
    words = drawing.flat(": ".join(part for part in (kind, message) if part))
    return f"e.g. {words}" if count > 1 and message != normalised else words


def ids(jobs: Sequence[int]) -> str:
    """`1,4-9,12`: as -i takes them."""
    spans: list[list[int]] = []
    for job in sorted(jobs):
        if spans and job == spans[-1][1] + 1:
            spans[-1][1] = job
        else:
            spans.append([job, job])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
