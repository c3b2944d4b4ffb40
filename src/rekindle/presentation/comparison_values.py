"""Comparisons of attempts and workflows, and the lineage of files, as values for Python."""

from __future__ import annotations

from typing import Any

import msgspec

from rekindle.presentation.values import Difference, Value


class AttemptDiff(Value, frozen=True):
    """What differs between two attempts.

    Attributes:
        a: The first attempt.
        b: The second attempt.
        differences: Fields with both values.
        outputs: Outputs that differ; small texts with their lines.
        logs: The first differing line of each log.
    """

    a: int
    b: int
    differences: list[Difference]
    outputs: list[dict[str, Any]]
    logs: list[dict[str, Any]]


class Reproduction(Value, frozen=True):
    """An attempt that was made again in a folder of its own.

    Attributes:
        attempt: Its id.
        job: The id of its job.
        name: The name of its job.
        workflow: The name of its workflow.
        drift: What differs today from what it ran with, and was used as it is today.
        restored: What differs today, and was given as it was.
        notes: What was done otherwise than in the attempt.
        folder: The folder that was made.
        directory: The working directory of its steps.
        brought: How many small files of the project were copied that it did not record.
        subtask: The item that was run, if only one was.
        state: How it ended now.
        cause: Why it did not complete now.
        exit_code: Of its last step now.
        signal: The signal that ended its last step now.
        error: The message of its failure now.
        result: What it returned now.
        same: Whether nothing differs.
        differences: Fields of its end that differ, with both values.
        outputs: Its outputs, and where each first differs.
    """

    attempt: int
    job: int
    name: str
    workflow: str
    drift: list[dict[str, Any]]
    restored: list[dict[str, Any]]
    notes: list[str]
    folder: str
    directory: str
    brought: int
    subtask: int | None
    state: str
    cause: str | None
    exit_code: int | None
    signal: int | None
    error: str | None
    result: Any
    same: bool
    differences: list[dict[str, Any]]
    outputs: list[dict[str, Any]]


class VerifiedJob(Value, frozen=True):
    """A completed job that was made again aside.

    Attributes:
        job: Its id.
        name: Its name.
        attempt: The attempt that was made again.
        outcome: reproducible, differs or unknown.
        why: Why it is unknown: drift, nothing, refused or by_hand.
        message: The first difference, or why it is unknown, as text.
        reasons: What differs today from what it ran with.
        folder: What it left, where that differs.
        seconds: How long it ran.
        same: Whether nothing differs; None: nothing was compared.
        differences: Fields of its end that differ, with both values.
        outputs: Its outputs, and where each first differs.
    """

    job: int
    name: str
    attempt: int
    outcome: str
    why: str | None
    message: str
    reasons: list[dict[str, Any]]
    folder: str | None
    seconds: float | None
    same: bool | None
    differences: list[dict[str, Any]]
    outputs: list[dict[str, Any]]


class Lineage(Value, frozen=True):
    """Where a file comes from, and what depends on it.

    Attributes:
        path: Its absolute path.
        digest: Of its content, if it exists.
        origin: made, copied, changed, gone or source.
        made: The attempt that left it, or its content elsewhere.
        current: Whether the job that made it is current, with reasons; None if another attempt of it is live.
        sources: The files that went into it, directly or through other jobs, with the attempts that left them.
        used: The attempts that used it, newest first.
        tainted: Jobs whose last attempt depends on its present content.
        more: Whether there are older attempts.
    """

    path: str
    digest: str | None
    origin: str
    made: dict[str, Any] | None
    current: dict[str, Any] | None
    sources: list[dict[str, Any]]
    used: list[dict[str, Any]]
    tainted: list[dict[str, Any]]
    more: bool


class WorkflowDiff(Value, frozen=True):
    """What differs between two revisions of a workflow, or from a spec file.

    Attributes:
        workflow: Its id.
        name: Its name.
        before: The earlier revision.
        after: The later revision.
        spec: The spec file, in place of a later revision.
        unchanged: Whether nothing differs.
        added: Names of added jobs.
        retired: Names of jobs that are left out.
        changed: Names of changed jobs.
        params: Changed parameters.
        changes: Changed fields, by template.
        needs: Needs that jobs gained or lost.
    """

    workflow: int
    name: str
    before: int = msgspec.field(name="from")
    after: int | None = msgspec.field(name="to")
    spec: str | None
    unchanged: bool
    added: list[str]
    retired: list[str]
    changed: list[str]
    params: list[dict[str, Any]]
    changes: list[dict[str, Any]]
    needs: list[dict[str, Any]]


class RunComparison(Value, frozen=True):
    """Where two workflows part.

    Attributes:
        a: The first workflow.
        b: The second workflow.
        same: How many jobs are the same in both.
        parted: Jobs that differ, a needed job before those that need it. `first` is true where the workflows part:
            nothing that the job got from others explains the difference.
        only_a: Names of jobs that only the first has.
        only_b: Names of jobs that only the second has.
        not_compared: Names of jobs that have not run in both.
    """

    a: int
    b: int
    same: int
    parted: list[dict[str, Any]]
    only_a: list[str]
    only_b: list[str]
    not_compared: list[str]
