"""`rekindle jobs`: list and show."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import click

from rekindle.cli.commands.flaky import WORDS
from rekindle.cli.lazy import Entry, LazyGroup
from rekindle.cli.opening import opened
from rekindle.cli.options import json_option, selection_options
from rekindle.cli.showing import canaries, drawing, explaining, reasons, shapes, waiting
from rekindle.cli.showing.drawing import Column
from rekindle.cli.showing.lists import emit_rows, page_options, print_table, tell_page
from rekindle.cli.showing.modified import modifications
from rekindle.cli.showing.reading import reading_shown
from rekindle.domain.acting import Patch
from rekindle.domain.batches.flakiness import Passed
from rekindle.domain.changes.staleness import Assessment
from rekindle.domain.models import Attempt, Job
from rekindle.domain.rerunning.rerun import Reason
from rekindle.domain.selection import Selection
from rekindle.domain.states import ACTIVE, State
from rekindle.domain.texts.jobnames import value_label
from rekindle.domain.texts.quantities import format_size
from rekindle.domain.texts.secrets import masked_document, masked_matrix
from rekindle.engine.acting import acted
from rekindle.engine.changes import staleness
from rekindle.engine.looking import lists, look
from rekindle.engine.looking.flaky import how_passed
from rekindle.engine.looking.lists import Page
from rekindle.engine.looking.waits import waits as waits_of
from rekindle.engine.results import JobRow
from rekindle.query.selections import Flags, parse_selection
from rekindle.query.words import parse_words
from rekindle.store.port_attempts import Adder

_HERE = "rekindle.cli.commands.jobs"

COMMANDS = {
    "list": Entry(f"{_HERE}:list_jobs", "List jobs and how they stand."),
    "show": Entry(f"{_HERE}:show", "Show everything about a job."),
}


@click.group("jobs", cls=LazyGroup, entries=COMMANDS)
def jobs() -> None:
    """List and show jobs.

    \b
    Example:
      rekindle jobs list -s failed
      rekindle jobs show 7
    """


@click.command("list")
@selection_options
@page_options
@json_option
def list_jobs(flags: Flags, page: Page, as_json: bool) -> None:
    """List jobs and how they stand: all of them, or a SELECTION.

    \b
    Example:
      rekindle jobs list -w sweep -s failed,canceled
      rekindle jobs list -f 'matrix.alpha>0.5' -f 'attempts>=2'
      rekindle jobs list --error 'out of memory'
    """
    selection = parse_selection(flags)
    with opened() as session, reading_shown() as tell, lists.jobs(session, selection, page, tell) as found:
        if as_json:
            emit_rows("jobs", (shapes.job(row, True if selection.changed else None) for row in found.rows))
        elif not found.total:
            click.echo("no jobs: `rekindle submit SPEC` stores some" if selection.empty else "nothing selected")
        else:
            tell_page(page, print_table(_COLUMNS, found.rows, _block), found.total, "job")


_COLUMNS = (
    Column("ID", right=True),
    Column("WORKFLOW", cut="end", drop=True),
    Column("NAME", cut="middle", keep=True),
    Column("STATE"),
    Column("CAUSE", drop=True),
    Column("TRIES", right=True, spare=True),
    Column("TIME", right=True, drop=True, spare=True),
    Column("ENDED", drop=True, spare=True),
    Column("NOTE", cut="end", drop=True),
)


def _block(rows: Sequence[JobRow]) -> Iterator[Sequence[str]]:
    several = len({row.job.workflow for row in rows}) > 1
    return (_cells(row, several) for row in rows)


def _cells(row: JobRow, several: bool) -> tuple[str, ...]:
    job, live = row.job, row.attempt
    notes = [f"held: {job.held}" if job.held not in (None, "held") else "held"] if job.held is not None else []
    notes += [f"retry at {drawing.when(job.not_before)}"] if job.not_before is not None else []
    notes += ["after the end of what it would disturb"] if row.awaits else []
    notes += ["retired"] if job.retired else []
    notes += [explaining.verdict(row.verdict)] if row.verdict is not None else []
    notes += ["partial"] if row.partial else []
    notes += ["runs unless unchanged"] if job.reserve is not None else []
    return (
        str(job.id),
        row.workflow if several else "",
        job.name,
        job.state.label,
        explaining.cause(live) if live else "",
        str(job.attempts),
        drawing.lasting(shapes.seconds(live.started, live.ended)) if live else "",
        drawing.when(live.ended) if live else "",
        ", ".join(notes),
    )


@click.command()
@click.argument("job", metavar="JOB")
@click.option("-w", "--workflow", metavar="ID|NAME", help="The job of this workflow, where several have the name.")
@json_option
def show(job: str, workflow: str | None, as_json: bool) -> None:
    """Show everything about a job: how it stands, what it needs, its attempts, its last error.

    \b
    Example:
      rekindle jobs show 'train[alpha=0.1,seed=0]'
    """
    with opened() as session:
        ids = look.select(session, Selection(workflow=workflow, jobs=parse_words([job])))
        rows = look.jobs(session, ids)
        needs, needed = look.parents(session, ids), look.children(session, ids)
        history, (retries, due) = look.attempts(session, ids), look.retries(session, ids)
        adders, patches = acted.adders(session, ids), acted.patches(session, ids)
        with reading_shown() as tell:
            _, assessed = staleness.assess(session, ids, tell)
        passed, waits = how_passed(session, ids), look.waiting_for(session, ids)
        standing = waits_of(session, ids)
    if as_json:
        documents = [
            {
                **shapes.job(row, assessed[row.job.id].stale if row.job.id in assessed else False),
                "passed": passed.get(row.job.id),
                "retry": shapes.retry(due.get(row.job.id)),
                "needs": [_neighbour(one) for one in needs.get(row.job.id, [])],
                "needed_by": [_neighbour(one) for one in needed.get(row.job.id, [])],
                "attempt_ids": [one.id for one in history if one.job == row.job.id],
                "canaries": canaries.group_shape(waits[row.job.id]) if row.job.id in waits else None,
                "waits": [waiting.shape(one) for one in standing.get(row.job.id, ())],
                "added_by_job": adders[row.job.id].job if row.job.id in adders else None,
                "patches": [
                    {"attempt": attempt, one.kind: masked_document(one.content)}
                    for one, attempt in patches.get(row.job.id, ())
                ],
            }
            for row in rows
        ]
        shapes.emit(documents[0] if len(documents) == 1 else {"jobs": documents})
        return
    for at, row in enumerate(rows):
        click.echo("\n" if at else "", nl=False)
        own = [one for one in history if one.job == row.job.id]
        dynamic = _dynamic(adders.get(row.job.id), patches.get(row.job.id, []))
        again = [("next", _next_try(row.job, due.get(row.job.id))), ("repeats", _repeats(row.job))]
        now = "\n".join(waiting.lines(standing.get(row.job.id, ()), row.job.workflow))
        again += [("now", now.replace(waiting.IDS, str(row.job.id)))]
        again += [("canaries", canaries.why(waits[row.job.id]))] if row.job.id in waits else []
        came = WORDS[passed[row.job.id]] if passed.get(row.job.id, Passed.PLAIN) is not Passed.PLAIN else ""
        facts = [("by history", came), ("stale", _stale(row.job.id, assessed.get(row.job.id))), *again, *dynamic]
        _draw(row, needs.get(row.job.id, []), needed.get(row.job.id, []), own, facts, retries)


def _neighbour(job: Job) -> dict[str, object]:
    return {"id": job.id, "name": job.name, "state": job.state.label}


def _dynamic(adder: Adder | None, patches: Sequence[tuple[Patch, int]]) -> list[tuple[str, str]]:
    """Who added the job, and what actions in force do to it."""
    by = f"attempt {adder.number} of {drawing.flat(adder.name)}" if adder else ""
    done = [f"{one.kind} {json.dumps(masked_document(one.content))} (attempt {attempt})" for one, attempt in patches]
    return [("added by", by), ("actions", "\n".join(done))]


def _draw(
    row: JobRow,
    needs: list[Job],
    needed: list[Job],
    history: list[Attempt],
    facts: list[tuple[str, str]],
    retries: Mapping[int, Reason],
) -> None:
    job = row.job
    binding = masked_matrix(json.loads(job.binding or "{}"))
    click.echo(
        drawing.details(
            [
                ("job", f"{job.id} {drawing.flat(job.name)}"),
                ("workflow", f"{job.workflow} {row.workflow}"),
                ("state", job.state.label),
                ("verdict", explaining.verdict(row.verdict)),
                ("held", job.held or ""),
                ("retired", _retired(job)),
                *facts,
                ("partial", _partial(row)),
                ("matrix", ", ".join(f"{key}={value_label(value)}" for key, value in binding.items())),
                ("takes", _takes(row)),
                ("priority", str(job.priority) if job.priority else ""),
                ("needs", _listed(needs)),
                ("needed by", _listed(needed)),
                ("starts at", _resumes(job)),
                (
                    "reserve",
                    f"attempt {job.reserve}, which stays if nothing changed" if job.reserve is not None else "",
                ),
                ("definition", f"pinned: that of attempt {job.pinned_to}" if job.pinned_to is not None else ""),
                ("recovery", f"kept by rerun {job.keep_recovery}" if job.keep_recovery is not None else ""),
                ("modified", modifications(job.overrides)),
            ]
        )
    )
    if not history:
        click.echo("\nno attempts yet")
        return
    click.echo("")
    click.echo(explaining.attempts_table(history, retries))
    newest = history[-1]
    if newest.cause is not None:
        click.echo("")
        click.echo(explaining.failure(newest))
        click.echo(f"\n`rekindle logs {job.id}` prints what it printed")


def _stale(job: int, found: Assessment | None, most: int = 3) -> str:
    if found is None or not found.reasons:
        return ""
    lines = [reasons.in_short(reason) for reason in found.reasons[:most]]
    more = len(found.reasons) - most
    return "\n".join([*lines, f"… {more:,} more: rekindle why {job}"] if more > 0 else lines)


def _repeats(job: Job) -> str:
    return f"{job.repeats:,} more after that" if job.repeats and job.state in _TO_COME else ""


_TO_COME = (State.WAITING, State.READY, *ACTIVE)


def _next_try(job: Job, reason: Reason | None) -> str:
    if reason is None:
        return ""
    due = f"; it starts at {drawing.when(job.not_before)}" if job.not_before is not None else ""
    return f"{reasons.in_short(reason)}{due}"


def _retired(job: Job) -> str:
    if not job.retired:
        return ""
    return "a later revision left it out" if job.added_by is None else "what added it does not add it any more"


def _partial(row: JobRow) -> str:
    if not row.partial:
        return ""
    own = row.attempt is not None and row.attempt.partial
    return "without subtasks that failed" if own else "it rests on a job that goes on without subtasks that failed"


def _takes(row: JobRow) -> str:
    asked = row.resources
    parts = [f"{asked.cpus:g} cpu" + ("s" if asked.cpus != 1 else "")]
    parts += [format_size(asked.memory)] if asked.memory else []
    parts += [f"{asked.gpus} gpu" + ("s" if asked.gpus != 1 else "")] if asked.gpus else []
    parts += [f"at most {drawing.lasting(asked.time)}"] if asked.time is not None else []
    parts += [f"{count} {name}" for name, count in asked.licences]
    return ", ".join(parts)


def _listed(jobs: list[Job], most: int = 6) -> str:
    """A line each for the first few, those that are not completed before the others; of many, their counts first."""
    if not jobs:
        return ""
    first = sorted(jobs, key=lambda job: (job.state is State.COMPLETED, job.id))[:most]
    lines = [f"{job.id} {drawing.flat(job.name)} ({drawing.coloured(job.state.label)})" for job in first]
    if len(jobs) > most:
        counts = drawing.counted(Counter(job.state for job in jobs).items())
        lines = [f"{len(jobs):,} jobs: {counts}", *lines, f"… {len(jobs) - most:,} more"]
    return "\n".join(lines)


def _resumes(job: Job) -> str:
    if job.resume_attempt is None or not job.resume_step:
        return ""
    return f"step {job.resume_step + 1}, keeping what attempt {job.resume_attempt} did before it"
