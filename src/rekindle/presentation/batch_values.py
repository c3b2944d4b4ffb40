"""Values of many jobs that the Python API returns: failures, workflows, reruns, events and checks. See `values`."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  fields of Structs
from typing import Any

from rekindle.domain.rerun.plan import RerunPlan  # noqa: TC001  a field of a Struct
from rekindle.presentation.values import StateName, Value


class Failure(Value, frozen=True):
    """Failed attempts with one signature, for short.

    Attributes:
        signature: Equal for failures that differ only in numbers, paths, times and addresses.
        cause: Why they failed.
        type: The type of the exception, or "".
        message: The error, without what varies.
        count: The number of attempts.
        jobs: The ids of their jobs.
        first: When the first of them ended.
        last: When the last of them ended.
        hosts: Each `host` with its `count`.
        newest_message: The error of the newest attempt as it was.
    """

    signature: str
    cause: str
    type: str
    message: str
    count: int
    jobs: list[int]
    first: datetime | None
    last: datetime | None
    hosts: list[dict[str, Any]]
    newest_message: str


class FailureExample(Value, frozen=True):
    """The newest failed attempt of a group.

    Attributes:
        job: Its job.
        name: Of its job.
        attempt: Its id.
        number: Within the job.
        step: The step that failed.
        subtask: The item that failed first.
        ended: When it ended.
        tail: The last lines of its error or output.
    """

    job: int
    name: str
    attempt: int
    number: int
    step: str | None
    subtask: int | None
    ended: datetime | None
    tail: list[str]


class FailureGroup(Failure, frozen=True):
    """Failed attempts with one signature.

    Attributes:
        example: The newest of them.
        partial_outputs: Outputs that they left incomplete.
        quarantined: The jobs that are in quarantine.
        undecided: The jobs whose failures wait for a decision, each with what it `waits` for.
    """

    example: FailureExample | None
    partial_outputs: list[dict[str, Any]]
    quarantined: list[int]
    undecided: list[dict[str, Any]]

    def _repr_html_(self) -> str:
        from rekindle.presentation import html_views

        return html_views.failure(self.to_dict())


class FlakyJob(Value, frozen=True):
    """How often a job fails under conditions under which it has passed.

    Attributes:
        job: Its id.
        name: Its name.
        workflow: The id of its workflow.
        passed: How it came to its outcome: plain, flaky, modified, mixed or failing.
        passes: The number of attempts that passed.
        failures: The number of attempts that failed.
        rate: failures / (failures + passes).
        interval: The 95 % confidence interval of the rate.
        other_failures: Failures under conditions under which it never passed.
        lost: Attempts that were lost or canceled.
        last: When its last attempt ended.
        last_failure: When its last failure ended.
        signatures: Its failures by signature.
        hosts: Its passes and failures by host.
        verified: What `verify` found last: `attempt`, `at`, `outcome` and why.
    """

    job: int
    name: str
    workflow: int
    passed: str
    passes: int
    failures: int
    rate: float
    interval: list[float]
    other_failures: int
    lost: int
    last: datetime | None
    last_failure: datetime | None
    signatures: list[dict[str, Any]]
    hosts: list[dict[str, Any]]
    verified: dict[str, Any] | None


class StoredWorkflow(Value, frozen=True):
    """A workflow of the store.

    Attributes:
        id: Its number in the store.
        name: Its name.
        project: Under which it is listed.
        directory: The project's folder.
        source: Its spec file; None: it was made in Python.
        revision: The latest one.
        submitted: When it was submitted first.
        archived: Whether it is archived.
        counts: The number of jobs in each state.
    """

    id: int
    name: str
    project: str | None
    directory: str
    source: str | None
    revision: int
    submitted: datetime
    archived: bool
    counts: dict[str, int]


class Runner(Value, frozen=True):
    """A process that runs jobs.

    Attributes:
        id: Its number in the store.
        host: Where it runs.
        pid: The number of its process.
        executor: local, slurm or dask.
        slots: How many jobs it runs at once.
        started: When it started.
        offer: Its processors, memory, gpus and licences.
    """

    id: int
    host: str
    pid: int
    executor: str
    slots: int
    started: datetime
    offer: dict[str, Any] | None


class DeadRunner(Runner, frozen=True):
    """A dead runner that left attempts.

    Attributes:
        why: How it is known to be dead.
        keeper: The runner that has adopted its attempts.
    """

    why: str
    keeper: int | None


class WorkflowStatus(StoredWorkflow, frozen=True):
    """The status of a workflow.

    Attributes:
        state: completed, running, ready, failed, canceled, held, waiting or empty.
        counts: The number of jobs in each state.
        seconds: From the first start to the last end, or to now.
        failures: Its failures, the largest group first.
        runners: Living runners of the store.
        dead_runners: Dead runners that left attempts.
        spec_changed: Whether the spec file differs from the stored revision; None: there is no readable file.
        spec: none, same, changed, invalid, gone, unreadable or no_folder.
        held: Ready jobs that are held, by reason.
        delayed: Jobs whose retry delay has not passed.
        leaving: Canceled attempts that have not ended.
        status: State and verdicts as one word.
        statuses: The number of jobs with each status.
        canaries: Groups of jobs whose canaries run first.
        stale_by_needs: Completed jobs that need a job that is not done.
        by_hand: Jobs that a person recorded as completed.
        undecided: Failed jobs that wait for a decision, by what they wait for.
        unfit: Jobs that need more than any runner has.
        quarantined: Failed jobs that have a quarantine, also one that has ended.
        element_waits: Why elements of another engine have not started.
    """

    state: str
    seconds: float | None
    failures: list[Failure]
    runners: list[Runner]
    dead_runners: list[DeadRunner]
    spec_changed: bool | None
    held: dict[str, int]
    spec: str
    delayed: int
    leaving: int
    status: str
    statuses: dict[str, int]
    canaries: list[dict[str, Any]]
    stale_by_needs: int
    by_hand: int
    undecided: dict[str, int]
    unfit: list[dict[str, Any]]
    quarantined: list[dict[str, Any]]
    element_waits: list[dict[str, Any]]

    def _repr_html_(self) -> str:
        from rekindle.presentation import html_views

        return html_views.status(self.to_dict())


class WorkflowRevision(Value, frozen=True):
    """A `revision` of a workflow, with the time when it was `submitted`, and the `rerun` that recorded it."""

    revision: int
    submitted: datetime
    rerun: int | None


class WorkflowDetails(WorkflowStatus, frozen=True):
    """A workflow with all that its definition has.

    Attributes:
        on: Its hooks: the command or the host of the URL for each event.
        templates: Its jobs as its spec has them, before the matrix.
        revisions: Its revisions.
    """

    on: dict[str, str]
    templates: list[dict[str, Any]]
    revisions: list[WorkflowRevision]


class Rerun(Value, frozen=True):
    """An applied rerun.

    Attributes:
        rerun: Its number.
        kind: manual, retry, restart, revision and others.
        by: Who asked for it over HTTP.
        at: When it was applied.
        note: Given by who asked for it.
        undone: When it was undone.
        jobs: How many jobs it changed.
        request: What was requested.
    """

    rerun: int
    kind: str
    by: str | None
    at: datetime
    note: str | None
    undone: datetime | None
    jobs: int
    request: dict[str, Any]


class RerunDetails(Rerun, frozen=True):
    """An applied rerun with its plan.

    Attributes:
        plan: What it did to each job.
        checked: By job, whether an earlier attempt was reused, and why.
        canaries: Groups whose canaries it ran first.
    """

    plan: RerunPlan
    checked: dict[int, dict[str, Any]]
    canaries: list[dict[str, Any]]


class Event(Value, frozen=True):
    """Something that happened in the store.

    Attributes:
        id: Its number.
        at: When it happened.
        kind: submitted, worked, rerun, held and others.
        workflow: The id of its workflow.
        detail: What belongs to its kind.
    """

    id: int
    at: datetime
    kind: str
    workflow: int | None
    detail: dict[str, Any]


class ReuseCheck(Value, frozen=True):
    """The last check of an archived attempt for reuse, of a `rerun`, `at` a time: its `result`, reinstated or runs, and
    the `reasons`."""

    rerun: int
    at: datetime
    result: str
    reasons: list[dict[str, Any]]


class Explanation(Value, frozen=True):
    """Whether a job would run again, and why.

    Attributes:
        id: Its job, of `workflow`, with `name`, `state` and whether it is `held`.
        stale: Whether it is stale; None: there is nothing to compare.
        verdict: The answer as one word, such as current, stale, unknown, failed or waiting.
        reasons: Each with a `kind` and what belongs to it.
        accepted: The rerun that accepted its changes.
        awaits: Canceled attempts that must end first.
        error: Of a failed job.
        forbidden: Why it must not run twice (`manual` in the spec); None: it may run again.
        compared: What was compared with the present.
        mentioned: Files that commands name and that were not compared.
        removed: Temporary outputs that were removed: `name`, `path`, `since`.
        checked: The last check for reuse.
        again: The attempt that would be repeated.
        canaries: The group of canaries that it waits for.
        waits: What it waits for.
        note: Why it was canceled.
    """

    id: int
    workflow: int
    name: str
    state: StateName
    held: bool
    stale: bool | None
    verdict: str
    reasons: list[dict[str, Any]]
    accepted: int | None
    awaits: list[int]
    error: str | None
    forbidden: str | None
    compared: list[dict[str, Any]]
    mentioned: list[dict[str, Any]]
    removed: list[dict[str, Any]]
    checked: ReuseCheck | None
    again: dict[str, Any] | None
    canaries: dict[str, Any] | None
    waits: list[dict[str, Any]]
    note: str | None


class Token(Value, frozen=True):
    """A token of `rekindle serve`, without its secret.

    Attributes:
        id: Its number.
        name: Whose it is.
        scopes: What it allows.
        created: When it was made.
        last_used: When it was used last.
        revoked: When it was revoked.
    """

    id: int
    name: str
    scopes: list[str]
    created: datetime
    last_used: datetime | None
    revoked: datetime | None


class StoreProblem(Value, frozen=True):
    """A problem of a store: its `kind`, a `text`, and a `hint` about what to do."""

    kind: str
    text: str
    hint: str


class PruneReport(Value, frozen=True):
    """What a prune has removed, or would remove.

    Attributes:
        prune: Its number; None: nothing was removed.
        attempts: The pruned attempts: `id`, `job`, `name`, `workflow`, `number`, `state`, `cause`, `ended`, `bytes`.
        kept: How many archived attempts stay, by reason: newest, young, last, needed.
        left: Attempts (ids) that stay because their jobs have moved since the plan.
        workflows: Deleted workflows: `id`, `name`, `archived`, `attempts`, `bytes`.
        events: The number of deleted events.
        bytes: Of all removed files.
        logs: What happens to logs: removed or compressed.
        log_bytes: Of the logs that are compressed.
    """

    prune: int | None
    attempts: list[dict[str, Any]]
    kept: dict[str, int]
    left: list[int]
    workflows: list[dict[str, Any]]
    events: int
    bytes: int
    logs: str
    log_bytes: int


class StoreCheck(Value, frozen=True):
    """The result of a check of the store.

    Attributes:
        store: Its folder or URL.
        version: Of its tables.
        deep: Whether every row, journal and saved output was read.
        sound: Whether there is no problem.
        checked: The number of checked things of each kind.
        problems: What is wrong.
    """

    store: str
    version: int
    deep: bool
    sound: bool
    checked: dict[str, int]
    problems: list[StoreProblem]
