"""Attempts that were made again aside, and verifications: as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.presentation import attempts, reasons, words
from rekindle.presentation.words import one_line

if TYPE_CHECKING:
    from rekindle.domain.models import AttemptEnd
    from rekindle.domain.rerun.plan import Reason
    from rekindle.engine.reproduction.compare import ComparedOutput, ComparedRun, EndDifference, FirstDifference
    from rekindle.engine.reproduction.reproduce import PreparedReproduction, Reproduction
    from rekindle.engine.reproduction.scratch import Scratch
    from rekindle.engine.reproduction.stepping import StepCommand
    from rekindle.engine.reproduction.verify import Verification, VerifiedJob

_SHOWN = 60  # characters of a value


def drift_lines(prepared: PreparedReproduction) -> Iterator[str]:
    """Yield what differs today from what an attempt ran with: what it is given as it is today, then as it was."""
    drift, one = prepared.drift, prepared.one
    if drift.reasons:
        yield "differs today, and is used as it is today:"
        for reason in drift.reasons:
            yield from (f"  {line}" for line in reasons.full(reason))
    if drift.restored:
        yield "differs today, and is given as it was:"
        yield from (f"  {_restored(reason, drift.cached)}" for reason in drift.restored)
    yield from (f"note: {one_line(note)}" for note in prepared.notes)
    if not (drift.reasons or drift.restored) and (one.prints.inputs or one.code is not None):
        yield "what it read and ran with is as it was"


def folder_line(scratch: Scratch) -> str:
    """Return where an attempt is made again."""
    others = f" (with {words.plural(scratch.brought, 'other small file')} of the project)" if scratch.brought else ""
    return f"folder {scratch.folder}{others}"


def drift_text(prepared: PreparedReproduction) -> str:
    """Return what an attempt would be given as it is today, in one line."""
    return "; ".join(map(reasons.short, prepared.drift.reasons))


def _restored(reason: Reason, cached: Collection[str]) -> str:
    if "job" not in reason.detail:
        if reason.detail["path"] not in cached:
            return f"{reasons.short(reason)}: a kept copy is used"
        today = "today there is no file" if reason.detail["after"] is None else "today's file differs"
        what = one_line(str(reason.detail["name"]))
        return f"input {what}: {today}; the content of then is restored from the cache"
    name, then, now = (one_line(str(reason.detail[key])) for key in ("name", "before", "after"))
    today = "the job was reset" if now == "reset" else f"attempt {now} is live"
    return f"result of {name}: that of attempt {then} is used; today {today}"


def result_lines(found: Reproduction) -> Iterator[str]:
    """Yield how an attempt ended, beside how it had ended, and the first difference of each output."""
    one, ended = found.prepared.one, found.ended
    if found.subtask is None:
        yield f"recorded  {_end(one.attempt.state.label, attempts.full_cause(one.attempt))}"
        yield f"now       {_end(ended.state.label, _cause(ended))}"
    else:
        was, now = found.subtask
        yield f"recorded  {_end(was.state.label, attempts.cause(was))}"
        yield f"now       {_end(now.state.label, '' if now.cause is None else str(now.cause))}"
    yield from (f"{line}" for line in difference_lines(found.compared))
    if found.compared.same:
        yield f"the {_compared_parts(found)} the same"
    if ended.failure is not None and (message := ended.failure.message):
        yield f"error: {one_line(message)}"


def _compared_parts(found: Reproduction) -> str:
    was = found.prepared.one.attempt if found.subtask is None else found.subtask[0]
    parts = ["end", "result"] if was.result is not None else ["end"]
    parts += ["outputs"] if any(each.word == "same" for each in found.compared.outputs) else []
    *first, last = parts
    return f"{', '.join(first)} and {last} are" if first else f"{last} is"


def _end(state: str, cause: str) -> str:
    return f"{state}{f' ({one_line(cause)})' if cause else ''}"


def _cause(ended: AttemptEnd) -> str:
    if ended.cause is None:
        return ""
    if ended.exit_code is not None and ended.cause.value == "exit":
        return f"exit {ended.exit_code}"
    return str(ended.cause)


def difference_lines(compared: ComparedRun) -> Iterator[str]:
    """Yield each field and output that differs."""
    for each in compared.ends:
        yield f"{each.field} differs: {_first(each.first) or f'{_value(each.before)} -> {_value(each.after)}'}"
    for output in compared.outputs:
        name = one_line(output.name)
        if output.word == "missing":
            yield f"output {name} was not made"
        elif output.word == "unknown":
            yield f"output {name} cannot be compared: its content was not recorded"
        elif output.word == "differs":
            yield f"output {name} differs: {_first(output.first) or _digests(output)}"


def _digests(output: ComparedOutput) -> str:
    before, after = (reasons.short_digest(digest or "") for digest in (output.before, output.after))
    return f"{before} -> {after}; the recorded content is not there any more"


def _first(first: FirstDifference | None) -> str:
    """Return where and how two contents differ: `line 3, byte 41: a -> b`."""
    if first is None:
        return ""
    place = [one_line(part) for part in (first.file, first.path) if part is not None]
    place += [f"line {first.line:,}"] if first.line is not None else []
    place += [f"byte {first.byte:,}"] if first.byte is not None else []
    if first.before is None and first.after is None:
        return ", ".join(place)
    return f"{', '.join(place)}: {_value(first.before)} -> {_value(first.after)}"


def _value(value: Any) -> str:
    return "nothing" if value is None else words.cut(one_line(str(value)), _SHOWN, "middle")


def verified_line(one: VerifiedJob) -> str:
    """Return what was found of a job, in one line."""
    return f"{one.outcome:12}  {one_line(one.name)}{f': {why}' if (why := verified_why(one)) else ''}"


def verified_why(one: VerifiedJob) -> str:
    """Return why a job is not known to be reproducible: its first difference, or why it cannot be compared."""
    if one.compared is not None and one.outcome == "differs":
        lines = list(difference_lines(one.compared))
        more = f" and {words.plural(len(lines) - 1, 'more difference')}" if len(lines) > 1 else ""
        return lines[0] + more
    if one.why == "drift":
        more = f" and {words.plural(len(one.reasons) - 1, 'more change')}" if len(one.reasons) > 1 else ""
        return f"{reasons.short(one.reasons[0])}{more}"
    if one.why == "by_hand":
        return "completed by hand: nothing ran that could differ"
    return "it left no output and no result" if one.why == "nothing" else one_line(one.message)


def verified_summary(found: Verification) -> str:
    """Return how many jobs came out how."""
    counts = {word: sum(one.outcome == word for one in found.jobs) for word in ("reproducible", "differs", "unknown")}
    parts = [f"{number:,} {word}" for word, number in counts.items() if number]
    left = f"; {words.plural(len(found.left_out), 'job')} not completed, left out" if found.left_out else ""
    return f"{', '.join(parts) or 'no completed job is selected'}{left}"


def reproduction(found: Reproduction) -> dict[str, Any]:
    """Return an attempt that was made again."""
    ended = found.ended if found.subtask is None else found.subtask[1]
    return {
        **prepared_document(found.prepared),
        "folder": found.scratch.folder,
        "directory": found.scratch.directory,
        "brought": found.scratch.brought,
        "subtask": None if found.subtask is None else found.subtask[0].index,
        "state": ended.state.label,
        "cause": ended.cause,
        "exit_code": ended.exit_code,
        "signal": ended.signal,
        "error": found.ended.failure.message if found.ended.failure else None,
        "result": None if ended.result is None else json.loads(ended.result),
        **_compared(found.compared),
    }


def prepared_document(prepared: PreparedReproduction) -> dict[str, Any]:
    """Return an attempt and what differs today from what it ran with."""
    one = prepared.one
    return {
        "attempt": one.attempt.id,
        "job": one.job.id,
        "name": one.job.name,
        "workflow": one.workflow,
        "drift": [_reason(each) for each in prepared.drift.reasons],
        "restored": [
            {**_reason(each), "cached": each.detail.get("path") in prepared.drift.cached}
            for each in prepared.drift.restored
        ],
        "notes": list(prepared.notes),
    }


def _reason(one: Reason) -> dict[str, Any]:
    return {"kind": one.kind.value, **one.detail}


def _compared(one: ComparedRun) -> dict[str, Any]:
    return {
        "same": one.same,
        "differences": [_end_difference(each) for each in one.ends],
        "outputs": [
            {
                "name": each.name,
                "compared": each.word,
                "path": each.path,
                "before": each.before,
                "after": each.after,
                "first": _first_document(each.first),
            }
            for each in one.outputs
        ],
    }


def _end_difference(one: EndDifference) -> dict[str, Any]:
    return {"field": one.field, "before": one.before, "after": one.after, "first": _first_document(one.first)}


def _first_document(one: FirstDifference | None) -> dict[str, Any] | None:
    return None if one is None else msgspec.structs.asdict(one)


def verification(found: Verification) -> dict[str, Any]:
    """Return what `verify` found."""
    return {"jobs": [verified_job(one) for one in found.jobs], "left_out": list(found.left_out)}


def verified_job(one: VerifiedJob) -> dict[str, Any]:
    """Return a job that was made again aside."""
    compared: dict[str, Any] = {"same": None, "differences": [], "outputs": []}
    return {
        "job": one.job,
        "name": one.name,
        "attempt": one.attempt,
        "outcome": one.outcome,
        "why": one.why,
        "message": verified_why(one),
        "reasons": [_reason(each) for each in one.reasons],
        "folder": one.folder,
        "seconds": one.seconds,
        **(compared if one.compared is None else _compared(one.compared)),
    }


def step_document(one: StepCommand) -> dict[str, Any]:
    """Return how a step is started."""
    return {"step": one.step, "argv": one.argv, "directory": one.directory, "variables": one.variables}
