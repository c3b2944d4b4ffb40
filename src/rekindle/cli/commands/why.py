"""`rekindle why`: explain whether jobs would run again, and why or why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from rekindle.cli.options import json_option
from rekindle.cli.output import attempt_text, json_output, reasons, terminal, waits
from rekindle.cli.output.pages import emit_rows, limit_options, print_page_note
from rekindle.cli.output.progress import reading_progress
from rekindle.cli.output.workflow_notes import note_spec_changes
from rekindle.cli.selection_options import selection_options
from rekindle.cli.sessions import reconciled
from rekindle.domain.errors import UsageError
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries, selections, workflow_queries
from rekindle.engine.queries.job_queries import workflows_of
from rekindle.engine.queries.waits import WaitReason
from rekindle.engine.queries.waits import wait_reasons as waits_of
from rekindle.engine.results import PageRequest
from rekindle.engine.staleness import stale_jobs
from rekindle.query.selections import SelectionFlags, parse_selection
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from rekindle.domain.batches.canaries import CanaryGroup
    from rekindle.domain.changes.staleness import ComparedPart
    from rekindle.engine.session import Session
    from rekindle.engine.staleness.stale_jobs import AutomaticRerun, Explanation

_FIRST = 20
"""Jobs, and reasons of one job, that are printed without -v."""

_HEADS = 3
"""Jobs with the same explanation that are named without -v."""


@click.command()
@selection_options
@click.option("-v", "--verbose", is_flag=True, help="Show every job and every reason.")
@limit_options
@json_option
def why(flags: SelectionFlags, verbose: bool, page: PageRequest | None, as_json: bool) -> None:
    """Explain whether jobs would run again, and why or why not.

    A job of the SELECTION is stale if a dependency of its last attempt has changed: its definition, the parameters and
    variables that it uses, the functions that it calls, its input files, the files that its commands name, the results
    of the jobs that it needs; or if its outputs are missing or changed. Files are compared by content. A job without
    anything to compare is unknown. Nothing is changed.

    A different interpreter, installed distribution or program is shown. It makes a job stale with --changed=all, or if
    the spec has `stale_on: [environment]`.

    A job that has not ended is explained by its open needs, holds, resources, retries and runners, or by the runner
    that has claimed it.

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
        with reading_progress() as on_read:
            every = selections.select(session, selection, on_read)
            jobs = page.of(every) if page else every
            found = stale_jobs.explain(session, jobs, on_read, strict=selection.changed == "all")
        workflows = workflows_of(session, [one.job.id for one in found])
        note_spec_changes(workflow_queries.owners(session, [one.job.id for one in found]))
        notes = _notes(session, found)
        cancels = job_queries.cancel_notes(session, [one.job.id for one in found if one.word == "canceled"])
        groups = job_queries.canary_groups_of(session, [one.job.id for one in found])
        waiting = waits_of(session, [one.job.id for one in found])
    if as_json:
        shown = (
            {
                **_explained_json(one, groups.get(one.job.id), waiting.get(one.job.id, ())),
                "note": cancels.get(one.job.id),
            }
            for one in found
        )
        emit_rows("jobs", shown)
        return
    if not every:
        click.echo("nothing is stale" if selection.changed else "nothing selected")
    elif found:
        _draw(found, notes, cancels, groups, waiting, verbose, workflows)
    print_page_note(page or PageRequest(), len(jobs), len(every), "job")


def _notes(session: Session, found: Sequence[Explanation]) -> dict[int, str]:
    """Return the notes of the reruns that accepted changes, by rerun."""
    numbers = {one.accepted for one in found if one.accepted is not None}
    return {number: note for number in numbers if (note := workflow_queries.rerun(session, number).note)}


def _explained_json(one: Explanation, group: CanaryGroup | None, waiting: Sequence[WaitReason]) -> dict[str, Any]:
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
        "error": (attempt_text.error(one.failed) if one.failed else "") or None,
        "compared": [_part(part) for part in one.compared],
        "mentioned": [_part(part) for part in one.mentioned],
        "checked": checked
        and {
            "rerun": checked.rerun,
            "at": json_output.iso(checked.at),
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
        "canaries": group and json_output.canary_group(group),
        "waits": [waits.wait_json(each) for each in waiting],
    }


def _part(part: ComparedPart) -> dict[str, Any]:
    shape: dict[str, Any] = {"kind": part.kind.value, "name": part.name}
    shape |= {} if part.path is None else {"path": part.path}
    return {**shape, "implicit": True} if part.implicit else shape


def _reason(reason: Reason) -> dict[str, Any]:
    return {"kind": reason.kind.value, **reason.detail}


def _draw(
    found: Sequence[Explanation],
    notes: Mapping[int, str],
    cancels: Mapping[int, str],
    groups: Mapping[int, CanaryGroup],
    waiting: Mapping[int, Sequence[WaitReason]],
    verbose: bool,
    workflows: Sequence[int],
) -> None:
    """Print jobs with the same explanation together. Of many jobs, leave out those that need no attention."""
    explained = (
        found if verbose or len(found) <= _FIRST else [one for one in found if one.word not in _QUIET or one.warnings]
    )
    if explained is not found:
        explained = sorted(explained, key=lambda one: one.word in _LAST)
    by_text: dict[tuple[str, ...], list[Explanation]] = {}
    for one in explained:
        lines = [*_lines(one, notes, groups.get(one.job.id), verbose)]
        waiting_for = waiting.get(one.job.id, ())
        indent = "  "
        if any(each.kind == "delay" and each.detail["retry"] for each in waiting_for):
            lines, indent = lines[1:], ""  # the wait for the retry says it
        if one.job.id in cancels:
            lines.append(f"note: {terminal.one_line(cancels[one.job.id])}")
        now = waits.wait_lines(waiting_for, one.job.workflow)
        by_text.setdefault((*lines, *(f"{indent}{line}" for line in now)), []).append(one)
    shown = 0
    for text, group in list(by_text.items())[: None if verbose else _FIRST]:
        _draw_heads(group, verbose)
        ids = attempt_text.id_ranges([one.job.id for one in group])
        for line in text:
            click.echo(f"  {line.replace(waits.IDS, ids)}")
        if newest := _newest_error(group):
            click.echo(f"  {newest}")
        shown += len(group)
    if len(found) > 1:
        if shown < len(found):
            click.echo(f"… and {terminal.plural(len(found) - shown, 'more job')} (-v shows all)")
        click.echo(f"\n{_summary(found)}")
    if any(one.word == "stale" for one in found):
        scope = f" -w {workflows[0]}" if len(workflows) == 1 else ""
        click.echo(f"again: rekindle rerun{scope} --changed --work")


def _newest_error(group: Sequence[Explanation]) -> str:
    """Return the error of the newest failed attempt of the jobs in one line."""
    failed = [one.failed for one in group if one.failed is not None]
    error = attempt_text.error(max(failed, key=lambda one: one.id)) if failed else ""
    return terminal.cut(f"e.g. {error}" if error and len(group) > 1 else error, terminal_columns() - 2)


def _draw_heads(group: Sequence[Explanation], verbose: bool) -> None:
    heads = [
        (f"{one.job.id} {terminal.one_line(one.job.name)}", one.job.state.label)
        for one in (group if verbose or len(group) <= _HEADS + 1 else group[:_HEADS])
    ]
    for head, state in heads:
        cut = terminal.cut(head, terminal_columns() - len(state) - 2, "middle")
        click.echo(f"{cut}  {terminal.coloured(state)}")
    if len(heads) < len(group):
        click.echo(f"… and {len(group) - len(heads):,} more (-v names them)")


_QUIET = ("current", "unknown", "upstream", "retired")
_LAST = ("new", "reset")
"""Of many jobs, these are printed after the stale, failed and running ones."""

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


def _summary(found: Sequence[Explanation]) -> str:
    counts = Counter(one.word for one in found)
    parts = [f"{counts[word]:,} {text}" for word, text in _SUMMARY_WORDS.items() if counts[word]]  # type: ignore[index]
    return f"{terminal.plural(len(found), 'job')}: {', '.join(parts)}"


def _lines(one: Explanation, notes: Mapping[int, str], group: CanaryGroup | None, verbose: bool) -> Iterator[str]:
    yield from _verdict_lines(one, verbose)
    if group is not None:
        yield waits.canary_reason(group)
    if one.word == "stale":
        shown = one.reasons if verbose else one.reasons[:_FIRST]
        yield from (f"  {line}" for reason in shown for line in reasons.full(reason))
        if len(one.reasons) > len(shown):
            yield f"  … and {terminal.plural(len(one.reasons) - len(shown), 'more reason')} (-v shows all)"
    yield from (f"  environment: {reasons.short(each)} {_ONLY_WARNS}" for each in one.warnings)
    if one.mentioned:
        names = ", ".join(terminal.one_line(part.name) for part in one.mentioned)
        text = f"not compared, because a job writes it: {names}"
        yield text if verbose else terminal.cut(text, terminal_columns() - 2)
    if one.accepted is not None:
        note = notes.get(one.accepted)
        yield f"compared with the state that rerun {one.accepted} accepted" + (
            f" ({terminal.one_line(note)})" if note else ""
        )
    if one.checked is not None:
        yield from _checked(one)


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


def _verdict_lines(one: Explanation, verbose: bool) -> Iterator[str]:
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
    width = terminal_columns() - 4
    listed = reasons.compared_lines(one.compared, width, **({"most": None} if verbose else {}))
    if len(listed) == 1 and len(text) + len(listed[0]) < width:
        yield f"{text}: {listed[0]}"
    else:
        yield f"{text}:"
        yield from (f"  {line}" for line in listed)


def _sentence(one: Explanation) -> str:
    job, word = one.job, one.word
    if word == "upstream":
        above = next(reason.detail for reason in one.reasons if reason.kind is ReasonKind.UPSTREAM)
        return f"would run again: {terminal.one_line(above['name'])} ({above['job']}), which it needs, is stale"
    if word in ("new", "reset"):
        if one.awaits:
            return "was reset and runs again after the end of attempts that it would disturb"
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
        return f"failed ({attempt_text.cause(last)}); its retry{which} runs in its turn"
    how = "was lost with its runner" if last.cause == "lost" else f"ended ({attempt_text.cause(last)})"
    return f"its attempt {last.number} {how}; it runs again"


_SENTENCES = {
    "stale": "stale: it would run again, for",
    "current": "current",
    "unknown": "unknown: nothing to compare",
    "failed": "failed: it runs again on request",
    "canceled": "canceled: it runs again on request",
    "retired": "retired: it is not in its workflow any more",
}
