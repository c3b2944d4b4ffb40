"""What planning a rerun returns: the plan, whose jobs are sets of jobs that it changes alike. The decisions are in
`planner`, what they read in `views`, the JSON form in `plan_json`."""

from __future__ import annotations

import enum
import heapq
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, TypeVar, overload

import msgspec
from msgspec.structs import astuple, replace

from rekindle.domain.errors import RefusedJob
from rekindle.domain.next_attempt import ATTEMPT_FIELDS, DEFAULT_NEXT_ATTEMPT, NextAttempt
from rekindle.domain.rerun.views import OWN
from rekindle.domain.states import State

Key = TypeVar("Key")


class ReasonKind(enum.StrEnum):
    """Why a job is in a plan."""

    SELECTED = "selected"  # detail: state, cause
    UPSTREAM = "upstream"  # detail: job, name: the nearest selected job upstream
    RECOVERY = "recovery"  # detail: rerun: the rerun that kept the job's resume point
    DUPLICATE = "duplicate"  # detail: job, name: the job whose result this one shares; it was selected
    DYNAMIC = "dynamic"  # detail: job, name: the job whose rolled-back action had held or canceled this one
    SUBTASKS = "subtasks"  # detail: step, run, keep, new, gone (numbers): the job resumes a fan-out
    STAYS = "stays"  # detail: job, name: a needed job runs again and this one does not, so it becomes stale
    REUSE = "reserve"  # detail: attempt: reused if everything it depends on comes out identical
    RELEASED = "released"  # detail: held: the job was reset by hand
    INPUT = "input"  # detail: name, path, before, after (digests; null: not there). For the files of a pattern also
    # pattern, new, gone, changed (paths, relative as the pattern is, the first 20) and counts (of each of the three);
    # `items` is true where these are the items of a fan-out step, which `name` names
    OUTPUT = "output"  # detail: name, path, before, after (null: it is missing)
    DEFINITION = "definition"  # detail: field, before, after
    PARAMETER = "parameter"  # detail: name, before, after
    ENVIRONMENT = "environment"  # detail: part, name, before, after (of a variable: digests; null: not set)
    CODE = "code"  # detail: module, name, before, after (digests), whole, because
    RESULT = "result"  # detail: job, name, before, after: result digests of a needed job
    OPAQUE = "opaque"  # detail: job, name: a needed job ran again and has no outputs or result to compare
    UNSTABLE = "unstable"  # detail: name, path: an input that changed while the attempt ran
    NEEDS = "needs"  # detail: job, name: a needed job that is not done
    NEVER_RAN = "never_ran"
    FAILED = "failed"  # detail: state, cause
    AGGREGATE = "aggregate"  # detail: job, name: the job runs whenever anything it needs has run
    UNKNOWN = "unknown"  # the attempt has nothing to compare, or nothing was recorded
    ADDED = "added"  # by a revision. detail: revision
    RETIRED = "retired"  # a revision removed the job. detail: revision
    REDEFINED = "redefined"  # by a revision. detail: revision, fields: changed fields and matrix values
    IMPORTED = "imported"  # its attempts were archived before the import
    REWIRED = "rewired"  # by a revision: its needs changed. detail: revision, gained, lost (numbers of jobs)
    RETRY = "retry"  # detail: retry, of (numbers), cause, delay (seconds), avoids (a host; null: none), alone
    CANCELS = "cancels"  # detail: attempt, state: the running attempt is canceled first
    JUDGE = "judge"  # detail: attempt, answer (retry, fail, hold), reason: what its judge said of a failure
    REPEAT = "repeat"  # detail: left: how many more times the job runs
    FORBIDDEN = "forbidden"  # detail: reason: the job must not run twice, so its attempt stays
    TEMPORARY = (
        "temporary"  # detail: outputs (names), path of the first, since (seconds since the epoch), job, name: the
    )
    # job needs temporary outputs of this one that were removed; cached: these are kept, and may be put back instead
    BY_HAND = "by_hand"  # detail: state, cause (before): a person records the job as completed
    PARTIAL = "partial"  # detail: step, completed, given_up (numbers): continues with part of a fan-out


class Reason(msgspec.Struct, frozen=True):
    """A typed reason. In JSON: `{"kind": kind, **detail}`."""

    kind: ReasonKind
    detail: Mapping[str, Any] = msgspec.field(default_factory=dict)


class OverrideChange(msgspec.Struct, frozen=True):
    """An override that changes. `name` is `params.NAME`, `env.NAME`, `memory`, `time` or `cpus`; None means not set."""

    name: str
    before: Any
    after: Any


class PlannedJob(msgspec.Struct, frozen=True):
    """What a plan does to one job, `id` with `name`.

    - `before`, `after`: its states. `unmet`: how many needs keep it from starting afterwards.
    - `start`: "beginning" or a step's name. `keeps`: the steps whose results are kept.
    - `reasons`: why it is in the plan. `archives`: its attempts that are archived.
    - `changes`: overrides that change. `saves`: outputs (absolute) that are saved with the archived attempt.
    - `stays`: it is not reset: only its state and `unmet` follow its parents.
    - `holds`: the reason for which it is held; `releases`: a hold ends.
    - `next`: what its next attempt does. `version`: the job's, for which the plan was made."""

    id: int
    name: str
    version: int
    before: State
    after: State
    start: str
    reasons: tuple[Reason, ...]
    archives: tuple[int, ...] = ()
    keeps: tuple[str, ...] = ()
    unmet: int = 0
    next: NextAttempt = DEFAULT_NEXT_ATTEMPT
    changes: tuple[OverrideChange, ...] = ()
    saves: tuple[str, ...] = ()
    stays: bool = False
    holds: str | None = None
    releases: bool = False


class Columns(msgspec.Struct, frozen=True):
    """The values in which the jobs of a set differ. OWN: none."""

    ids: Sequence[int]
    names: Sequence[str]
    versions: Sequence[int]
    attempts: Sequence[int]  # that the change stands for
    near: Sequence[int]  # the job that the change stands for in reasons
    near_names: Mapping[int, str]


class JobSet(msgspec.Struct, frozen=True):
    """Jobs that a plan changes alike: `change`, and a column of each value in which they differ, by id.

    `change` is a planned job without id, name and version. OWN stands for the attempt in `attempts`, and in the detail
    of reasons of the kinds in NEAR also for the job in `near`, whose name `near_names` has."""

    change: PlannedJob
    ids: array[int]
    names: list[str]
    versions: array[int]
    attempts: array[int]
    near: array[int]
    near_names: dict[int, str]

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[PlannedJob]:
        return map(self.job, range(len(self.ids)))

    def job(self, at: int) -> PlannedJob:
        """Return the planned job at a position."""
        change, own, near = self.change, self.attempts[at], self.near[at]
        reasons, archives, following = change.reasons, change.archives, change.next
        if own != OWN:
            archives, following = (own,) if archives == (OWN,) else archives, following.with_attempt(OWN, own)
        if own != OWN or near != OWN:
            reasons = tuple(_with_own(reason, own, near, self.near_names) for reason in reasons)
        return replace(
            change,
            id=self.ids[at],
            name=self.names[at],
            version=self.versions[at],
            reasons=reasons,
            archives=archives,
            next=following,
        )

    def divided(self, key: Callable[[int], Key]) -> Iterable[tuple[Key, JobSet]]:
        """Return the jobs as sets of those with one key, each with the key."""
        parts: dict[Key, list[int]] = {}
        for at, job in enumerate(self.ids):
            parts.setdefault(key(job), []).append(at)
        for found, places in parts.items():
            names, near_names = [self.names[at] for at in places], self.near_names
            ids, versions, attempts, near = (
                [column[at] for at in places] for column in (self.ids, self.versions, self.attempts, self.near)
            )
            yield found, set_of(self.change, Columns(ids, names, versions, attempts, near, near_names))

    def by_version(self) -> Iterable[tuple[int, Sequence[int]]]:
        """Return the jobs of each version: (version, ids)."""
        if self.versions.count(self.versions[0]) == len(self.ids):
            return [(self.versions[0], self.ids)]
        found: dict[int, list[int]] = {}
        for job, version in zip(self.ids, self.versions, strict=True):
            found.setdefault(version, []).append(job)
        return found.items()

    @property
    def key(self) -> str:
        """The change as text: sets of a plan have different ones."""
        return change_text(self.change)


def set_of(change: PlannedJob, columns: Columns) -> JobSet:
    """Return the set of jobs with these columns, by id."""
    return JobSet(
        change,
        array("q", columns.ids),
        list(columns.names),
        array("q", columns.versions),
        array("q", columns.attempts),
        array("q", columns.near),
        {job: columns.near_names.get(job, f"job {job}") for job in set(columns.near) if job != OWN},
    )


def change_text(change: PlannedJob) -> str:
    """Return a change as text; equal for equal changes."""
    return json.dumps(astuple(change), default=astuple, separators=(",", ":"), sort_keys=True, check_circular=False)


NEAR = (ReasonKind.UPSTREAM, ReasonKind.STAYS)
"""The kinds of reasons whose detail names the nearest selected job."""

_OWN_DETAIL = (ReasonKind.CANCELS, ReasonKind.REUSE)
"""The kinds of reasons whose detail may name the job's own attempt."""


def _with_own(reason: Reason, own: int, near: int, names: Mapping[int, str]) -> Reason:
    """Return a reason of a set as it is for one job."""
    if reason.kind in NEAR and reason.detail.get("job") == OWN:
        return Reason(reason.kind, {"job": near, "name": names.get(near, str(near))})
    if reason.kind in _OWN_DETAIL and reason.detail.get("attempt") == OWN:
        return Reason(reason.kind, {**reason.detail, "attempt": own})
    return reason


def _alike(job: PlannedJob) -> tuple[PlannedJob, int, tuple[int, str]]:
    """Return what a planned job has in common with others, its own attempt (OWN: none), and the nearest selected job
    with its name (OWN: none)."""
    named = (*job.archives[:1], *(getattr(job.next, name) for name in ATTEMPT_FIELDS))
    own = next((one for one in named if one is not None), OWN)
    near = next(((one.detail["job"], one.detail["name"]) for one in job.reasons if one.kind in NEAR), (OWN, ""))
    reasons = tuple(
        Reason(one.kind, {"job": OWN})
        if one.kind in NEAR and (one.detail["job"], one.detail["name"]) == near
        else Reason(one.kind, {**one.detail, "attempt": OWN})
        if one.kind in _OWN_DETAIL and one.detail["attempt"] == own
        else one
        for one in job.reasons
    )
    archives = (OWN,) if job.archives == (own,) else job.archives
    following = job.next.with_attempt(own, OWN)
    return (
        replace(job, id=0, name="", version=0, reasons=reasons, archives=archives, next=following),
        own,
        near,
    )


class PlannedJobs(Sequence[PlannedJob]):
    """The jobs of a plan, by id. They are held as sets, and listed one by one on demand."""

    def __init__(self, sets: Iterable[JobSet] = ()) -> None:
        self.sets = tuple(sorted(sets, key=lambda one: one.ids[0]))

    def __len__(self) -> int:
        return sum(map(len, self.sets))

    def __iter__(self) -> Iterator[PlannedJob]:
        return iter(self.sets[0]) if len(self.sets) == 1 else heapq.merge(*self.sets, key=lambda job: job.id)

    @overload
    def __getitem__(self, at: int) -> PlannedJob: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[PlannedJob, ...]: ...
    def __getitem__(self, at: int | slice) -> PlannedJob | tuple[PlannedJob, ...]:
        if isinstance(at, slice):
            return tuple(self.sets[number].job(position) for _, number, position in self._places[at])
        _, number, position = self._places[at]
        return self.sets[number].job(position)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PlannedJobs):
            return self.sets == other.sets
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"PlannedJobs({list(self)!r})"

    @property
    def ids(self) -> list[int]:
        """The ids of the jobs, in order."""
        return sorted(job for one in self.sets for job in one.ids)

    def total(self, holds: Callable[[PlannedJob], bool]) -> int:
        """Return the number of jobs whose change is so. `holds` reads no value in which the jobs of a set differ."""
        return sum(len(one) for one in self.sets if holds(one.change))

    def having(self, holds: Callable[[PlannedJob], bool]) -> PlannedJobs:
        """Return the jobs whose change is so. `holds` reads no value in which the jobs of a set differ."""
        return PlannedJobs(one for one in self.sets if holds(one.change))

    @cached_property
    def _places(self) -> list[tuple[int, int, int]]:
        """By position, the id, the number of the set and the position in it."""
        return sorted(
            (job, number, position) for number, one in enumerate(self.sets) for position, job in enumerate(one.ids)
        )


class JobSets:
    """Collects planned jobs into sets."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[PlannedJob, list[Columns]]] = {}

    def add(self, first: PlannedJob, columns: Columns) -> bool:
        """Add jobs that are planned alike, given the plan of the first one and their columns, by id. Return False, and
        add none, if the plan names another attempt, or another job in reasons, than the columns do: the jobs are not
        alike then. A single job is always added."""
        change, own, (near, name) = _alike(first)
        single = len(columns.ids) == 1
        if not single and (own not in (OWN, columns.attempts[0]) or near not in (OWN, columns.near[0])):
            return False
        none = [OWN] * len(columns.ids)
        kept = Columns(
            columns.ids,
            columns.names,
            columns.versions,
            none if own == OWN else [own] if single else columns.attempts,
            none if near == OWN else [near] if single else columns.near,
            {} if near == OWN else {near: name} if single else columns.near_names,
        )
        self._parts.setdefault(change_text(change), (change, []))[1].append(kept)
        return True

    def collected(self) -> PlannedJobs:
        """Return the jobs."""
        return PlannedJobs(self._set(change, parts) for change, parts in self._parts.values())

    @staticmethod
    def _set(change: PlannedJob, parts: list[Columns]) -> JobSet:
        if len(parts) == 1:
            return set_of(change, parts[0])
        names: dict[int, str] = {}
        for one in parts:
            names.update(one.near_names)
        columns = (zip(one.ids, one.names, one.versions, one.attempts, one.near, strict=True) for one in parts)
        ids, own_names, versions, attempts, near = zip(*sorted(chain.from_iterable(columns)), strict=True)
        return set_of(change, Columns(ids, own_names, versions, attempts, near, names))


def planned_jobs(jobs: Iterable[PlannedJob]) -> PlannedJobs:
    """Return planned jobs as sets."""
    sets = JobSets()
    for job in jobs:
        sets.add(job, Columns([job.id], [job.name], [job.version], [OWN], [OWN], {}))
    return sets.collected()


class ExpectedCost(msgspec.Struct, frozen=True):
    """The expected cost of a plan, from earlier attempts: see `costs`."""

    attempts: int = 0
    seconds: float = 0.0  # running time, summed over attempts with a known duration
    unknown: int = 0  # attempts without a known duration
    core_seconds: float = 0.0  # running time multiplied by cpus
    wall_seconds: float = 0.0  # lower bound of the time until the last attempt ends
    guessed: int = 0  # attempts estimated from other jobs of the same template
    reserved: int = 0  # further jobs that run only if their attempt cannot be reused
    reserved_seconds: float = 0.0  # running time if all of these run
    cores: float = 1.0  # the number that `wall_seconds` assumes


class RolledBackActions(msgspec.Struct, frozen=True):
    """A set of dynamic actions that a rerun rolls back."""

    attempt: int  # the attempt that made the set
    job: int
    name: str
    retires: tuple[int, ...] = ()  # the jobs that the set had added
    patches: int = 0  # number of changes, holds and cancellations


class RerunPlan(msgspec.Struct, frozen=True):
    """A planned rerun.

    - `jobs`: what it does, by id. `refused`: selected jobs that are not rerun, with the reason.
    - `warnings`, `expected`: what it costs. `overwrites`: declared outputs that exist and will be overwritten.
    - `dynamic`: sets of dynamic actions that are rolled back.
    - `digest`: plans that do the same have equal ones. `reads`: (job, version) of unchanged jobs, which must still
      match when the plan is applied."""

    jobs: PlannedJobs
    refused: tuple[RefusedJob, ...] = ()
    warnings: tuple[str, ...] = ()
    expected: ExpectedCost = ExpectedCost()
    overwrites: tuple[str, ...] = ()
    digest: str = ""
    # (job, version): unchanged jobs whose versions must still match when the plan is applied
    reads: tuple[tuple[int, int], ...] = ()
    dynamic: tuple[RolledBackActions, ...] = ()


class SavedFile(msgspec.Struct, frozen=True):
    """A declared output, or a file within one, saved by `--keep-outputs`."""

    path: str  # absolute: the original place, to which undo restores the file
    kept: str  # absolute: the copy
    digest: str  # BLAKE3 of the content; of a symbolic link: of its target
    size: int
    mtime_ns: int
    mode: int | None = None  # the original mode; None: the copy's mode, or a symbolic link


class RerunRecord(msgspec.Struct, frozen=True):
    """An applied rerun, as stored."""

    id: int
    kind: str
    at: float
    note: str | None
    undone: float | None
    request: Mapping[str, Any]
    plan: RerunPlan

    @property
    def by(self) -> str | None:
        """Who asked for the rerun: over HTTP the token, of `complete` also the user; None: a command, or rekindle
        itself."""
        return self.request.get("by")


def seal_plan(plan: RerunPlan) -> RerunPlan:
    """Return the plan with its digest: 32 hexadecimal digits over all other fields except the expected cost, which
    varies while other jobs run."""
    from hashlib import blake2b  # loads OpenSSL

    digest = blake2b(digest_size=16)
    values = astuple(replace(plan, jobs=PlannedJobs(), digest="", expected=ExpectedCost()))
    digest.update(json.dumps([values[1:], len(plan.jobs.sets)], default=astuple, separators=(",", ":")).encode())
    for one in plan.jobs.sets:
        digest.update(one.key.encode())
        for column in (one.ids, one.versions, one.attempts, one.near):
            digest.update(column.tobytes())
        digest.update(json.dumps([one.names, sorted(one.near_names.items())]).encode())
    return replace(plan, digest=digest.hexdigest())
