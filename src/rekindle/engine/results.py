"""The options and results of the engine's calls: plain values, which the CLI and the dialects format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from rekindle.domain.models import ReuseSource
from rekindle.domain.states import State
from rekindle.domain.texts.display import some_names
from rekindle.domain.verdicts import Status, Verdict, VerdictLevel, status_of, statuses_of, worst_status

if TYPE_CHECKING:
    from signal import Signals

    from rekindle.domain.batches.canaries import CanaryChoice, CanaryGroup
    from rekindle.domain.batches.quarantine import QuarantinedJobs
    from rekindle.domain.batches.supervision import Guards
    from rekindle.domain.changes.differences import Difference
    from rekindle.domain.changes.revisions import RevisionDiff
    from rekindle.domain.definition import Definition, Resources
    from rekindle.domain.errors import RefusedJob
    from rekindle.domain.models import Attempt, FailureGroup, GivenFolder, Job, ReadyJob, Runner, Workflow
    from rekindle.domain.packing import Shortage
    from rekindle.domain.rerun.plan import Reason, RerunPlan
    from rekindle.domain.rerun.request import How
    from rekindle.domain.selection import Predicate
    from rekindle.domain.states import Cause
    from rekindle.domain.subtasks import Subtask
    from rekindle.domain.texts.name_sets import NameIndex
    from rekindle.engine.allocation import Allocation
    from rekindle.journal.batches import ElementWait
    from rekindle.store.archive import Snapshot

Row = TypeVar("Row")

WorkflowState = Literal["completed", "running", "ready", "failed", "canceled", "held", "waiting", "empty"]

SpecState = Literal["none", "same", "changed", "invalid", "gone", "unreadable", "no_folder"]
"""How the spec file compares with the latest revision: equal, different, different and invalid, missing, unreadable.
no_folder: the workflow's folder is missing. none: the workflow was made by the Python API."""


class PageRequest(msgspec.Struct, frozen=True):
    """The requested rows of a list. `limit` None: all rows from `offset`."""

    limit: int | None = None
    offset: int = 0

    def of(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return the requested rows of all rows."""
        return rows[self.offset : None if self.limit is None else self.offset + self.limit]


class UnfitJobs(msgspec.Struct, frozen=True):
    """Jobs of a workflow that have not started and need more than `runner` has, the first one that could run them;
    with None, more than this machine has, because no runner is alive."""

    workflow: int
    jobs: int
    lacks: tuple[Shortage, ...]
    runner: int | None = None


class DeadRunner(msgspec.Struct, frozen=True):
    """A dead runner with orphans. `why`: its process is gone, its lease has expired, it works on the store that this
    one was copied from, or another runner has taken over. `keeper`: the living runner that adopted its orphans."""

    runner: Runner
    why: str  # gone, elsewhere, expired, superseded
    keeper: int | None = None


class WorkflowStatus(msgspec.Struct, frozen=True):
    """The status of one workflow. `counts` holds only states that occur. `seconds` is the wall time from the first
    start to the last end, or to now while a job runs; None if nothing has started."""

    workflow: Workflow
    state: WorkflowState
    counts: Mapping[State, int]
    seconds: float | None
    failures: tuple[FailureGroup, ...]
    runners: tuple[Runner, ...]  # alive now
    dead_runners: tuple[DeadRunner, ...] = ()
    spec: SpecState = "none"
    held: Mapping[str, int] = msgspec.field(
        default_factory=dict
    )  # by reason: jobs that are ready except that they are held
    delayed: int = 0  # jobs whose retry delay has not passed
    leaving: int = 0  # archived, canceled attempts that have not ended yet
    found: Mapping[VerdictLevel, int] = msgspec.field(default_factory=dict)  # jobs with each bad verdict
    quarantined: tuple[QuarantinedJobs, ...] = ()  # failed jobs that have a quarantine

    @property
    def status(self) -> Status:
        """Return the state and the verdicts as one word."""
        return worst_status(self.counts, self.found)

    @property
    def statuses(self) -> dict[Status, int]:
        """Return how many jobs have each status."""
        return statuses_of(self.counts, self.found)

    canaries: tuple[CanaryGroup, ...] = ()  # that wait for their canaries, or whose canaries failed
    overtaken: int = 0  # completed jobs that are stale because a job they need is not done
    by_hand: int = 0  # jobs that a person recorded as completed
    undecided: Mapping[str, int] = msgspec.field(default_factory=dict)  # failed jobs, by what they wait for
    unfit: tuple[UnfitJobs, ...] = ()  # jobs that need more than any runner has
    element_waits: Mapping[ElementWait, int] = msgspec.field(
        default_factory=dict
    )  # how many elements of the store's runners have not started, by the reason that their engine gives

    @property
    def spec_changed(self) -> bool | None:
        """Return whether the spec file differs from the stored revision; None if there is no readable file."""
        return {"same": False, "changed": True, "invalid": True}.get(self.spec)


class JobRow(msgspec.Struct, frozen=True, gc=False):
    """A job with its live attempt, its workflow's name and its resources. `partial`: the attempt used only part of the
    subtasks of a fan-out, its own or one upstream. `awaits`: canceled attempts that must end before the job starts."""

    job: Job
    workflow: str
    attempt: Attempt | None
    resources: Resources
    partial: bool = False
    awaits: tuple[int, ...] = ()

    @property
    def overtaken(self) -> bool:
        """Return whether it is completed, and stale because a job it needs is not done."""
        return self.job.state is State.COMPLETED and self.job.unmet > 0 and not self.job.retired

    @property
    def verdict(self) -> Verdict | None:
        """Return the verdict of its live attempt."""
        return self.attempt.verdict if self.attempt else None

    @property
    def status(self) -> Status:
        """Return the state and the verdict as one word."""
        return status_of(self.job.state, self.verdict.word if self.verdict else None)


class SubmitResult(msgspec.Struct, frozen=True):
    """The result of a submission: the `workflow` (id), its `name`, its `revision` and its number of `jobs`.

    - `created`: it is new; `unchanged`: the revision is the latest one as it was.
    - `added`, `retired`, `changed`: the names of jobs that a new revision added, left out or changed.
    - `rerun`: the rerun of kind `revision` that records the submission, and `plan`: what it did to jobs.
    - `params`: changed parameters, and `using`: how many jobs use one of them.
    - `replaces`: the workflow's previous file, or "Python"; None: it is the same. `warnings`: what may be a mistake."""

    workflow: int
    name: str
    revision: int
    jobs: int
    created: bool
    unchanged: bool = False
    added: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    rerun: int | None = None
    plan: RerunPlan | None = None
    params: tuple[Difference, ...] = ()
    using: int = 0
    warnings: tuple[str, ...] = ()
    replaces: str | None = None


class SubmitPreview(msgspec.Struct, frozen=True):
    """The result that a submission would have (`submitted`), and its differences from the latest revision (`diff`:
    empty for a new workflow)."""

    submitted: SubmitResult
    diff: RevisionDiff = msgspec.field(default_factory=lambda: _no_diff())


class JobNames(msgspec.Struct, frozen=True):
    """Names of jobs by id, and all names of their workflows, if they were read."""

    names: Mapping[int, str]
    index: NameIndex | None = None


class PlannedRerun(msgspec.Struct, frozen=True):
    """A rerun that is planned and not applied.

    - `plan`: what it does to each job. `children`: the jobs that need each job of the plan, if the planner loaded them.
    - `request`, `note` and `kind` are recorded with it. `canaries`: groups whose canaries run first.
    - `planned_submission`: a revision that is submitted just before it, in the same transaction.
    - `selected`: the jobs that matched the request in the plan's snapshot, and their `workflows`.
    - `names`: those of all jobs of the workflows, to show sets of jobs; None: they were not read.
    - `reuses`: the newest earlier attempts that complete jobs of the plan if their inputs and outputs are equal."""

    plan: RerunPlan
    request: Mapping[str, Any]
    note: str | None = None
    kind: Literal["manual", "restart", "run", "reset", "supervise"] = "manual"
    children: Mapping[int, Sequence[int]] = msgspec.field(default_factory=dict)
    planned_submission: PlannedSubmission | None = None
    canaries: tuple[CanaryChoice, ...] = ()
    selected: tuple[int, ...] = ()
    workflows: tuple[Workflow, ...] = ()
    names: NameIndex | None = None
    reuses: Mapping[int, ReuseSource] = msgspec.field(default_factory=dict)


class PlannedSubmission(msgspec.Struct, frozen=True):
    """A submission that is made in the same transaction as a rerun, just before it. `pick` returns the jobs to rerun
    and how, and is called after the submission."""

    definition: Definition
    preview: SubmitPreview
    pick: Callable[[Snapshot], Sequence[tuple[Any, How]]]  # the first is a `selections.Chosen`
    why: Mapping[int, tuple[Reason, ...]] = msgspec.field(default_factory=dict)  # by job, why it is stale
    canary: int | None = None  # how many of each signature run first
    revision_of: int | None = None  # a workflow id; None: the workflow of that name
    revise: bool = False  # the definition may come from another file than the workflow's


class PlannedRestart(msgspec.Struct, frozen=True):
    """A restart that is planned and not applied. `proposal` is None if there is nothing to do. Not restarted are
    `running` jobs, those that failed and are current (`stays`), and completed ones without a basis (`unknown`)."""

    proposal: PlannedRerun | None
    running: tuple[Job, ...]
    stays: tuple[Job, ...]
    unknown: tuple[int, ...] = ()


class AcceptedChanges(msgspec.Struct, frozen=True):
    """The changes that were accepted: the `plan` holds the jobs with their changes and resets nothing. `rerun` is None
    if all jobs were `current` already (ids)."""

    rerun: int | None
    plan: RerunPlan
    current: tuple[int, ...]


class AppliedRerun(msgspec.Struct, frozen=True):
    """A rerun that was applied: its number (`rerun`) and its `plan`. `ready`: how many jobs it made READY, without
    those that it holds (`held`). `runner_alive`: whether a runner will run them. `submitted`: the submission made with
    it. `canaries`: groups whose canaries run first."""

    rerun: int
    plan: RerunPlan
    ready: int
    runner_alive: bool
    held: int = 0
    submitted: SubmitResult | None = None
    canaries: tuple[CanaryChoice, ...] = ()


class ReattachedJob(msgspec.Struct, frozen=True):
    """The result of reattaching one job. `finished`: its attempt had ended, with this state and cause; `running`: its
    worker still runs; `gone`: lost with its worker, or never started; `attended`: a living runner has it; `none`: it
    has no active attempt. `state` is the attempt's if that finished, else the job's."""

    id: int
    name: str
    found: Literal["finished", "running", "gone", "attended", "none"]
    state: State
    cause: Cause | None = None
    pid: int | None = None  # of the attempt's process, else of its worker
    worker: str | None = None
    since: float | None = None  # when the attempt started
    why: str | None = None


class ReattachResult(msgspec.Struct, frozen=True):
    """The result of reattaching: what was found of each of the `jobs`, whether a runner is alive to run them
    (`runner_alive`), and the `rerun` of those that were lost."""

    jobs: tuple[ReattachedJob, ...]
    runner_alive: bool
    rerun: int | None = None


class ReconcileResult(msgspec.Struct, frozen=True):
    """How the jobs of dead runners were resolved, by name. `again`: lost, and run again; `lost`: lost, and do not run
    again; `unstarted`: how many had been claimed and not started."""

    runners: tuple[int, ...]
    finished: tuple[str, ...] = ()
    canceled: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    unstarted: int = 0

    @property
    def changed(self) -> bool:
        """Return whether the state of any job has changed."""
        return bool(self.finished or self.canceled or self.again or self.lost or self.unstarted)

    @property
    def summary(self) -> str:
        """Return a one-line summary for users."""
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


class UndoneRerun(msgspec.Struct, frozen=True):
    """A rerun that was undone: its number (`rerun`), its `jobs` (id, name, state now), and the files that were
    `restored`."""

    rerun: int
    jobs: tuple[tuple[int, str, State], ...]
    restored: tuple[str, ...] = ()


class CancelResult(msgspec.Struct, frozen=True):
    """The result of cancel, by job id: `now` had not started and are canceled; `asked` run, and their runner has been
    asked to cancel them (those in `over` have ended by now); `ended` had ended before (those in `left_out` no longer
    wait for canaries); `moved` have changed since they were selected, and are unchanged. `reconciled`: what dead
    runners had left, before and after."""

    now: tuple[int, ...]
    asked: tuple[int, ...]
    ended: tuple[int, ...]
    left_out: tuple[int, ...] = ()
    over: tuple[int, ...] = ()
    reconciled: tuple[ReconcileResult, ...] = ()
    moved: tuple[RefusedJob, ...] = ()


class HoldResult(msgspec.Struct, frozen=True):
    """The result of hold or release, by job id: `changed`, those that were so `already`, and those that have `moved`:
    they have changed since they were selected, and are unchanged."""

    changed: tuple[int, ...]
    already: tuple[int, ...]
    moved: tuple[RefusedJob, ...] = ()


class LogFile(msgspec.Struct, frozen=True):
    """The log of one stream of a step, or of an item of a fan-out step. `path` may not exist if nothing was printed."""

    attempt: int
    step: str
    stream: Literal["stdout", "stderr"]
    path: str
    final: bool  # the step has ended, so the log is complete
    subtask: Subtask | None = None  # the item


class WorkOptions(msgspec.Struct, frozen=True):
    """Options of a runner.

    `wait_timeout`: seconds after which the run ends; running attempts continue and the next runner adopts them.
    `leave_on_interrupt`: a signal ends the run in the same way, instead of canceling the running attempts.
    `claim_for`: seconds after which the runner claims no more jobs; it waits for running attempts.
    `only`: a condition that holds for each job at the time of its claim.
    `most`: the number of attempts after which the runner ends.
    `allocation`: its size and end bound the run; None: the one of Slurm that the process runs in, if any.
    `linger`: wait for attempts of other runners and for jobs whose retry delay has not passed.
    `place`: returns the working folder of a job with `workdir: attempt`, from the job, the attempt's id and the time of
    the claim. Ignored for an attempt that continues in an earlier folder, or in a copy that must not be mixed with
    other files."""

    workflow: str | None = None
    slots: int | None = None  # None: one per processor of the allocation or machine
    executor: str | None = None  # its name; None: $REKINDLE_EXECUTOR and $REKINDLE_ADDRESS, else local
    address: str | None = None  # of the engine that the executor uses; None: its own
    executor_options: tuple[str, ...] = ()  # for the executor's engine, as they are
    watch: bool = False  # wait for new jobs until interrupted
    wait_timeout: float | None = None
    leave_on_interrupt: bool = False
    memory: int | None = None  # bytes for jobs; None: that of the allocation or machine
    gpus: int = 0
    licences: Mapping[str, int] = msgspec.field(default_factory=dict)
    only: Predicate | None = None
    most: int | None = None
    linger: bool = True
    place: Callable[[ReadyJob, int, float], GivenFolder | None] | None = None  # None: in the store
    label: str = ""  # the runner's name for users
    claim_for: float | None = None
    allocation: Allocation | None = None
    retries_at_most: int | None = None  # by retry policies, of all jobs together, in this run
    reuse: bool = True  # False: no job is completed by an earlier attempt


class Progress(msgspec.Struct, frozen=True):
    """The progress of a run, reported a few times a second. `counts` covers the workflows that it works on."""

    counts: Mapping[State, int]
    running: tuple[str, ...]  # names of some running jobs
    ended: int  # attempts that ended in this run
    failed: int  # of these attempts
    seconds: float
    reinstated: int = 0  # jobs completed by an archived attempt because nothing they depend on had changed
    retried: int = 0  # failed attempts whose jobs run again automatically
    delayed: int = 0  # jobs whose retry delay has not passed


class OrphanCounts(msgspec.Struct, frozen=True):
    """How many attempts of dead runners a run found. An adopted attempt may have been lost later."""

    found: int = 0
    adopted: int = 0  # still running when they were taken over
    finished: int = 0  # had ended since their runner died
    lost: int = 0
    again: int = 0  # lost jobs that run again
    unstarted: int = 0  # claimed and never started


class WorkReport(msgspec.Struct, frozen=True):
    """The result of a run.

    - `exit_code`: 0, 2 (failed), 5 (canceled) or 6 (timed out), for the jobs that it ran.
    - `completed`, `failed`, `canceled`: how many attempts ended so. `retried`: failed ones whose jobs ran again.
    - `reinstated`: jobs completed by an archived attempt. `recovered`: lost attempts whose jobs run again.
    - `counts`: the workflow's jobs by state, at the end. `held`: by reason, jobs that are ready but held.
    - `never_fit`: jobs that need more than the runner has, each with the resource. `stuck`: jobs with processes that
      cannot be killed. `damaged`: parts of journals that could not be read. `orphan_counts`: attempts of dead runners.
    - `interrupted`, `signal`: a signal ended the run; `stopped`: a stop handle did. `warnings`: what may be a mistake.
    - `quarantined`: of `failed`, jobs in quarantine, which do not count for the exit code. `not_retried`: failed
      attempts that a policy would have retried beyond `retries_at_most`.
    - `canaries`: groups whose canaries were decided."""

    exit_code: int
    completed: int
    failed: int
    canceled: int
    counts: Mapping[State, int]
    never_fit: tuple[tuple[str, str], ...] = ()
    interrupted: bool = False
    recovered: int = 0
    held: Mapping[str, int] = msgspec.field(default_factory=dict)
    reinstated: int = 0
    retried: int = 0
    orphan_counts: OrphanCounts = msgspec.field(default_factory=OrphanCounts)
    stuck: tuple[tuple[str, tuple[int, ...]], ...] = ()
    damaged: tuple[str, ...] = ()
    canaries: tuple[CanaryGroup, ...] = ()
    signal: Signals | None = None
    stopped: bool = False
    warnings: tuple[str, ...] = ()
    quarantined: int = 0
    not_retried: int = 0


class SuperviseOptions(msgspec.Struct, frozen=True):
    """Options of supervising. Durations are in seconds."""

    workflow: str  # id or name
    guards: Guards = msgspec.field(default_factory=lambda: _default_guards())
    poll: float = 30.0  # the longest time between two reads of the store
    wait_timeout: float | None = None  # of each round
    note: str | None = None
    take_over: bool = False  # even if the other supervisor's process is not visible from here
    refresh: Callable[[], None] | None = None  # submits changes before each rerun


class SupervisionStarted(msgspec.Struct, frozen=True):
    """Supervising has started, or resumed after a supervisor that died."""

    supervision: int
    reruns: int  # so far
    resumed: bool
    given_up: int | None = None  # a supervision with other options whose process had died


class NoLiveRunner(msgspec.Struct, frozen=True):
    """There are jobs to run, and no runner is alive."""

    active: int  # claimed or running jobs
    claimable: int  # ready jobs, also those whose retry delay has not passed


def _no_diff() -> RevisionDiff:
    from rekindle.domain.changes.revisions import RevisionDiff

    return RevisionDiff()


def _default_guards() -> Guards:
    from rekindle.domain.batches.supervision import Guards

    return Guards()
