"""The forecast of unfinished jobs: when they will be done, which of them decide it, and what an hour more costs.

The expected schedule takes each job as long as its attempts took at the median, with the time that its retries cost on
average. The spread comes from simulated runs, each with drawn durations and failures. How much is computed is bounded,
so that large workflows are simulated fewer times."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from rekindle.domain.definition import Resources
from rekindle.domain.forecasts.estimates import Estimates, EstimateSource, PastDurations
from rekindle.domain.forecasts.schedule import Place, Schedule, WorkGraph, simulate
from rekindle.domain.graph import descendants, topological_order, unreachable_jobs
from rekindle.domain.states import ACTIVE, ENDED_BADLY, State

MOST_STEPS = 300_000
"""How much is simulated for one forecast: an attempt is two steps. The fewest simulations may take more."""

MOST_SIMULATIONS, FEWEST_SIMULATIONS = 200, 3
"""Half of the steps are for the spread."""

MOST_PATH = 1_000
"""The most jobs of the critical path that are listed: the last ones."""

MOST_COSTS = 10
"""The jobs of the path for which an hour more is simulated: those that take longest."""

HOUR = 3600.0


class OpenJob(NamedTuple):
    """A job that has not completed, as the store has it. `started`: of its running attempt."""

    id: int
    workflow: int
    template: int
    state: State
    priority: int
    resource_class: int
    held: bool
    canceled: bool
    when_finished: bool
    not_before: float | None
    resume_step: int
    started: float | None
    runner: int | None


class PathJob(msgspec.Struct, frozen=True):
    """A job of the critical path. Times are seconds from now, in the expected schedule.

    `waits`: for what its start waits: `needs` (the job before it on the path), `slot` (room that the job before it
    leaves), `delay`, or `nothing`. `earliest`, `latest`: when it can start by its needs alone, and when it must, so
    that by needs alone the end does not move. `hour_costs`: how many seconds later all is done if it takes an hour
    more; None: not simulated."""

    id: int
    workflow: int
    state: State
    start: float
    end: float
    waits: str
    earliest: float
    latest: float
    source: EstimateSource
    hour_costs: float | None = None

    @property
    def slack(self) -> float:
        """How much later it could start, if only needs counted."""
        return max(0.0, self.latest - self.earliest)


class Spread(msgspec.Struct, frozen=True):
    """When something is done, in seconds from now: in the expected schedule, and in 10, 50 and 90 of 100 runs."""

    expected: float
    p10: float
    p50: float
    p90: float


class LeftOut(msgspec.Struct, frozen=True):
    """How many jobs are not expected to run: failed or canceled ones and those below, held ones and those below, and
    those that fit no runner, with those below."""

    failed: int = 0
    held: int = 0
    unfit: int = 0


class Forecast(msgspec.Struct, frozen=True):
    """When the unfinished jobs will be done. Seconds count from now.

    Attributes:
        jobs: How many jobs are expected to run, with those that run already.
        running: Those that run already.
        end: When the last one is done. None: of no job like these any duration is known.
        ends: The same by workflow.
        simulations: How many runs the spread comes from.
        work: The seconds of all jobs, one after another.
        by_needs: The least time, by the longest chain of needs.
        by_capacity: The least time, by the work and the slots, processors, memory and gpus.
        path: The jobs that decide the end, first to last; at most MOST_PATH, the last ones.
        path_jobs: How many jobs the path has.
        slot_more: When the last one is done with a slot more; None: not simulated.
        sources: How many durations come from where.
        overdue: Running attempts that take longer than each before.
        left_out: Jobs that are not expected to run.
    """

    jobs: int
    running: int
    end: Spread | None
    ends: Mapping[int, Spread]
    simulations: int
    work: float
    by_needs: float
    by_capacity: float
    path: tuple[PathJob, ...]
    path_jobs: int
    slot_more: float | None
    sources: Mapping[EstimateSource, int]
    overdue: int
    left_out: LeftOut


class ForecastInputs(msgspec.Struct, frozen=True):
    """What a forecast is made from: unfinished jobs, failed and canceled ones, needs (parent, child) among them, the
    resources of each class, past durations, where jobs run, the time, and the seconds that are assumed where no
    duration is known. `draws` returns what draws numbers from 0 to 1 for a simulation, by its number."""

    jobs: Sequence[OpenJob]
    needs: Sequence[tuple[int, int]]
    resources: Mapping[int, Resources]
    past: PastDurations
    places: Sequence[Place]
    now: float
    draws: Callable[[int], Callable[[], float]]
    assumed: float | None = None
    steps: int = MOST_STEPS  # how much may be simulated


def forecast(given: ForecastInputs) -> Forecast:
    """Return the forecast of the jobs. Equal inputs give equal forecasts."""
    jobs, left_out = expected_to_run(given)
    known = _Known(given, jobs)
    if not jobs or known.estimates.count(EstimateSource.UNKNOWN):
        return known.unknown(left_out)
    budget = _Budget(given.steps)
    expected = budget.simulate(known.graph, known.seconds, given.places)
    ends = {workflow: list[float]() for workflow in {job.workflow for job in jobs}}
    several = len(ends) > 1
    all_ends: list[float] = []
    for number in range(MOST_SIMULATIONS):
        if number >= FEWEST_SIMULATIONS and budget.left < given.steps // 2:
            break
        seconds, failing = known.estimates.draw(given.draws(number))
        run = budget.simulate(known.graph, seconds, given.places, failing)
        all_ends.append(run.end)
        if several:
            for workflow, seconds_left in known.ends_by_workflow(run).items():
                ends[workflow].append(seconds_left)
    by_workflow = known.ends_by_workflow(expected)
    slot_more = known.with_a_slot_more(budget)
    end = _spread(expected.end, all_ends)
    return Forecast(
        jobs=len(jobs),
        running=len(known.graph.running),
        end=end,
        ends={one: _spread(by_workflow[one], ends[one]) if several else end for one in sorted(ends)},
        simulations=len(all_ends),
        work=math.fsum(known.seconds),
        by_needs=known.by_needs(),
        by_capacity=known.by_capacity(),
        path=known.path(expected, budget),
        path_jobs=len(expected.chain()),
        slot_more=slot_more,
        sources=known.sources(),
        overdue=known.estimates.overdue,
        left_out=left_out,
    )


class _Budget:
    """How many steps may still be simulated."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def simulate(
        self,
        graph: WorkGraph,
        seconds: Sequence[float],
        places: Sequence[Place],
        failing: Mapping[int, Sequence[tuple[float, float]]] | None = None,
    ) -> Schedule:
        found = simulate(graph, seconds, places, failing)
        self.left -= found.steps
        return found

    def allows(self, graph: WorkGraph) -> bool:
        """Return whether one more simulation is affordable."""
        return self.left >= 2 * graph.size


class _Known:
    """The jobs that are expected to run, in the order in which runners take them, with their estimated durations."""

    def __init__(self, given: ForecastInputs, jobs: Sequence[OpenJob]) -> None:
        self._given = given
        # Queued jobs are claimed already, and running ones have started.
        self._jobs = sorted(jobs, key=lambda job: (job.state not in ACTIVE, -job.priority, job.id))
        at = {job.id: position for position, job in enumerate(self._jobs)}
        self._needs = [(at[parent], at[child]) for parent, child in given.needs if parent in at and child in at]
        self.estimates = Estimates(
            [(job.id, job.template, _elapsed(job, given.now)) for job in self._jobs], given.past, given.assumed
        )
        self.seconds = self.estimates.expected()
        self.graph = self._graph()
        in_order = all(parent < child for parent, child in self._needs)
        self._order = range(len(jobs)) if in_order else topological_order(len(jobs), self._needs)
        self._earliest = self._earliest_starts()

    def _graph(self) -> WorkGraph:
        given, size = self._given, len(self._jobs)
        children: list[list[int]] = [[] for _ in range(size)]
        unmet = [0] * size
        for parent, child in self._needs:
            children[parent].append(child)
            unmet[child] += 1
        runners = {one.runner: number for number, one in enumerate(given.places) if one.runner is not None}
        restricted = any(one.workflow is not None for one in given.places)
        asks: dict[tuple[int, int], int] = {}
        kinds = [
            asks.setdefault((job.workflow if restricted else 0, job.resource_class), len(asks)) for job in self._jobs
        ]
        return WorkGraph(
            kinds=kinds,
            asks=[(workflow, given.resources[number]) for workflow, number in asks],
            children=children,
            unmet=unmet,
            running={
                position: None if job.runner is None else runners.get(job.runner)
                for position, job in enumerate(self._jobs)
                if job.state is State.RUNNING
            },
            delays={
                position: job.not_before - given.now
                for position, job in enumerate(self._jobs)
                if job.not_before is not None and job.not_before > given.now
            },
        )

    def unknown(self, left_out: LeftOut) -> Forecast:
        """Return the forecast where nothing is left, or of nothing a duration is known."""
        nothing = None if self._jobs else Spread(0.0, 0.0, 0.0, 0.0)
        return Forecast(
            jobs=len(self._jobs),
            running=len(self.graph.running),
            end=nothing,
            ends={},
            simulations=0,
            work=0.0,
            by_needs=0.0,
            by_capacity=0.0,
            path=(),
            path_jobs=0,
            slot_more=None,
            sources=self.sources(),
            overdue=self.estimates.overdue,
            left_out=left_out,
        )

    def sources(self) -> dict[EstimateSource, int]:
        """Return how many durations come from each source."""
        return {source: number for source in EstimateSource if (number := self.estimates.count(source))}

    def ends_by_workflow(self, run: Schedule) -> dict[int, float]:
        """Return when the last job of each workflow ends."""
        found: dict[int, float] = {}
        for job, end in zip(self._jobs, run.ends, strict=True):
            if end > found.get(job.workflow, -1.0):
                found[job.workflow] = end
        return found

    def by_needs(self) -> float:
        """Return the time of the longest chain of needs."""
        return max((self._earliest[one] + self.seconds[one] for one in self._order), default=0.0)

    def by_capacity(self) -> float:
        """Return the least time in which the places can do the work. Running jobs may take more than there is."""
        graph, places = self.graph, self._given.places
        idle = [one for one in range(graph.size) if one not in graph.running]
        bounds = [math.fsum(self.seconds[one] for one in idle) / max(1, sum(one.slots for one in places))]
        for name in ("cpus", "memory", "gpus"):
            have = sum(getattr(one.capacity, name) for one in places)
            wants = [getattr(asked, name) for _, asked in graph.asks]
            if have and any(wants):
                bounds.append(math.fsum(self.seconds[one] * wants[graph.kinds[one]] for one in idle) / have)
        return max(bounds)

    def path(self, expected: Schedule, budget: _Budget) -> tuple[PathJob, ...]:
        """Return the jobs that decide the end."""
        chain = expected.chain()
        latest = self._latest_starts(max(expected.end, self.by_needs()))
        costs = self._costs(expected, chain, budget)
        listed, earlier = chain[-MOST_PATH:], [-1, *chain[:-1]][-MOST_PATH:]
        needs = set(self._needs_into([*listed, *earlier]))
        found = []
        for before, one in zip(earlier, listed, strict=True):
            job = self._jobs[one]
            waits = "needs" if (before, one) in needs else "slot" if before >= 0 else "nothing"
            if before < 0 and expected.starts[one] > 0:
                waits = "delay"
            found.append(
                PathJob(
                    job.id,
                    job.workflow,
                    job.state,
                    expected.starts[one],
                    expected.ends[one],
                    waits,
                    self._earliest[one],
                    latest[one],
                    self.estimates.sources[one],
                    costs.get(one),
                )
            )
        return tuple(found)

    def _needs_into(self, jobs: Collection[int]) -> Iterable[tuple[int, int]]:
        wanted = set(jobs)
        return ((parent, child) for parent, child in self._needs if child in wanted and parent in wanted)

    def _costs(self, expected: Schedule, chain: Sequence[int], budget: _Budget) -> dict[int, float]:
        """Return by how much the end moves if a job takes an hour more, for the longest jobs of the path."""
        found: dict[int, float] = {}
        longest = sorted(chain[-MOST_PATH:], key=lambda one: (-self.seconds[one], one))
        for one in longest[:MOST_COSTS]:
            if not budget.allows(self.graph):
                break
            longer = list(self.seconds)
            longer[one] += HOUR
            run = budget.simulate(self.graph, longer, self._given.places)
            found[one] = run.end - expected.end
        return found

    def with_a_slot_more(self, budget: _Budget) -> float | None:
        """Return the end with a slot more, and a processor for it, at the first place."""
        places = self._given.places
        if not places or not budget.allows(self.graph):
            return None
        first = places[0]
        room = msgspec.structs.replace(first.capacity, cpus=first.capacity.cpus + 1)
        more = [msgspec.structs.replace(first, slots=first.slots + 1, capacity=room), *places[1:]]
        return budget.simulate(self.graph, self.seconds, more).end

    def _earliest_starts(self) -> list[float]:
        delays, children = self.graph.delays, self.graph.children
        found = [delays.get(one, 0.0) for one in range(len(self._jobs))]
        for one in self._order:
            end = found[one] + self.seconds[one]
            for child in children[one]:
                if end > found[child]:
                    found[child] = end
        return found

    def _latest_starts(self, end: float) -> list[float]:
        found = [end - seconds for seconds in self.seconds]
        children = self.graph.children
        for one in reversed(self._order):
            if children[one]:
                found[one] = min(found[child] for child in children[one]) - self.seconds[one]
        return found


def expected_to_run(given: ForecastInputs) -> tuple[list[OpenJob], LeftOut]:
    """Return the jobs that will run if nobody does anything and each that runs completes, and how many will not."""
    children: dict[int, list[int]] = {}
    for parent, child in given.needs:
        children.setdefault(parent, []).append(child)
    jobs = {job.id: job for job in given.jobs}
    waiting = {one for one, job in jobs.items() if job.state is State.WAITING}
    failed = {one for one, job in jobs.items() if job.state in ENDED_BADLY or (job.canceled and one in waiting)}
    gave_up = unreachable_jobs(failed, {one for one in waiting if not jobs[one].when_finished}, children)
    idle = {one for one, job in jobs.items() if job.state in (State.WAITING, State.READY)} - gave_up
    held = _with_those_below({one for one in idle if jobs[one].held}, idle, children)
    fits = {
        (workflow, kind): any(place.takes(workflow, given.resources[kind]) for place in given.places)
        for workflow, kind in {(job.workflow, job.resource_class) for job in jobs.values()}
    }
    idle -= held
    unfit = _with_those_below(
        {one for one in idle if not fits[jobs[one].workflow, jobs[one].resource_class]}, idle, children
    )
    left = gave_up | held | unfit
    found = [
        job for one, job in jobs.items() if one not in left and (job.state in ACTIVE or job.state not in ENDED_BADLY)
    ]
    return found, LeftOut(len(gave_up), len(held), len(unfit))


def _with_those_below(starts: set[int], idle: set[int], children: Mapping[int, Sequence[int]]) -> set[int]:
    return starts | (descendants(children, starts) & idle) if starts else starts


def _elapsed(job: OpenJob, now: float) -> float | None:
    """Return how long its attempt has been running."""
    return max(0.0, now - job.started) if job.state is State.RUNNING and job.started is not None else None


def _spread(expected: float, ends: Sequence[float]) -> Spread:
    ordered = sorted(ends)

    def at(share: float) -> float:
        position = share * (len(ordered) - 1)
        below = int(position)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (ordered[above] - ordered[below]) * (position - below)

    return Spread(expected, at(0.1), at(0.5), at(0.9))
