"""The part of the port that is about attempts: history, actions, subtasks, fingerprints. See store.port."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rekindle.domain.acting import ActingSet, Effects, Patch
from rekindle.domain.causes import Cause
from rekindle.domain.changes.prints import Basis, FileSeen, NeededJob, Prints, Subject
from rekindle.domain.definition import JobNode, JobTemplate
from rekindle.domain.models import Attempt, Earlier, FailureGroup, PartialOfFailure, PartialOutput, ReadyClass, Reserved
from rekindle.domain.rerunning.costs import Past
from rekindle.domain.selection import Chosen
from rekindle.domain.states import State
from rekindle.domain.subtasks import Subtask, SubtaskEnd
from rekindle.domain.verdicts import Word


class Attempts(Protocol):
    """History."""

    def listing(self, jobs: Sequence[int] | None, workflow: int | None, live: bool = False) -> list[Attempt]:
        """Attempts with steps of these jobs (None: of all, in the workflow if one is given), oldest first."""
        ...

    def page(self, chosen: Chosen | None, live: bool, limit: int | None, offset: int) -> Iterator[tuple[str, Attempt]]:
        """Yield a page of the attempts of chosen jobs (None: of all), oldest first, each with its job's name."""
        ...

    def count(self, chosen: Chosen | None, live: bool) -> int:
        """Return how many attempts there are of chosen jobs (None: of all)."""
        ...

    def get(self, attempt: int) -> Attempt | None:
        """One, with its steps."""
        ...

    def active(self, runner: int | None = None) -> list[Attempt]:
        """Attempts that have not ended (of one runner), without steps."""
        ...

    def want_cancel(self, attempts: Sequence[int]) -> None:
        """Ask for the end of active attempts; their runner sees it."""
        ...

    def wanted_cancel(self, runner: int) -> list[tuple[int, str]]:
        """(attempt, token) of a runner's active attempts whose end was asked for."""
        ...

    def interrupted(self, workflow: int) -> list[int]:
        """The jobs of a workflow whose live attempt was lost, or was canceled because its runner was interrupted. Jobs
        that somebody canceled by name are not among them, nor are retired ones."""
        ...

    def some(self, attempts: Collection[int]) -> list[Attempt]:
        """These, with their steps, by id."""
        ...

    def earlier(self, jobs: Sequence[int]) -> dict[int, Earlier]:
        """How the attempts before the newest of these jobs ended, by job; of one attempt there is none before."""
        ...

    def failures(self, workflow: int | None, archived: bool = False) -> list[FailureGroup]:
        """Failed attempts by signature, largest group first: live ones; with `archived` all there have been, of
        archived workflows and jobs that are retired too."""
        ...

    def found(self, workflow: int) -> dict[Word, int]:
        """How many jobs of a workflow, not retired, have found what by their live attempts; those that passed are
        left out."""
        ...

    def signature(self, prefix: str) -> str | None:
        """The digest that begins so; None when none does; UsageError when several do."""
        ...

    def past(self, jobs: Collection[int], resuming: Collection[int], cores: float) -> Past:
        """What attempts of these jobs, and of others of their templates, took; of `resuming` by step too. `cores` is
        what there is to run on."""
        ...


StagedAction = tuple[int, str, str]
"""(position of the step, its name, the JSON text of its action)."""


@dataclass(frozen=True, slots=True)
class Adder:
    """Which attempt added a job."""

    attempt: int
    number: int
    job: int
    name: str  # of the job whose attempt it is


class Acts(Protocol):
    """Dynamic actions: what attempts staged, and the sets in force."""

    def staged(self, attempts: Sequence[int]) -> dict[int, list[StagedAction]]:
        """The actions that the completed steps of these attempts staged, kept steps included, in order."""
        ...

    def in_force(self, jobs: Iterable[int]) -> dict[int, ActingSet]:
        """The sets of these jobs that are in force, by job."""
        ...

    def patches(self, jobs: Sequence[int]) -> dict[int, list[tuple[Patch, int]]]:
        """What sets in force do to these jobs, in order, each with the attempt whose it is."""
        ...

    def own(self, job: int) -> dict[str, int]:
        """Every job that this one has ever added, retired ones too, by name."""
        ...

    def adders(self, jobs: Sequence[int]) -> dict[int, Adder]:
        """Which attempts added these jobs; those of the spec are missing from the answer."""
        ...

    def names(self, workflow: int) -> list[str]:
        """The names of all jobs that actions have ever added to a workflow."""
        ...

    def has_edges(self, workflow: int) -> bool:
        """Whether any edge of the workflow was brought by an action."""
        ...

    def below(self, jobs: Iterable[int]) -> set[int]:
        """Everything below these jobs."""
        ...

    def idle(self, workflow: int) -> list[int]:
        """The jobs of a workflow that have not started and are not canceled."""
        ...

    def next_job(self) -> int:
        """The first job id that is free; the transaction may use it and all above."""
        ...

    def put(
        self,
        workflow: int,
        revision: int,
        attempt: int,
        effects: Effects,
        templates: Sequence[JobTemplate],
        nodes: Mapping[str, JobNode],
    ) -> None:
        """Put an attempt's set in force in place of those that end: jobs added, redefined, retired; edges (parents'
        versions + 1); patches, holds, cancellations; then states, unmet counts and counts of all that is touched.
        `nodes` are the set's jobs by name, their templates positions in `templates`."""
        ...

    def end(self, attempts: Sequence[int], retired: Sequence[int]) -> None:
        """Take sets out of force and retire jobs, in the same way."""
        ...


class Subtasks(Protocol):
    """Fan-outs and their subtasks, of which an attempt has rows only for those that run in it."""

    def fan_out(
        self,
        attempt: int,
        step: int,
        total: int,
        base: int | None,
        gone: Sequence[int],
        run: Sequence[tuple[int, str, int]],
        held: Mapping[int, str] | None = None,
    ) -> None:
        """An attempt knows its items: how many there are, the attempt whose subtasks it keeps, those of them that
        are gone, and (index, item, how often it ran before) of each that will run. `held`: by index, the digests of
        the items' files. Told again it changes nothing."""
        ...

    def tell(self, attempt: int, step: int, started: Sequence[tuple[int, int]], ended: Sequence[SubtaskEnd]) -> None:
        """Subtasks have ended, then (index, for the so manieth time) others have started."""
        ...

    def end_with(self, attempts: Sequence[tuple[int, State, Cause, float]]) -> None:
        """(attempt, state, cause, at): its subtasks that still ran have ended so."""
        ...

    def of(self, attempt: int, step: int) -> list[Subtask]:
        """All subtasks of an attempt's fan-out by index, those it keeps from others too."""
        ...

    def owner(self, attempt: int, step: int) -> int | None:
        """The attempt that did this fan-out: itself, or the one it keeps the step from; None: it came to none."""
        ...

    def counts(self, attempts: Sequence[int]) -> dict[tuple[int, int], Mapping[State, int]]:
        """By (attempt, step) of every fan-out: how many subtasks are in which state."""
        ...

    def mark_partial(self, attempts: Sequence[int]) -> None:
        """These attempts go on with a part of a fan-out."""
        ...

    def partial(self, jobs: Sequence[int] | None) -> set[int]:
        """Those jobs (None: all) whose live attempt rests on a part of a fan-out, its own or one upstream."""
        ...


class Fingerprints(Protocol):
    """What attempts depended on, and the cache of what files hold."""

    def put_needed(self, needed: Mapping[int, Mapping[int, int]]) -> None:
        """By attempt: the live attempts, by job, of the jobs that it needs, as its claim found them."""
        ...

    def put_patched(self, patched: Mapping[int, Mapping[str, Any]]) -> None:
        """By attempt: the parameters that actions in force have changed, with the values that it saw."""
        ...

    def put_files(self, prints: Mapping[int, Prints]) -> None:
        """By attempt: what its worker recorded."""
        ...

    def needed(self, attempts: Iterable[int]) -> dict[int, dict[int, int]]:
        """As put, for those attempts that have any."""
        ...

    def patched(self, attempts: Iterable[int]) -> dict[int, dict[str, Any]]:
        """As put, for those attempts that have any."""
        ...

    def files(self, attempts: Iterable[int]) -> dict[int, Prints]:
        """As put, for those attempts that have any."""
        ...

    def put_partial(self, partial: Mapping[int, Sequence[PartialOutput]]) -> None:
        """By attempt: the declared outputs that it has left without completing."""
        ...

    def partial(self, attempts: Iterable[int]) -> dict[int, tuple[PartialOutput, ...]]:
        """As put, for those attempts that have any."""
        ...

    def partial_of_failures(self, jobs: Collection[int], archived: bool) -> list[PartialOfFailure]:
        """What failed attempts of some jobs have left: live ones, or all."""
        ...

    def aside(self, attempts: Sequence[int]) -> dict[int, tuple[PartialOutput, ...]]:
        """By attempt, what it and the attempts that it builds on have set aside; of each path, what the newest has."""
        ...

    def put_source(self, digest: str, modules: Mapping[str, str]) -> None:
        """The modules (each with the digest of its file) that `Ending.code` and `Attempt.code` mean by `digest`."""
        ...

    def sources(self, digests: Collection[str]) -> dict[str, dict[str, str]]:
        """Return the code and environment behind these digests (see domain.changes.prints.METHOD)."""
        ...

    def accept(self, rerun: int, bases: Mapping[int, Basis]) -> None:
        """From now on these attempts are measured by these, as long as the rerun (kind `accept`) is not undone."""
        ...

    def accepted(self, attempts: Iterable[int]) -> dict[int, tuple[int, Basis]]:
        """(rerun, basis): the newest that stands, for those attempts that have any."""
        ...

    def known_files(self, paths: Collection[str]) -> dict[str, FileSeen]:
        """What is known of these paths; whether it still holds is for the caller to see."""
        ...

    def known_below(self, folders: Collection[str]) -> dict[str, FileSeen]:
        """What is known of the files within these folders."""
        ...

    def remember_files(self, seen: Sequence[FileSeen]) -> None:
        """Remember what files hold; an older look does not replace a newer one."""
        ...


class Measures(Protocol):
    """What measuring attempts reads, of many at once."""

    def subjects(self, attempts: Iterable[int]) -> list[Subject]:
        """These attempts, by their jobs' ids."""
        ...

    def needs(self, jobs: Iterable[int]) -> list[tuple[int, int]]:
        """(job, a job that it needs), for these jobs."""
        ...

    def needed_jobs(self, jobs: Iterable[int]) -> list[NeededJob]:
        """These jobs, as those that need them see them."""
        ...

    def results(self, attempts: Iterable[int]) -> dict[int, tuple[int, str | None]]:
        """(template, result as JSON text) of these attempts."""
        ...

    def origins(self, attempts: Iterable[int]) -> dict[int, tuple[int, int, str]]:
        """(template, revision, matrix values as JSON text) that these attempts were made from."""
        ...

    def accepted_at(self, reruns: Iterable[int]) -> dict[int, float]:
        """When these reruns were applied."""
        ...

    def bodies(self, templates: Iterable[int]) -> dict[int, JobTemplate]:
        """Templates by id."""
        ...

    def pending(self) -> list[ReadyClass]:
        """What has not started, by workflow and resource class, from the counts; archived workflows left out."""
        ...

    def ended(self, jobs: Iterable[int]) -> dict[int, int]:
        """Their live attempts, of those that have one which has ended and are not retired."""
        ...

    def above(self, jobs: Iterable[int]) -> set[int]:
        """Everything above these jobs."""
        ...

    def given_up(self, jobs: Iterable[int]) -> set[int]:
        """Those of some jobs that have failed, were canceled, or can no longer be reached."""
        ...

    def checked(self, jobs: Iterable[int]) -> dict[int, tuple[int, int | None, dict[str, Any]]]:
        """(rerun, reserve, what came of it), of the newest look at whether a reserve still held, where there was one
        under a rerun that is not undone: `{"at", "result": "reinstated" or "runs", "reasons": [{"kind", …}]}`."""
        ...

    def written(self, workflows: Iterable[int]) -> set[tuple[int, str]]:
        """(workflow, absolute path) of what the live attempts of these workflows wrote: their outputs, and files that
        their commands name."""
        ...

    def spans(self, workflows: Iterable[int]) -> list[tuple[int, float, float]]:
        """(workflow, started, ended) of every attempt of these workflows, those of a workflow by when they started; one
        that still runs ends in the far future."""
        ...


class Reserves(Protocol):
    """Attempts in reserve: of ready jobs that are looked at before they run."""

    def listing(self, workflow: int | None, limit: int) -> list[Reserved]:
        """Ready jobs with an attempt in reserve, by id: not held, nor of an archived workflow."""
        ...

    def standing(self, jobs: Sequence[Reserved]) -> set[int]:
        """Those of these jobs, by id, that stand as they stood, version included, and still wait to be looked at."""
        ...

    def reinstate(self, reserves: Sequence[tuple[int, int]]) -> None:
        """(job, attempt): the attempt in reserve is the job's live one again. Jobs move by `move`."""
        ...

    def drop(self, jobs: Sequence[int]) -> None:
        """These jobs are to run: they may be claimed (version + 1)."""
        ...
