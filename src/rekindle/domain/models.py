"""What the archive remembers: jobs, attempts, steps, reruns. Times are seconds since the epoch, UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rekindle.domain.causes import Cause
from rekindle.domain.definition import Resources
from rekindle.domain.states import State
from rekindle.domain.texts.surrogates import shown
from rekindle.domain.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Failure:
    """What an attempt or step that failed said. Texts are bounded by whoever writes them."""

    type: str = ""  # exception type, or "" for a command
    message: str = ""
    traceback: str = ""
    stderr: str = ""  # the tail of what was written to stderr

    def __post_init__(self) -> None:
        for name in ("type", "message", "traceback", "stderr"):  # people read these: bytes are shown, not kept
            text = getattr(self, name)
            if not text.isascii():
                object.__setattr__(self, name, shown(text))


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """How one step of an attempt ended, or that it was kept from an earlier attempt."""

    position: int  # from 0, in the job's list of steps
    name: str
    state: State
    cause: Cause | None = None
    exit_code: int | None = None
    signal: int | None = None
    started: float | None = None
    ended: float | None = None
    result: str | None = None  # JSON text
    kept_from: int | None = None  # the attempt that did it, where this one did not
    action: str | None = None  # JSON text: the dynamic action that it staged
    verdict: Verdict | None = None  # what it found


class Attempt(NamedTuple):
    """One execution of a job. A tuple, because lists make millions of them."""

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
    signature: str | None = None  # digest of the normalised failure
    host: str | None = None
    pid: int | None = None
    pid_start: int | None = None  # clock ticks after boot, as /proc has it
    worker: str | None = None
    runner: int | None = None
    folder: str | None = None  # absolute, whether or not it exists
    queued: float | None = None
    started: float | None = None
    ended: float | None = None
    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    result: str | None = None  # JSON text
    verdict: Verdict | None = None  # what it found
    builds_on: int | None = None  # the attempt whose steps it keeps
    start_step: int = 0  # the position at which it started
    overrides: str | None = None  # JSON text; not None: modified
    partial: bool = False
    archived_by: int | None = None  # the rerun that archived it; None: live
    steps: tuple[StepOutcome, ...] = ()
    binding: str | None = None  # JSON text: the matrix values, where they are not those that the job has now
    code: str | None = None  # digest of the modules that its functions come from
    pinned_to: int | None = None  # the attempt whose definition it took; None: the latest
    evidence: str | None = None  # JSON text: what the cause was concluded from
    shared: bool = False  # others may be in its folder too: it is never removed
    left_running: str | None = None  # JSON text of a LeftRunning; None: no process was left


class Job(NamedTuple):
    """A node of a workflow's graph, as it stands. A tuple, because lists make millions of them."""

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
    canceled: bool = False  # before it had an attempt
    retired: bool = False
    attempt: int | None = None  # the live attempt
    reserve: int | None = None  # a COMPLETED attempt kept for early cut-off
    attempts: int = 0  # how many there have been
    not_before: float | None = None
    added_by: int | None = None
    resume_attempt: int | None = None  # the next attempt builds on this one …
    resume_step: int = 0  # … from this position
    overrides: str | None = None  # JSON text, for the next attempts
    keep_recovery: int | None = None  # the rerun since which plain reruns resume there too
    take: str | None = None  # how the next attempt gets its folder: a "copy" of, or the "same" as …
    take_folder: str | None = None  # … this one
    pinned_to: int | None = None  # the next attempts take their definition from this one; None: the latest
    avoids: str | None = None  # the host where it failed: not there, as long as another works
    repeats: int = 0  # how often more it runs after its live, or its next, attempt


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow, as it stands."""

    id: int
    name: str
    directory: str
    revision: int
    submitted: float
    project: str | None = None
    source: str | None = None
    source_digest: str | None = None
    archived: float | None = None
    counts: Mapping[State, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Revision:
    """One submitted definition of a workflow."""

    number: int  # from 1
    submitted: float
    source_digest: str | None = None
    rerun: int | None = None  # that has recorded what it did, of kind `revision`; None: it is the first


@dataclass(frozen=True, slots=True)
class Place:
    """Which process is meant, wherever it is: `pid` and `pid_start` (clock ticks after boot) name it in the namespace
    `pid_space` of the boot `boot_id` of a host."""

    host: str
    boot_id: str
    pid: int
    pid_start: int
    pid_space: int
    elsewhere: bool = False  # it works on the store that this one was copied from


@dataclass(frozen=True, slots=True)
class Offer:
    """What a runner has for the jobs that it runs, in all, and which jobs these are."""

    cpus: float
    memory: int  # bytes
    gpus: int = 0
    licences: Mapping[str, int] = field(default_factory=dict)
    workflow: int | None = None  # it runs jobs of this one; None: of all
    chosen: bool = False  # it runs only some of the jobs


@dataclass(frozen=True, slots=True)
class Runner:
    """A process that claims ready jobs, under a lease. Its epoch is 1 as long as nobody has taken over; `keeper` is the
    runner that took over last.

    A runner that works `elsewhere`, on the store that this one was copied from, does not run for this store: its
    processes are never signaled, and the attempts that it had under way when the store was copied are lost here."""

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
    label: str = ""  # what it is called
    store: str | None = None  # the store's folder, absolute, when it registered; None: not recorded
    elsewhere: bool = False
    offer: Offer | None = None  # None: not recorded


@dataclass(frozen=True, slots=True)
class Move:
    """One job's change of state, decided by the law and written under a guard on `before`."""

    job: int
    workflow: int
    resource_class: int
    before: State
    after: State


@dataclass(frozen=True, slots=True)
class ReadyClass:
    """Jobs of one workflow that are ready and take the same resources."""

    workflow: int
    resource_class: int
    resources: Resources
    ready: int  # an upper bound: held and delayed ones are counted too


@dataclass(frozen=True, slots=True)
class ReadyJob:
    """What a claim needs to know of a job."""

    id: int
    workflow: int
    name: str
    template: int
    revision: int
    binding: str
    attempts: int
    priority: int
    resource_class: int
    resume_attempt: int | None
    resume_step: int
    overrides: str | None
    take: str | None = None  # "copy" or "same": how it gets its folder …
    take_folder: str | None = None  # … from this one
    subtasks: str | None = None  # JSON text: which run where it resumes a fan-out
    latest: int | None = None  # its latest template, which says what it takes, where that is another
    own_binding: str | None = None  # JSON text: the matrix values that it is pinned to, where the job has others now
    pinned_to: int | None = None  # the attempt whose definition it takes


@dataclass(frozen=True, slots=True)
class Reserved:
    """A ready job whose attempt in reserve is to be looked at before it may be claimed."""

    id: int
    workflow: int
    name: str
    resource_class: int
    version: int
    reserve: int


class Needed(NamedTuple):
    """A job that another needs, and its live attempt. It has completed, unless it is needed only finished."""

    name: str
    result: str | None  # JSON text, of one that completed
    job: int
    attempt: int | None
    state: State = State.COMPLETED  # the job's
    number: int | None = None  # the attempt's, within the job
    verdict: Verdict | None = None
    failure: Failure | None = None  # of one that failed


@dataclass(frozen=True, slots=True)
class Workplace:
    """A place that is given for an attempt to work in. `shared`: others may be in it, or come; it is never removed."""

    path: str  # absolute
    shared: bool = False


class Earlier(NamedTuple):
    """How the attempt of a job before its newest ended."""

    number: int  # within the job
    state: State
    cause: Cause | None
    failure: Failure | None  # of one that failed


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """An attempt at the moment of its claim."""

    id: int
    token: str
    job: ReadyJob
    folder: str
    own: str = ""  # its own path, where that is not its folder: it runs in an earlier attempt's, or in a given place
    given: bool = False  # in a given place, which is made where it is not there
    shared: bool = False  # … and in which others may be


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an attempt and its job stand when a record about the attempt arrives."""

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
    repeats: int = 0  # how often more the job runs after that


@dataclass(frozen=True, slots=True)
class LeftProcess:
    """A process that a step left running."""

    pid: int
    name: str  # the beginning of its command line


@dataclass(frozen=True, slots=True)
class LeftRunning:
    """The processes that the steps of an attempt left running when they ended."""

    killed: bool  # False: the job asks to leave them running
    count: int
    processes: tuple[LeftProcess, ...]  # the first of them


@dataclass(frozen=True, slots=True)
class Ending:
    """Everything that an attempt's end writes to its row."""

    attempt: int
    state: State
    ended: float
    started: float | None = None
    worker: str | None = None
    host: str | None = None
    pid: int | None = None
    pid_start: int | None = None
    cause: Cause | None = None
    exit_code: int | None = None
    signal: int | None = None
    failure: Failure | None = None
    signature: tuple[str, str, str] | None = None  # (digest, type, normalised message)
    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    result: str | None = None
    verdict: Verdict | None = None
    steps: Sequence[StepOutcome] = ()
    partial: bool = False  # it went on with a part of a fan-out
    code: str | None = None  # digest of the modules that its functions come from
    evidence: str | None = None  # JSON text: what the cause was concluded from
    left_running: str | None = None  # JSON text of a LeftRunning


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, one for a batch or an operation."""

    id: int
    at: float
    kind: str
    workflow: int | None
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Attempts that failed alike: live ones, or all there have been."""

    signature: str
    cause: Cause
    type: str
    message: str
    count: int  # attempts
    jobs: tuple[int, ...]
    first: float | None = None  # when the first of them ended …
    last: float | None = None  # … and the last
    hosts: tuple[tuple[str, int], ...] = ()  # (host, attempts), those with most first
    newest: int | None = None  # attempt
    newest_job: int | None = None
    newest_message: str = ""  # as the newest attempt wrote it, in one line; `message` is normalised


@dataclass(frozen=True, slots=True)
class PartialOutput:
    """A declared output that an attempt which did not complete had made or changed."""

    name: str  # as declared
    path: str  # absolute
    size: int  # bytes; of a folder: of the files in it
    aside: str | None = None  # absolute: where it was moved to; None: it was left in its place …
    stays: str | None = None  # … for this reason, though `partial: aside` holds
    taken: bool = False  # a later attempt may have put it back already: `aside` need not exist


@dataclass(frozen=True, slots=True)
class PartialOfFailure:
    """A partial output of a failed attempt."""

    signature: str  # of the failure
    attempt: int
    job: int
    directory: str  # the project's folder
    output: PartialOutput


class JobFlags(NamedTuple):
    """Of a job what decides whether it is held, released or canceled."""

    id: int
    workflow: int
    name: str
    state: State
    resource_class: int
    held: str | None
    retired: bool
    attempt: int | None  # the live one
