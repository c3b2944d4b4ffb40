"""`resim batches rerun`: some tests, or the batch-metrics stage alone."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from rekindle.dialects.opening import reconciled
from rekindle.dialects.resim.latest import latest_definition
from rekindle.dialects.resim.looking import tests_of
from rekindle.dialects.resim.options import Which, batch_options, the_batch
from rekindle.dialects.resim.words import Batch, read_batch, read_ids
from rekindle.domain.errors import PlanOutdated, PlanRefused, Refused, UsageError
from rekindle.domain.models import Workflow
from rekindle.domain.rerunning.asking import how_to_json
from rekindle.domain.rerunning.rerun import FROM_BEGINNING, How, RefusedJob
from rekindle.domain.states import ACTIVE
from rekindle.engine.rerunning import rerun as engine
from rekindle.engine.rerunning import resubmitting
from rekindle.engine.results import Applied, Preview, Proposal
from rekindle.engine.running.reconciling import DeadRunnerWatch
from rekindle.engine.session import Session
from rekindle.engine.submitting.submit import preview, submit

TRIES = 3
CONFLICT_SECONDS = 30.0
"""The longest time between two tries, while something of the batch runs that would be disturbed."""

LOOK_SECONDS = 1.0
"""How often the batch is looked at between two tries."""


class _Conflict(Exception):
    """Somebody has the batch under way; the message says what stands in the way: `jobs` that run."""

    def __init__(self, message: str, jobs: Sequence[int]) -> None:
        super().__init__(message)
        self.jobs = jobs


@click.command()
@batch_options
@click.option(
    "--test-ids",
    multiple=True,
    metavar="IDS",
    help="IDs of tests of this batch, with commas. Without any only the batch-metrics stage runs again.",
)
@click.option("--sync-with-test-suite", is_flag=True, help="Add the experiences that its test suite has gained.")
@click.option(
    "--from",
    "start",
    default=FROM_BEGINNING,
    metavar="STAGE",
    help="Start at this stage, as `metrics`, on what is there.",
)
def rerun(which: Which, test_ids: tuple[str, ...], sync_with_test_suite: bool, start: str) -> None:
    """Run tests of a batch again, both stages, and batch metrics over what stands then.

    They run by the latest definition: a file that has changed is taken in first. Any ID that is none of this batch
    refuses it all. While some of them still run it is tried again, three times in all.

    \b
    Example:
      rekindle resim batches rerun --batch-id=3 --test-ids=7,8
      rekindle resim batches rerun --batch-id=3
      rekindle resim batches rerun --batch-id=3 --test-ids=7 --from metrics
    """
    ids = read_ids("--test-ids", test_ids)
    if start != FROM_BEGINNING and not ids:
        raise UsageError("--from says where tests start, and there are none", hint="--test-ids ID,ID")
    with reconciled() as session:
        workflow = the_batch(session, which)
        applied = _retried(session, workflow, ids, How(start=start), sync_with_test_suite)
        name = read_batch(session, workflow).name
    if applied is not None:
        ready = f"rerun {applied.rerun} of {name}: {applied.ready:,} ready"
        alone = "" if applied.runner_alive else f"; run it: resim batches supervise, or rekindle work -w {workflow.id}"
        click.echo(ready + alone, err=True)
    click.echo("Batch rerun successfully!")


def _retried(session: Session, workflow: Workflow, ids: Sequence[int], how: How, sync: bool) -> Applied | None:
    for number in range(1, TRIES + 1):
        try:
            return _rerun(session, read_batch(session, workflow), ids, how, sync)
        except (_Conflict, PlanOutdated) as conflict:
            if number == TRIES:
                raise Refused(
                    f"tried {TRIES} times, and the batch was under way each time: {conflict}",
                    hint="wait for it: resim batches wait",
                ) from conflict
            click.echo(f"({number}/{TRIES}) {conflict}; trying again", err=True)
            _wait_for_end(session, conflict.jobs if isinstance(conflict, _Conflict) else ())
    raise AssertionError("the last try returns or raises")


def _wait_for_end(session: Session, jobs: Sequence[int]) -> None:
    """Wait until none of these jobs runs, for CONFLICT_SECONDS at most."""
    deadline, watch = time.monotonic() + CONFLICT_SECONDS, DeadRunnerWatch(session)
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(LOOK_SECONDS, left))
        watch.look()
        with session.store.read() as archive:
            if not any(one.state in ACTIVE for one in archive.jobs.get(jobs)):
                return


def _rerun(session: Session, batch: Batch, ids: Sequence[int], how: How, sync: bool) -> Applied | None:
    """All of it, or nothing. None: there was nothing to run again but what the test suite has gained."""
    selected = tests_of(batch, ids)
    definition = latest_definition(session, batch, sync_with_test_suite=sync)
    if not selected and not (
        definition and preview(session, definition, revision_of=batch.workflow.id).submitted.added
    ):
        selected = [one.job.id for one in batch.metrics]  # they run in any case after tests that are added
    if not selected and definition is None:
        raise Refused(f"{batch.name} has no batch-metrics stage", hint="say which tests: --test-ids ID,ID")
    request = {"selection": {"workflow": batch.workflow.name, "jobs": selected}, "how": how_to_json(how)}
    try:
        proposal: Proposal | Preview
        if definition is None:
            proposal = engine.plan(session, [(selected, how)], request)
        else:
            pick = resubmitting.these(selected, how)
            proposal = resubmitting.propose(session, definition, pick, request, revision_of=batch.workflow.id)
    except PlanRefused as refusal:
        raise _refusal(batch, selected, refusal.refused, refusal.message) from refusal
    if isinstance(proposal, Preview):
        assert definition is not None
        submit(session, definition, revision_of=batch.workflow.id)
        return None
    if proposal.plan.refused:
        raise _refusal(batch, selected, proposal.plan.refused, "")
    return resubmitting.apply(session, proposal)


def _refusal(batch: Batch, selected: Sequence[int], refused: Sequence[RefusedJob], message: str) -> Exception:
    """A conflict while something runs that would be disturbed; else nothing will change by waiting."""
    why = "; ".join(f"{one.id} {one.name}: {one.why}" for one in refused) or message
    meant = {*selected, *(one.job.id for one in batch.metrics)}
    running = [one.job.id for one in (*batch.tests, *batch.metrics) if one.job.state in ACTIVE]
    if meant & set(running):
        return _Conflict(why, running)
    return Refused(f"nothing of {batch.name} is run again: {why}")
