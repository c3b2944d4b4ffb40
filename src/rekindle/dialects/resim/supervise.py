"""`resim batches wait` and `supervise`: wait for a batch, run its tests, and rerun failed ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from rekindle.dialects.command_session import open_store
from rekindle.dialects.resim.batches import (
    FINAL_STATUSES,
    BatchStatus,
    ResimBatch,
    conflated_status,
    exit_code,
    read_batch,
    read_states,
)
from rekindle.dialects.resim.options import (
    BatchSelector,
    WorkRequest,
    batch_options,
    fail_on_option,
    find_batch,
    quiet_option,
    wait_options,
    work_options,
)
from rekindle.dialects.resim.rerun import submit_latest
from rekindle.domain.batches.flakiness import PassHistory
from rekindle.domain.batches.supervision import Guards, SupervisionEnd
from rekindle.domain.errors import BadValue, Refused
from rekindle.domain.states import State
from rekindle.engine.results import NoLiveRunner, SuperviseOptions, SupervisionStarted, WorkOptions, WorkReport
from rekindle.engine.running.signals import deliver
from rekindle.engine.supervising import batch_wait
from rekindle.engine.supervising import supervise as engine
from rekindle.engine.supervising.batch_wait import RunBatch, WaitLimits, WaitOutcome

if TYPE_CHECKING:
    from rekindle.domain.batches.supervision_report import RoundReport, SupervisionReport
    from rekindle.domain.models import Workflow
    from rekindle.domain.verdicts import Status
    from rekindle.engine.session import Session

TIMED_OUT, CANCELLED = 6, 5


@click.command()
@batch_options
@fail_on_option
@quiet_option
@wait_options
@work_options
def wait(
    selector: BatchSelector, fail_on_states: str | None, quiet: bool, limits: WaitLimits, work: WorkRequest
) -> int:
    """Wait for a batch to finish, running its tests if no other runner does.

    Exit code: 0 succeeded, 2 error, 5 cancelled, 6 timed out, 1 any other reason; 7 blockers or 8 warnings remain, if
    --fail-on-states names them. After the time-out, or an interrupt, no further test starts and running tests continue;
    the next command that waits or works adopts them.

    \b
    Example:
      rekindle resim batches wait --project car --batch-name tonight --wait-timeout 2h
      rekindle resim batches wait --batch-id 3 --no-work --poll-every 10s
    """
    fail_on = read_states("--fail-on-states", fail_on_states or "")
    with open_store() as session:
        workflow = find_batch(session, selector)
        end = batch_wait.wait(session, workflow, limits, run_function(session, workflow, work), print_idle)
        batch = read_batch(session, workflow)
    if end is WaitOutcome.TIMED_OUT:
        click.echo(f"timed out after {limits.limit:g} s, last state {batch.status}", err=True)
        return TIMED_OUT
    if end is WaitOutcome.INTERRUPTED:
        return CANCELLED
    require_final_status(batch)
    if not quiet:
        click.echo(f"{batch.name}: {batch.status}", err=True)
    return exit_code(batch, fail_on)


def run_function(
    session: Session,
    workflow: Workflow,
    request: WorkRequest,
    print_line: Callable[[str], None] = lambda line: click.echo(line, err=True),
) -> RunBatch | None:
    """Return a function that runs the batch's ready jobs, or None with --no-work.

    Jobs that can never start are printed. Without --cancel-on-interrupt, a signal ends this process and no test.
    """
    if request.no_work:
        return None
    leaves = not request.cancel_on_interrupt

    def run(left: float | None) -> WorkReport:
        from rekindle.engine.running.work import work

        options = WorkOptions(
            workflow=str(workflow.id), slots=request.slots, wait_timeout=left, leave_on_interrupt=leaves
        )
        report = work(session, options)
        if report.signal is not None and leaves:
            print_line("interrupted; the running tests continue, and the same command continues with them")
            deliver(report.signal)
        for name, asks in report.never_fit:
            print_line(f"{name} can never start here: {asks}")
        return report

    return run


def print_idle(idle: NoLiveRunner) -> None:
    """Print that jobs are ready and no runner is alive."""
    click.echo(f"{idle.active + idle.claimable:,} to run; no runner is alive: rekindle work", err=True)


def require_final_status(batch: ResimBatch) -> None:
    """Raise Refused if the batch stopped without a final status: jobs are held, or can never start."""
    if batch.status in FINAL_STATUSES:
        return
    left = [one.job for one in (*batch.tests, *batch.metrics) if one.job.state in (State.READY, State.WAITING)]
    held = sum(job.held is not None for job in left)
    hint = f"release them: rekindle release -w {batch.workflow.id} -f held=true" if held else "rekindle jobs list"
    raise Refused(f"{batch.name} stopped in the state {batch.status}: {len(left):,} jobs have not run", hint=hint)


@click.command()
@batch_options
@click.option(
    "--max-rerun-attempts", type=int, default=1, metavar="N", help="Rerun matching tests at most N times. [default: 1]"
)
@click.option(
    "--rerun-max-failure-percent",
    type=float,
    default=50.0,
    metavar="P",
    help="Stop when more than P percent of the tests match (1-100). [default: 50]",
)
@click.option(
    "--rerun-on-states",
    required=True,
    metavar="STATES",
    help="States to rerun: Warning, Error, Blocker, separated by commas.",
)
@click.option(
    "--fail-on-states", metavar="STATES", help="States that decide the exit code. [default: --rerun-on-states]"
)
@quiet_option
@wait_options
@work_options
def supervise(
    selector: BatchSelector,
    max_rerun_attempts: int,
    rerun_max_failure_percent: float,
    rerun_on_states: str,
    fail_on_states: str | None,
    quiet: bool,
    limits: WaitLimits,
    work: WorkRequest,
) -> int:
    """Wait for a batch, running its tests if no other runner does, and rerun matching tests up to a number of times.

    Reruns use the latest definition. If the command is interrupted or dies, running tests continue, and so does the
    same command.

    Exit code, from the final state of the batch: 0 success, 1 internal error, 2 error, 5 cancelled, 6 timed out; 7
    blockers or 8 warnings remain, if --fail-on-states names them.

    \b
    Example:
      rekindle resim batches supervise --project car --batch-name tonight --rerun-on-states "Error,Warning"
      rekindle resim batches supervise --batch-id 3 --rerun-on-states Error --max-rerun-attempts 3 --wait-timeout 2h
    """
    guards = _guards(max_rerun_attempts, rerun_max_failure_percent, rerun_on_states)
    fail_states = read_states("--fail-on-states", fail_on_states or rerun_on_states)

    def print_line(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    def print_news(news: SupervisionStarted | RoundReport | NoLiveRunner) -> None:
        if isinstance(news, NoLiveRunner):
            print_idle(news)
        else:
            print_line(_progress_line(news))

    with open_store() as session:
        workflow = find_batch(session, selector)
        run = run_function(session, workflow, work)

        def refresh() -> None:
            submit_latest(session, read_batch(session, workflow))

        options = SuperviseOptions(str(workflow.id), guards, limits.poll, limits.limit, refresh=refresh)
        report = engine.supervise(session, options, run, print_news)
        batch = read_batch(session, workflow)
        for line in _end_lines(report, batch):
            print_line(line)
        engine.acknowledge(session, report)
    return _exit_code(report, batch, fail_states)


def _guards(attempts: int, percent: float, states: str) -> Guards:
    if attempts < 0:
        raise BadValue(f"--max-rerun-attempts {attempts}: it must be at least 0", hint="0 runs nothing again")
    if not 0 < percent <= 100:
        raise BadValue(
            f"--rerun-max-failure-percent {percent:g}: it must be greater than 0 and at most 100",
            hint="--rerun-max-failure-percent 50",
        )
    on = read_states("--rerun-on-states", states)
    if not on:  # no reruns; ReSim accepts an empty list
        return Guards(max_reruns=0, max_failure_percent=percent)
    return Guards(max_reruns=attempts, max_failure_percent=percent, on=on)


def _exit_code(report: SupervisionReport, batch: ResimBatch, fail_states: frozenset[Status]) -> int:
    """Return the exit code.

    The batch's own error or cancellation comes first, then the remaining states in `fail_states`.
    """
    if report.end is SupervisionEnd.TIMED_OUT:
        return TIMED_OUT
    if batch.status is not BatchStatus.ERROR and report.end is SupervisionEnd.CANCELED:
        return CANCELLED
    require_final_status(batch)
    return exit_code(batch, fail_states)


def _progress_line(news: SupervisionStarted | RoundReport) -> str:
    if isinstance(news, SupervisionStarted):
        return f"supervision {news.supervision} " + ("continues" if news.resumed else "starts")
    matching = f"{news.matching:,} of {news.total:,} tests match ({news.percent:.1f} %)"
    metrics = ", and the batch metrics" if news.aggregates else ""
    return f"attempt {news.number}: {matching}{metrics}: rerun {news.rerun}"


def _end_lines(report: SupervisionReport, batch: ResimBatch) -> list[str]:
    """Return lines that say how the supervision ended, which tests a rerun fixed, and which remain."""
    lines = [f"{batch.name}: {batch.status}; it ended because {report.why or report.end.value}"]
    for fixed in report.fixed:
        flaky = " (flaky)" if fixed.passed is PassHistory.FLAKY else ""
        lines.append(f"  {fixed.id} {fixed.name}: {fixed.status} after {fixed.attempts} attempts{flaky}")
    members = (*batch.tests, *batch.metrics)
    left = [one for one in members if conflated_status(one) in ("ERROR", "BLOCKER", "WARNING")]
    lines += [f"  {one.job.id} {one.experience}: {conflated_status(one)}" for one in left]
    return lines
