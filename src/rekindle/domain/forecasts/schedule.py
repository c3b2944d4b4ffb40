"""Simulated runs of unfinished jobs: list scheduling as runners do it, by priority, then by id, within capacity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush, heapreplace

import msgspec

from rekindle.domain.definition import Resources
from rekindle.domain.packing import Capacity

MOST_KINDS = 64
"""How many kinds of jobs that do not fit are looked past for one that does."""


class Place(msgspec.Struct, frozen=True):
    """A runner, or what one would be: how many jobs it runs at once, and what it has for them."""

    slots: int
    capacity: Capacity
    workflow: int | None = None  # it runs only jobs of this workflow
    runner: int | None = None  # its id

    def takes(self, workflow: int, asked: Resources) -> bool:
        """Return whether it could ever run such a job."""
        return self.workflow in (None, workflow) and self.slots > 0 and self.capacity.fits(asked)


class WorkGraph(msgspec.Struct, frozen=True):
    """Unfinished jobs by position, in the order in which runners take them. Each list has an entry for each job.

    `kinds`: positions in `asks`, which has (workflow, resources). `running`: by position of a running job, the place
    that runs it (None: none of these). `delays`: by position, the seconds before the job may start."""

    kinds: Sequence[int]
    asks: Sequence[tuple[int, Resources]]
    children: Sequence[Sequence[int]]
    unmet: Sequence[int]
    running: Mapping[int, int | None]
    delays: Mapping[int, float]

    @property
    def size(self) -> int:
        """The number of jobs."""
        return len(self.kinds)


class Schedule(msgspec.Struct, frozen=True):
    """A simulated run, in seconds from now: when each job starts (its last attempt) and ends, and by position, what the
    start waited for: the job whose end let it start (-1: none, it starts at once)."""

    starts: Sequence[float]
    ends: Sequence[float]
    after: Sequence[int]
    last: int  # the job that ends last; -1: there is none
    steps: int  # how much was computed

    @property
    def end(self) -> float:
        """When the last job ends."""
        return self.ends[self.last] if self.last >= 0 else 0.0

    def chain(self) -> list[int]:
        """Return the jobs that decide the end, first to last: each starts when the one before it ends."""
        found, at = [], self.last
        while at >= 0:
            found.append(at)
            at = self.after[at]
        return found[::-1]


Demand = tuple[tuple[int, int], ...]
"""What a job takes of a place: (resource, amount), for those resources that can run out."""


class _Rooms:
    """The places as vectors of whole numbers, and what jobs take of them. Resource 0 is slots. Resources that suffice
    for any jobs in all slots are left out, and kinds that ask for the same then are one kind."""

    def __init__(self, asks: Sequence[tuple[int, Resources]], places: Sequence[Place]) -> None:
        names = sorted({name for _, asked in asks for name, _ in asked.licences})
        wants = [_amounts(asked, names) for _, asked in asks]
        self.free = [[one.slots, *_amounts(one.capacity, names)] for one in places]
        binding = [0] + [
            at + 1
            for at, most in enumerate(max(column, default=0) for column in zip(*wants, strict=True))
            if any(most * max(0, place[0]) > place[at + 1] for place in self.free)
        ]
        self.free = [[place[at] for at in binding] for place in self.free]
        self.slots = sum(max(0, place[0]) for place in self.free)  # that are free
        same: dict[tuple[Demand, tuple[int, ...]], int] = {}
        self.kinds: list[int] = []  # by kind of the graph: a kind here
        for (workflow, asked), want in zip(asks, wants, strict=True):
            amounts = (1, *want)
            demand = tuple((to, amounts[at]) for to, at in enumerate(binding) if amounts[at])
            takers = tuple(at for at, one in enumerate(places) if one.takes(workflow, asked))
            self.kinds.append(same.setdefault((demand, takers), len(same)))
        self.demands = [demand for demand, _ in same]
        self.takers = [takers for _, takers in same]

    def enter(self, kind: int) -> int:
        """Take what a job asks for of the first place that has room for it now. Return the place; -1: none."""
        demand = self.demands[kind]
        for place in self.takers[kind]:
            free = self.free[place]
            for at, amount in demand:
                if free[at] < amount:
                    break
            else:
                for at, amount in demand:
                    free[at] -= amount
                self.slots -= 1
                return place
        return -1

    def leave(self, place: int, kind: int) -> None:
        """Give back what a job has taken."""
        free = self.free[place]
        for at, amount in self.demands[kind]:
            free[at] += amount
        if free[0] > 0:
            self.slots += 1

    def occupy(self, place: int, kind: int) -> None:
        """Take what a job asks for that runs already, whether there is room or not."""
        free = self.free[place]
        if free[0] > 0:
            self.slots -= 1
        for at, amount in self.demands[kind]:
            free[at] -= amount


_CPU = 1_000_000
"""Processors are counted in millionths, so that fractions add up again."""


def _amounts(one: Resources | Capacity, licences: Sequence[str]) -> tuple[int, ...]:
    counts = dict(one.licences)
    return (round(one.cpus * _CPU), one.memory, one.gpus, *(counts.get(name, 0) for name in licences))


class _Run:
    """One simulated run."""

    def __init__(
        self,
        graph: WorkGraph,
        seconds: Sequence[float],
        places: Sequence[Place],
        failing: Mapping[int, Sequence[tuple[float, float]]],
    ) -> None:
        size = graph.size
        self._graph, self._seconds, self._rooms = graph, seconds, _Rooms(graph.asks, places)
        self._failing = {job: list(several) for job, several in failing.items() if job not in graph.running}
        self._unmet = list(graph.unmet)
        self._starts, self._ends, self._after = [-1.0] * size, [0.0] * size, [-1] * size
        self._released = [-1] * size  # the need that ended last
        self._place = [-1] * size
        self._kinds = [self._rooms.kinds[kind] for kind in graph.kinds]
        self._ready: list[list[int]] = [[] for _ in self._rooms.demands]  # by kind: heaps of positions
        self._heads: list[tuple[int, int]] = []  # (first job, kind) of these, and some that are not the first any more
        self._events: list[tuple[float, int]] = []  # attempts end
        self._delayed: list[tuple[float, int]] = []  # jobs become ready
        self._freed: list[int] = []  # jobs whose attempts ended at the present time
        self._steps = 0

    def run(self) -> Schedule:
        """Run until no job is left that can start."""
        graph, events, delayed = self._graph, self._events, self._delayed
        for job, place in graph.running.items():
            self._starts[job] = 0.0
            if place is not None:
                self._place[job] = place
                self._rooms.occupy(place, self._kinds[job])
            heappush(events, (self._seconds[job], job))
        self._steps += len(graph.running)
        for job, unmet in enumerate(self._unmet):
            if not unmet and job not in graph.running:
                self._enqueue(job, 0.0)
        now, last = 0.0, -1
        while True:
            self._start(now)
            if delayed and (not events or delayed[0][0] < events[0][0]):
                now = delayed[0][0]
            elif events:
                now = events[0][0]
            else:
                break
            self._freed.clear()
            while delayed and delayed[0][0] <= now:
                self._make_ready(heappop(delayed)[1])
            while events and events[0][0] <= now:
                job = heappop(events)[1]
                if self._end(job, now):
                    last = job
        return Schedule(self._starts, self._ends, self._after, last, self._steps)

    def _enqueue(self, job: int, now: float) -> None:
        delays = self._graph.delays
        if delays and (due := delays.get(job, 0.0)) > now:
            heappush(self._delayed, (due, job))
        else:
            self._make_ready(job)

    def _make_ready(self, job: int) -> None:
        kind = self._kinds[job]
        queue = self._ready[kind]
        heappush(queue, job)
        if queue[0] == job:
            heappush(self._heads, (job, kind))

    def _start(self, now: float) -> None:
        """Start what fits, in the order of the queue. A job that does not fit lets those of other kinds start."""
        rooms, ready, heads, starts = self._rooms, self._ready, self._heads, self._starts
        if not rooms.slots:
            return
        full: dict[int, tuple[int, int]] = {}  # kinds that do not fit
        while heads and len(full) < MOST_KINDS:
            job, kind = heads[0]
            queue = ready[kind]
            if not queue or queue[0] != job or kind in full:  # an earlier one has come before it
                heappop(heads)
                continue
            place = rooms.enter(kind)
            if place < 0:
                full[kind] = heappop(heads)
                continue
            heappop(queue)
            if starts[job] < 0:
                starts[job] = now
                need = self._released[job]  # its last need if that ends now, else one that leaves room
                at_once = not self._freed or (need >= 0 and self._ends[need] == now)
                self._after[job] = need if at_once else self._freed[-1]
            failing = self._failing.get(job)
            heappush(self._events, (now + (failing[0][0] if failing else self._seconds[job]), job))
            self._place[job] = place
            self._steps += 1
            if queue:
                heapreplace(heads, (queue[0], kind))
            else:
                heappop(heads)
            if not rooms.slots:
                self._steps += bool(heads)
                break
        self._steps += len(full)
        for head in full.values():
            heappush(heads, head)

    def _end(self, job: int, now: float) -> bool:
        """End an attempt. Return whether the job has ended with it; else it is retried."""
        if (place := self._place[job]) >= 0:
            self._rooms.leave(place, self._kinds[job])
        self._freed.append(job)
        if failing := self._failing.get(job):
            heappush(self._delayed, (now + failing.pop(0)[1], job))
            return False
        self._ends[job] = now
        unmet = self._unmet
        for child in self._graph.children[job]:
            unmet[child] = left = unmet[child] - 1
            if not left:
                self._released[child] = job
                self._enqueue(child, now)
        return True


def simulate(
    graph: WorkGraph,
    seconds: Sequence[float],
    places: Sequence[Place],
    failing: Mapping[int, Sequence[tuple[float, float]]] | None = None,
) -> Schedule:
    """Run the jobs: each takes its `seconds`, after attempts that fail and are retried. Each job fits some place."""
    return _Run(graph, seconds, places, failing or {}).run()
