"""The port: what the engine may ask of an archive. Every reading and writing happens inside one transaction.

The law decides, the archive writes: states arrive here as Moves that carry the state they leave, and a row that
does not stand there any more is an error (StoreUnavailable: the caller decided on what is no longer so).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from rekindle.domain.changes.outdated import Dropped
from rekindle.domain.changes.prints import Basis
from rekindle.domain.changes.revisions import Outline, RevisedJob
from rekindle.domain.definition import Definition, JobTemplate, Resources
from rekindle.domain.models import (
    Attempt,
    Ending,
    Job,
    JobFlags,
    Move,
    Needed,
    NewAttempt,
    ReadyClass,
    ReadyJob,
    Revision,
    Standing,
    StepOutcome,
    Workflow,
)
from rekindle.domain.rerunning.rerun import (
    AttemptView,
    Graph,
    JobView,
    Pointers,
    Reason,
    RerunPlan,
    RerunRecord,
    SavedFile,
    UndoView,
)
from rekindle.domain.selection import Chosen, Predicate
from rekindle.domain.states import State
from rekindle.store.port_attempts import Acts, Attempts, Fingerprints, Measures, Reserves, Subtasks
from rekindle.store.port_canaries import Canaries
from rekindle.store.port_documents import Documents
from rekindle.store.port_histories import Histories
from rekindle.store.port_runners import Events, Runners
from rekindle.store.port_supervisions import Supervisions
from rekindle.store.port_tries import Tries


class Workflows(Protocol):
    """Workflows, their revisions and templates."""

    def add(self, definition: Definition, now: float, ids: Sequence[int] = ()) -> int:
        """Store a new workflow at revision 1 with its templates, jobs (READY or WAITING), edges and counts;
        returns its id. 100,000 jobs take seconds. `ids`, which must be free, are the jobs' (default: the next)."""
        ...

    def revise(self, workflow: int, definition: Definition, now: float) -> Revised:
        """Make `definition` the next revision: jobs are matched by name; new ones are added, gone ones retired
        (and their counts taken out), all others take the new template, binding and priority; edges become the
        new ones; unmet counts and the states WAITING and READY follow from them. Attempts are not touched.
        A template whose body is unchanged keeps its row. Overrides are dropped where the definition changes what they
        override, of jobs and of what undo would restore; jobs that are pinned keep theirs. The caller has checked
        that nothing gone is active."""
        ...

    def overtaken(self, workflow: int) -> int:
        """How many completed jobs need a job that is not done, and are stale for that."""
        ...

    def set_source(self, workflow: int, source: str | None) -> None:
        """Give a workflow another spec file with the same definition."""
        ...

    def find(self, key: int | str) -> Workflow | None:
        """By id, or the newest of a name (with its counts)."""
        ...

    def listing(self, archived: bool = False) -> list[Workflow]:
        """All, oldest first, with their counts; archived ones only when asked for."""
        ...

    def template(self, template: int) -> JobTemplate:
        """A template by id."""
        ...

    def templates(self, workflow: int) -> list[tuple[int, JobTemplate]]:
        """The templates that the workflow's jobs use now."""
        ...

    def params(self, workflow: int, revision: int) -> dict[str, Any]:
        """The parameters of a revision."""
        ...

    def revisions(self, workflow: int) -> list[Revision]:
        """Its revisions, oldest first."""
        ...

    def outline(self, workflow: int, revision: int) -> Outline:
        """What a revision was, the latest or any before it, without what actions have added since."""
        ...

    def standing(self, jobs: Collection[int]) -> dict[int, tuple[str, State, int]]:
        """(name, state, how much of what it needs is not done) of jobs."""
        ...

    def recorded(self, workflow: int, revision: int, rerun: int) -> None:
        """A revision's plan is this rerun."""
        ...

    def archive(self, workflow: int, at: float | None) -> None:
        """Archive it, or with None bring it back."""
        ...

    def delete(self, workflow: int) -> None:
        """Remove every row of it, history included."""
        ...

    def span(self, workflow: int) -> tuple[float | None, float | None]:
        """When its first attempt started and its last one ended (by its live and archived attempts)."""
        ...

    def edges(self, workflow: int) -> list[tuple[int, int]]:
        """(parent, child) job ids."""
        ...


@dataclass(frozen=True, slots=True)
class Revised:
    """What a revision did: names of jobs added, retired, and changed (another template body or binding); and every
    job that it touched, those that only need others than before too."""

    revision: int
    added: tuple[str, ...]
    retired: tuple[str, ...]
    changed: tuple[str, ...]
    jobs: tuple[RevisedJob, ...] = ()
    dropped: tuple[Dropped, ...] = ()  # overrides that the revision has outdated


class Queue(Protocol):
    """The hot path: claims and outcomes, always many at a time."""

    def ready_classes(self, workflow: int | None) -> list[ReadyClass]:
        """What is ready, by workflow and resource class, read from the counts; archived workflows left out."""
        ...

    def ready(
        self, workflow: int, resource_class: int, limit: int, host: str = "", only: Predicate | None = None
    ) -> list[ReadyJob]:
        """The first ready jobs of a class: not held, not delayed, not avoiding `host`, and not awaiting the end of an
        attempt that a rerun has archived (see `awaited`); highest priority first, then by id. With `only` those for
        which it holds."""
        ...

    def claim(self, attempts: Sequence[NewAttempt], runner: int, now: float) -> None:
        """Write attempt rows (QUEUED) and make them their jobs' live ones (READY -> QUEUED, attempts + 1)."""
        ...

    def next_attempt(self) -> int:
        """The first attempt id that is free; the transaction may use it and all above."""
        ...

    def standing(self, attempts: Iterable[int]) -> dict[int, Standing]:
        """Where these attempts and their jobs stand."""
        ...

    def start(self, started: Sequence[tuple[int, float, str, str, int | None, int | None]]) -> None:
        """(attempt, at, worker, host, pid, pid_start): write RUNNING to attempts. Jobs move by `move`."""
        ...

    def end(self, endings: Sequence[Ending]) -> None:
        """Write ends to attempts, with their steps and signatures. Jobs move by `move`."""
        ...

    def steps(self, rows: Sequence[tuple[int, StepOutcome]]) -> None:
        """Write step rows (attempt, step); one that is there is replaced."""
        ...

    def move(self, moves: Sequence[Move]) -> None:
        """Change jobs' states (version + 1) and the counts; every row must stand at `before`."""
        ...

    def gave_up(self, jobs: Sequence[int], *, idle: bool = False) -> list[Move]:
        """These jobs have failed or were canceled and do not run again by themselves: for those that need them, or
        what they keep from running, only finished (`when: finished`), less is missing. Returns the moves of those that
        may run now. `idle`: they had not run, and may have counted as finished before."""
        ...

    def completed(self, parents: Sequence[int]) -> list[Move]:
        """Lower the unmet counts of the children of jobs that have just become COMPLETED; returns the moves
        WAITING -> READY of those with nothing left (not canceled, not retired), for the caller to `move`."""
        ...

    def release(self, attempts: Mapping[int, int]) -> None:
        """By attempt, the job of which it is the live one, QUEUED and never started: take back the claim. The attempt's
        row, a reservation that never became an execution, is removed, the pointer cleared, and the number given back.
        Jobs move by `move`."""
        ...

    def leaving(self, workflow: int | None) -> int:
        """How many attempts that reruns have archived have not ended yet. They are asked to."""
        ...

    def awaited(self, jobs: Sequence[int] | None) -> dict[int, list[int]]:
        """By job, of those among these (None: of all) that are READY and must not start before such attempts have
        ended: which. They are the job's own, and those of what is below it, as far down as nothing between is done."""
        ...

    def fall_due(self, now: float) -> None:
        """Jobs whose delay is over by `now` are delayed no more."""
        ...

    def hasten(self, now: float) -> None:
        """The clock has been set back: jobs whose delay began later than `now` are delayed no more."""
        ...

    def next_due(self, workflow: int | None, now: float) -> float | None:
        """When the earliest delayed ready job falls due after `now`; None: none is delayed."""
        ...

    def delayed(self, now: float) -> dict[int, int]:
        """By workflow, how many ready jobs wait for their time."""
        ...


class Jobs(Protocol):
    """Looking at jobs, and the flags beside their states."""

    def select(self, where: Predicate, workflow: int | None, retired: bool = False) -> list[int]:
        """Ids of the jobs for which the predicate holds, in order; archived workflows only by `workflow`."""
        ...

    def listing(self, chosen: Chosen, limit: int | None, offset: int) -> Iterator[tuple[str, Job, Attempt | None]]:
        """Yield a page of jobs by id, each with its workflow's name and its live attempt (without steps)."""

    def count(self, chosen: Chosen) -> int: ...

    def named(self, keys: Sequence[int | str], workflow: int | None) -> dict[int | str, list[int]]:
        """For each id or exact name the jobs that it means; a key nobody has is missing from the answer."""
        ...

    def templates(self, workflow: int | None) -> list[str]: ...  # names; of all workflows that are not archived

    def get(self, ids: Sequence[int]) -> list[Job]:
        """Jobs by id, in the order of ids."""

    def flags(self, ids: Sequence[int]) -> Iterator[JobFlags]:
        """Yield what decides whether these jobs are held, released or canceled, by id."""

    def workflows(self, ids: Sequence[int]) -> list[int]:
        """The workflows that these jobs are of, each once, in order."""

    def live(self, ids: Sequence[int]) -> dict[int, Attempt]:
        """The live attempts (without steps) of these jobs, by job."""

    def hold(self, ids: Sequence[int], reason: str | None) -> None:
        """Hold with a reason, or with None release."""

    def held_back(self, workflow: int | None) -> dict[str, int]:
        """How many jobs are READY and held, by reason; archived workflows left out."""
        ...

    def cancel(self, ids: Sequence[int]) -> None:
        """Set the flag of jobs that have no attempt. Their states move by `Queue.move`."""
        ...

    def parents(self, ids: Sequence[int]) -> dict[int, list[int]]:
        """The jobs that these need."""
        ...

    def children(self, ids: Sequence[int]) -> dict[int, list[int]]:
        """The jobs that need these."""
        ...

    def resources(self, classes: Iterable[int]) -> dict[int, Resources]:
        """What these resource classes take."""
        ...

    def upstream(self, ids: Sequence[int]) -> dict[int, list[Needed]]:
        """For each job what it needs, and how that stands; the results of those that have completed."""
        ...


class Reruns(Protocol):
    """Plans: what they read, and what they write."""

    def views(self, selected: Sequence[int], alone: Collection[int] = ()) -> tuple[dict[int, JobView], Graph]:
        """The selected jobs, all their descendants (of those `alone`, none), and every parent of either, with the
        edges among them."""
        ...

    def defined_by(self, views: Mapping[int, JobView], attempts: Mapping[int, int]) -> dict[int, JobView]:
        """The views of those jobs that are mapped to an attempt of theirs, with the definition that it had (steps,
        outputs, folder, matrix values, parameters, environment)."""
        ...

    def sources(self, attempts: Sequence[int]) -> dict[int, tuple[int, AttemptView]]:
        """Attempts, live or archived, as a rerun goes on from them, each with its job."""
        ...

    def apply(
        self,
        plan: RerunPlan,
        kind: str,
        request: Mapping[str, Any],
        note: str | None,
        now: float,
        saved: Mapping[int, Sequence[SavedFile]] | None = None,
    ) -> int:
        """Write a plan: the rerun and its jobs, attempts archived, pointers, resource classes, unmet counts, states
        and counts. `saved`: by job, the outputs that have been saved, for undo.
        PlanOutdated, naming the jobs, when any job's version has moved. Returns the rerun's id."""
        ...

    def record(self, plan: RerunPlan, kind: str, request: Mapping[str, Any], note: str | None, now: float) -> int:
        """Write down a plan of which everything is done already, and which undo does not take back."""
        ...

    def get(self, rerun: int) -> RerunRecord | None:
        """One, with its plan as applied."""
        ...

    def listing(self, workflow: int | None, limit: int | None = None, at: int = 0) -> list[tuple[RerunRecord, int]]:
        """A page from `at` on, newest first, without the plans' jobs, and how many jobs each touched."""

    def count(self, workflow: int | None) -> int: ...

    def checks(self, rerun: int) -> dict[int, dict[str, Any]]:
        """By job: what came of looking at the attempts that a rerun had put in reserve, as noted."""
        ...

    def note_checks(self, checks: Sequence[tuple[int, int, Mapping[str, Any]]]) -> None:
        """(job, attempt, what came of looking at it): kept with the newest rerun that put the attempt in reserve."""
        ...

    def retries(self, jobs: Sequence[int]) -> dict[int, int]:
        """By job, how often it has been retried since a person last reset it; never: it is not there."""
        ...

    def retried(self, jobs: Sequence[int]) -> list[tuple[int, int | None, Reason]]:
        """(job, attempt, why): the attempts of these jobs that are retries, oldest first. No attempt: it is due."""
        ...

    def by_itself(self, jobs: Sequence[int]) -> dict[int, str]:
        """Return the newest attempts of those jobs that run again by themselves, each with the kind of the rerun that
        archived it: retry or recovery."""
        ...

    def newest_manual(self) -> int | None:
        """The newest rerun that somebody asked for (manual, restart, run, reset, accept) and that is not undone."""
        ...

    def saved(self, attempt: int) -> tuple[SavedFile, ...]:
        """The outputs of an attempt that the rerun which archived it has saved."""
        ...

    def undo_views(self, rerun: int) -> list[UndoView]:
        """Its jobs, as undo needs them."""
        ...

    def undo(self, rerun: int, restore: Sequence[tuple[int, int, Pointers, Sequence[int]]], now: float) -> None:
        """(job, version, pointers, attempts that become live again): write them under the guard of the versions,
        then derive unmet counts and states of these jobs and their children afresh, with counts; mark it undone."""
        ...

    def accept(
        self, plan: RerunPlan, bases: Mapping[int, Basis], request: Mapping[str, Any], note: str | None, now: float
    ) -> int:
        """Record that by attempt these bases are what it is measured by from now on: a rerun of kind `accept` that
        resets nothing; the jobs' versions move. PlanOutdated as `apply`. Returns the rerun's id."""
        ...

    def void(self, rerun: int, now: float) -> None:
        """Mark a rerun of kind `accept` undone: its bases hold no more, and its jobs' versions move."""
        ...


class Archive(Protocol):
    """One transaction's view of everything."""

    workflows: Workflows
    jobs: Jobs
    documents: Documents
    queue: Queue
    attempts: Attempts
    reruns: Reruns
    canaries: Canaries
    acts: Acts
    subtasks: Subtasks
    fingerprints: Fingerprints
    measures: Measures
    reserves: Reserves
    tries: Tries
    histories: Histories
    runners: Runners
    supervisions: Supervisions
    events: Events

    def check(self) -> list[str]:
        """Every way in which states, unmet counts or counts differ from what is derived from attempts and
        edges (invariants 3 and 11), and any job with two live attempts; an empty list: all is well."""
        ...


class Store(Protocol):
    """An open archive."""

    identity: str
    folder: str  # absolute: where journals, attempts' folders and wake files live
    notice: str  # what opening it has changed, for its user; "": nothing

    def read(self) -> AbstractContextManager[Archive]:
        """A consistent snapshot."""
        ...

    def write(self) -> AbstractContextManager[Archive]:
        """One transaction, alone; committed at the end of the block, rolled back by an exception."""
        ...

    def data_version(self) -> int:
        """A number that changes when another connection commits. StoreUnavailable when the store has been removed."""
        ...

    def close(self) -> None: ...
