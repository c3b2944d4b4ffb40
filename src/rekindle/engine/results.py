"""What the engine's calls answer. Plain values: whoever shows them adds nothing but form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from signal import Signals
from typing import Any, Literal, NamedTuple

from rekindle.domain.batches.canaries import Choice, Group
from rekindle.domain.batches.guards import Guards
from rekindle.domain.causes import Cause
from rekindle.domain.changes.differences import Difference
from rekindle.domain.changes.revisions import RevisionDiff
from rekindle.domain.definition import Definition, Resources
from rekindle.domain.models import Attempt, FailureGroup, Job, ReadyJob, Runner, Workflow, Workplace
from rekindle.domain.packing import Lack
from rekindle.domain.rerunning.rerun import How, Reason, RerunPlan
from rekindle.domain.selection import Predicate
from rekindle.domain.states import State
from rekindle.domain.subtasks import Subtask
from rekindle.domain.verdicts import Status, Verdict, Word, status_of, statuses_of, worst_status
from rekindle.store.port import Archive

WorkflowState = Literal["completed", "running", "ready", "failed", "canceled", "held", "waiting", "empty"]

SpecState = Literal["none", "same", "changed", "invalid", "gone", "unreadable", "no_folder"]
"""How the spec file stands to the latest revision: as stored, different, different and no spec any more, not there,
there and not to be read; no_folder: the workflow's folder is missing; none: the workflow was made by the Python API."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """Jobs of a workflow that have not started, and ask more than there is. `runner`: than that runner has, which is
    the only one that could run them, or the first; None: than this machine has, where no runner is alive."""

    workflow: int
    jobs: int
    lacks: tuple[Lack, ...]
    runner: int | None = None


@dataclass(frozen=True, slots=True)
class DeadRunner:
    """A runner that has left something behind. `why`: its process is gone; its lease has expired; or another has taken
    over, and it does not know yet. `keeper`: the living runner that sees to what it left; None: nobody does."""

    runner: Runner
    why: str  # gone, elsewhere, expired, superseded
    keeper: int | None = None


@dataclass(frozen=True, slots=True)
class WorkflowStatus:
    """One workflow at a glance. `counts` holds only states that occur; `seconds` is the wall time from the first
    start to the last end (or now, while something runs); None: nothing has started."""

    workflow: Workflow
    state: WorkflowState
    counts: Mapping[State, int]
    seconds: float | None
    failures: tuple[FailureGroup, ...]
    runners: tuple[Runner, ...]  # alive now
    dead_runners: tuple[DeadRunner, ...] = ()
    spec: SpecState = "none"
    held: Mapping[str, int] = field(default_factory=dict)  # by reason: jobs that are ready but for that
    delayed: int = 0  # jobs that wait for their retry
    leaving: int = 0  # attempts that a rerun has archived and canceled, and that have not ended yet
    found: Mapping[Word, int] = field(default_factory=dict)  # warnings and blockers that stand

    @property
    def status(self) -> Status:
        """State and verdicts in one word."""
        return worst_status(self.counts, self.found)

    @property
    def statuses(self) -> dict[Status, int]:
        """How many jobs have which status."""
        return statuses_of(self.counts, self.found)

    canaries: tuple[Group, ...] = ()  # that wait for their canaries, or were stopped and stand as they stood
    overtaken: int = 0  # completed jobs that need a job that is not done, and are stale for that
    unfit: tuple[Unfit, ...] = ()  # jobs that have not started, and ask more than there is

    @property
    def spec_changed(self) -> bool | None:
        """The file differs from the stored revision; None: it is not there, cannot be read, or there is none."""
        return {"same": False, "changed": True, "invalid": True}.get(self.spec)


class JobRow(NamedTuple):
    """A job, its live attempt, its workflow's name and its resources. `partial`: the attempt rests on a part of a
    fan-out's subtasks, its own or one upstream. `awaits`: canceled attempts, without whose end a ready job does not
    start, for it would disturb them."""

    job: Job
    workflow: str
    attempt: Attempt | None
    resources: Resources
    partial: bool = False
    awaits: tuple[int, ...] = ()

    @property
    def overtaken(self) -> bool:
        """It is completed, needs a job that is not done, and is stale for that."""
        return self.job.state is State.COMPLETED and self.job.unmet > 0 and not self.job.retired

    @property
    def verdict(self) -> Verdict | None:
        """What its live attempt found."""
        return self.attempt.verdict if self.attempt else None

    @property
    def status(self) -> Status:
        """State and verdict in one word."""
        return status_of(self.job.state, self.verdict.word if self.verdict else None)


@dataclass(frozen=True, slots=True)
class Submitted:
    """What a submission did. `created`: a new workflow; else `unchanged`, or a new revision of one."""

    workflow: int
    name: str
    revision: int
    jobs: int
    created: bool
    unchanged: bool = False
    added: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    rerun: int | None = None  # of kind `revision`, that has recorded it
    plan: RerunPlan | None = None  # what it did to which jobs, of a new revision
    params: tuple[Difference, ...] = ()  # parameters that the revision changed
    using: int = 0  # jobs that use one of these parameters
    warnings: tuple[str, ...] = ()
    replaces: str | None = None  # the workflow's file before, or "Python"; None: it is the same


@dataclass(frozen=True, slots=True)
class Preview:
    """What a submission would do."""

    submitted: Submitted
    diff: RevisionDiff = field(default_factory=RevisionDiff)  # from the latest revision; empty for a new workflow


@dataclass(frozen=True, slots=True)
class Proposal:
    """A rerun that is planned and not applied. `request` is what was asked, for the record; `children` are the jobs
    that need each of the plan's, where the planner had them at hand."""

    plan: RerunPlan
    request: Mapping[str, Any]
    note: str | None = None
    kind: Literal["manual", "restart", "run", "reset", "supervise"] = "manual"
    children: Mapping[int, Sequence[int]] = field(default_factory=dict)
    foreseen: Foreseen | None = None
    canaries: tuple[Choice, ...] = ()  # the groups of which a part runs first, and the rest only when that has passed


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The submission that a rerun rests on: made in the same transaction, just before. `pick` says, once it is made,
    which jobs are meant and how they run again."""

    definition: Definition
    preview: Preview
    pick: Callable[[Archive], Sequence[tuple[Sequence[int], How]]]
    why: Mapping[int, tuple[Reason, ...]] = field(default_factory=dict)  # the jobs are stale, where that is why
    canary: int | None = None  # so many of each signature run first
    revision_of: int | None = None  # the workflow; None: the one of its name
    revise: bool = False  # it may come from another file than the workflow


@dataclass(frozen=True, slots=True)
class Restarting:
    """A restart that is planned and not applied; `proposal` is None where there is nothing to do."""

    proposal: Proposal | None
    running: tuple[Job, ...]  # left alone
    stays: tuple[Job, ...]  # failed by themselves, and current: they stay as they are
    unknown: tuple[int, ...] = ()  # completed, with nothing to compare


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was accepted: the jobs of the plan, which resets nothing, with what had changed of each. `rerun` is None
    where all were current already."""

    rerun: int | None
    plan: RerunPlan
    current: tuple[int, ...]  # jobs of which nothing had changed


@dataclass(frozen=True, slots=True)
class Applied:
    """A rerun that is done: its number, and whether anybody will run it."""

    rerun: int
    plan: RerunPlan
    ready: int  # jobs that the plan made READY, and that are not held
    runner_alive: bool
    held: int = 0  # jobs that the plan holds
    submitted: Submitted | None = None  # the revision that was made with it
    canaries: tuple[Choice, ...] = ()  # the groups of which a part runs first


@dataclass(frozen=True, slots=True)
class Reattached:
    """What was found of a job whose attempt had not ended. `finished`: it had meanwhile, with this state and cause;
    `running`: its worker runs on; `gone`: lost with its worker, or never started; `attended`: a runner that lives sees
    to it; `none`: it has no such attempt. `state` is the attempt's where it finished, else the job's."""

    id: int
    name: str
    found: Literal["finished", "running", "gone", "attended", "none"]
    state: State
    cause: Cause | None = None
    pid: int | None = None  # of the call's process, else of its worker
    worker: str | None = None
    since: float | None = None  # when the attempt started
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Reattachment:
    """What was found of some jobs; `rerun` is the one in which those that were lost run again."""

    jobs: tuple[Reattached, ...]
    runner_alive: bool
    rerun: int | None = None


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What became of the jobs of dead runners, by name. `again` were lost and run again, `lost` were lost and do not;
    `unstarted` is how many had been claimed and not started."""

    runners: tuple[int, ...]
    finished: tuple[str, ...] = ()
    canceled: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    unstarted: int = 0

    @property
    def changed(self) -> bool:
        """The state of some job has changed."""
        return bool(self.finished or self.canceled or self.again or self.lost or self.unstarted)

    @property
    def summary(self) -> str:
        """Return one line for people."""
        ways = (
            (self.finished, "finished"),
            (self.canceled, "canceled"),
            (self.again, "lost and ready again"),
            (self.lost, "lost"),
        )
        parts = [f"{len(names):,} {way} ({some_names(names)})" for names, way in ways if names]
        if self.unstarted:
            parts.append(f"{self.unstarted:,} not started and ready again")
        runners = "runner" if len(self.runners) == 1 else "runners"
        return f"{runners} {', '.join(map(str, self.runners))} died; jobs: {'; '.join(parts)}"


def some_names(names: Sequence[str], most: int = 5) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@dataclass(frozen=True, slots=True)
class Undone:
    """A rerun that was taken back, and the jobs it gave back, with their states now."""

    rerun: int
    jobs: tuple[tuple[int, str, State], ...]
    restored: tuple[str, ...] = ()  # files that were put back


@dataclass(frozen=True, slots=True)
class Canceled:
    """What cancel did, by job id."""

    now: tuple[int, ...]  # had not started: canceled at once
    asked: tuple[int, ...]  # run: their runner has been asked to end them
    ended: tuple[int, ...]  # had ended before: left as they are
    left_out: tuple[int, ...] = ()  # of those: had failed and waited for canaries, which they do no more
    over: tuple[int, ...] = ()  # of `asked`: have ended by now
    reconciled: tuple[Reconciled, ...] = ()  # what became of the jobs of dead runners, before and after


@dataclass(frozen=True, slots=True)
class Held:
    """What hold or release did, by job id."""

    changed: tuple[int, ...]
    already: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LogFile:
    """One stream of one step of an attempt, or of one item of a fan-out step; `path` may not exist when nothing was
    printed."""

    attempt: int
    step: str
    stream: Literal["stdout", "stderr"]
    path: str
    final: bool  # the step has ended: nothing more will come
    subtask: Subtask | None = None  # the item


@dataclass(frozen=True, slots=True)
class OutputDiff:
    """An output that two attempts have made differently. Pairs are of the one and the other attempt."""

    name: str
    at: tuple[str | None, str | None]  # where its content still is: in its place, or saved
    lost: tuple[str | None, str | None]  # in words why it is nowhere
    lines: tuple[str, ...] = ()  # that differ, with `- ` and `+ ` before them
    why: str = ""  # there are none, though both are there


@dataclass(frozen=True, slots=True)
class LogParting:
    """The first line in which what two attempts printed differs; None: there it ends."""

    step: str
    stream: Literal["stdout", "stderr"]
    line: int  # from 1
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True)
class Compared:
    """Two attempts, and all in which they are not alike."""

    a: Attempt
    b: Attempt
    fields: Sequence[Difference]
    outputs: tuple[OutputDiff, ...]
    logs: tuple[LogParting, ...]


@dataclass(frozen=True, slots=True)
class WorkOptions:
    """How to work. `wait_timeout`: after so many seconds the run ends, and what runs goes on without it, to be adopted
    by the next runner. `claim_for`: after so many seconds nothing new is started, and what runs is waited for. `only`:
    claims are of jobs for which that holds when it claims, of those that are added meanwhile too. `most`: it starts so
    many attempts and ends. `linger` false: it does not wait for what others run, nor for jobs that wait for their
    retry. `place` says where jobs with `workdir: attempt` work; it is asked for each attempt, with its id and the time
    of its claim, and where that goes on in an earlier one's folder, or in a copy that must not be put among other
    files, told in vain."""

    workflow: str | None = None
    slots: int | None = None  # None: one for each processor
    executor: str = "local"
    watch: bool = False  # keep waiting for more
    wait_timeout: float | None = None
    memory: int | None = None  # bytes to pack into; None: the machine's
    gpus: int = 0
    licences: Mapping[str, int] = field(default_factory=dict)
    only: Predicate | None = None
    most: int | None = None
    linger: bool = True
    place: Callable[[ReadyJob, int, float], Workplace | None] | None = None  # None: in the store
    label: str = ""  # what the runner is called
    claim_for: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How a run stands, told a few times a second. `counts` covers the workflows worked on."""

    counts: Mapping[State, int]
    running: tuple[str, ...]  # names of some of the jobs that run
    ended: int  # attempts that ended in this run
    failed: int  # of those
    seconds: float
    reinstated: int = 0  # jobs that were done without running: what they depend on had not changed
    retried: int = 0  # attempts that failed, and whose jobs run again by themselves
    delayed: int = 0  # jobs that wait for their retry


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a run found of runners that had vanished, in attempts. One that was adopted may have been lost later."""

    found: int = 0
    adopted: int = 0  # ran on without their runner
    finished: int = 0  # had ended meanwhile
    lost: int = 0
    again: int = 0  # jobs that run again of those
    unstarted: int = 0  # had been claimed and never started


@dataclass(frozen=True, slots=True)
class WorkReport:
    """How a run ended. The exit code covers the jobs it ran: 0, 2 (some failed), 5 (canceled), 6 (timed out)."""

    exit_code: int
    completed: int
    failed: int
    canceled: int
    counts: Mapping[State, int]
    never_fit: tuple[tuple[str, str], ...] = ()  # (job, what it asks that this runner does not have)
    interrupted: bool = False
    recovered: int = 0  # attempts of vanished runners that were lost, and whose jobs run again
    held: Mapping[str, int] = field(default_factory=dict)  # by reason: jobs left that are ready but for that
    reinstated: int = 0  # jobs that did not run, because what they depend on had not changed
    retried: int = 0  # attempts that failed, and whose jobs ran again by themselves
    inherited: Inherited = field(default_factory=Inherited)
    stuck: tuple[tuple[str, tuple[int, ...]], ...] = ()  # (job, processes that cannot be ended, for which it waits)
    damaged: tuple[str, ...] = ()  # what could not be read of journals
    canaries: tuple[Group, ...] = ()  # whose canaries decided, in this time, what becomes of the rest
    signal: Signals | None = None  # that interrupted it
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SuperviseOptions:
    """What to supervise, and how. Durations are in seconds."""

    workflow: str  # id or name
    guards: Guards = field(default_factory=Guards)
    poll: float = 30.0  # at the latest so long after another look, should nobody ring
    wait_timeout: float | None = None  # of each round
    note: str | None = None
    take_over: bool = False  # although nobody can see from here whether its process is there
    refresh: Callable[[], None] | None = None  # takes in what is new, before each rerun


@dataclass(frozen=True, slots=True)
class Begun:
    """Supervising begins, or goes on where one that died had come to."""

    supervision: int
    reruns: int  # so far
    resumed: bool
    given_up: int | None = None  # another one, that had died and was asked for other things


@dataclass(frozen=True, slots=True)
class Idle:
    """There is something to run, and nobody is there to run it."""

    active: int  # jobs that somebody had begun
    claimable: int  # that are ready, or will be when their time has come
