"""Stored records: jobs, attempts, steps, runners, events. Times are seconds since the epoch, UTC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rekindle.domain.definition import Resources
from rekindle.domain.next_attempt import DEFAULT_NEXT_ATTEMPT, NextAttempt
from rekindle.domain.states import Cause, State
from rekindle.domain.texts.display import show_bytes
from rekindle.domain.verdicts import Verdict


class Failure(msgspec.Struct, frozen=True):
    """The error texts of a failed attempt or step, bounded by the writer."""

    type: str = ""  # exception type, or "" for a command
    message: str = ""
    traceback: str = ""
    stderr: str = ""  # the end of stderr

    def __post_init__(self) -> None:
        for name in ("type", "message", "traceback", "stderr"):  # for display: other bytes than UTF-8 are escaped
            text = getattr(self, name)
            if not text.isascii():
                msgspec.structs.force_setattr(self, name, show_bytes(text))


class Signature(msgspec.Struct, frozen=True):
    """What failures have in common that differ only in seeds, paths, times and addresses (see domain.signatures).
    `digest` is 12 hexadecimal digits; `type` may be ""; `message` is one normalized line, also shown to users."""

    digest: str
    type: str
    message: str


class StepOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one step of an attempt ended, or the earlier attempt from which it was kept."""

    position: int  # from 0, in the job's list of steps
    name: str
    state: State
    cause: Cause | None = None
    exit_code: int | None = None
    signal: int | None = None
    started: float | None = None
    ended: float | None = None
    result: str | None = None  # JSON text
    kept_from: int | None = None  # the attempt that ran the step, if not this one
    action: str | None = None  # JSON text: the dynamic action that the step requested
    verdict: Verdict | None = None


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One execution of a job. Lists may hold millions of attempts: the
    garbage collector leaves them alone."""

    id: int
    job: int
    workflow: int
    number: int  # from 1, within the job
    token: str
    state: State
    revision: int
    template: int
    cause: Cause | None = None
    exit_code: int | None = None
    signal: int | None = None
    failure: Failure | None = None
    signature: str | None = None  # digest of the normalized failure
    host: str | None = None
    pid: int | None = None
    pid_start: int | None = None  # clock ticks after boot, as in /proc
    worker: str | None = None
    runner: int | None = None
    folder: str | None = None  # absolute, whether or not it exists
    queued: float | None = None
    started: float | None = None
    ended: float | None = None
    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    result: str | None = None  # JSON text
    verdict: Verdict | None = None
    builds_on: int | None = None  # the attempt whose steps it keeps
    start_step: int = 0  # the position of its first step
    overrides: str | None = None  # JSON text; not None: modified
    partial: bool = False
    archived_by: int | None = None  # the rerun that archived it; None: live
    steps: tuple[StepOutcome, ...] = ()
    binding: str | None = None  # JSON text: the matrix values, if they differ from the job's current ones
    code: str | None = None  # digest of the modules of its functions
    pinned_to: int | None = None  # the attempt whose definition it used; None: the latest
    evidence: str | None = None  # JSON text: the facts from which the cause was concluded
    shared: bool = False  # its folder may be shared: never remove it
    left_running: LeftRunning | None = None
    pruned_by: int | None = None  # the prune that removed its content; None: it is kept
    completed_by: int | None = None  # the rerun with which a person recorded it; None: it was executed
    undecided: str | None = None  # of a failed attempt, what it waits for (see domain.judging); None: it is decided
    reused_from: int | None = None  # the attempt that completed it without running; 0: it was deleted
    reused_workflow: str | None = None  # that attempt's workflow, if it is another one


class Job(msgspec.Struct, frozen=True, gc=False):
    """A job of a workflow, in its current state. Lists may hold millions of jobs: the garbage
    collector leaves them alone."""

    id: int
    workflow: int
    name: str
    state: State
    template: int
    binding: str  # JSON text: the matrix values
    version: int
    unmet: int
    priority: int
    resource_class: int
    held: str | None = None  # the reason; None: not held
    canceled: bool = False  # before its first attempt
    retired: bool = False
    attempt: int | None = None  # the live attempt
    attempts: int = 0  # the number of attempts so far
    added_by: int | None = None
    next: NextAttempt = DEFAULT_NEXT_ATTEMPT


class Workflow(msgspec.Struct, frozen=True):
    """A workflow, in its current state."""

    id: int
    name: str
    directory: str
    revision: int
    submitted: float
    project: str | None = None
    source: str | None = None
    source_digest: str | None = None
    archived: float | None = None
    counts: Mapping[State, int] = msgspec.field(default_factory=dict)


class Revision(msgspec.Struct, frozen=True):
    """One submitted definition of a workflow."""

    number: int  # from 1
    submitted: float
    source_digest: str | None = None
    rerun: int | None = None  # the rerun of kind `revision` that recorded the change; None: the first revision


class ProcessIdentity(msgspec.Struct, frozen=True):
    """A process on any host: `pid` and `pid_start` (clock ticks after boot) identify it in the namespace `pid_space` of
    the boot `boot_id` of a host."""

    host: str
    boot_id: str
    pid: int
    pid_start: int
    pid_space: int
    elsewhere: bool = False  # it works on the store from which this one was copied


class RunnerCapacity(msgspec.Struct, frozen=True):
    """The total capacity of a runner, and the jobs it accepts."""

    cpus: float
    memory: int  # bytes
    gpus: int = 0
    licences: Mapping[str, int] = msgspec.field(default_factory=dict)
    workflow: int | None = None  # it runs only jobs of this workflow; None: of all
    chosen: bool = False  # it runs only selected jobs
    placement: str | None = None  # the address of the engine that runs its attempts ("": its own); None: its own host


class Runner(msgspec.Struct, frozen=True):
    """A process that claims ready jobs under a lease. Its epoch is 1 until another runner takes over; `keeper` is the
    last runner that took over.

    A runner with `elsewhere` works on the store from which this one was copied. Its processes are never signaled, and
    attempts it had running at the time of the copy are lost here."""

    id: int
    host: str
    boot_id: str
    pid: int
    pid_start: int
    executor: str
    slots: int
    started: float
    expires: float
    epoch: int
    ended: float | None = None
    pid_space: int = 0
    keeper: int | None = None
    label: str = ""  # its name
    store: str | None = None  # the absolute store folder when it registered; None: not recorded
    elsewhere: bool = False
    offer: RunnerCapacity | None = None  # None: not recorded
    skew: float = 0.0  # whole seconds by which the clock of `expires` is ahead of that of the process that read the row

    def expired_for(self, now: float) -> float:
        """Return how many seconds ago the lease has expired when the clock of this process shows `now`."""
        return now + self.skew - self.expires


class StateChange(msgspec.Struct, frozen=True):
    """One job's change of state, written only if the job is still in `before`."""

    job: int
    workflow: int
    resource_class: int
    before: State
    after: State


class ReadyClass(msgspec.Struct, frozen=True):
    """Ready jobs of one workflow with the same resources."""

    workflow: int
    resource_class: int
    resources: Resources
    ready: int  # an upper bound: held and delayed jobs are included


class ReadyJob(msgspec.Struct, frozen=True):
    """A ready job, with everything that a claim needs."""

    id: int
    workflow: int
    name: str
    template: int
    revision: int
    binding: str
    attempts: int
    priority: int
    resource_class: int
    next: NextAttempt
    latest: int | None = None  # its latest template, if different; its resources come from this one
    own_binding: str | None = None  # JSON text: the pinned matrix values, if the job has others now


class ReuseCandidate(msgspec.Struct, frozen=True):
    """A ready job for which an earlier attempt (ANY_EARLIER: all that have its identity) must be checked for reuse
    before the job is claimed."""

    id: int
    workflow: int
    name: str
    resource_class: int
    version: int
    reuse_candidate: int
    newest: int | None  # its newest attempt


class ReusableAttempt(msgspec.Struct, frozen=True, gc=False):
    """A completed attempt that may complete other jobs."""

    id: int
    job: int


class JobDefinition(msgspec.Struct, frozen=True, gc=False):
    """What identifies the next attempt of a job: see domain.changes.identities."""

    job: int
    workflow: int
    template: int
    revision: int
    binding: str  # JSON text
    overrides: str | None  # JSON text


class ReuseSource(msgspec.Struct, frozen=True, gc=False):
    """An attempt that completes other jobs, and its workflow."""

    id: int
    number: int
    workflow: str
    job: int


class ReusedAttempt(msgspec.Struct, frozen=True):
    """A new attempt of a job that stands for another attempt, `source`."""

    id: int
    token: str
    folder: str
    job: int
    source: int


class UpstreamJob(msgspec.Struct, frozen=True, gc=False):
    """A job that another job needs, with its live attempt. It has completed, unless the other job needs it only
    finished."""

    name: str
    result: str | None  # JSON text; of a completed job
    job: int
    attempt: int | None
    template: int | None = None  # the attempt's
    state: State = State.COMPLETED  # the job's
    number: int | None = None  # the attempt's, within the job
    verdict: Verdict | None = None
    failure: Failure | None = None  # of a failed job


class GivenFolder(msgspec.Struct, frozen=True):
    """A folder given to an attempt. A `shared` one may be used by others and is never removed."""

    path: str  # absolute
    shared: bool = False


class PreviousAttempt(msgspec.Struct, frozen=True, gc=False):
    """How the second newest attempt of a job ended."""

    number: int  # within the job
    state: State
    cause: Cause | None
    failure: Failure | None  # of a failed attempt


class NewAttempt(msgspec.Struct, frozen=True):
    """An attempt when it is claimed."""

    id: int
    token: str
    job: ReadyJob
    folder: str
    own: str = ""  # its own path, if it runs in an earlier attempt's folder or a given one
    given: bool = False  # in a given folder, which is created if missing
    shared: bool = False  # … and may be used by others
    identity: int | None = None  # see domain.changes.identities; None: no other job may reuse it


class AttemptJobState(msgspec.Struct, frozen=True):
    """The state of an attempt and its job when a record about the attempt arrives."""

    attempt: int
    token: str
    state: State  # the attempt's
    archived: bool
    job: int
    name: str
    workflow: int
    resource_class: int
    job_state: State
    job_attempt: int | None
    cancel_asked: bool = False
    next: NextAttempt = DEFAULT_NEXT_ATTEMPT  # the job's
    canaries_open: bool = False  # some group of canaries is undecided
    is_needed: bool = False  # other jobs need the job
    acts: bool = False  # its steps have staged dynamic actions, or actions of the job are in force

    def __str__(self) -> str:
        """Name the job and the attempt, for messages."""
        return f"job {self.job} {self.name}, attempt {self.attempt}"


class LeftProcess(msgspec.Struct, frozen=True):
    """A process that a step left running."""

    pid: int
    name: str  # the beginning of its command line


class LeftRunning(msgspec.Struct, frozen=True):
    """The processes that an attempt's steps left running when they ended."""

    killed: bool  # False: the job says to leave them running
    count: int
    processes: tuple[LeftProcess, ...]  # the first of them


class AttemptEnd(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an attempt ended: what its worker journals, and the columns that its end sets in its row.

    `state` is COMPLETED, FAILED or CANCELED; the last two have a cause. Where the attempt ran (`worker` to `pid_start`)
    and its signature are added when the journal is read; None keeps what its start recorded."""

    attempt: int
    state: State
    ended: float = msgspec.field(name="at")
    started: float | None = None
    cause: Cause | None = None
    exit_code: int | None = None
    signal: int | None = None
    failure: Failure | None = None
    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    result: str | None = None  # JSON text of the last step's result
    verdict: Verdict | None = None  # the worst of all steps, kept ones too
    evidence: str | None = None  # JSON text: the facts from which the cause was concluded
    steps: tuple[StepOutcome, ...] = ()  # the last step, and the skipped ones behind it; () if no step started
    partial: bool = False  # it continued with part of a fan-out's subtasks
    code: str | None = None  # digest of the modules of its functions
    left_running: LeftRunning | None = None
    worker: str | None = None
    host: str | None = None
    pid: int | None = None
    pid_start: int | None = None
    signature: Signature | None = None  # of a failure


class LoggedEvent(msgspec.Struct, frozen=True):
    """An event, one per batch or operation."""

    id: int
    at: float
    kind: str
    workflow: int | None
    detail: Mapping[str, Any]


class FailureGroup(msgspec.Struct, frozen=True):
    """Attempts with the same failure signature: live ones, or all."""

    signature: str
    cause: Cause
    type: str
    message: str
    count: int  # attempts
    jobs: tuple[int, ...]
    first: float | None = None  # when the first of them ended …
    last: float | None = None  # … and the last
    hosts: tuple[tuple[str, int], ...] = ()  # (host, attempts), most attempts first
    newest: int | None = None  # attempt
    newest_job: int | None = None
    newest_message: str = ""  # as written by the newest attempt, in one line; `message` is normalized


class PartialOutput(msgspec.Struct, frozen=True):
    """A declared output that an incomplete attempt created or changed."""

    name: str  # as declared
    path: str  # absolute
    size: int  # bytes; of a folder: of the files in it
    aside: str | None = None  # absolute: where it was moved; None: it was left in place …
    stays: str | None = None  # … for this reason, although `partial: aside` is set
    taken: bool = False  # a later attempt may have moved it back: `aside` may not exist


class PartialOfFailure(msgspec.Struct, frozen=True):
    """A partial output of a failed attempt."""

    signature: str  # of the failure
    attempt: int
    job: int
    directory: str  # the project's folder
    output: PartialOutput


class JobFlags(msgspec.Struct, frozen=True, gc=False):
    """The fields of a job that decide whether it can be held, released or canceled."""

    id: int
    workflow: int
    name: str
    state: State
    resource_class: int
    held: str | None
    retired: bool
    attempt: int | None  # the live one
