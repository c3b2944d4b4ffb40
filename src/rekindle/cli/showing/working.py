"""Work, shown: the progress of a run, how it ended, and what to type next. Shared by run, work and rerun."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

import click

from rekindle.cli.showing import canaries, drawing, explaining
from rekindle.cli.showing.progress import display
from rekindle.domain.rerunning.rerun import RESET_HOLD
from rekindle.domain.states import ACTIVE
from rekindle.domain.verdicts import Status, Word, exit_code_for
from rekindle.engine.looking import look
from rekindle.engine.results import Inherited, WorkOptions, WorkReport
from rekindle.engine.session import Session


def work_shown(session: Session, options: WorkOptions, *, quiet: bool, go_on: str | None = None) -> WorkReport:
    """Work with progress on stderr, and the closing summary there. `quiet` (for --json): no live line. `go_on`: the
    command that goes on with what was interrupted."""
    report = progress_shown(session, options, quiet=quiet)
    _close(session, options.workflow, report, go_on)
    return report


def progress_shown(session: Session, options: WorkOptions, *, quiet: bool) -> WorkReport:
    """The same without the summary."""
    from rekindle.engine.running.run import work

    with display(lambda: _kinds(session, options.workflow), quiet=quiet) as shown:
        return work(session, options, shown)


def _kinds(session: Session, workflow: str | None) -> dict[str, str]:
    """Each kind of failure that stands, by signature: `train[alpha=0.1]: ValueError: too cold`."""
    groups = {group.newest_job: group for group in look.failures(session, workflow) if group.newest_job is not None}
    names = {row.job.id: row.job.name for row in look.jobs(session, sorted(groups))}
    return {group.signature: f"{drawing.flat(names[job])}: {explaining.newest(group)}" for job, group in groups.items()}


def _close(session: Session, workflow: str | None, report: WorkReport, go_on: str | None) -> None:
    if report.inherited.found:
        click.echo(inherited_line(report.inherited), err=True)
    for line in report.damaged[:1]:
        more = f" (and {len(report.damaged) - 1} more: rekindle events list)" if len(report.damaged) > 1 else ""
        click.echo(f"warning: {line}; what it may have told of counts as lost, and runs again{more}", err=True)
    for line in report.warnings[:3]:
        click.echo(f"warning: {drawing.flat(line)}", err=True)
    if len(report.warnings) > 3:
        click.echo(f"and {len(report.warnings) - 3:,} more warnings: rekindle events list", err=True)
    ran = [
        f"{number:,} {drawing.coloured(word)}"
        for number, word in ((report.completed, "completed"), (report.failed, "failed"), (report.canceled, "canceled"))
        if number
    ]
    click.echo(f"ran: {', '.join(ran) or 'nothing'}; jobs now: {drawing.counted(report.counts.items())}", err=True)
    if report.retried:
        failed = drawing.many(report.retried, "attempt")
        click.echo(f"{failed} failed, of jobs that ran again by themselves", err=True)
    for line in canaries.decided_lines(report.canaries):
        click.echo(line, err=True)
    if report.reinstated:
        jobs = drawing.many(report.reinstated, "job")
        click.echo(f"{jobs} reinstated, not run: what {_they(report.reinstated)} on is unchanged", err=True)
    for name, asks in report.never_fit:
        click.echo(f"{drawing.flat(name)} {click.style('can never start', fg='red')} here: {asks}", err=True)
    for name, pids in report.stuck:
        click.echo(stuck_line(name, pids), err=True)
    for line in held_lines(report.held, workflow):
        click.echo(line, err=True)
    if report.interrupted:
        click.echo("interrupted: what ran is canceled and recorded", err=True)
    if report.exit_code == 6 and (left := sum(report.counts.get(state, 0) for state in ACTIVE)):
        click.echo(
            f"timed out: {drawing.many(left, 'job')} {'runs' if left == 1 else 'run'} on; the next runner records "
            f"{'its end' if left == 1 else 'their ends'}",
            err=True,
        )
    if report.failed:
        groups = look.failures(session, workflow)
        click.echo(explaining.group_lines(groups, most=5), err=True)
    tell_next(report, workflow, go_on)


def inherited_line(found: Inherited) -> str:
    """`3 jobs of a runner that vanished: 1 adopted, 1 finished meanwhile, 1 lost and run again`."""
    kinds = (
        (found.adopted, "adopted"),
        (found.finished, "finished meanwhile"),
        (min(found.again, found.lost), "lost and run again"),
        (max(0, found.lost - found.again), "lost"),
        (found.unstarted, "not started yet"),
    )
    said = ", ".join(f"{number:,} {word}" for number, word in kinds if number)
    return f"{drawing.many(found.found, 'job')} of a runner that vanished: {said}"


def stuck_line(name: str, pids: Sequence[int]) -> str:
    """That a job waits, for what, and what to do."""
    return (
        f"{drawing.flat(name)} waits: its worker has died, and processes of it cannot be killed: "
        f"{', '.join(map(str, pids))}    end them, then: rekindle work"
    )


def found_code(session: Session, workflow: str | None, asked: Collection[Word]) -> int:
    """The exit code for verdicts that stand, of a workflow or of all, where they were asked for; they are told."""
    if not asked:
        return 0
    statuses = Counter[Status]()
    for one in look.status(session, workflow):
        statuses.update(one.statuses)
    code = exit_code_for(statuses, asked)
    for word in sorted(asked):
        if number := statuses[Status(word.value)]:
            scope = f" -w {workflow}" if workflow else ""
            stand = f"{drawing.many(number, word.value)} stand{'s' if number == 1 else ''}"
            click.echo(f"{stand}    look: rekindle jobs list{scope} -f verdict={word.value}", err=True)
    return code


def held_lines(held: Mapping[str, int], workflow: str | None) -> Iterator[str]:
    """`3 jobs are held: reset    let go: rekindle restart -w 1`, for each reason."""
    scope = f" -w {workflow}" if workflow else ""
    for reason, number in held.items():
        jobs = f"{drawing.many(number, 'job')} {'is' if number == 1 else 'are'} {drawing.coloured('held')}"
        what = f": {drawing.flat(reason)}" if reason != "held" else ""
        way = f"restart{scope}" if reason == RESET_HOLD else f"release{scope} -f held=true"
        yield f"{jobs}{what}    let go: rekindle {way}"


def _they(number: int) -> str:
    return "it depends" if number == 1 else "they depend"


def tell_next(report: WorkReport, workflow: str | None, go_on: str | None = None) -> None:
    """Say what to type after a run that did not complete every job. `go_on`: the command that goes on with what was
    interrupted or timed out."""
    scope = f" -w {workflow}" if workflow else ""
    if report.failed:
        click.echo(f"look: rekindle failures{scope}    again: rekindle rerun{scope} -s failed --work", err=True)
    if report.interrupted or report.exit_code == 6:
        click.echo(f"go on: {go_on or _going_on(report, scope)}", err=True)
    elif report.canceled:
        click.echo(f"again: rekindle rerun{scope} -s canceled --work", err=True)


def _going_on(report: WorkReport, scope: str) -> str:
    return f"rekindle restart{scope} --yes --work" if report.canceled else f"rekindle work{scope}"
