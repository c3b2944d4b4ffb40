"""`resim batches rerun`: rerun tests or the batch metrics, by the latest definition."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from rekindle.dialects.command_session import open_reconciled
from rekindle.dialects.resim.batch_definition import METRICS_STAGE
from rekindle.dialects.resim.batches import BatchRequest, ResimBatch, read_batch, read_ids
from rekindle.dialects.resim.options import BatchSelector, batch_options, find_batch
from rekindle.dialects.resim.show import check_test_ids
from rekindle.domain.errors import PlanOutdated, PlanRefused, Refused, RefusedJob, RekindleError, UsageError
from rekindle.domain.rerun.request import FROM_BEGINNING, How, how_to_json
from rekindle.domain.states import ACTIVE, State
from rekindle.engine.queries import workflow_queries
from rekindle.engine.rerun import rerun as engine
from rekindle.engine.rerun import resubmit
from rekindle.engine.results import AppliedRerun, PlannedRerun, SubmitPreview
from rekindle.engine.running.reconcile import DeadRunnerWatch
from rekindle.engine.submit.submit import preview, submit

if TYPE_CHECKING:
    from rekindle.domain.definition import Definition
    from rekindle.domain.models import Workflow
    from rekindle.engine.session import Session

TRIES = 3
CONFLICT_SECONDS = 30.0
"""The longest wait between two tries, in seconds."""

LOOK_SECONDS = 1.0
"""Seconds between two looks at the batch while waiting."""


class _BatchBusy(Exception):
    """Running `jobs` of the batch prevent the rerun."""

    def __init__(self, message: str, jobs: Sequence[int]) -> None:
        super().__init__(message)
        self.jobs = jobs


@click.command()
@batch_options
@click.option(
    "--test-ids",
    multiple=True,
    metavar="IDS",
    help="IDs of tests of this batch, separated by commas. Without IDs, only the batch metrics run again.",
)
@click.option("--all-tests", is_flag=True, help="Rerun all tests of this batch.")
@click.option(
    "--rerun-metrics-only",
    is_flag=True,
    help=f"Run only the metrics stage of the tests, on the existing output: --from {METRICS_STAGE}.",
)
@click.option(
    "--sync-with-test-suite", is_flag=True, help="Add the experiences that the batch's test suite has gained."
)
@click.option(
    "--from",
    "start",
    metavar="STAGE",
    help="Start at this stage (such as `metrics`), on the existing output.",
)
def rerun(
    selector: BatchSelector,
    test_ids: tuple[str, ...],
    all_tests: bool,
    rerun_metrics_only: bool,
    sync_with_test_suite: bool,
    start: str | None,
) -> None:
    """Rerun tests of a batch, both stages, and the batch metrics over the current results.

    Tests run by the latest definition: a changed file is submitted first. An ID of another batch refuses the whole
    command. If some of the tests still run, the command retries, three times in all.

    \b
    Example:
      rekindle resim batches rerun --batch-id=3 --test-ids=7,8
      rekindle resim batches rerun --batch-id=3
      rekindle resim batches rerun --batch-id=3 --all-tests --rerun-metrics-only
    """
    ids = read_ids("--test-ids", test_ids)
    if all_tests and ids:
        raise UsageError("--all-tests and --test-ids cannot be combined", hint="leave one out")
    if rerun_metrics_only and start not in (None, METRICS_STAGE):
        raise UsageError("--rerun-metrics-only and --from cannot be combined", hint="leave one out")
    if (rerun_metrics_only or start is not None) and not (ids or all_tests):
        option = "--rerun-metrics-only" if rerun_metrics_only else "--from"
        raise UsageError(
            f"{option} requires tests", hint="--test-ids ID,ID or --all-tests; without it, only batch metrics run again"
        )
    how = How(start=METRICS_STAGE if rerun_metrics_only else start or FROM_BEGINNING)
    with open_reconciled() as session:
        workflow = find_batch(session, selector)
        if all_tests:
            ids = tuple(one.job.id for one in read_batch(session, workflow).tests)
        applied = _rerun_with_retries(session, workflow, ids, how, sync_with_test_suite)
        name = read_batch(session, workflow).name
    if applied is not None:
        ready = f"rerun {applied.rerun} of {name}: {applied.ready:,} ready"
        alone = "" if applied.runner_alive else f"; run it: resim batches supervise, or rekindle work -w {workflow.id}"
        click.echo(ready + alone, err=True)
    click.echo("Batch rerun successfully!")


def _rerun_with_retries(
    session: Session, workflow: Workflow, ids: Sequence[int], how: How, sync: bool
) -> AppliedRerun | None:
    for number in range(1, TRIES + 1):
        try:
            return _rerun_once(session, read_batch(session, workflow), ids, how, sync)
        except (_BatchBusy, PlanOutdated) as conflict:
            if number == TRIES:
                raise Refused(
                    f"the batch was busy at each of {TRIES} tries: {conflict}",
                    hint="wait for it: resim batches wait",
                ) from conflict
            click.echo(f"({number}/{TRIES}) {conflict}; trying again", err=True)
            _wait_until_idle(session, conflict.jobs if isinstance(conflict, _BatchBusy) else ())
    raise AssertionError("the last try returns or raises")


def _wait_until_idle(session: Session, jobs: Sequence[int]) -> None:
    """Wait until none of the jobs runs, for at most CONFLICT_SECONDS."""
    deadline, watch = time.monotonic() + CONFLICT_SECONDS, DeadRunnerWatch(session)
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(LOOK_SECONDS, left))
        watch.look()
        with session.store.read() as archive:
            if not any(one.state in ACTIVE for one in archive.jobs.get(jobs)):
                return


def _rerun_once(session: Session, batch: ResimBatch, ids: Sequence[int], how: How, sync: bool) -> AppliedRerun | None:
    """Rerun everything or nothing. Return None if the only change is tests that the suite gained."""
    selected = check_test_ids(batch, ids)
    definition = latest_definition(session, batch, sync_with_test_suite=sync)
    if not selected and not (
        definition and preview(session, definition, revision_of=batch.workflow.id).submitted.added
    ):
        selected = [one.job.id for one in batch.metrics]  # added tests make them run in any case
    if not selected and definition is None:
        raise Refused(f"{batch.name} has no batch-metrics stage", hint="say which tests: --test-ids ID,ID")
    request = {"selection": {"workflow": batch.workflow.name, "jobs": selected}, "how": how_to_json(how)}
    try:
        proposal: PlannedRerun | SubmitPreview
        if definition is None:
            proposal = engine.plan(session, [(selected, how)], request)
        else:
            pick = resubmit.requests_for_jobs(selected, how)
            proposal = resubmit.plan_resubmit(session, definition, pick, request, revision_of=batch.workflow.id)
    except PlanRefused as refusal:
        raise _refusal(session, batch, selected, refusal.refused, refusal.message) from refusal
    if isinstance(proposal, SubmitPreview):
        assert definition is not None
        submit(session, definition, revision_of=batch.workflow.id)
        return None
    if proposal.plan.refused:
        raise _refusal(session, batch, selected, proposal.plan.refused, "")
    return resubmit.apply(session, proposal)


def _refusal(
    session: Session, batch: ResimBatch, selected: Sequence[int], refused: Sequence[RefusedJob], message: str
) -> Exception:
    """Return _BatchBusy if jobs that the rerun would disturb run, or moved since the batch was read; else Refused,
    because waiting would not help."""
    why = "; ".join(f"{one.id} {one.name}: {one.why}" for one in refused) or message
    before, now = _states(batch), _states(read_batch(session, batch.workflow))
    meant = {*selected, *(one.job.id for one in batch.metrics)}
    running = [job for job, state in now.items() if state in ACTIVE]
    if any(before.get(job) in ACTIVE or now.get(job) != before.get(job) or job in running for job in meant):
        return _BatchBusy(why, running)
    return Refused(f"nothing of {batch.name} runs again: {why}")


def _states(batch: ResimBatch) -> dict[int, State]:
    return {one.job.id: one.job.state for one in (*batch.tests, *batch.metrics)}


def latest_definition(session: Session, batch: ResimBatch, *, sync_with_test_suite: bool = False) -> Definition | None:
    """Return the definition that the batch's file gives now, or None if it equals the stored one.

    Parameters keep the values with which the batch was created. With `sync_with_test_suite`, experiences that the suite
    gained are added. Raise SpecError for an invalid file.
    """
    if batch.request is not None:
        found = _from_experience_file(batch, batch.request, sync_with_test_suite)
    elif sync_with_test_suite:
        raise Refused(f"{batch.name} has no test suite", hint="leave out --sync-with-test-suite")
    else:
        found = _from_spec_file(batch)
    if found is None or preview(session, found, revision_of=batch.workflow.id).submitted.unchanged:
        return None
    return found


def submit_latest(session: Session, batch: ResimBatch) -> None:
    """Submit the latest definition and print its revision. If that fails, print why and keep the stored definition."""
    try:
        found = latest_definition(session, batch)
        if found is None:
            return
        done = submit(session, found, revision_of=batch.workflow.id)
    except RekindleError as error:
        click.echo(f"the latest definition was not submitted: {error}", err=True)
        return
    click.echo(f"{batch.name}: submitted revision {done.revision}", err=True)


def _from_experience_file(batch: ResimBatch, request: BatchRequest, sync_with_test_suite: bool) -> Definition | None:
    from rekindle.dialects.resim.batch_definition import define_batch, select_experiences
    from rekindle.dialects.resim.experiences import read_experience_file

    config = Path(batch.workflow.directory, request.config)
    if not sync_with_test_suite and not config.exists():
        return None
    found = read_experience_file(config)
    names = {one.name for one in found.experiences}
    own = [one.experience for one in batch.tests if one.job.added_by is None]
    gone = [name for name in own if name not in names]
    if gone:
        raise Refused(
            f"{found.path} no longer has the experience {gone[0]!r:.60} of a test of {batch.name}",
            hint="put it back, or create another batch",
        )
    suite = request.test_suite if sync_with_test_suite else None
    if sync_with_test_suite and suite is None:
        raise Refused(f"{batch.name} was not created from a test suite", hint="leave out --sync-with-test-suite")
    chosen = select_experiences(found, experiences=own, suite=suite)
    return define_batch(found, request, batch.workflow.name, batch.workflow.project, chosen)


def _from_spec_file(batch: ResimBatch) -> Definition | None:
    from rekindle.spec import load

    workflow = batch.workflow
    if workflow.source is None or workflow_queries.spec_state(workflow) in ("same", "gone", "no_folder"):
        return None
    path = Path(workflow.source)
    found = load(path)
    if given := _changed_params(found.params, batch.params):
        found = load(path, params=given)
    return replace(found, name=workflow.name)


def _changed_params(now: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, str]:
    """Return the stored parameters that differ from the file's, as they would be typed."""
    return {name: json.dumps(stored[name]) for name, value in now.items() if name in stored and stored[name] != value}
