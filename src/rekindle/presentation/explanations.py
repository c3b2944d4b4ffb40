"""Whether jobs would run again, and why or why not, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rekindle.domain.next_attempt import ANY_EARLIER
from rekindle.domain.rerun.plan import ReasonKind
from rekindle.domain.states import State
from rekindle.presentation import attempts, reasons, waits, words

if TYPE_CHECKING:
    from rekindle.engine.queries.details import Explanations
    from rekindle.engine.staleness.stale_jobs import AutomaticRerun, Explanation
    from rekindle.presentation.words import Paint

_SUMMARY_WORDS = {
    "stale": "stale",
    "upstream": "would follow",
    "current": "current",
    "unknown": "unknown",
    "failed": "failed",
    "canceled": "canceled",
    "active": "running",
    "reset": "to run again",
    "new": "not run yet",
    "retired": "retired",
}


def summary(found: Sequence[Explanation]) -> str:
    """Return the number of jobs by explanation: `12 jobs: 3 stale, 9 current`."""
    counts = Counter(one.word for one in found)
    parts = [f"{counts[word]:,} {text}" for word, text in _SUMMARY_WORDS.items() if counts[word]]  # type: ignore[index]
    return f"{words.plural(len(found), 'job')}: {', '.join(parts)}"


def explanation_lines(
    one: Explanation, found: Explanations, width: int, *, most: int | None = None, paint: Paint = str
) -> list[str]:
    """Return whether a job would run again, why, and what it waits for. Lines that list things are broken at `width`
    columns. Of the reasons and the compared things, `most` are named. `waits.IDS` stands for the job's id."""
    lines = list(_lines(one, found, width, most))
    waiting_for, indent = found.waits.get(one.job.id, ()), "  "
    if any(each.kind == "delay" and each.detail["retry"] for each in waiting_for):
        lines, indent = lines[1:], ""  # the wait for the retry says it
    if one.job.id in found.cancels:
        lines.append(f"note: {words.one_line(found.cancels[one.job.id])}")
    return [*lines, *(f"{indent}{line}" for line in waits.wait_lines(waiting_for, one.job.workflow, paint))]


def _lines(one: Explanation, found: Explanations, width: int, most: int | None) -> Iterator[str]:
    yield from _verdict_lines(one, width, most)
    if one.forbidden:
        yield words.cut(f"must not run twice: {words.one_line(one.forbidden)} (`manual` in the spec)", width)
        if one.word == "stale":
            yield f"keep its results as current: rekindle accept {waits.IDS}"
    if one.job.id in found.by_hand:
        yield words.cut(f"completed {attempts.by_hand(found.by_hand[one.job.id])}", width)
    if one.job.id in found.canaries:
        yield waits.canary_reason(found.canaries[one.job.id])
    if one.word == "stale":
        shown = one.reasons[:most]
        yield from (f"  {line}" for reason in shown for line in reasons.full(reason))
        if len(one.reasons) > len(shown):
            yield f"  … and {words.plural(len(one.reasons) - len(shown), 'more reason')} (-v shows all)"
    yield from (f"  environment: {reasons.short(each)} {_ONLY_WARNS}" for each in one.warnings)
    if one.mentioned:
        names = ", ".join(words.one_line(part.name) for part in one.mentioned)
        text = f"not compared, because a job writes it: {names}"
        yield text if most is None else words.cut(text, width)
    if one.removed:
        names = ", ".join(words.one_line(output.name) for output in one.removed)
        yield words.cut(f"temporary, and removed when no job needed it any more: {names}", width)
    if one.accepted is not None:
        note = found.notes.get(one.accepted)
        yield f"compared with the state that rerun {one.accepted} accepted" + (
            f" ({words.one_line(note)})" if note else ""
        )
    if one.checked is not None:
        yield from _checked(one)
    if one.reused is not None:
        yield f"not run: {attempts.reused(one.reused)}"


_ONLY_WARNS = "(does not make it stale; rerun --changed=all does)"


def _checked(one: Explanation) -> Iterator[str]:
    checked = one.checked
    if checked is None:
        return
    if checked.reinstated:
        yield f"not run: inputs unchanged (rerun {checked.rerun})"
    elif checked.reasons:
        more = f", and {len(checked.reasons) - 1} more" if len(checked.reasons) > 1 else ""
        yield f"rerun {checked.rerun} did not reuse an attempt: {reasons.short(checked.reasons[0])}{more}"
    else:
        yield f"rerun {checked.rerun} did not reuse an attempt: there was nothing to compare"


def _verdict_lines(one: Explanation, width: int, most: int | None) -> Iterator[str]:
    """Yield the verdict in a sentence, and what the job was compared by."""
    text = _sentence(one)
    if one.word == "unknown" and not one.recorded:
        yield "unknown: the dependencies of its attempt were not recorded"
        return
    if one.word == "unknown":
        yield f"{text}: the job declares no inputs or outputs"
        yield "  and its command names no file"
        return
    if one.word not in ("current", "failed") or not one.compared:
        yield text
        return
    text = f"{text}: equal to what it ran with" if one.word == "current" else f"{text}; equal to what it ran with"
    listed = reasons.compared_lines(one.compared, width - 2, **({"most": None} if most is None else {}))
    if len(listed) == 1 and len(text) + len(listed[0]) < width - 2:
        yield f"{text}: {listed[0]}"
    else:
        yield f"{text}:"
        yield from (f"  {line}" for line in listed)


def _sentence(one: Explanation) -> str:
    job, word = one.job, one.word
    if one.forbidden and word in _FORBIDDEN_SENTENCES:
        return _FORBIDDEN_SENTENCES[word]
    if word == "upstream":
        above = next(reason.detail for reason in one.reasons if reason.kind is ReasonKind.UPSTREAM)
        return f"would run again: {words.one_line(above['name'])} ({above['job']}), which it needs, is stale"
    if word in ("new", "reset"):
        if one.awaits:
            return "was reset and runs again after the end of attempts that it would disturb"
        if job.next.reuse_candidate == ANY_EARLIER:
            return "runs unless an earlier attempt had its definition and inputs"
        if job.next.reuse_candidate is not None:
            return "was reset, and runs only if a dependency has changed"
        if one.again is not None:
            return _runs_again(one.again)
        return "has not run yet" if word == "new" else "was reset and runs again"
    return _SENTENCES[word] if word != "active" else f"it is {'running' if job.state is State.RUNNING else 'queued'}"


def _runs_again(again: AutomaticRerun) -> str:
    """Return which attempt of a job that runs again failed, and how."""
    last = again.attempt
    if again.kind == "retry":
        which = f" {again.retry['retry']} of {again.retry['of']}" if again.retry else ""
        return f"failed ({attempts.cause(last)}); its retry{which} runs in its turn"
    how = "was lost with its runner" if last.cause == "lost" else f"ended ({attempts.cause(last)})"
    return f"its attempt {last.number} {how}; it runs again"


_FORBIDDEN_SENTENCES = {
    "stale": "stale, but not run again:",
    "upstream": "not run again, though a job that it needs is stale",
    "failed": "failed, and not run again",
    "canceled": "canceled, and not run again",
}

_SENTENCES = {
    "stale": "stale: it would run again, for",
    "current": "current",
    "unknown": "unknown: nothing to compare",
    "failed": "failed: it runs again on request",
    "canceled": "canceled: it runs again on request",
    "retired": "retired: it is not in its workflow any more",
}
