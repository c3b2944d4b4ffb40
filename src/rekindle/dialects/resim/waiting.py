"""`resim batches wait`, and who works meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import click

from rekindle.dialects.opening import opened
from rekindle.dialects.resim.options import Which, batch_options, patience_options, the_batch, work_options
from rekindle.dialects.resim.words import EXIT_CODES, TERMINAL, Batch, read_batch
from rekindle.domain.errors import Refused, UsageError
from rekindle.domain.models import Workflow
from rekindle.domain.states import State
from rekindle.engine.results import Idle, WorkOptions, WorkReport
from rekindle.engine.session import Session
from rekindle.engine.supervising import waiting
from rekindle.engine.supervising.waiting import Patience, Rest, Run

TIMED_OUT, CANCELLED = 6, 5


@click.command()
@batch_options
@patience_options
@work_options
def wait(which: Which, patience: Patience, no_work: bool, slots: int | None) -> int:
    """Wait for a batch to finish, running what nobody has begun.

    Exit code: 0 succeeded, 2 error, 5 cancelled, 6 timed out, 1 anything else. After the time-out nothing new starts
    here, and what runs here goes on to its end.

    \b
    Example:
      rekindle resim batches wait --project car --batch-name tonight --wait-timeout 2h
      rekindle resim batches wait --batch-id 3 --no-work --poll-every 10s
    """
    with opened() as session:
        workflow = the_batch(session, which)
        rest = waiting.wait(session, workflow, patience, worker(session, workflow, no_work, slots), tell_idle)
        batch = read_batch(session, workflow)
    if rest is Rest.TIMED_OUT:
        click.echo(f"timed out after {patience.limit:g} s, last state {batch.status}", err=True)
        return TIMED_OUT
    if rest is Rest.INTERRUPTED:
        return CANCELLED
    check_ended(batch)
    click.echo(f"{batch.name}: {batch.status}", err=True)
    return EXIT_CODES[batch.status]


def worker(
    session: Session,
    workflow: Workflow,
    no_work: bool,
    slots: int | None,
    tell: Callable[[str], None] = lambda line: click.echo(line, err=True),
) -> Run | None:
    """Who runs what nobody has begun; None with --no-work. What can never start here is told."""
    if no_work and slots is not None:
        raise UsageError("-j says how to work, and --no-work not to", hint="leave out one of them")
    if no_work:
        return None

    def run(left: float | None) -> WorkReport:
        from rekindle.engine.running.run import work

        report = work(session, WorkOptions(workflow=str(workflow.id), slots=slots, wait_timeout=left))
        for name, asks in report.never_fit:
            tell(f"{name} can never start here: {asks}")
        return report

    return run


def tell_idle(idle: Idle) -> None:
    """That there is something to run, and nobody to run it."""
    click.echo(f"{idle.active + idle.claimable:,} to run; no runner is alive: rekindle work", err=True)


def check_ended(batch: Batch) -> None:
    """Refused for a batch that is at rest in no final state: something of it is held, or can never start."""
    if batch.status in TERMINAL:
        return
    left = [one.job for one in (*batch.tests, *batch.metrics) if one.job.state in (State.READY, State.WAITING)]
    held = sum(job.held is not None for job in left)
    hint = f"let go: rekindle release -w {batch.workflow.id} -f held=true" if held else "rekindle jobs list"
    raise Refused(f"{batch.name} has come to rest in the state {batch.status}: {len(left):,} have not run", hint=hint)
