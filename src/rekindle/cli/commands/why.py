"""`rekindle why`: for each job whether it would run again, and why or why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from rekindle.cli.commands.rerun import tell_spec_changed
from rekindle.cli.options import json_option, selection_options
from rekindle.cli.reconciling import reconciled
from rekindle.cli.showing import canaries, drawing, explaining, reasons, shapes, waiting
from rekindle.cli.showing.lists import emit_rows, limit_options, tell_page
from rekindle.cli.showing.reading import reading_shown
from rekindle.domain.batches.canaries import Group
from rekindle.domain.changes.staleness import ComparedPart
from rekindle.domain.errors import UsageError
from rekindle.domain.rerunning.rerun import Reason, ReasonKind
from rekindle.domain.states import State
from rekindle.engine.changes import staleness
from rekindle.engine.changes.staleness import Explained, RunsAgain
from rekindle.engine.looking import look
from rekindle.engine.looking.lists import Page
from rekindle.engine.looking.waits import Wait
from rekindle.engine.looking.waits import waits as waits_of
from rekindle.engine.looking.whereabouts import workflows_of
from rekindle.engine.session import Session
from rekindle.query.selections import Flags, parse_selection

_FIRST = 20
"""Jobs, and reasons of one job, that are shown without -v."""

_HEADS = 3
"""Jobs of which the same is true that are named without -v."""


@click.command()
@selection_options
@click.option("-v", "--verbose", is_flag=True, help="Show every job and every reason.")
@limit_options
@json_option
def why(flags: Flags, verbose: bool, page: Page | None, as_json: bool) -> None:
    """Tell whether jobs would run again, and why or why not.

    A job of the SELECTION is stale when what its last attempt depended on is not what it was: its definition, the
    parameters and variables it uses, the functions it calls, its input files, the files its commands name, what the
    jobs that it needs came to; or when its outputs are gone or altered. Files are compared by what they hold. A job
    that has nothing to compare is unknown. Nothing is changed.

    Another interpreter, installed distribution or program is shown, and makes a job stale with --changed=all, or where
    its spec has `stale_on: [environment]`.

    Of a job that has not ended, the needs that are not done, holds, resources, retries and runners that it waits for
    are named, or the runner that has it.

    \b
    Example:
      rekindle why train
      rekindle why -w sweep --changed
      rekindle why -w sweep --changed=all
    """
    selection = parse_selection(flags)
    if selection.empty:
        raise UsageError("say which jobs to explain", hint="for instance `rekindle why train`, -w WORKFLOW, or --all")
    with reconciled(looks=True) as session:
        with reading_shown() as tell:
            every = look.select(session, selection, tell)
            jobs = page.of(every) if page else every
            found = staleness.explain(session, jobs, tell, strict=selection.changed == "all")
        workflows = workflows_of(session, [one.job.id for one in found])
        tell_spec_changed(session, workflows)
        notes = _notes(session, found)
        cancels = look.cancel_notes(session, [one.job.id for one in found if one.word == "canceled"])
        waits = look.waiting_for(session, [one.job.id for one in found])
        standing = waits_of(session, [one.job.id for one in found])
    if as_json:
        shown = (
            {**_shape(one, waits.get(one.job.id), standing.get(one.job.id, ())), "note": cancels.get(one.job.id)}
            for one in found
        )
        emit_rows("jobs", shown)
        return
    if not every:
        click.echo("nothing is stale" if selection.changed else "nothing selected")
    elif found:
        _draw(found, notes, cancels, waits, standing, verbose, workflows)
    tell_page(page or Page(), len(jobs), len(every), "job")


def _notes(session: Session, found: Sequence[Explained]) -> dict[int, str]:
    """What was said when things were accepted, by rerun."""
    numbers = {one.accepted for one in found if one.accepted is not None}
    return {number: note for number in numbers if (note := look.rerun(session, number).note)}


def _shape(one: Explained, waits: Group | None, standing: Sequence[Wait]) -> dict[str, Any]:
    job, checked = one.job, one.checked
    return {
        "id": job.id,
        "workflow": job.workflow,
        "name": job.name,
        "state": job.state.label,
        "held": job.held is not None,
        "stale": one.stale,
        "verdict": one.word,
        "reasons": [*map(_reason, one.reasons), *({**_reason(each), "stale": False} for each in one.warnings)],
        "accepted": one.accepted,
        "awaits": list(one.awaits),
        "error": (explaining.error(one.failed) if one.failed else "") or None,
        "compared": [_part(part) for part in one.compared],
        "mentioned": [_part(part) for part in one.mentioned],
        "checked": checked
        and {
            "rerun": checked.rerun,
            "at": shapes.iso(checked.at),
            "result": "reinstated" if checked.reinstated else "runs",
            "reasons": [_reason(reason) for reason in checked.reasons],
        },
        "again": one.again
        and {
            "kind": one.again.kind,
            "attempt": one.again.attempt.number,
            "id": one.again.attempt.id,
            "cause": one.again.attempt.cause,
            "exit_code": one.again.attempt.exit_code,
        },
        "canaries": waits and canaries.group_shape(waits),
        "waits": [waiting.shape(each) for each in standing],
    }


def _part(part: ComparedPart) -> dict[str, Any]:
    shape: dict[str, Any] = {"kind": part.kind.value, "name": part.name}
    shape |= {} if part.path is None else {"path": part.path}
    return {**shape, "implicit": True} if part.implicit else shape


def _reason(reason: Reason) -> dict[str, Any]:
    return {"kind": reason.kind.value, **reason.detail}


def _draw(
    found: Sequence[Explained],
    notes: Mapping[int, str],
    cancels: Mapping[int, str],
    waits: Mapping[int, Group],
    standing: Mapping[int, Sequence[Wait]],
    verbose: bool,
    workflows: Sequence[int],
) -> None:
    """Jobs of which the same is true, together; of many those first that are not as they should be."""
    telling = (
        found if verbose or len(found) <= _FIRST else [one for one in found if one.word not in _QUIET or one.warnings]
    )
    if telling is not found:
        telling = sorted(telling, key=lambda one: one.word in _LAST)
    alike: dict[tuple[str, ...], list[Explained]] = {}
    for one in telling:
        lines = [*_lines(one, notes, waits.get(one.job.id), verbose)]
        waited = standing.get(one.job.id, ())
        indent = "  "
        if any(each.kind == "delay" and each.detail["retry"] for each in waited):
            lines, indent = lines[1:], ""  # the wait for the retry says it
        if one.job.id in cancels:
            lines.append(f"note: {drawing.flat(cancels[one.job.id])}")
        now = waiting.lines(waited, one.job.workflow)
        alike.setdefault((*lines, *(f"{indent}{line}" for line in now)), []).append(one)
    shown = 0
    for said, group in list(alike.items())[: None if verbose else _FIRST]:
        _draw_heads(group, verbose)
        ids = explaining.ids([one.job.id for one in group])
        for line in said:
            click.echo(f"  {line.replace(waiting.IDS, ids)}")
        if newest := _newest_error(group):
            click.echo(f"  {newest}")
        shown += len(group)
    if len(found) > 1:
        if shown < len(found):
            click.echo(f"… and {drawing.many(len(found) - shown, 'more job')} (-v shows all)")
        click.echo(f"\n{_summed_up(found)}")
    if any(one.word == "stale" for one in found):
        scope = f" -w {workflows[0]}" if len(workflows) == 1 else ""
        click.echo(f"again: rekindle rerun{scope} --changed --work")


def _newest_error(group: Sequence[Explained]) -> str:
    """The error of the newest attempt of jobs that failed, in one line."""
    failed = [one.failed for one in group if one.failed is not None]
    said = explaining.error(max(failed, key=lambda one: one.id)) if failed else ""
    return drawing.cut(f"e.g. {said}" if said and len(group) > 1 else said, drawing.terminal_width() - 2)


def _draw_heads(group: Sequence[Explained], verbose: bool) -> None:
    heads = [
        (f"{one.job.id} {drawing.flat(one.job.name)}", one.job.state.label)
        for one in (group if verbose or len(group) <= _HEADS + 1 else group[:_HEADS])
    ]
    for head, state in heads:
        cut = drawing.cut(head, drawing.terminal_width() - len(state) - 2, "middle")
        click.echo(f"{cut}  {drawing.coloured(state)}")
    if len(heads) < len(group):
        click.echo(f"… and {len(group) - len(heads):,} more (-v names them)")


_QUIET = ("current", "unknown", "upstream", "retired")
_LAST = ("new", "reset")
"""Of many jobs, these are shown after those that are stale, failed or running."""

_IN_ALL = {
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


def _summed_up(found: Sequence[Explained]) -> str:
    counts = Counter(one.word for one in found)
    parts = [f"{counts[word]:,} {text}" for word, text in _IN_ALL.items() if counts[word]]  # type: ignore[index]
    return f"{drawing.many(len(found), 'job')}: {', '.join(parts)}"


def _lines(one: Explained, notes: Mapping[int, str], waits: Group | None, verbose: bool) -> Iterator[str]:
    yield from _said(one, verbose)
    if waits is not None:
        yield canaries.why(waits)
    if one.word == "stale":
        shown = one.reasons if verbose else one.reasons[:_FIRST]
        yield from (f"  {line}" for reason in shown for line in reasons.in_full(reason))
        if len(one.reasons) > len(shown):
            yield f"  … and {drawing.many(len(one.reasons) - len(shown), 'more reason')} (-v shows all)"
    yield from (f"  environment: {reasons.in_short(each)} {_ONLY_WARNS}" for each in one.warnings)
    if one.mentioned:
        names = ", ".join(drawing.flat(part.name) for part in one.mentioned)
        said = f"not compared, because a job writes it: {names}"
        yield said if verbose else drawing.cut(said, drawing.terminal_width() - 2)
    if one.accepted is not None:
        note = notes.get(one.accepted)
        yield f"measured by what rerun {one.accepted} accepted" + (f" ({drawing.flat(note)})" if note else "")
    if one.checked is not None:
        yield from _checked(one)


_ONLY_WARNS = "(does not make it stale; rerun --changed=all does)"


def _checked(one: Explained) -> Iterator[str]:
    checked = one.checked
    if checked is None:
        return
    if checked.reinstated:
        yield f"not run: inputs unchanged (rerun {checked.rerun})"
    elif checked.reasons:
        more = f", and {len(checked.reasons) - 1} more" if len(checked.reasons) > 1 else ""
        yield f"rerun {checked.rerun} did not spare it: {reasons.in_short(checked.reasons[0])}{more}"
    else:
        yield f"rerun {checked.rerun} did not spare it: there was nothing to compare"


def _said(one: Explained, verbose: bool) -> Iterator[str]:
    """What there is to say of it, in a sentence, and by what it was compared."""
    said = _sentence(one)
    if one.word == "unknown" and not one.recorded:
        yield "unknown: what its attempt depended on was not recorded"
        return
    if one.word == "unknown":
        yield f"{said}: the job declares no inputs or outputs"
        yield "  and its command names no file"
        return
    if one.word not in ("current", "failed") or not one.compared:
        yield said
        return
    said = f"{said}: equal to what it ran with" if one.word == "current" else f"{said}; equal to what it ran with"
    width = drawing.terminal_width() - 4
    listed = reasons.compared(one.compared, width, **({"most": None} if verbose else {}))
    if len(listed) == 1 and len(said) + len(listed[0]) < width:
        yield f"{said}: {listed[0]}"
    else:
        yield f"{said}:"
        yield from (f"  {line}" for line in listed)


def _sentence(one: Explained) -> str:
    job, word = one.job, one.word
    if word == "upstream":
        above = next(reason.detail for reason in one.reasons if reason.kind is ReasonKind.UPSTREAM)
        return f"would run again: {drawing.flat(above['name'])} ({above['job']}), which it rests on, is stale"
    if word in ("new", "reset"):
        if one.awaits:
            return "was reset and runs again after the end of what it would disturb"
        if job.reserve is not None:
            return "was reset, and runs only if what it depends on has changed"
        if one.again is not None:
            return _again(one.again)
        return "has not run yet" if word == "new" else "was reset and runs again"
    return _SENTENCES[word] if word != "active" else f"it is {'running' if job.state is State.RUNNING else 'queued'}"


def _again(again: RunsAgain) -> str:
    """Of a job that runs again by itself: which attempt came to nothing, and how."""
    last = again.attempt
    if again.kind == "retry":
        which = f" {again.retry['retry']} of {again.retry['of']}" if again.retry else ""
        return f"failed ({explaining.cause(last)}); its retry{which} runs in its turn"
    how = "was lost with its runner" if last.cause == "lost" else f"ended ({explaining.cause(last)})"
    return f"its attempt {last.number} {how}; it runs again"


_SENTENCES = {
    "stale": "stale: it would run again, for",
    "current": "current",
    "unknown": "unknown: nothing to compare",
    "failed": "failed: it runs again when asked to",
    "canceled": "canceled: it runs again when asked to",
    "retired": "retired: it is no part of its workflow any more",
}
