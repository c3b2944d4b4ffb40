"""`resim batches get|tests|logs|cancel`: batches, tests and logs as JSON, with ReSim's keys."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from rekindle.dialects.command_session import open_reconciled, open_store, print_canceled
from rekindle.dialects.resim.batches import (
    FINAL_STATUSES,
    BatchJob,
    BatchStatus,
    ResimBatch,
    TestStatus,
    conflated_status,
    exit_code,
    read_batch,
    read_ids,
    read_states,
)
from rekindle.dialects.resim.options import BatchSelector, batch_options, fail_on_option, find_batch
from rekindle.domain.errors import NotFound, UsageError
from rekindle.domain.verdicts import VerdictLevel
from rekindle.engine.queries import job_queries
from rekindle.engine.queries import logs as engine_logs
from rekindle.engine.running import reconcile
from rekindle.files.kept_logs import log_size

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt
    from rekindle.engine.session import Session


@click.command()
@batch_options
@click.option(
    "--exit-status",
    is_flag=True,
    help="Print nothing, and exit with the batch's status: 0 succeeded, 2 error, 3 submitted, 4 running, 5 cancelled.",
)
@fail_on_option
@click.option("--markdown", is_flag=True, help="Print a summary in Markdown.")
@click.option("--slack", is_flag=True, help="Print a summary as a Slack webhook's payload.")
def get(selector: BatchSelector, exit_status: bool, fail_on_states: str | None, markdown: bool, slack: bool) -> int:
    """Print a batch as JSON. With --fail-on-states, also exit with its status, as --exit-status does.

    \b
    Example:
      rekindle resim batches get --project car --batch-name tonight
      rekindle resim batches get --batch-id 3 --exit-status
    """
    fail_on = read_states("--fail-on-states", fail_on_states or "")
    with open_reconciled(looks=True) as session:
        batch = read_batch(session, find_batch(session, selector))
    code = exit_code(batch, fail_on) if exit_status or fail_on_states is not None else 0
    if exit_status:
        return code
    if markdown:
        click.echo(markdown_summary(batch), nl=False)
    else:
        _emit(slack_payload(batch) if slack else batch_json(batch))
    return code


@click.command()
@batch_options
def tests(selector: BatchSelector) -> None:
    """Print the current tests of a batch as JSON.

    \b
    Example:
      rekindle resim batches tests --batch-id 3 | jq -r '.[] | select(.conflatedStatus == "ERROR") | .jobID'
    """
    with open_store() as session:
        batch = read_batch(session, find_batch(session, selector))
    _emit([test_json(batch, one) for one in batch.tests])


@click.command()
@batch_options
@click.option("--test-ids", multiple=True, metavar="IDS", help="Only logs of these tests.")
@click.option("--attempt", type=int, metavar="N", help="Only logs of the Nth attempt of each job, superseded or not.")
def logs(selector: BatchSelector, test_ids: tuple[str, ...], attempt: int | None) -> None:
    """Print the locations of a batch's logs as JSON: every attempt of its tests and batch metrics.

    \b
    Example:
      rekindle resim batches logs --batch-id 3
      rekindle resim batches logs --batch-id 3 --test-ids 7 --attempt 1
    """
    with open_store() as session:
        batch = read_batch(session, find_batch(session, selector))
        members = {one.job.id: one for one in (*batch.tests, *batch.metrics)}
        ids = read_ids("--test-ids", test_ids)
        meant = check_test_ids(batch, ids) if ids else list(members)
        attempts = [one for one in job_queries.attempts(session, meant) if attempt in (None, one.number)]
        found = [log for one in attempts for log in log_json(session, batch, members[one.job], one)]
    _emit(found)


@click.command()
@batch_options
def cancel(selector: BatchSelector) -> None:
    """Cancel a batch: terminate running tests, and keep the others from starting.

    \b
    Example:
      rekindle resim batches cancel --project car --batch-name tonight
    """
    with open_store() as session:
        batch = read_batch(session, find_batch(session, selector))
        if batch.status in FINAL_STATUSES:
            click.echo(f"{batch.name} has ended already: {batch.status}; nothing is cancelled")
            return
        done = reconcile.cancel(session, [one.job.id for one in (*batch.tests, *batch.metrics)])
    print_canceled(done)
    click.echo("Batch cancelled successfully!")


def check_test_ids(batch: ResimBatch, ids: Sequence[int]) -> list[int]:
    """Return the ids if all are tests of the batch. Raise NotFound, naming the others."""
    known: dict[int, BatchJob] = {one.job.id: one for one in batch.tests}
    metrics = {one.job.id for one in batch.metrics}
    if metrics & {*ids}:
        number = min(metrics & {*ids})
        raise UsageError(f"{number} is the batch-metrics stage of {batch.name}", hint="it runs again with every test")
    missing = [str(one) for one in ids if one not in known]
    if missing:
        raise NotFound(
            f"{batch.name} has no such test: {', '.join(missing)}",
            hint=f"`resim batches tests --batch-id {batch.workflow.id}` lists their IDs (jobID)",
        )
    return list(ids)


def _emit(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


_RANKED = (VerdictLevel.BLOCKER, VerdictLevel.WARNING, VerdictLevel.PASSED)
_METRICS_STATUS = {VerdictLevel.PASSED: "PASSED", VerdictLevel.WARNING: "FAIL_WARN", VerdictLevel.BLOCKER: "FAIL_BLOCK"}


def batch_json(batch: ResimBatch) -> dict[str, Any]:
    """Return a batch as JSON."""
    workflow, request = batch.workflow, batch.request
    statuses = Counter(one.status for one in batch.tests)
    metrics = Counter(one.metrics_status for one in batch.tests)
    times = [at for one in (*batch.tests, *batch.metrics) for at in _times(one.attempt)]
    return {
        "batchID": str(workflow.id),
        "friendlyName": workflow.name,
        "projectID": workflow.project,
        "status": batch.status.value,
        "conflatedStatus": _conflated_batch_status(batch),
        "totalJobs": len(batch.tests),
        "jobStatusCounts": {
            "submitted": statuses[TestStatus.SUBMITTED],
            "running": statuses[TestStatus.EXPERIENCE_RUNNING],
            "metricsQueued": statuses[TestStatus.METRICS_QUEUED],
            "metricsRunning": statuses[TestStatus.METRICS_RUNNING],
            "succeeded": statuses[TestStatus.SUCCEEDED],
            "error": statuses[TestStatus.ERROR],
            "cancelled": statuses[TestStatus.CANCELLED],
        },
        "jobMetricsStatusCounts": {
            "passed": metrics["PASSED"],
            "failWarn": metrics["FAIL_WARN"],
            "failBlock": metrics["FAIL_BLOCK"],
            "notApplicable": metrics["NOT_APPLICABLE"],
        },
        "jobsMetricsStatus": _worst(batch.tests),
        "batchMetricsStatus": _worst(batch.metrics),
        "overallMetricsStatus": _worst([*batch.tests, *batch.metrics]),
        "buildID": request.build if request else None,
        "metricsBuildID": request.metrics_build if request else None,
        "testSuiteID": request.test_suite if request else None,
        "parameters": dict(request.parameters) if request else {},
        "allowable_failure_percent": request.allowable_failure_percent if request else 0,
        "associatedAccount": request.account if request else "",
        "poolLabels": list(request.pool_labels) if request else [],
        "creationTimestamp": format_time(workflow.submitted),
        "lastUpdatedTimestamp": format_time(max([workflow.submitted, *times])),
        "revision": workflow.revision,
    }


def test_json(batch: ResimBatch, one: BatchJob) -> dict[str, Any]:
    """Return a test with its live attempt as JSON."""
    attempt, failure = one.attempt, one.attempt.failure if one.attempt else None
    binding = json.loads(one.job.binding)
    error = None
    if attempt is not None and attempt.cause is not None:
        error = {"errorCode": attempt.cause.value, "message": failure.message if failure else ""}
    return {
        "jobID": str(one.job.id),
        "batchID": str(batch.workflow.id),
        "projectID": batch.workflow.project,
        "experienceID": binding.get("experience_id", one.experience),
        "experienceName": one.experience,
        "jobStatus": one.status.value,
        "jobMetricsStatus": one.metrics_status,
        "conflatedStatus": conflated_status(one),
        "metricsMessage": one.verdict.message if one.verdict else "",
        "executionError": error,
        "outputLocation": attempt.folder if attempt else None,
        "parameters": dict(batch.request.parameters) if batch.request else {},
        "runCounter": one.job.attempts,
        "creationTimestamp": format_time(batch.workflow.submitted),
        "lastUpdatedTimestamp": format_time(max([batch.workflow.submitted, *_times(attempt)])),
    }


def log_json(session: Session, batch: ResimBatch, one: BatchJob, attempt: Attempt) -> Iterator[dict[str, Any]]:
    """Yield the nonempty logs of an attempt as JSON."""
    for file in engine_logs.log_files(session, one.job.id, attempt.number):
        if size := log_size(file.path):
            yield {
                "logID": f"{attempt.id}-{file.step}-{file.stream}",
                "batchID": str(batch.workflow.id),
                "jobID": None if one.aggregate else str(one.job.id),
                "fileName": f"{file.step}.{file.stream}.log",
                "fileSize": size,
                "location": file.path,
                "logType": "CONTAINER_LOG",
                "executionStep": "BATCH_METRICS" if one.aggregate else file.step.upper(),
                "attempt": attempt.number,
                "superseded": attempt.archived_by is not None,
                "creationTimestamp": format_time(attempt.started),
            }


def markdown_summary(batch: ResimBatch) -> str:
    """Return a Markdown summary of a batch."""
    counts = Counter(conflated_status(one) for one in batch.tests)
    lines = [f"The batch **{batch.workflow.name}** ({batch.workflow.id}) {_SUMMARIES[batch.status]}:", ""]
    lines.append(f"- {len(batch.tests)} total tests")
    lines += [f"- {counts[word]} **{label}**" for word, label in _counted_labels(counts)]
    lines += [f"- batch metrics: **{label}**" for label in _failing_metrics(batch)]
    return "\n".join(lines) + "\n"


def slack_payload(batch: ResimBatch) -> dict[str, Any]:
    """Return the summary as a Slack webhook's payload."""
    counts = Counter(conflated_status(one) for one in batch.tests)
    lines = [
        f"{len(batch.tests)} total tests",
        *(f"{counts[word]} *{label}*" for word, label in _counted_labels(counts)),
        *(f"batch metrics: *{label}*" for label in _failing_metrics(batch)),
    ]
    intro = f"The batch *{batch.workflow.name}* ({batch.workflow.id}) {_SUMMARIES[batch.status]}:"
    texts = [intro, "\n".join(f"• {line}" for line in lines)]
    return {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text}} for text in texts]}


def format_time(at: float | None) -> str | None:
    """Format a timestamp as ISO 8601 in UTC."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _counted_labels(counts: Counter[str]) -> list[tuple[str, str]]:
    """Return (status, label) pairs to list: Passed and Blocking always, the others if their count is not zero."""
    return [(word, label) for word, label in _LABELS.items() if counts[word] or word in ("PASSED", "BLOCKER")]


def _failing_metrics(batch: ResimBatch) -> list[str]:
    """Return the labels of batch metrics that did not pass."""
    found = [conflated_status(one) for one in batch.metrics]
    return [_LABELS[word] for word in found if word in ("ERROR", "BLOCKER", "WARNING")]


def _conflated_batch_status(batch: ResimBatch) -> str:
    status = batch.status
    if status in (BatchStatus.ERROR, BatchStatus.CANCELLED, BatchStatus.SUBMITTED):
        return status.value
    if status is not BatchStatus.SUCCEEDED:
        return "RUNNING"
    return {"FAIL_BLOCK": "BLOCKER", "FAIL_WARN": "WARNING"}.get(_worst([*batch.tests, *batch.metrics]), "COMPLETE")


def _worst(members: Sequence[BatchJob]) -> str:
    found = {one.verdict.word for one in members if one.verdict}
    return next((_METRICS_STATUS[word] for word in _RANKED if word in found), "NOT_APPLICABLE")


def _times(attempt: Attempt | None) -> list[float]:
    if attempt is None:
        return []
    return [at for at in (attempt.queued, attempt.started, attempt.ended) if at is not None]


_LABELS = {
    "PASSED": "Passed",
    "BLOCKER": "Blocking",
    "WARNING": "Warning",
    "ERROR": "Erroring",
    "RUNNING": "Running",
    "QUEUED": "Queued",
    "CANCELLED": "Cancelled",
}
_SUMMARIES = {
    BatchStatus.SUBMITTED: "is waiting, with the following breakdown",
    BatchStatus.EXPERIENCES_RUNNING: "is running, with the following breakdown",
    BatchStatus.BATCH_METRICS_QUEUED: "is running, with the following breakdown",
    BatchStatus.BATCH_METRICS_RUNNING: "is running, with the following breakdown",
    BatchStatus.SUCCEEDED: "ran successfully with the following breakdown",
    BatchStatus.ERROR: "completed with errors and the following breakdown",
    BatchStatus.CANCELLED: "was cancelled with the following breakdown",
}
