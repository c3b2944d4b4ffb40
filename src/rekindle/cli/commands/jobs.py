"""`rekindle jobs show`: everything about a job."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from rekindle.cli.commands.failures import PASSED_WORDS
from rekindle.cli.options import json_option
from rekindle.cli.output import attempt_text, json_output, reasons, terminal, waits
from rekindle.cli.output.attempt_text import modifications
from rekindle.cli.output.progress import reading_progress
from rekindle.cli.sessions import opened
from rekindle.domain.batches.flakiness import PassHistory
from rekindle.domain.definition import value_label
from rekindle.domain.selection import Selection
from rekindle.domain.states import ACTIVE, State
from rekindle.domain.texts.display import mask_document, mask_matrix
from rekindle.domain.texts.quantities import format_size
from rekindle.engine import dynamic_actions
from rekindle.engine.queries import job_queries, selections
from rekindle.engine.queries.flaky_queries import pass_conditions
from rekindle.engine.queries.waits import wait_reasons as waits_of
from rekindle.query.job_keys import parse_job_words

if TYPE_CHECKING:
    from rekindle.domain.actions import Patch
    from rekindle.domain.changes.staleness import Assessment
    from rekindle.domain.models import Attempt, Job
    from rekindle.domain.rerun.plan import Reason
    from rekindle.engine.results import JobRow
    from rekindle.store.dynamic_actions import AddedBy


@click.command()
@click.argument("job", metavar="JOB")
@click.option("-w", "--workflow", metavar="ID|NAME", help="Select the job of this workflow, if several have the name.")
@json_option
def show(job: str, workflow: str | None, as_json: bool) -> None:
    """Show everything about a job: its state, needs, attempts, and last error.

    \b
    Example:
      rekindle jobs show 'train[alpha=0.1,seed=0]'
    """
    from rekindle.engine.staleness import stale_jobs

    with opened() as session:
        ids = selections.select(session, Selection(workflow=workflow, jobs=parse_job_words([job])))
        rows = job_queries.jobs(session, ids)
        needs, needed = job_queries.parents(session, ids), job_queries.children(session, ids)
        history, (retries, due) = job_queries.attempts(session, ids), job_queries.retries(session, ids)
        adders, patches = dynamic_actions.adders(session, ids), dynamic_actions.patches(session, ids)
        with reading_progress() as on_read:
            _, assessed = stale_jobs.assess(session, ids, on_read)
        passed, canary_groups = pass_conditions(session, ids), job_queries.canary_groups_of(session, ids)
        waits_by_job = waits_of(session, ids)
    if as_json:
        documents = [
            {
                **json_output.job(row, assessed[row.job.id].stale if row.job.id in assessed else False),
                "passed": passed.get(row.job.id),
                "retry": json_output.retry(due.get(row.job.id)),
                "needs": [_related_job(one) for one in needs.get(row.job.id, [])],
                "needed_by": [_related_job(one) for one in needed.get(row.job.id, [])],
                "attempt_ids": [one.id for one in history if one.job == row.job.id],
                "canaries": json_output.canary_group(canary_groups[row.job.id])
                if row.job.id in canary_groups
                else None,
                "waits": [waits.wait_json(one) for one in waits_by_job.get(row.job.id, ())],
                "added_by_job": adders[row.job.id].job if row.job.id in adders else None,
                "patches": [
                    {"attempt": attempt, one.kind: mask_document(one.content)}
                    for one, attempt in patches.get(row.job.id, ())
                ],
            }
            for row in rows
        ]
        json_output.emit(documents[0] if len(documents) == 1 else {"jobs": documents})
        return
    for at, row in enumerate(rows):
        click.echo("\n" if at else "", nl=False)
        own = [one for one in history if one.job == row.job.id]
        dynamic = _dynamic(adders.get(row.job.id), patches.get(row.job.id, []))
        again = [("next", _next_retry(row.job, due.get(row.job.id))), ("repeats", _repeats(row.job))]
        now = "\n".join(waits.wait_lines(waits_by_job.get(row.job.id, ()), row.job.workflow))
        again += [("now", now.replace(waits.IDS, str(row.job.id)))]
        again += [("canaries", waits.canary_reason(canary_groups[row.job.id]))] if row.job.id in canary_groups else []
        passing = (
            PASSED_WORDS[passed[row.job.id]]
            if passed.get(row.job.id, PassHistory.PLAIN) is not PassHistory.PLAIN
            else ""
        )
        facts = [("by history", passing), ("stale", _stale(row.job.id, assessed.get(row.job.id))), *again, *dynamic]
        _draw(row, needs.get(row.job.id, []), needed.get(row.job.id, []), own, facts, retries)


def _related_job(job: Job) -> dict[str, object]:
    return {"id": job.id, "name": job.name, "state": job.state.label}


def _dynamic(adder: AddedBy | None, patches: Sequence[tuple[Patch, int]]) -> list[tuple[str, str]]:
    """Return the attempt that added the job, and the dynamic actions in force on it."""
    by = f"attempt {adder.number} of {terminal.one_line(adder.name)}" if adder else ""
    done = [f"{one.kind} {json.dumps(mask_document(one.content))} (attempt {attempt})" for one, attempt in patches]
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
    binding = mask_matrix(json.loads(job.binding or "{}"))
    click.echo(
        terminal.details(
            [
                ("job", f"{job.id} {terminal.one_line(job.name)}"),
                ("workflow", f"{job.workflow} {row.workflow}"),
                ("state", job.state.label),
                ("verdict", attempt_text.verdict(row.verdict)),
                ("held", job.held or ""),
                ("retired", _retired(job)),
                *facts,
                ("partial", _partial(row)),
                ("matrix", ", ".join(f"{key}={value_label(value)}" for key, value in binding.items())),
                ("takes", _resources(row)),
                ("priority", str(job.priority) if job.priority else ""),
                ("needs", _listed(needs)),
                ("needed by", _listed(needed)),
                ("starts at", _resumes(job)),
                (
                    "reserve",
                    f"attempt {job.next.reuse_candidate}, which stays if nothing changed"
                    if job.next.reuse_candidate is not None
                    else "",
                ),
                (
                    "definition",
                    f"pinned: that of attempt {job.next.pinned_to}" if job.next.pinned_to is not None else "",
                ),
                ("recovery", f"kept by rerun {job.next.keep_recovery}" if job.next.keep_recovery is not None else ""),
                ("modified", modifications(job.next.overrides)),
            ]
        )
    )
    if not history:
        click.echo("\nno attempts yet")
        return
    click.echo("")
    click.echo(attempt_text.attempts_table(history, retries))
    newest = history[-1]
    if newest.cause is not None:
        click.echo("")
        click.echo(attempt_text.failure_lines(newest))
        click.echo(f"\n`rekindle logs {job.id}` prints what it printed")


def _stale(job: int, found: Assessment | None, most: int = 3) -> str:
    if found is None or not found.reasons:
        return ""
    lines = [reasons.short(reason) for reason in found.reasons[:most]]
    more = len(found.reasons) - most
    return "\n".join([*lines, f"… {more:,} more: rekindle why {job}"] if more > 0 else lines)


def _repeats(job: Job) -> str:
    return f"{job.next.repeats:,} more after that" if job.next.repeats and job.state in _TO_COME else ""


_TO_COME = (State.WAITING, State.READY, *ACTIVE)


def _next_retry(job: Job, reason: Reason | None) -> str:
    if reason is None:
        return ""
    due = f"; it starts at {terminal.short_time(job.next.not_before)}" if job.next.not_before is not None else ""
    return f"{reasons.short(reason)}{due}"


def _retired(job: Job) -> str:
    if not job.retired:
        return ""
    return "a later revision left it out" if job.added_by is None else "the job that added it does not add it any more"


def _partial(row: JobRow) -> str:
    if not row.partial:
        return ""
    own = row.attempt is not None and row.attempt.partial
    return "without the failed subtasks" if own else "it needs a job that continues without its failed subtasks"


def _resources(row: JobRow) -> str:
    asked = row.resources
    parts = [f"{asked.cpus:g} cpu" + ("s" if asked.cpus != 1 else "")]
    parts += [format_size(asked.memory)] if asked.memory else []
    parts += [f"{asked.gpus} gpu" + ("s" if asked.gpus != 1 else "")] if asked.gpus else []
    parts += [f"at most {terminal.duration(asked.time)}"] if asked.time is not None else []
    parts += [f"{count} {name}" for name, count in asked.licences]
    return ", ".join(parts)


def _listed(jobs: list[Job], most: int = 6) -> str:
    """Return one line for each of the first jobs, incomplete ones first; for many, with their counts."""
    if not jobs:
        return ""
    first = sorted(jobs, key=lambda job: (job.state is State.COMPLETED, job.id))[:most]
    lines = [f"{job.id} {terminal.one_line(job.name)} ({terminal.coloured(job.state.label)})" for job in first]
    if len(jobs) > most:
        counts = terminal.state_counts(Counter(job.state for job in jobs).items())
        lines = [f"{len(jobs):,} jobs: {counts}", *lines, f"… {len(jobs) - most:,} more"]
    return "\n".join(lines)


def _resumes(job: Job) -> str:
    if job.next.resume_attempt is None or not job.next.resume_step:
        return ""
    return f"step {job.next.resume_step + 1}, keeping what attempt {job.next.resume_attempt} did before it"
