"""`resim batches supervise`: wait, run again what failed, and end with the batch's status."""

from __future__ import annotations

import click

from rekindle.dialects.opening import opened
from rekindle.dialects.resim.latest import take_in
from rekindle.dialects.resim.options import Which, batch_options, patience_options, the_batch, work_options
from rekindle.dialects.resim.waiting import CANCELLED, TIMED_OUT, check_ended, tell_idle, worker
from rekindle.dialects.resim.words import EXIT_CODES, Batch, BatchStatus, conflated, read_batch, read_states
from rekindle.domain.batches.flakiness import Passed
from rekindle.domain.batches.guards import Guards
from rekindle.domain.batches.supervised import Report, Round
from rekindle.domain.batches.supervising import End
from rekindle.domain.errors import BadValue
from rekindle.domain.verdicts import Status
from rekindle.engine.results import Begun, Idle, SuperviseOptions
from rekindle.engine.supervising import supervise as engine
from rekindle.engine.supervising.waiting import Patience

_CODES = {Status.ERROR: 2, Status.BLOCKER: 7, Status.WARNING: 8}
"""Of what is left, the first that is asked for."""


@click.command()
@batch_options
@click.option(
    "--max-rerun-attempts", type=int, default=1, metavar="N", help="Run it again N times at most. [default: 1]"
)
@click.option(
    "--rerun-max-failure-percent",
    type=float,
    default=50.0,
    metavar="P",
    help="Stop when more than P percent of the tests match (1-100). [default: 50]",
)
@click.option(
    "--rerun-on-states", required=True, metavar="STATES", help="What runs again: Warning, Error, Blocker; commas."
)
@click.option("--fail-on-states", metavar="STATES", help="What is left decides the exit code. [default: the same]")
@click.option("--quiet", is_flag=True, help="Say nothing on the way.")
@patience_options
@work_options
def supervise(
    which: Which,
    max_rerun_attempts: int,
    rerun_max_failure_percent: float,
    rerun_on_states: str,
    fail_on_states: str | None,
    quiet: bool,
    patience: Patience,
    no_work: bool,
    slots: int | None,
) -> int:
    """Wait for a batch, running what nobody has begun; run again the tests that match, up to a number of times.

    What runs again does so by the latest definition. Should it die, the same command goes on where it was.

    Exit code, as the batch stands at the end: 0 success, 1 internal error, 2 error, 5 cancelled, 6 timed out; 7
    blockers and 8 warnings are left, where the states ask for them.

    \b
    Example:
      rekindle resim batches supervise --project car --batch-name tonight --rerun-on-states "Error,Warning"
      rekindle resim batches supervise --batch-id 3 --rerun-on-states Error --max-rerun-attempts 3 --wait-timeout 2h
    """
    guards = _guards(max_rerun_attempts, rerun_max_failure_percent, rerun_on_states)
    asked = read_states("--fail-on-states", fail_on_states or rerun_on_states)

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    def tell(news: Begun | Round | Idle) -> None:
        if isinstance(news, Idle):
            tell_idle(news)
        else:
            say(_told(news))

    with opened() as session:
        workflow = the_batch(session, which)
        run = worker(session, workflow, no_work, slots)

        def refresh() -> None:
            take_in(session, read_batch(session, workflow))

        options = SuperviseOptions(str(workflow.id), guards, patience.poll, patience.limit, refresh=refresh)
        report = engine.supervise(session, options, run, tell)
        batch = read_batch(session, workflow)
        for line in _ending(report, batch):
            say(line)
        engine.told(session, report)
    return _exit_code(report, batch, asked)


def _guards(attempts: int, percent: float, states: str) -> Guards:
    if attempts < 0:
        raise BadValue(f"--max-rerun-attempts {attempts}: it must be at least 0", hint="0 runs nothing again")
    if not 0 < percent <= 100:
        raise BadValue(
            f"--rerun-max-failure-percent {percent:g}: it must be greater than 0 and at most 100",
            hint="--rerun-max-failure-percent 50",
        )
    on = read_states("--rerun-on-states", states)
    if not on:  # nothing is to be run again, and ReSim takes that
        return Guards(max_reruns=0, max_failure_percent=percent)
    return Guards(max_reruns=attempts, max_failure_percent=percent, on=on)


def _exit_code(report: Report, batch: Batch, asked: frozenset[Status]) -> int:
    """The batch's own error or cancellation wins; else what remains of the states asked for decides."""
    if report.end is End.TIMED_OUT:
        return TIMED_OUT
    if batch.status is BatchStatus.ERROR:
        return EXIT_CODES[BatchStatus.ERROR]
    if report.end is End.CANCELED or batch.status is BatchStatus.CANCELLED:
        return CANCELLED
    check_ended(batch)
    return next((code for status, code in _CODES.items() if status in asked and report.statuses.get(status)), 0)


def _told(news: Begun | Round) -> str:
    if isinstance(news, Begun):
        return f"supervision {news.supervision} " + ("goes on" if news.resumed else "begins")
    matching = f"{news.matching:,} of {news.total:,} tests match ({news.percent:.1f} %)"
    return f"attempt {news.number}: {matching}: rerun {news.rerun}"


def _ending(report: Report, batch: Batch) -> list[str]:
    """How it ended, which tests a rerun has fixed, and what is left."""
    lines = [f"{batch.name}: {batch.status}; it ended because {report.why or report.end.value}"]
    for fixed in report.fixed:
        flaky = " (flaky)" if fixed.passed is Passed.FLAKY else ""
        lines.append(f"  {fixed.id} {fixed.name}: {fixed.status} after {fixed.attempts} attempts{flaky}")
    left = [one for one in batch.tests if conflated(one) in ("ERROR", "BLOCKER", "WARNING")]
    lines += [f"  {one.job.id} {one.experience}: {conflated(one)}" for one in left]
    return lines
