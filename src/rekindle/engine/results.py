"""The options and results of the engine's calls: plain values, which the CLI and the dialects format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import msgspec

from rekindle.domain.states import State
from rekindle.domain.verdicts import Status, Verdict, VerdictLevel, status_of, statuses_of, worst_status

if TYPE_CHECKING:
    from signal import Signals

    from rekindle.domain.batches.canaries import CanaryChoice, CanaryGroup
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
    unfit: tuple[UnfitJobs, ...] = ()  # jobs that need more than any runner has

    @property
    def spec_changed(self) -> bool | None:
        """Return whether the spec file differs from the stored revision; None if there is no readable file."""
        return {"same": False, "changed": True, "invalid": True}.get(self.spec)


class JobRow(NamedTuple):
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
    """The result of a submission: a new workflow (`created`), an `unchanged` one, or a new revision."""

    workflow: int
    name: str
    revision: int
    jobs: int
    created: bool
    unchanged: bool = False
    added: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    rerun: int | None = None  # of kind `revision`, which records the submission
    plan: RerunPlan | None = None  # the changes that a new revision made to jobs
    params: tuple[Difference, ...] = ()  # parameters that the revision changed
    using: int = 0  # jobs that use one of these parameters
    warnings: tuple[str, ...] = ()
    replaces: str | None = None  # the workflow's previous file, or "Python"; None: unchanged


class SubmitPreview(msgspec.Struct, frozen=True):
    """The result that a submission would have."""

    submitted: SubmitResult
    diff: RevisionDiff = msgspec.field(
        default_factory=lambda: _no_diff()
    )  # from the latest revision; empty for a new workflow


class PlannedRerun(msgspec.Struct, frozen=True):
    """A rerun that is planned and not applied. `request` is recorded with it. `children`: for each job of the plan, the
    jobs that need it, if the planner loaded them."""

    plan: RerunPlan
    request: Mapping[str, Any]
    note: str | None = None
    kind: Literal["manual", "restart", "run", "reset", "supervise"] = "manual"
    children: Mapping[int, Sequence[int]] = msgspec.field(default_factory=dict)
    planned_submission: PlannedSubmission | None = None
    canaries: tuple[CanaryChoice, ...] = ()  # groups whose canaries run first
    selected: tuple[int, ...] = ()  # the jobs that matched the request in the plan's snapshot
    workflows: tuple[Workflow, ...] = ()  # of the selected jobs, as in the plan's snapshot


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
    """A restart that is planned and not applied. `proposal` is None if there is nothing to do."""

    proposal: PlannedRerun | None
    running: tuple[Job, ...]  # not restarted
    stays: tuple[Job, ...]  # failed and current: not restarted
    unknown: tuple[int, ...] = ()  # completed, with nothing to compare


class AcceptedChanges(msgspec.Struct, frozen=True):
    """The changes that were accepted: the plan holds the jobs with their changes and resets nothing. `rerun` is None
    if all jobs were current already."""

    rerun: int | None
    plan: RerunPlan
    current: tuple[int, ...]  # jobs without changes


class AppliedRerun(msgspec.Struct, frozen=True):
    """A rerun that was applied, and whether a runner is alive to run its jobs."""

    rerun: int
    plan: RerunPlan
    ready: int  # jobs that the plan made READY, without held ones
    runner_alive: bool
    held: int = 0  # jobs that the plan holds
    submitted: SubmitResult | None = None  # the submission that was made with it
    canaries: tuple[CanaryChoice, ...] = ()  # groups whose canaries run first


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
    """The result of reattaching jobs. `rerun`: the rerun of those that were lost."""

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


def some_names(names: Sequence[str], most: int = 5) -> str:
    """Return the first `most` names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class UndoneRerun(msgspec.Struct, frozen=True):
    """A rerun that was undone, and its jobs with their states now."""

    rerun: int
    jobs: tuple[tuple[int, str, State], ...]
    restored: tuple[str, ...] = ()  # files that were restored


class CancelResult(msgspec.Struct, frozen=True):
    """The result of cancel, by job id."""

    now: tuple[int, ...]  # had not started; canceled at once
    asked: tuple[int, ...]  # running; their runner has been asked to cancel them
    ended: tuple[int, ...]  # had ended before; unchanged
    left_out: tuple[int, ...] = ()  # of `ended`: no longer wait for canaries
    over: tuple[int, ...] = ()  # of `asked`: have ended by now
    reconciled: tuple[ReconcileResult, ...] = ()  # before and after canceling
    moved: tuple[RefusedJob, ...] = ()  # have changed since they were selected; unchanged


class HoldResult(msgspec.Struct, frozen=True):
    """The result of hold or release, by job id."""

    changed: tuple[int, ...]
    already: tuple[int, ...]
    moved: tuple[RefusedJob, ...] = ()  # have changed since they were selected; unchanged


class LogFile(msgspec.Struct, frozen=True):
    """The log of one stream of a step, or of an item of a fan-out step. `path` may not exist if nothing was printed."""

    attempt: int
    step: str
    stream: Literal["stdout", "stderr"]
    path: str
    final: bool  # the step has ended, so the log is complete
    subtask: Subtask | None = None  # the item


class OutputDiff(msgspec.Struct, frozen=True):
    """An output that differs between two attempts. Pairs hold the value of the first and of the second attempt."""

    name: str
    at: tuple[str | None, str | None]  # path of its content, in place or saved
    lost: tuple[str | None, str | None]  # why its content is not available
    lines: tuple[str, ...] = ()  # that differ, prefixed with `- ` and `+ `
    why: str = ""  # why there are no lines though both contents exist


class LogDivergence(msgspec.Struct, frozen=True):
    """The first line in which the logs of two attempts differ; None where a log has ended."""

    step: str
    stream: Literal["stdout", "stderr"]
    line: int  # from 1
    a: str | None
    b: str | None


class AttemptComparison(msgspec.Struct, frozen=True):
    """Two attempts and their differences."""

    a: Attempt
    b: Attempt
    fields: Sequence[Difference]
    outputs: tuple[OutputDiff, ...]
    logs: tuple[LogDivergence, ...]


class WorkOptions(msgspec.Struct, frozen=True):
    """Options of a runner.

    `wait_timeout`: seconds after which the run ends; running attempts continue and the next runner adopts them.
    `leave_on_interrupt`: a signal ends the run in the same way, instead of canceling the running attempts.
    `claim_for`: seconds after which the runner claims no more jobs; it waits for running attempts.
    `only`: a condition that holds for each job at the time of its claim.
    `most`: the number of attempts after which the runner ends.
    `linger`: wait for attempts of other runners and for jobs whose retry delay has not passed.
    `place`: returns the working folder of a job with `workdir: attempt`, from the job, the attempt's id and the time of
    the claim. Ignored for an attempt that continues in an earlier folder, or in a copy that must not be mixed with
    other files."""

    workflow: str | None = None
    slots: int | None = None  # None: one per processor
    executor: str = "local"
    watch: bool = False  # wait for new jobs until interrupted
    wait_timeout: float | None = None
    leave_on_interrupt: bool = False
    memory: int | None = None  # bytes for jobs; None: the machine's memory
    gpus: int = 0
    licences: Mapping[str, int] = msgspec.field(default_factory=dict)
    only: Predicate | None = None
    most: int | None = None
    linger: bool = True
    place: Callable[[ReadyJob, int, float], GivenFolder | None] | None = None  # None: in the store
    label: str = ""  # the runner's name for users
    claim_for: float | None = None


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
    """The result of a run. The exit code covers the jobs that it ran: 0, 2 (failed), 5 (canceled), 6 (timed out)."""

    exit_code: int
    completed: int
    failed: int
    canceled: int
    counts: Mapping[State, int]
    never_fit: tuple[tuple[str, str], ...] = ()  # (job, the resource that this runner does not have)
    interrupted: bool = False
    recovered: int = 0  # lost attempts of dead runners whose jobs run again
    held: Mapping[str, int] = msgspec.field(
        default_factory=dict
    )  # by reason: jobs left that are ready except that they are held
    reinstated: int = 0  # jobs completed by an archived attempt
    retried: int = 0  # failed attempts whose jobs ran again automatically
    orphan_counts: OrphanCounts = msgspec.field(default_factory=OrphanCounts)
    stuck: tuple[tuple[str, tuple[int, ...]], ...] = ()  # (job, its processes that cannot be killed)
    damaged: tuple[str, ...] = ()  # parts of journals that could not be read
    canaries: tuple[CanaryGroup, ...] = ()  # whose canaries were decided during the run
    signal: Signals | None = None  # that interrupted the run
    stopped: bool = False  # a stop handle ended the run
    warnings: tuple[str, ...] = ()


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
