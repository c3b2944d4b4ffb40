"""Run jobs with progress on stderr, and print the summary, the next commands and notes about workflows."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import click

from rekindle.cli.output import attempt_tables, terminal
from rekindle.cli.output.progress import (
    Display,
    FailureKind,
    Kinds,
    LiveDisplay,
    NewFailures,
    PlainDisplay,
    draws_in_place,
)
from rekindle.domain.judging import JUDGE
from rekindle.domain.pace import Pace
from rekindle.domain.states import ACTIVE, State
from rekindle.domain.verdicts import Status, VerdictLevel, exit_code_for
from rekindle.engine.machine import processors
from rekindle.engine.queries import failure_queries, job_queries, workflow_queries
from rekindle.engine.results import OrphanCounts, WorkOptions, WorkReport
from rekindle.engine.running.executor_choice import with_executor
from rekindle.engine.session import Session
from rekindle.presentation import attempts, waits, words
from rekindle.presentation.workflows import held_lines, quarantine_lines, undecided_lines

if TYPE_CHECKING:
    from rekindle.domain.models import FailureGroup
    from rekindle.engine.results import OrphanCounts, WorkflowStatus, WorkOptions, WorkReport
    from rekindle.engine.session import Session

_KINDS = 5
"""Kinds of failure that a summary shows."""


def work_with_summary(session: Session, options: WorkOptions, *, quiet: bool, go_on: str | None = None) -> WorkReport:
    """Run jobs with progress and a summary on stderr. `quiet`: no live display, for --json. `go_on`: the command that
    continues an interrupted run."""
    report = work_with_progress(session, options, quiet=quiet)
    print_summary(session, options.workflow, report, go_on)
    return report


def work_with_progress(session: Session, options: WorkOptions, *, quiet: bool) -> WorkReport:
    """Run jobs with progress on stderr, without a summary."""
    from rekindle.engine.running.work import work

    pace = Pace(_expected_interval(session, options))
    with _display(lambda: _kinds(session, options.workflow), pace, quiet=quiet) as shown:
        return work(session, options, shown)


def _expected_interval(session: Session, options: WorkOptions) -> float | None:
    """Return the expected seconds from one job's end to the next, if the run is of one workflow on this machine."""
    if options.workflow is None or with_executor(options, os.environ).executor != "local":
        return None
    return workflow_queries.expected_interval(session, options.workflow, options.slots or processors())


def _display(kinds: Kinds, pace: Pace, *, quiet: bool) -> Display:
    """Return the live display if stderr is a terminal and `quiet` is false, else one that prints a line every ten
    seconds. Each kind of failure is shown once."""
    failures = NewFailures(kinds)
    return LiveDisplay(failures, pace) if draws_in_place(sys.stderr) and not quiet else PlainDisplay(failures, pace)


def _kinds(session: Session, workflow: str | None) -> dict[str, FailureKind]:
    """Return each current kind of failure by signature."""
    groups = {
        group.newest_job: group for group in failure_queries.failures(session, workflow) if group.newest_job is not None
    }
    names = {row.job.id: row.job.name for row in job_queries.jobs(session, sorted(groups))}
    return {
        group.signature: FailureKind(words.one_line(names[job]), attempts.newest_error(group), len(group.jobs))
        for job, group in groups.items()
    }


def print_summary(session: Session, workflow: str | None, report: WorkReport, go_on: str | None) -> None:
    """Print how a run ended, its failures, and the next commands."""
    if report.orphan_counts.found:
        click.echo(inherited_line(report.orphan_counts), err=True)
    for line in report.damaged[:1]:
        more = f" (and {len(report.damaged) - 1} more: rekindle events list)" if len(report.damaged) > 1 else ""
        click.echo(f"warning: {line}; what it may have recorded counts as lost, and runs again{more}", err=True)
    for line in report.warnings[:3]:
        click.echo(f"warning: {words.one_line(line)}", err=True)
    if len(report.warnings) > 3:
        click.echo(f"and {len(report.warnings) - 3:,} more warnings: rekindle events list", err=True)
    click.echo(ran_line(report), err=True)
    if report.retried:
        click.echo(f"{words.plural(report.retried, 'attempt')} failed, of jobs that are retried", err=True)
    if report.not_retried:
        click.echo(retry_limit_line(report.not_retried), err=True)
    for line in waits.decided_canaries(report.canaries):
        click.echo(line, err=True)
    if report.reinstated:
        jobs = words.plural(report.reinstated, "job")
        click.echo(f"{jobs} reinstated, not run: what {_they(report.reinstated)} on is unchanged", err=True)
    for name, asks in report.never_fit:
        click.echo(f"{words.one_line(name)} {click.style('can never start', fg='red')} here: {asks}", err=True)
    for name, pids in report.stuck:
        click.echo(stuck_line(name, pids), err=True)
    for line in held_lines(report.held, workflow, terminal.coloured):
        click.echo(line, err=True)
    if report.interrupted:
        click.echo("interrupted: what ran is canceled and recorded", err=True)
    if report.exit_code == 6 and (left := sum(report.counts.get(state, 0) for state in ACTIVE)):
        click.echo(
            f"timed out: {words.plural(left, 'job')} {'runs' if left == 1 else 'run'} on; the next runner records "
            f"{'its end' if left == 1 else 'their ends'}",
            err=True,
        )
    if report.failed:
        groups = failure_queries.failures(session, workflow)
        names = workflow_queries.names_of_groups(session, [group.jobs for group in groups[:_KINDS]])
        click.echo(attempt_tables.failures_table(groups, names, most=_KINDS), err=True)
        for one in workflow_queries.status(session, workflow, specs=False):
            print_quarantine(one)
        print_undecided(session, groups)
    print_next_steps(session, report, workflow, go_on)


def ran_line(report: WorkReport) -> str:
    """Return how many jobs ran, and the states of all: `ran: 3 completed; jobs now: 4 completed, 1 failed`."""
    known = f" ({report.quarantined:,} in quarantine)" if report.quarantined else ""
    ran = [
        f"{number:,} {terminal.coloured(word)}{more}"
        for number, word, more in (
            (report.completed, "completed", ""),
            (report.failed, "failed", known),
            (report.canceled, "canceled", ""),
        )
        if number
    ]
    counts = words.state_counts(report.counts.items(), terminal.coloured)
    return f"ran: {', '.join(ran) or 'nothing'}; jobs now: {counts or 'none'}"


def print_quarantine(one: WorkflowStatus) -> None:
    """Print which failed jobs of a workflow are in quarantine, and which quarantines have ended."""
    for line in quarantine_lines(one.quarantined, one.counts.get(State.WAITING, 0)):
        click.echo(line, err=True)


def print_undecided(session: Session, groups: Sequence[FailureGroup]) -> None:
    """Print which of these failures are held for a person, and the commands that show and decide them."""
    by_reason: dict[str, list[int]] = {}
    for job, why in failure_queries.undecided(session, groups).items():
        by_reason.setdefault(why, []).append(job)
    for line in undecided_lines({why: len(jobs) for why, jobs in by_reason.items()}, terminal.coloured, commands=False):
        click.echo(line, err=True)
    if jobs := sorted(job for why, held in by_reason.items() if why != JUDGE for job in held):
        ids = attempts.id_ranges(jobs)
        click.echo(f"  look: rekindle jobs show {jobs[0]}", err=True)
        click.echo(f"  let go: rekindle release -i {ids}    again: rekindle rerun -i {ids} --work", err=True)


def inherited_line(found: OrphanCounts) -> str:
    """Return `3 jobs of a runner that vanished: 1 adopted, 1 finished meanwhile, 1 lost and run again`."""
    kinds = (
        (found.adopted, "adopted"),
        (found.finished, "finished meanwhile"),
        (min(found.again, found.lost), "lost and run again"),
        (max(0, found.lost - found.again), "lost"),
        (found.unstarted, "not started yet"),
    )
    counts = ", ".join(f"{number:,} {word}" for number, word in kinds if number)
    return f"{words.plural(found.found, 'job')} of a runner that vanished: {counts}"


def retry_limit_line(number: int) -> str:
    """Return that failed attempts were not retried."""
    return f"{words.plural(number, 'failure')} not retried: this run has made the retries of --retries-at-most"


def stuck_line(name: str, pids: Sequence[int]) -> str:
    """Return that a job waits for processes that cannot be killed, and what to do."""
    return (
        f"{words.one_line(name)} waits: its worker has died, and processes of it cannot be killed: "
        f"{', '.join(map(str, pids))}    end them, then: rekindle work"
    )


def verdict_exit_code(session: Session, workflow: str | None, levels: Collection[VerdictLevel]) -> int:
    """Return the exit code for the current verdicts of a workflow, or of all, and print those in `levels`."""
    if not levels:
        return 0
    statuses = Counter[Status]()
    for one in workflow_queries.status(session, workflow):
        statuses.update(one.statuses)
    code = exit_code_for(statuses, levels)
    for word in sorted(levels):
        if number := statuses[Status(word.value)]:
            scope = f" -w {workflow}" if workflow else ""
            stand = f"{words.plural(number, word.value)} stand{'s' if number == 1 else ''}"
            click.echo(f"{stand}    look: rekindle jobs list{scope} -f verdict={word.value}", err=True)
    return code


def _they(number: int) -> str:
    return "it depends" if number == 1 else "they depend"


def print_next_steps(session: Session, report: WorkReport, workflow: str | None, go_on: str | None = None) -> None:
    """Print the next commands after a run that did not complete every job. `go_on`: the command that continues a run
    that was interrupted or timed out."""
    scope = f" -w {workflow}" if workflow else ""
    if report.failed:
        again = again_line(session, workflow, State.FAILED, f"again: rekindle rerun{scope} -s failed --work")
        click.echo(f"look: rekindle failures{scope}    {again}", err=True)
    if report.interrupted or report.exit_code == 6:
        click.echo(f"go on: {go_on or _continue_command(report, scope)}", err=True)
    elif report.canceled:
        again = f"again: rekindle rerun{scope} -s canceled --work"
        click.echo(again_line(session, workflow, State.CANCELED, again), err=True)


def again_line(session: Session, workflow: str | None, state: State, again: str) -> str:
    """Return `again`, the command that runs the jobs in `state` again, or what to do if all must not run twice."""
    found = [one for one in workflow_queries.chosen(session, workflow) if one.counts.get(state)]
    if found and all(job_queries.is_every_rerun_forbidden(session, one.id, state) for one in found):
        return waits.run_twice(found[0].source)
    return again


def _continue_command(report: WorkReport, scope: str) -> str:
    return f"rekindle restart{scope} --yes --work" if report.canceled else f"rekindle work{scope}"
