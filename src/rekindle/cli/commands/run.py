"""`rekindle run`: submit and work."""

from __future__ import annotations

import click

from rekindle.cli.commands.submit import show_preview, submitted, tell_submitted
from rekindle.cli.opening import opened
from rekindle.cli.options import (
    capacity_options,
    dry_run_option,
    fail_on_option,
    json_option,
    licences,
    pairs,
    read_duration,
    spec_options,
)
from rekindle.cli.showing import drawing, shapes
from rekindle.cli.showing.reading import reading_shown
from rekindle.cli.showing.working import found_code, work_shown
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.domain.verdicts import Word
from rekindle.engine.changes import staleness
from rekindle.engine.looking import look
from rekindle.engine.results import Submitted, WorkflowStatus, WorkOptions, WorkReport
from rekindle.engine.session import Session

_TO_DO = (State.READY, State.QUEUED, State.RUNNING)


@click.command()
@spec_options
@capacity_options
@click.option("--wait-timeout", callback=read_duration, metavar="D", help="Start nothing new after so long; exit 6.")
@fail_on_option
@dry_run_option
@json_option
def run(
    spec: str,
    param: tuple[str, ...],
    name: str | None,
    new: bool,
    revise: bool,
    slots: int | None,
    executor: str,
    memory: int | None,
    gpus: int,
    licence: tuple[str, ...],
    wait_timeout: float | None,
    fail_on: frozenset[Word],
    dry_run: bool,
    as_json: bool,
) -> int:
    """Submit SPEC and run it to the end.

    Exit code: 0 all well, 2 jobs failed, 5 canceled (Ctrl-C), 6 timed out; where nothing is ready: 0 all completed
    and current, 2 failed jobs stand, 1 the new revision or parameters make jobs stale; with --fail-on, where it would
    be 0: 7 while blockers stand, 8 while warnings do.

    \b
    Example:
      rekindle run sweep.yaml -j 4 --param alpha=0.2
    """
    pairs("--param", param)
    given = licences(licence)
    if dry_run:
        show_preview(spec, param, name, new, revise, verbose=False, as_json=as_json)
        return 0
    with opened(create=True) as session:
        done = submitted(session, spec, param, name, new, revise)
        tell_submitted(done)
        options = WorkOptions(
            workflow=str(done.workflow),
            slots=slots,
            executor=executor,
            wait_timeout=wait_timeout,
            memory=memory,
            gpus=gpus,
            licences=given,
        )
        status = look.status(session, str(done.workflow))[0]
        report: WorkReport | None = None
        if any(status.counts.get(state) for state in _TO_DO):
            report = work_shown(session, options, quiet=as_json)
            code = report.exit_code
        else:
            code = _nothing_ready(session, status)
        code = code or found_code(session, str(done.workflow), fail_on)
        after = look.status(session, str(done.workflow))[0]
    if as_json:
        shapes.emit(_document(done, after, report, code))
    return code


def _document(done: Submitted, after: WorkflowStatus, report: WorkReport | None, code: int) -> dict[str, object]:
    ran = shapes.report(report) if report else None
    return {**shapes.workflow_status(after), "exit_code": code, "submitted": shapes.submitted(done), "ran": ran}


def _nothing_ready(session: Session, status: WorkflowStatus) -> int:
    """Why there is nothing to run, and what to type: the exit code says it too."""
    owner = status.workflow
    scope = f"-w {owner.id}"
    failed = status.counts.get(State.FAILED, 0)
    canceled = status.counts.get(State.CANCELED, 0)
    if failed:
        click.echo(f"nothing is ready: {drawing.many(failed, 'failed job')} stand", err=True)
        click.echo(f"look: rekindle failures {scope}    again: rekindle rerun {scope} -s failed --work", err=True)
        return 2
    if canceled:
        click.echo(f"nothing is ready: {drawing.many(canceled, 'canceled job')} stand", err=True)
        click.echo(f"again: rekindle rerun {scope} -s canceled --work", err=True)
        return 5
    ids = look.select(session, Selection(workflow=str(owner.id)))
    with reading_shown() as tell:
        stale = sorted(staleness.changed(session, ids, tell).stale)
    if stale:
        names = ", ".join(drawing.flat(row.job.name) for row in look.jobs(session, stale[:5]))
        click.echo(f"nothing is ready, and {drawing.many(len(stale), 'job')} {_IS[len(stale) > 1]} stale", err=True)
        click.echo(
            f"  stale: {names}{', …' if len(stale) > 5 else ''}    why: rekindle why {scope} --changed", err=True
        )
        afresh = f"    afresh: rekindle run {owner.source} --new" if owner.source else ""
        click.echo(f"again: rekindle rerun {scope} --changed --work{afresh}", err=True)
        return 1
    click.echo("nothing to run: all is completed and current", err=True)
    return 0


_IS = {False: "is", True: "are"}
