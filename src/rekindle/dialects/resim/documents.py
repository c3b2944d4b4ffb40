"""Batches, tests and logs as JSON, with ReSim's keys."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rekindle.dialects.resim.words import Batch, BatchStatus, Member, TestStatus, conflated
from rekindle.domain.models import Attempt
from rekindle.domain.verdicts import Word
from rekindle.engine.looking import logs
from rekindle.engine.session import Session

_RANKED = (Word.BLOCKER, Word.WARNING, Word.PASSED)
_SAID = {Word.PASSED: "PASSED", Word.WARNING: "FAIL_WARN", Word.BLOCKER: "FAIL_BLOCK"}


def batch_document(batch: Batch) -> dict[str, Any]:
    """One batch."""
    workflow, asked = batch.workflow, batch.asked
    statuses = Counter(one.status for one in batch.tests)
    metrics = Counter(one.metrics_status for one in batch.tests)
    moments = [at for one in (*batch.tests, *batch.metrics) for at in _moments(one.attempt)]
    return {
        "batchID": str(workflow.id),
        "friendlyName": workflow.name,
        "projectID": workflow.project,
        "status": batch.status.value,
        "conflatedStatus": _conflated(batch),
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
        "buildID": asked.build if asked else None,
        "metricsBuildID": asked.metrics_build if asked else None,
        "testSuiteID": asked.test_suite if asked else None,
        "parameters": dict(asked.parameters) if asked else {},
        "allowable_failure_percent": asked.allowable_failure_percent if asked else 0,
        "associatedAccount": asked.account if asked else "",
        "poolLabels": list(asked.pool_labels) if asked else [],
        "creationTimestamp": moment(workflow.submitted),
        "lastUpdatedTimestamp": moment(max([workflow.submitted, *moments])),
        "revision": workflow.revision,
    }


def test_document(batch: Batch, one: Member) -> dict[str, Any]:
    """One test, as it stands."""
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
        "conflatedStatus": conflated(one),
        "metricsMessage": one.verdict.message if one.verdict else "",
        "executionError": error,
        "outputLocation": attempt.folder if attempt else None,
        "parameters": dict(batch.asked.parameters) if batch.asked else {},
        "runCounter": one.job.attempts,
        "creationTimestamp": moment(batch.workflow.submitted),
        "lastUpdatedTimestamp": moment(max([batch.workflow.submitted, *_moments(attempt)])),
    }


def log_documents(session: Session, batch: Batch, one: Member, attempt: Attempt) -> Iterator[dict[str, Any]]:
    """The logs of an attempt that hold anything."""
    for file in logs.log_files(session, one.job.id, attempt.number):
        try:
            size = Path(file.path).stat().st_size
        except FileNotFoundError:
            continue  # nothing was printed
        if size:
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
                "creationTimestamp": moment(attempt.started),
            }


def markdown(batch: Batch) -> str:
    """A summary for a job's page."""
    counts = Counter(conflated(one) for one in batch.tests)
    lines = [f"The batch **{batch.workflow.name}** ({batch.workflow.id}) {_SUMMED[batch.status]}:", ""]
    lines.append(f"- {len(batch.tests)} total tests")
    return "\n".join([*lines, *(f"- {counts[word]} **{label}**" for word, label in _told(counts))]) + "\n"


def slack(batch: Batch) -> dict[str, Any]:
    """The same as a Slack webhook's payload."""
    counts = Counter(conflated(one) for one in batch.tests)
    told = [f"{len(batch.tests)} total tests", *(f"{counts[word]} *{label}*" for word, label in _told(counts))]
    intro = f"The batch *{batch.workflow.name}* ({batch.workflow.id}) {_SUMMED[batch.status]}:"
    texts = [intro, "\n".join(f"• {line}" for line in told)]
    return {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text}} for text in texts]}


def moment(at: float | None) -> str | None:
    """ISO 8601 in UTC."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _told(counts: Counter[str]) -> list[tuple[str, str]]:
    """Passed and Blocking always, the others where there are any."""
    return [(word, label) for word, label in _LABELS.items() if counts[word] or word in ("PASSED", "BLOCKER")]


def _conflated(batch: Batch) -> str:
    status = batch.status
    if status in (BatchStatus.ERROR, BatchStatus.CANCELLED, BatchStatus.SUBMITTED):
        return status.value
    if status is not BatchStatus.SUCCEEDED:
        return "RUNNING"
    return {"FAIL_BLOCK": "BLOCKER", "FAIL_WARN": "WARNING"}.get(_worst([*batch.tests, *batch.metrics]), "COMPLETE")


def _worst(members: Sequence[Member]) -> str:
    found = {one.verdict.word for one in members if one.verdict}
    return next((_SAID[word] for word in _RANKED if word in found), "NOT_APPLICABLE")


def _moments(attempt: Attempt | None) -> list[float]:
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
_SUMMED = {
    BatchStatus.SUBMITTED: "is waiting, with the following breakdown",
    BatchStatus.EXPERIENCES_RUNNING: "is running, with the following breakdown",
    BatchStatus.BATCH_METRICS_QUEUED: "is running, with the following breakdown",
    BatchStatus.BATCH_METRICS_RUNNING: "is running, with the following breakdown",
    BatchStatus.SUCCEEDED: "ran successfully with the following breakdown",
    BatchStatus.ERROR: "completed with errors and the following breakdown",
    BatchStatus.CANCELLED: "was cancelled with the following breakdown",
}
