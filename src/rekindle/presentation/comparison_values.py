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
