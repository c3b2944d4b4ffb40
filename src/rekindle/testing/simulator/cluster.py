"""The nodes of a simulation, and the events on them: ends of attempts, failures of nodes, preemptions and retries."""

from __future__ import annotations

import heapq
import random
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from rekindle.domain.definition import Resources
from rekindle.domain.models import ReadyJob
from rekindle.domain.next_attempt import DEFAULT_NEXT_ATTEMPT
from rekindle.domain.packing import Capacity, pack_jobs
from rekindle.domain.retry import FailedAttempt, decide_retry
from rekindle.domain.states import Cause, State
from rekindle.engine.running.lost_attempts import LOST_IN_A_ROW
from rekindle.testing.simulator.workload import CLASSES, GIGABYTE, POLICY, Workload

NODE = Capacity(cpus=8.0, memory=64 * GIGABYTE)
DOWN_SECONDS = 600.0
"""How long a node is away that has failed or was preempted."""


class Nodes(msgspec.Struct, frozen=True):
    """The nodes: how many, and how often each fails or is preempted (mean seconds between; 0: never)."""

    number: int
    failure: float = 30 * 86_400.0
    preemption: float = 0.0


class Measured(msgspec.Struct):
    """What a simulation has counted. Seconds are core seconds unless they are named otherwise."""

    decisions: int = 0  # claims, retries and losses that were decided
    attempts: int = 0
    makespan: float = 0.0  # seconds
    useful: float = 0.0
    wasted: dict[str, float] = msgspec.field(default_factory=dict)  # by what ended the attempts
    ends: Counter[str] = msgspec.field(default_factory=Counter)
    waited: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(CLASSES))  # the sum, by class
    longest: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(CLASSES))
    claimed: list[int] = msgspec.field(default_factory=lambda: [0] * len(CLASSES))


class Attempt(msgspec.Struct):
    """A running attempt."""

    job: int
    node: int
    asked: Resources
    began: float
    cause: Cause | None


class Cluster:
    """The state of all jobs in arrays, by job; index 0 is unused."""

    def __init__(self, workload: Workload, nodes: Nodes) -> None:
        size = workload.total + 1
        self.workload, self.nodes, self.measured = workload, nodes, Measured()
        self.now = 0.0
        self.states = bytearray([State.WAITING]) * size
        self.unmet, self.kinds = bytearray(size), workload.kinds()
        self.retries, self.lost_in_a_row = bytearray(size), bytearray(size)
        self.ready_at = array("f", bytes(4 * size))
        self.broken = workload.broken_jobs()
        self.memory: dict[int, int] = {}  # of jobs whose memory was raised
        self._random = random.Random(f"cluster {workload.seed}")
        self._queues: dict[Resources, list[int]] = {asked: [] for asked in CLASSES}  # heaps of ready jobs
        self._free = [NODE] * nodes.number
        self._running: dict[int, Attempt] = {}  # by number
        self._on_node: list[set[int]] = [set() for _ in range(nodes.number)]
        self._away = bytearray(nodes.number)
        self._idle = list(range(nodes.number - 1, -1, -1))  # nodes that have found nothing to do
        self._is_idle = bytearray([1]) * nodes.number
        self._events: list[tuple[float, int, int]] = []  # time, kind, what
        for node in range(nodes.number):
            self._plan_trouble(node)
        for job in range(1, size):
            self.unmet[job] = len(workload.parents(job))
        self._make_ready(range(1, workload.layer + 1))

    def run(self) -> None:
        """Run until no job is ready, running or delayed."""
        self._wake()
        while self._running or self._delayed:
            self.now, kind, what = heapq.heappop(self._events)
            if kind == _END:
                attempt = self._running.pop(what, None)
                if attempt is not None:
                    self._on_node[attempt.node].discard(what)
                    self._free[attempt.node] = self._free[attempt.node].give(attempt.asked)
                    self._end(attempt, attempt.cause)
                    self._claim(attempt.node)
            elif kind == _RETRY:
                self._delayed -= 1
                self._make_ready((what,))
            elif kind == _BACK:
                self._away[what] = 0
                self._claim(what)
            else:
                self._lose_node(what, Cause.LOST if kind == _FAILS else Cause.CANCELED)
            self._wake()
        self.measured.makespan = self.now

    def reset(self, job: int, after: State, unmet: int) -> None:
        """Apply what a plan does to a job."""
        self.states[job], self.unmet[job] = after, unmet
        self.retries[job] = self.lost_in_a_row[job] = 0
        if after is State.READY:
            self._make_ready((job,))

    _delayed = 0  # jobs that wait for a retry
    _attempts = 0

    # --- claims

    def _make_ready(self, jobs: Iterable[int]) -> None:
        for job in jobs:
            self.states[job] = State.READY
            self.ready_at[job] = self.now
            heapq.heappush(self._queues.setdefault(self._asked(job), []), job)

    def _asked(self, job: int) -> Resources:
        asked = CLASSES[self.kinds[job]]
        return msgspec.structs.replace(asked, memory=self.memory[job]) if job in self.memory else asked

    def _wake(self) -> None:
        """Let idle nodes claim while jobs are ready."""
        while self._idle and any(self._queues.values()):
            node = self._idle.pop()
            self._is_idle[node] = 0
            if not self._claim(node):
                return

    def _claim(self, node: int) -> bool:
        """Claim what fits on a node. Return whether anything did."""
        if self._away[node]:
            return False
        free, offered = self._free[node], []
        for asked, queue in self._queues.items():
            if queue and asked.cpus <= free.cpus:
                most = min(len(queue), int(free.cpus // asked.cpus))
                offered.append((asked, [_ready_job(heapq.heappop(queue), asked) for _ in range(most)]))
        taken = pack_jobs(free, offered) if offered else []
        chosen = {job.id for job in taken}
        for asked, jobs in offered:
            for job in jobs:
                if job.id in chosen:
                    self._start(job.id, node, asked)
                else:
                    heapq.heappush(self._queues[asked], job.id)
        if not taken and not self._is_idle[node]:
            self._is_idle[node] = 1
            self._idle.append(node)
        return bool(taken)

    def _start(self, job: int, node: int, asked: Resources) -> None:
        draw, workload, measured = self._random.random, self.workload, self.measured
        self._attempts += 1
        self._free[node] = self._free[node].take(asked)
        chance = draw()
        cause = None
        if job in self.broken or chance < workload.fail:
            cause = Cause.EXIT
        elif chance < workload.fail + workload.oom and job not in self.memory:
            cause = Cause.OOM
        seconds = self._random.expovariate(1 / workload.seconds)
        self._running[self._attempts] = Attempt(job, node, asked, self.now, cause)
        self._on_node[node].add(self._attempts)
        self.states[job] = State.RUNNING
        heapq.heappush(self._events, (self.now + seconds, _END, self._attempts))
        kind, waited = self.kinds[job], self.now - self.ready_at[job]
        measured.claimed[kind] += 1
        measured.waited[kind] += waited
        measured.longest[kind] = max(measured.longest[kind], waited)
        measured.decisions += 1
        measured.attempts += 1

    # --- ends

    def _end(self, attempt: Attempt, cause: Cause | None) -> None:
        """Decide what the end of an attempt means for its job and its children."""
        job, measured = attempt.job, self.measured
        spent = (self.now - attempt.began) * attempt.asked.cpus
        measured.ends["completed" if cause is None else cause.value] += 1
        if cause is None:
            measured.useful += spent
            self.states[job] = State.COMPLETED
            self._release(self.workload.children(job))
            return
        measured.wasted[cause.value] = measured.wasted.get(cause.value, 0.0) + spent
        measured.decisions += 1
        if cause is Cause.CANCELED:
            self._make_ready((job,))
        elif cause is Cause.LOST:
            self.lost_in_a_row[job] += 1
            if self.lost_in_a_row[job] < LOST_IN_A_ROW:
                self._make_ready((job,))
            else:
                self.states[job] = State.FAILED
        else:
            self._retry(attempt, cause)

    def _retry(self, attempt: Attempt, cause: Cause) -> None:
        job = attempt.job
        failed = FailedAttempt(str(job), cause, 1, self.retries[job], attempt.asked, host=str(attempt.node))
        retry = decide_retry(POLICY, failed)
        if retry is None:
            self.states[job] = State.FAILED
            return
        self.retries[job] += 1
        if retry.overrides is not None and retry.overrides.memory is not None:
            self.memory[job] = int(retry.overrides.memory.value or 0)
        if retry.delay:
            self._delayed += 1
            self.states[job] = State.WAITING
            heapq.heappush(self._events, (self.now + retry.delay, _RETRY, job))
        else:
            self._make_ready((job,))

    def _release(self, children: Sequence[int]) -> None:
        for child in children:
            self.unmet[child] -= 1
            if not self.unmet[child]:
                self._make_ready((child,))

    # --- nodes

    def _lose_node(self, node: int, cause: Cause) -> None:
        """End all attempts of a node, which is away for a while."""
        self._away[node] = 1
        for number in sorted(self._on_node[node]):
            self._end(self._running.pop(number), cause)
        self._on_node[node].clear()
        self._free[node] = NODE
        heapq.heappush(self._events, (self.now + DOWN_SECONDS, _BACK, node))
        self._plan_trouble(node)

    def _plan_trouble(self, node: int) -> None:
        for kind, mean in ((_FAILS, self.nodes.failure), (_PREEMPTED, self.nodes.preemption)):
            if mean:
                heapq.heappush(self._events, (self.now + self._random.expovariate(1 / mean), kind, node))


_END, _RETRY, _BACK, _FAILS, _PREEMPTED = range(5)


def _ready_job(job: int, asked: Resources) -> ReadyJob:
    return ReadyJob(job, 1, "", 1, 1, "{}", 0, 0, id(asked), DEFAULT_NEXT_ATTEMPT)
