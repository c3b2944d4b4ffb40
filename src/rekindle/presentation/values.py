"""The values that the Python API returns: the JSON documents of the command line with types. The attributes are the
keys of the documents. Times are datetimes in UTC, results are Python values."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Self

import msgspec

StateName = Literal["waiting", "ready", "queued", "running", "completed", "failed", "canceled"]

MOST_SHOWN = 300
"""Characters of the `repr` of a value."""

_MOST_FIELD = 60


def short_repr(one: object) -> str:
    """Return the class and the fields of a Struct that are not empty, in at most 300 characters."""
    parts: list[str] = []
    left = MOST_SHOWN
    names: tuple[str, ...] = one.__struct_fields__  # type: ignore[attr-defined]
    defaults: tuple[Any, ...] = one.__struct_defaults__  # type: ignore[attr-defined]
    for name, default in zip(names, (*[msgspec.NODEFAULT] * (len(names) - len(defaults)), *defaults), strict=True):
        value = getattr(one, name)
        usual = default.factory() if hasattr(default, "factory") else default
        if value is None or value is False or value == usual or value in ("", (), [], {}):
            continue
        parts.append(f"{name}={_short(value)}")
        left -= len(parts[-1]) + 2
        if left < 0:
            parts[-1] = "…"
            break
    return f"{type(one).__name__}({', '.join(parts)})"


def _short(value: object) -> str:
    if isinstance(value, msgspec.Struct):
        return f"{type(value).__name__}(…)"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list | tuple | dict | Mapping) and len(value) > 4:
        return f"<{len(value):,}>"
    if isinstance(value, list | tuple) and any(isinstance(each, msgspec.Struct | list | tuple) for each in value):
        return f"<{len(value):,}>"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_label(key)}: {_short(each)}' for key, each in value.items())}}}"
    text = _label(value)
    return text if len(text) <= _MOST_FIELD else f"{text[: _MOST_FIELD - 1]}…"


def _label(value: object) -> str:
    return str(getattr(value, "label", value.value)) if isinstance(value, enum.Enum) else repr(value)


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """A value that the API returns."""

    def __repr__(self) -> str:
        return short_repr(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Return the value of a JSON document."""
        return msgspec.convert(document, cls)

    def to_dict(self) -> dict[str, Any]:
        """Return the value as the JSON document that the command line prints. Times are texts in ISO 8601."""
        found: dict[str, Any] = _plain(msgspec.to_builtins(self, builtin_types=(datetime,)))
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z"
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


class AttemptError(Value, frozen=True):
    """The error texts of a failed attempt.

    Attributes:
        type: The type of the exception, or "" for a command.
        message: In one line.
        traceback: Of an exception.
        stderr: The end of stderr.
    """

    type: str
    message: str
    traceback: str
    stderr: str


class Step(Value, frozen=True):
    """How a step of an attempt ended.

    Attributes:
        name: Its name.
        state: As that of a job.
        cause: Why it did not succeed.
        exit_code: Of its command.
        signal: The number of the signal that ended it.
        started: When it started.
        ended: When it ended.
        kept_from: The attempt that ran it, if not this one.
        result: What it returned or wrote, as Python values.
        action: The dynamic action that it requested.
        verdict: passed, warning or blocker, with `verdict_message`.
        subtasks: The number of items of a fan-out in each state.
    """

    name: str
    state: StateName
    cause: str | None
    exit_code: int | None
    signal: int | None
    started: datetime | None
    ended: datetime | None
    kept_from: int | None
    result: Any
    action: Any
    verdict: str | None
    verdict_message: str | None
    subtasks: dict[str, int]


class PartialOutput(Value, frozen=True):
    """A declared output that an incomplete attempt created or changed.

    Attributes:
        name: As declared.
        path: Where it was or is.
        bytes: Its size.
        aside: Where it was moved.
        stays: Why it was not moved, though the job says so.
    """

    name: str
    path: str
    bytes: int
    aside: str | None
    stays: str | None


class Attempt(Value, frozen=True):
    """One execution of a job.

    Attributes:
        id: Its number in the store.
        job: The id of its job.
        workflow: The id of the workflow.
        number: From 1, within the job.
        state: As that of a job.
        cause: Why it did not succeed: exit, exception, signal, oom, timeout, lost, start, missing_input,
            missing_output, subtasks or canceled.
        exit_code: Of the step that failed.
        signal: The number of the signal that ended it.
        error: Its error texts.
        evidence: The facts from which the cause was concluded.
        signature: Equal for failures that differ only in numbers, paths, times and addresses.
        verdict: passed, warning or blocker, with `verdict_message`.
        host: Where it ran.
        pid: The number of its process.
        workdir: The folder in which it ran or runs.
        folder: Its own folder in the store.
        queued: When it was claimed.
        started: When its first process started.
        ended: When it ended.
        cpu_seconds: Processor time.
        max_rss_bytes: Peak memory, in bytes.
        result: What its last step returned or wrote, as Python values.
        revision: The revision of the workflow.
        pinned: Whether it used the definition of an earlier attempt, `pinned_to`.
        builds_on: The attempt whose steps it keeps.
        reused_from: The attempt that completed it without running; 0: it was deleted. `reused_workflow`: the name of
            that attempt's workflow, if it is another one.
        archived: Whether a rerun has archived it, `archived_by`; `pruned`: a prune removed its content, `pruned_by`.
        completed_by: The rerun with which a person recorded it as completed. None: it was executed.
        undecided: What its failure waits for: "unknown failure", "judge", or what its judge said. None: nothing.
        partial: Whether it went on with a part of a fan-out's items.
        modified: Whether it ran with other parameters or resources than the definition's, `overrides`.
        retry: The number, limit and cause of an automatic retry.
        partial_outputs: Declared outputs that it left incomplete.
        steps: Its steps.
        left_running: Processes that its steps left running.
    """

    id: int
    job: int
    workflow: int
    number: int
    state: StateName
    cause: str | None
    exit_code: int | None
    signal: int | None
    error: AttemptError | None
    evidence: dict[str, Any] | None
    signature: str | None
    verdict: str | None
    verdict_message: str | None
    host: str | None
    pid: int | None
    workdir: str | None
    folder: str | None
    queued: datetime | None
    started: datetime | None
    ended: datetime | None
    cpu_seconds: float | None
    max_rss_bytes: int | None
    result: Any
    revision: int
    pinned: bool
    pinned_to: int | None
    builds_on: int | None
    reused_from: int | None
    reused_workflow: str | None
    archived: bool
    archived_by: int | None
    pruned: bool
    pruned_by: int | None
    completed_by: int | None
    undecided: str | None
    partial: bool
    modified: bool
    overrides: dict[str, Any] | None
    retry: dict[str, Any] | None
    partial_outputs: list[PartialOutput]
    steps: list[Step]
    left_running: dict[str, Any] | None

    def _repr_html_(self) -> str:
        from rekindle.presentation import html_views

        return html_views.attempt(self.to_dict())


class Job(Value, frozen=True):
    """A job in its current state, with the end of its live attempt.

    Attributes:
        id: Its number in the store.
        workflow: The id of its workflow, and `workflow_name`.
        name: Its name, with the values of its matrix.
        state: waiting, ready, queued, running, completed, failed or canceled.
        held: Whether it is held, and `held_reason`.
        undecided: What the failure of its attempt waits for: a person or its judge. None: nothing.
        verdict: passed, warning or blocker, with `verdict_message`.
        status: State and verdict as one word.
        cause: Why its attempt did not succeed.
        exit_code: Of its attempt.
        evidence: The facts from which the cause was concluded.
        signature: Of its failure.
        attempts: The number of attempts so far.
        attempt: The id of its live attempt.
        reserve: An archived attempt that is reused if nothing it depends on has changed.
        reuse_offered: Whether any earlier attempt with its definition completes it, if one has its inputs.
        pinned_to: The attempt whose definition the next one uses.
        retired: Whether a revision has removed it.
        added_by: The attempt whose dynamic action added it.
        stale: Whether it is stale. None: not compared.
        matrix: The values of its matrix.
        partial: Whether it used only a part of a fan-out's items.
        priority: Ready jobs with a higher one start first.
        unmet: How many needs still keep it from starting.
        overrides: What the next attempt changes in the definition.
        keep_recovery: The rerun that kept a resume point.
        not_before: When a delayed retry starts at the earliest.
        avoids: The host that the next attempt avoids.
        awaits: Canceled attempts that must end before it starts.
        repeats: How many more times it runs.
        resources: cpus, memory (bytes), gpus, time (seconds), licences and options.
        started: When its live attempt started.
        ended: When its live attempt ended.
        seconds: How long its live attempt ran.
    """

    id: int
    workflow: int
    workflow_name: str
    name: str
    state: StateName
    held: bool
    held_reason: str | None
    undecided: str | None
    verdict: str | None
    verdict_message: str | None
    status: str
    cause: str | None
    exit_code: int | None
    evidence: dict[str, Any] | None
    signature: str | None
    attempts: int
    attempt: int | None
    reserve: int | None
    reuse_offered: bool
    pinned_to: int | None
    retired: bool
    added_by: int | None
    stale: bool | None
    matrix: dict[str, Any]
    partial: bool
    priority: int
    unmet: int
    overrides: dict[str, Any] | None
    keep_recovery: int | None
    not_before: datetime | None
    avoids: str | None
    awaits: list[int]
    repeats: int
    resources: dict[str, Any]
    started: datetime | None
    ended: datetime | None
    seconds: float | None


class RelatedJob(Value, frozen=True):
    """A job that another one needs, or that needs it: its `id`, `name` and `state`."""

    id: int
    name: str
    state: StateName


class JobDetails(Job, frozen=True):
    """Everything about a job.

    Attributes:
        passed: How it came to its outcome: plain, flaky, modified, mixed or failing.
        needs: The jobs that it needs.
        needed_by: The jobs that need it.
        attempt_ids: Its attempts, archived ones too.
        canaries: The group of canaries that it belongs to.
        waits: What it waits for.
        added_by_job: The job whose dynamic action added it.
        labels: Its labels.
        quarantine: The quarantine of its spec, `until` a day and `why`.
        patches: Dynamic changes in force.
        retry: Its next automatic retry.
    """

    passed: str | None
    needs: list[RelatedJob]
    needed_by: list[RelatedJob]
    attempt_ids: list[int]
    canaries: dict[str, Any] | None
    waits: list[dict[str, Any]]
    added_by_job: int | None
    labels: dict[str, str]
    quarantine: dict[str, Any] | None
    patches: list[dict[str, Any]]
    retry: dict[str, Any] | None = None


class File(Value, frozen=True, omit_defaults=True):
    """An input or output of an attempt.

    Attributes:
        name: As declared.
        path: Where it is.
        digest: Of its content; None: it was not there.
        implicit: Whether a command names it, and nothing declares it.
        compared: Whether it is compared, of an implicit one.
    """

    name: str
    path: str
    digest: str | None
    implicit: bool = False
    compared: bool | None = None


class Subtask(Value, frozen=True):
    """An item of a fan-out step.

    Attributes:
        step: The name of the step.
        index: From 0.
        item: The item.
        state: As that of a job.
        attempts: How often it has run.
        cause: Why it did not succeed.
        exit_code: Of its command.
        signal: The number of the signal that ended it.
        attempt: The attempt that ran it last.
        started: When it started.
        ended: When it ended.
        result: What it returned or wrote, as Python values.
    """

    step: str
    index: int
    item: Any
    state: StateName
    attempts: int
    cause: str | None
    exit_code: int | None
    signal: int | None
    attempt: int | None
    started: datetime | None
    ended: datetime | None
    result: Any


class AttemptDetails(Attempt, frozen=True):
    """Everything about an attempt.

    Attributes:
        pruned_at: When a prune removed its content.
        actions_in_force: Whether its dynamic actions are in force.
        added: The jobs that these added.
        copying: Bytes `done` and in `whole`, while it copies an earlier attempt's folder.
        saved_outputs: The folder with its outputs, if a rerun saved them.
        by_hand: Who recorded it as completed, and with which rerun. None: it was executed.
        inputs: The files that it read.
        outputs: The files that it wrote.
        subtasks: The items of its fan-outs.
        environment: What it ran with: versions and variables.
    """

    pruned_at: datetime | None
    actions_in_force: bool
    added: list[str]
    copying: dict[str, int] | None
    saved_outputs: str | None
    by_hand: dict[str, Any] | None
    inputs: list[File]
    outputs: list[File]
    subtasks: list[Subtask]
    environment: list[dict[str, Any]]


class Difference(Value, frozen=True, omit_defaults=True):
    """A `field` that differs between two attempts, with both values, `a` and `b`. `implicit`: a command
    names the file."""

    field: str
    a: Any
    b: Any
    implicit: bool = False


class Log(Value, frozen=True):
    """What a step, or an item of a fan-out, printed. `str` of it is the text.

    Attributes:
        attempt: The attempt that ran it.
        step: The name of the step.
        stream: stdout or stderr.
        path: The file.
        text: What was printed.
        subtask: The index of the item.
        item: The item.
        state: Of the item.
    """

    attempt: int
    step: str
    stream: Literal["stdout", "stderr"]
    path: str
    text: str
    subtask: int | None = None
    item: Any = None
    state: StateName | None = None

    def __str__(self) -> str:
        return self.text
