"""Attempts as text: causes and errors, outputs, overrides and ids."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rekindle.domain.judging import undecided_text
from rekindle.domain.states import Cause, State
from rekindle.domain.texts.display import format_value, mask_env
from rekindle.domain.texts.quantities import format_size
from rekindle.presentation import words

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt, FailureGroup, PartialOutput, StepOutcome
    from rekindle.domain.rerun.plan import OverrideChange, Reason, RerunRecord
    from rekindle.domain.subtasks import Subtask
    from rekindle.domain.verdicts import Verdict

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


def cause(attempt: Attempt | StepOutcome | Subtask) -> str:
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
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:  # realtime signals have only a number
        return str(number)


def full_cause(attempt: Attempt | StepOutcome) -> str:
    """Return the cause with its meaning: `exit 127: the command was not found`."""
    return ": ".join(part for part in (cause(attempt), meaning(attempt)) if part)


def evidence(text: str | None) -> str:
    """Return the evidence for a cause in one line: `limit 64.0 MiB, peak 210.0 MiB, seen by samples of its memory`."""
    import json

    return words.one_line(
        ", ".join(_evidence_item(name, value) for name, value in json.loads(text or "{}").items() if value)
    )


def left_running(attempt: Attempt, *, allowed: bool, hint: bool = False) -> str:
    """Return the processes that an attempt left running: `killed at its end: sleep 600 (pid 123)`; "" if there were
    none. `allowed`: the job has `leave_running: true`, so its processes are killed only if the attempt did not
    complete."""
    found = attempt.left_running
    if found is None:
        return ""
    processes = [f"{words.cut(words.one_line(one.name), 60)} (pid {one.pid})" for one in found.processes]
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
        return f"at {words.full_time(value)}"
    if name.endswith("_bytes"):
        return f"{_words(name, '_bytes')} {format_size(value)}"
    if name.endswith("_seconds"):
        return f"{_words(name, '_seconds')} {words.duration(value)}"
    return f"{_words(name)} {value}"


def _words(name: str, unit: str = "") -> str:
    return name.removesuffix(unit).replace("_", " ")


def error(attempt: Attempt) -> str:
    """Return the error of a failed attempt in one line: `ValueError: too cold: '21.5'`; "" if there is none."""
    from rekindle.domain.signatures import headline

    if attempt.failure is None or attempt.cause is None or attempt.state is not State.FAILED:
        return ""
    failure = attempt.failure
    found = headline(attempt.cause, failure.type, failure.message, failure.traceback, failure.stderr)
    return words.one_line(": ".join(part for part in found if part))


def unshown_error(attempt: Attempt, shown: Sequence[str]) -> str:
    """Return the type of a failure and the first line of its message; "" if the `shown` lines or the cause have it."""
    failure = attempt.failure
    if failure is None or not failure.message or attempt.cause in (Cause.EXIT, Cause.SIGNAL):
        return ""
    line = failure.message.splitlines()[0]
    return "" if any(line in one for one in shown) else words.one_line(f"{failure.type}: {line}".removeprefix(": "))


def retry_text(reason: Reason) -> str:
    """Return the number of a retry: `retry 1 of 2`."""
    return f"retry {reason.detail.get('retry')} of {reason.detail.get('of')}"


def notes(one: Attempt, retry: Reason | None) -> list[str]:
    """Return notes beside an attempt of a list: its retry, the rerun that archived it, the prune, its verdict."""
    found = [retry_text(retry)] if retry is not None else []
    found += [f"by rerun {one.archived_by}"] if one.archived_by is not None else []
    found += [f"pruned ({one.pruned_by})"] if one.pruned_by is not None else []
    found += [reused(one)] if one.reused_from is not None else []
    found += [verdict(one.verdict)] if one.verdict is not None else []
    found += [builds_on(one)] if one.start_step else []
    found += ["pinned"] if one.pinned_to is not None else []
    found += ["modified"] if one.overrides is not None else []
    found += ["partial"] if one.partial else []
    found += ["by hand"] if one.completed_by is not None else []
    found += short_undecided(one)
    return found


def short_undecided(one: Attempt | None) -> list[str]:
    """Return what the failure of an attempt waits for, as notes of a list: `held: unknown failure`."""
    return [text.partition(";")[0]] if (text := undecided(one)) else []


def undecided(one: Attempt | None) -> str:
    """Return what the failure of an attempt waits for: `held: unknown failure; release or rerun`; "" for nothing."""
    return "" if one is None or one.undecided is None else words.one_line(undecided_text(one.undecided))


def by_hand(record: RerunRecord | None) -> str:
    """Return who recorded an attempt: `by hand by ann: results of the cluster`; "" for one that was executed."""
    if record is None:
        return ""
    by = f" by {words.one_line(record.by)}" if record.by else ""
    return f"by hand{by}" + (f": {words.one_line(record.note)}" if record.note else "")


def reused(one: Attempt) -> str:
    """Return which attempt completed this one without running: `reused from attempt 17 of sweep`."""
    if not one.reused_from:
        return "reused from an attempt of a deleted workflow"
    return f"reused from {source_text(one.reused_from, one.reused_workflow)}"


def source_text(attempt: int, workflow: str | None) -> str:
    """Return an attempt that completes others, with its workflow if it is another one: `attempt 17 of sweep`."""
    return f"attempt {attempt}" + (f" of {words.one_line(workflow)}" if workflow else "")


def verdict(one: Verdict | None) -> str:
    """Return a verdict with its message: `warning: too warm`."""
    if one is None:
        return ""
    return f"{one.word.value}: {words.one_line(one.message)}" if one.message else one.word.value


def builds_on(one: Attempt) -> str:
    """Return where an attempt that keeps steps starts, and which: `from metrics, on experience of attempt 3`."""
    names = {step.position: words.one_line(step.name) for step in one.steps}
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
    size = format_size(one.size) if one.size >= 1024 else words.plural(one.size, "byte")
    text = f"partial: {words.one_line(path)} ({size})"
    if not full:
        return text if one.aside is None else f"{text}, set aside"
    if one.stays:
        return f"{text}, left there: {one.stays}"
    if one.aside is None:
        return text
    where = one.aside if os.path.lexists(one.aside) else "put back by a later attempt, or removed since"
    return f"{text}, set aside: {where}"


def group_error(group: FailureGroup) -> str:
    """Return an error of the group in one line, or its cause without an error."""
    return example_error(group.type, group.message, group.newest_message, group.count) or group.cause.value


def newest_error(group: FailureGroup) -> str:
    """Return the error of the newest attempt of the group in one line, or its cause without an error."""
    return example_error(group.type, group.message, group.newest_message, 1) or group.cause.value


def example_error(kind: str, normalised: str, message: str, count: int) -> str:
    """Return the newest error of a signature in one line. If other attempts may have another message:
    `e.g. ValueError: too cold: '21.5'`."""
    error = words.one_line(": ".join(part for part in (kind, message) if part))
    return f"e.g. {error}" if count > 1 and message != normalised else error


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
        return words.duration(value)
    if kind == "cpus":
        return f"{value:g}"
    return words.cut(words.one_line(format_value(value) if kind == "params" else value), 60)
