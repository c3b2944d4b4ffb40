"""Read what planning a rerun needs in one transaction, and plan the rerun from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec.structs import replace

from rekindle.domain.batches.canaries import CanaryChoice, FailedJob, check_canary, choose_canaries
from rekindle.domain.errors import PlanRefused, RefusedJob, RekindleError
from rekindle.domain.rerun.costs import DurationHistory
from rekindle.domain.rerun.plan import Reason, RerunPlan, seal_plan
from rekindle.domain.rerun.planner import plan_rerun
from rekindle.domain.rerun.request import How, Requests, check_how, normalize_requests
from rekindle.domain.rerun.views import JobGraph, JobView
from rekindle.engine.fan_outs import jobs_to_resume, planning_views
from rekindle.engine.machine import processors
from rekindle.engine.queries.selections import Chosen, SelectedJobs, resolve_in
from rekindle.engine.results import PlannedRerun

if TYPE_CHECKING:
    from rekindle.domain.rerun.resolve import Exists
    from rekindle.engine.retention.regenerate import Producers  # noqa: TC004  a PlanInputs is never decoded
    from rekindle.store.archive import Snapshot

A = TypeVar("A")
T = TypeVar("T")

ChosenRequests = Sequence[tuple[Chosen, How]]
"""Requests whose jobs are not resolved yet."""


class ResolvedRequests(msgspec.Struct, frozen=True):
    """Requests with the jobs that match in the plan's snapshot, and the jobs that changed after they were selected."""

    requests: Requests
    moved: tuple[RefusedJob, ...]
    why: Mapping[int, tuple[Reason, ...]]

    @property
    def jobs(self) -> list[int]:
        """Return the jobs of all requests."""
        return list(self.requests.hows)

    def plan(
        self,
        inputs: PlanInputs,
        request: Mapping[str, Any],
        note: str | None,
        why: Mapping[int, tuple[Reason, ...]] | None,
        exists: Exists = os.path.exists,
    ) -> PlannedRerun:
        """Plan the requests as `plan_requests` does. The plan refuses the jobs that changed."""
        try:
            found = plan_requests(inputs, self.requests, request, note, {**self.why, **(why or {})}, exists)
        except PlanRefused as refusal:
            if not self.moved:
                raise
            raise all_refused((*refusal.refused, *self.moved)) from None
        found = replace(found, selected=tuple(self.jobs))
        if not self.moved:
            return found
        refused = tuple(sorted((*found.plan.refused, *self.moved), key=lambda one: one.id))
        return replace(found, plan=seal_plan(replace(found.plan, refused=refused)))


def resolve_requests(
    archive: Snapshot, requests: ChosenRequests, note: Callable[[str], None] | None = None
) -> ResolvedRequests:
    """Resolve the selections of requests in the snapshot that the planner reads."""
    resolved, moved = list[tuple[Sequence[int], How]](), list[RefusedJob]()
    why: dict[int, tuple[Reason, ...]] = {}
    for chosen, how in requests:
        ids, changed = resolve_in(archive, chosen, note)
        resolved.append((ids, how))
        moved += changed
        if isinstance(chosen, SelectedJobs):
            why |= chosen.why
    return ResolvedRequests(normalize_requests(resolved), tuple(moved), why)


class PlanInputs(msgspec.Struct, frozen=True):
    """The inputs of a plan, read in one transaction."""

    views: Mapping[int, JobView]
    graph: JobGraph
    earlier: Mapping[int, JobView]
    durations: DurationHistory
    failed: tuple[FailedJob, ...] = ()  # with canaries: the selected jobs that have failed
    canary: int | None = None  # number of canaries for each signature
    producers: Producers | None = None  # jobs that run again because temporary outputs of theirs are gone


def read_plan_inputs(
    archive: Snapshot, requests: Requests, slots: int | None = None, canary: int | None = None
) -> PlanInputs:
    """Read what planning these requests needs from the store. With `canary`, only that many of the failed jobs with one
    signature run first. The others are left as they are, and run in the same way once all canaries have passed."""
    for how, _ in requests.by_how():
        check_how(how)
        if canary is not None:
            check_canary(canary, how)
    producers = None
    if archive.statistics.has_removed_outputs():
        from rekindle.engine.retention.regenerate import views_with_producers

        (views, graph, earlier), producers = views_with_producers(archive, requests)
    else:
        views, graph, earlier = planning_views(archive, requests)
    selected = requests.hows.keys()
    kept = {job for job in selected if job in views and views[job].next.keep_recovery is not None}
    cores = float(slots or processors())
    past = archive.statistics.durations(views, jobs_to_resume(requests) | kept, cores)
    struck = archive.canaries.failed(selected) if canary is not None else ()
    return PlanInputs(views, graph, earlier, past, tuple(struck), canary, producers)


def plan_requests(
    inputs: PlanInputs,
    requests: Requests,
    request: Mapping[str, Any],
    note: str | None = None,
    why: Mapping[int, tuple[Reason, ...]] | None = None,
    exists: Exists = os.path.exists,
) -> PlannedRerun:
    """Plan the requests. `exists` checks which outputs and folders exist. PlanRefused, with each job's reason, if no
    job can be rerun."""
    plan = _plan(inputs, requests, why or {}, exists)
    if not plan.jobs:
        raise all_refused(plan.refused)
    canaries = _choose_canaries(inputs, requests, plan)
    if canaries:
        waiting = {job for one in canaries for job, _ in one.waits}
        plan = _plan(inputs, requests.without(waiting), why or {}, exists)
        reset = plan.jobs.having(lambda job: not job.stays).ids
        canaries = [one.without(reset) for one in canaries]
    return PlannedRerun(plan, request, note, children=inputs.graph.children, canaries=tuple(canaries))


def _plan(inputs: PlanInputs, requests: Requests, why: Mapping[int, tuple[Reason, ...]], exists: Exists) -> RerunPlan:
    """Plan requests, and the producers of temporary outputs that these need. A job is refused if a producer that it
    needs is."""
    producers, refused = inputs.producers, list[RefusedJob]()
    if producers is None:
        return plan_rerun(inputs.views, inputs.graph, requests, exists, why, inputs.earlier, inputs.durations)
    while True:
        every, reasons = producers.added_to(requests), {**producers.why, **why}
        plan = plan_rerun(inputs.views, inputs.graph, every, exists, reasons, inputs.earlier, inputs.durations)
        blocked = producers.blocked(plan, requests)
        running = {job.id for job in plan.jobs if not job.stays} - {one.id for one in blocked}
        needed = producers.needed_by(running, requests)
        if not blocked and len(needed.hows) == len(producers.hows):
            break
        refused += blocked
        requests, producers = requests.without({one.id for one in blocked}), needed
    if not refused:
        return plan
    return seal_plan(replace(plan, refused=tuple(sorted((*plan.refused, *refused), key=lambda one: one.id))))


class UnknownPath(Exception):
    """A plan that was made within a write transaction depends on whether paths exist that nobody has looked at."""


class KnownPaths:
    """Which paths exist, for plans that are made within a write transaction, where no file is looked at.

    `check` rolls the transaction back if a plan asked for unknown paths; then `look` finds out, and the plan is made
    again."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}
        self._unknown: set[str] = set()

    def exists(self, path: str) -> bool:
        """Return whether a known path exists; False for an unknown one, which is noted."""
        if path not in self._known:
            self._unknown.add(path)
        return self._known.get(path, False)

    def check(self) -> None:
        """Raise UnknownPath if a path that was asked for is not known."""
        if self._unknown:
            raise UnknownPath

    def look(self) -> None:
        """Find out whether the unknown paths exist."""
        self._known |= {path: os.path.exists(path) for path in self._unknown}  # noqa: PTH110 - many paths
        self._unknown.clear()


def write_with_paths(block: Callable[[], AbstractContextManager[A]], change: Callable[[A, KnownPaths], T]) -> T:
    """Return what `change` returns in a transaction that `block` opens. As long as `change` asks for unknown paths, the
    transaction is rolled back and repeated. `change` checks the paths before it does what cannot be repeated."""
    paths = KnownPaths()
    while True:
        with suppress(UnknownPath), block() as archive:
            try:
                found = change(archive, paths)
            except RekindleError:  # which may be due to an unknown path
                paths.check()
                raise
            paths.check()
            return found
        paths.look()


def _choose_canaries(inputs: PlanInputs, requests: Requests, whole: RerunPlan) -> list[CanaryChoice]:
    """Choose the jobs that run first and the jobs that wait for them."""
    if inputs.canary is None:
        return []
    refused = {job.id for job in whole.refused}
    struck = {one.job: one for one in inputs.failed if one.job not in refused}
    chosen = []
    for how, jobs in requests.by_how():
        chosen += choose_canaries([struck[job] for job in jobs if job in struck], inputs.canary, how)
    return chosen


def all_refused(refused: Sequence[RefusedJob]) -> PlanRefused:
    """Return the error of a plan without jobs: no job was selected, or each was refused."""
    return PlanRefused(f"nothing can be rerun: {refusal_reasons(refused) or 'no job is selected'}", refused=refused)


_MOST_REASONS, _MOST_NAMES = 3, 3


def refusal_reasons(refused: Sequence[RefusedJob]) -> str:
    """Return the reasons, each with the names of its first jobs: `a, b, c and 7 more: it is running`."""
    by_reason: dict[str, list[str]] = {}
    for job in refused:
        by_reason.setdefault(job.why, []).append(job.name)
    parts = []
    for why, names in list(by_reason.items())[:_MOST_REASONS]:
        more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
        parts.append(f"{', '.join(names[:_MOST_NAMES])}{more}: {why}")
    left = sum(len(names) for names in list(by_reason.values())[_MOST_REASONS:])
    return "; ".join([*parts, *([f"and {left:,} more"] if left else [])])
