"""Run jobs with progress on stderr, and print the summary, the next commands and notes about workflows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import click

from rekindle.cli.output import attempt_text, terminal, waits
from rekindle.cli.output.progress import Display, Kinds, LiveDisplay, NewFailures, PlainDisplay, draws_in_place
from rekindle.cli.output.workflow_notes import held_lines
from rekindle.domain.states import ACTIVE
from rekindle.domain.verdicts import Status, VerdictLevel, exit_code_for
from rekindle.engine.queries import failure_queries, job_queries, workflow_queries
from rekindle.engine.results import OrphanCounts, WorkOptions, WorkReport
from rekindle.engine.session import Session

if TYPE_CHECKING:
    from rekindle.engine.results import OrphanCounts, WorkOptions, WorkReport
    from rekindle.engine.session import Session


def work_with_summary(session: Session, options: WorkOptions, *, quiet: bool, go_on: str | None = None) -> WorkReport:
    """Run jobs with progress and a summary on stderr. `quiet`: no live display, for --json. `go_on`: the command that
    continues an interrupted run."""
    report = work_with_progress(session, options, quiet=quiet)
    _print_summary(session, options.workflow, report, go_on)
    return report


def work_with_progress(session: Session, options: WorkOptions, *, quiet: bool) -> WorkReport:
    """Run jobs with progress on stderr, without a summary."""
    from rekindle.engine.running.work import work

    with _display(lambda: _kinds(session, options.workflow), quiet=quiet) as shown:
        return work(session, options, shown)


def _display(kinds: Kinds, *, quiet: bool) -> Display:
    """Return the live display if stderr is a terminal and `quiet` is false, else one that prints a line every ten
    seconds. Each kind of failure is shown once."""
    return LiveDisplay(NewFailures(kinds)) if draws_in_place() and not quiet else PlainDisplay(NewFailures(kinds))


def _kinds(session: Session, workflow: str | None) -> dict[str, str]:
    """Return each current kind of failure by signature: `train[alpha=0.1]: ValueError: too cold`."""
    groups = {
        group.newest_job: group for group in failure_queries.failures(session, workflow) if group.newest_job is not None
    }
    names = {row.job.id: row.job.name for row in job_queries.jobs(session, sorted(groups))}
    return {
        group.signature: f"{terminal.one_line(names[job])}: {attempt_text.newest_error(group)}"
        for job, group in groups.items()
    }


def _print_summary(session: Session, workflow: str | None, report: WorkReport, go_on: str | None) -> None:
    if report.orphan_counts.found:
        click.echo(inherited_line(report.orphan_counts), err=True)
    for line in report.damaged[:1]:
        more = f" (and {len(report.damaged) - 1} more: rekindle events list)" if len(report.damaged) > 1 else ""
        click.echo(f"warning: {line}; what it may have recorded counts as lost, and runs again{more}", err=True)
    for line in report.warnings[:3]:
        click.echo(f"warning: {terminal.one_line(line)}", err=True)
    if len(report.warnings) > 3:
        click.echo(f"and {len(report.warnings) - 3:,} more warnings: rekindle events list", err=True)
    ran = [
        f"{number:,} {terminal.coloured(word)}"
        for number, word in ((report.completed, "completed"), (report.failed, "failed"), (report.canceled, "canceled"))
        if number
    ]
    click.echo(
        f"ran: {', '.join(ran) or 'nothing'}; jobs now: {terminal.state_counts(report.counts.items())}", err=True
    )
    if report.retried:
        failed = terminal.plural(report.retried, "attempt")
        click.echo(f"{failed} failed, of jobs that ran again by themselves", err=True)
    for line in waits.decided_canaries(report.canaries):
        click.echo(line, err=True)
    if report.reinstated:
        jobs = terminal.plural(report.reinstated, "job")
        click.echo(f"{jobs} reinstated, not run: what {_they(report.reinstated)} on is unchanged", err=True)
    for name, asks in report.never_fit:
        click.echo(f"{terminal.one_line(name)} {click.style('can never start', fg='red')} here: {asks}", err=True)
    for name, pids in report.stuck:
        click.echo(stuck_line(name, pids), err=True)
    for line in held_lines(report.held, workflow):
        click.echo(line, err=True)
    if report.interrupted:
        click.echo("interrupted: what ran is canceled and recorded", err=True)
    if report.exit_code == 6 and (left := sum(report.counts.get(state, 0) for state in ACTIVE)):
        click.echo(
            f"timed out: {terminal.plural(left, 'job')} {'runs' if left == 1 else 'run'} on; the next runner records "
            f"{'its end' if left == 1 else 'their ends'}",
            err=True,
        )
    if report.failed:
        groups = failure_queries.failures(session, workflow)
        click.echo(attempt_text.failures_table(groups, most=5), err=True)
    print_next_steps(report, workflow, go_on)


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
    return f"{terminal.plural(found.found, 'job')} of a runner that vanished: {counts}"


def stuck_line(name: str, pids: Sequence[int]) -> str:
    """Return that a job waits for processes that cannot be killed, and what to do."""
    return (
        f"{terminal.one_line(name)} waits: its worker has died, and processes of it cannot be killed: "
        f"{', '.join(map(str, pids))}    end them, then: rekindle work"
    )


def verdict_exit_code(session: Session, workflow: str | None, words: Collection[VerdictLevel]) -> int:
    """Return the exit code for the current verdicts of a workflow, or of all, and print those in `words`."""
    if not words:
        return 0
    statuses = Counter[Status]()
    for one in workflow_queries.status(session, workflow):
        statuses.update(one.statuses)
    code = exit_code_for(statuses, words)
    for word in sorted(words):
        if number := statuses[Status(word.value)]:
            scope = f" -w {workflow}" if workflow else ""
            stand = f"{terminal.plural(number, word.value)} stand{'s' if number == 1 else ''}"
            click.echo(f"{stand}    look: rekindle jobs list{scope} -f verdict={word.value}", err=True)
    return code


def _they(number: int) -> str:
    return "it depends" if number == 1 else "they depend"


def print_next_steps(report: WorkReport, workflow: str | None, go_on: str | None = None) -> None:
    """Print the next commands after a run that did not complete every job. `go_on`: the command that continues a run
    that was interrupted or timed out."""
    scope = f" -w {workflow}" if workflow else ""
    if report.failed:
        click.echo(f"look: rekindle failures{scope}    again: rekindle rerun{scope} -s failed --work", err=True)
    if report.interrupted or report.exit_code == 6:
        click.echo(f"go on: {go_on or _continue_command(report, scope)}", err=True)
    elif report.canceled:
        click.echo(f"again: rekindle rerun{scope} -s canceled --work", err=True)


def _continue_command(report: WorkReport, scope: str) -> str:
    return f"rekindle restart{scope} --yes --work" if report.canceled else f"rekindle work{scope}"
