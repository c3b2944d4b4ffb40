"""Backtest of a supervision: replay the recorded attempts of a workflow under other guards and retries.

The simulated jobs have the same needs as the real ones. The k-th attempt of a simulated job ends as the k-th recorded
attempt of the job did, and takes as long. If there is none, one is drawn from attempts in similar circumstances.
`decide_round`, `decide_retry` and the rules of canaries decide, as in a real supervision."""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from rekindle.domain.batches.canaries import (
    Canary,
    CanaryChoice,
    CanaryGroup,
    FailedJob,
    GroupOutcome,
    choose_canaries,
    decide_group,
)
from rekindle.domain.batches.past_attempts import NO_RECORD, Draw, PastAttempts, PastJob, Source
from rekindle.domain.batches.supervision import (
    GroupKeys,
    Guards,
    RerunCandidate,
    RoundDecision,
    SpentBudget,
    SupervisionEnd,
    decide_round,
    group_of,
    over_budget,
)
from rekindle.domain.graph import descendants, topological_order
from rekindle.domain.rerun.request import How
from rekindle.domain.retry import FailedAttempt, decide_retry
from rekindle.domain.states import ENDED, State
from rekindle.domain.verdicts import Status, status_of


class Policy(msgspec.Struct, frozen=True):
    """What is tried on a history: guards, and the most retries of all jobs together (None: any number).

    `slots` jobs run at once. `wait_timeout`: the most seconds until the workflow is at rest."""

    guards: Guards
    slots: int
    retries_at_most: int | None = None
    wait_timeout: float | None = None


class SimulatedRound(msgspec.Struct, frozen=True):
    """The simulated batch at rest, `at` seconds after its begin, what it had cost by then, and what ran again."""

    number: int  # from 1
    at: float
    attempts: int
    core_seconds: float
    percent: float
    matching: int
    total: int
    aggregates: int
    jobs: int  # rerun, without their descendants
    stopped: Mapping[str, float]


class Backtest(msgspec.Struct, frozen=True):
    """What a supervision would have done. `core_seconds` is running time multiplied by processors.

    `drawn` counts the attempts that no record decided, by where they were drawn from."""

    end: SupervisionEnd
    why: str
    seconds: float
    attempts: int
    core_seconds: float
    rounds: tuple[SimulatedRound, ...]
    statuses: Mapping[Status, int]
    drawn: Mapping[Source, int]


def backtest(jobs: Sequence[PastJob], needs: Sequence[tuple[int, int]], policy: Policy, draw: Draw) -> Backtest:
    """Supervise the jobs from the beginning under a policy. `needs` are (parent, child). Each job or one like it has
    a recorded attempt; otherwise raise Refused."""
    return _Simulation(jobs, needs, policy, draw).run()


class _Job:
    """A simulated job. `left`: how many needs keep it from starting. `settled`: its children do not wait for it."""

    __slots__ = ("last", "left", "made", "past", "retries", "settled", "state")

    def __init__(self, past: PastJob) -> None:
        self.past, self.state, self.last = past, State.WAITING, NO_RECORD
        self.made = self.retries = self.left = 0
        self.settled = False

    @property
    def status(self) -> Status:
        """State and verdict in one word."""
        return status_of(self.state, self.last.found if self.state is State.COMPLETED else None)


class _Simulation:
    """The jobs, what runs, and the simulated time in seconds."""

    def __init__(self, jobs: Sequence[PastJob], needs: Sequence[tuple[int, int]], policy: Policy, draw: Draw) -> None:
        self._jobs = {one.id: _Job(one) for one in jobs}
        self._policy, self._guards, self._draw = policy, policy.guards, draw
        self._records = PastAttempts(jobs)
        self._parents: dict[int, list[int]] = {}
        self._children: dict[int, list[int]] = {}
        for parent, child in needs:
            self._parents.setdefault(child, []).append(parent)
            self._children.setdefault(parent, []).append(child)
        self._order = _parents_first(list(self._jobs), needs)
        self._now = self._round_began = self._core_seconds = 0.0
        self._attempts = 0
        self._first: tuple[int, float] | None = None  # (attempts, core-seconds) before the first rerun
        self._ready: list[tuple[int, int]] = []  # heap of (-priority, job)
        self._delayed: list[tuple[float, int]] = []  # heap of (time, job)
        self._running: list[tuple[float, int]] = []  # heap of (end, job)
        self._retries_left = policy.retries_at_most
        self._drawn: Counter[Source] = Counter()
        self._rounds: list[SimulatedRound] = []
        self._groups: list[CanaryChoice] = []

    def run(self) -> Backtest:
        """Run rounds until one ends the supervision."""
        self._derive()
        while True:
            decision = self._until_rest() or self._round()
            if decision is not None:
                return self._report(decision)

    # --- attempts

    def _until_rest(self) -> RoundDecision | None:
        """Run attempts until nothing can run. Return a decision if the time of the round is over."""
        timeout = self._policy.wait_timeout
        last = None if timeout is None else self._round_began + timeout
        while True:
            self._start()
            following = min((heap[0][0] for heap in (self._running, self._delayed) if heap), default=None)
            if following is None:
                return None
            if last is not None and following > last:
                self._now = max([last, *(end for end, _ in self._running)])  # what runs goes on to its end
                for _, job in sorted(self._running):
                    self._end(self._jobs[job], retry=False)
                return RoundDecision(
                    end=SupervisionEnd.TIMED_OUT, why=f"it would not have come to rest after {timeout:g} s"
                )
            self._now = following
            while self._delayed and self._delayed[0][0] <= self._now:
                self._enqueue(heapq.heappop(self._delayed)[1])
            while self._running and self._running[0][0] <= self._now:
                self._end(self._jobs[heapq.heappop(self._running)[1]], retry=True)

    def _start(self) -> None:
        while self._ready and len(self._running) < self._policy.slots:
            job = self._jobs[heapq.heappop(self._ready)[1]]
            job.last, source = self._records.attempt(job.past, job.made, job.last, self._draw)
            if source is not None:
                self._drawn[source] += 1
            job.made, job.state = job.made + 1, State.RUNNING
            self._attempts += 1
            self._core_seconds += job.last.seconds * job.past.cpus
            heapq.heappush(self._running, (self._now + job.last.seconds, job.past.id))

    def _end(self, job: _Job, *, retry: bool) -> None:
        """End an attempt: retry it if the job's policy says so, else release what needs the job."""
        job.state = job.last.state
        if job.state is State.FAILED and retry and (delay := self._retry(job)) is not None:
            job.state = State.READY
            heapq.heappush(self._delayed, (self._now + delay, job.past.id))
            return
        self._settle(job)
        if self._groups:
            self._decide_groups()

    def _retry(self, job: _Job) -> float | None:
        """Return the delay of a retry, and count it; None: none follows."""
        if self._retries_left == 0 or job.last.cause is None:
            return None
        failed = FailedAttempt(
            f"{job.past.id}/{job.made}", job.last.cause, job.last.exit_code, job.retries, seconds=job.last.seconds
        )
        if (retry := decide_retry(job.last.rules, failed)) is None:
            return None
        job.retries += 1
        if self._retries_left is not None:
            self._retries_left -= 1
        return retry.delay

    def _settle(self, job: _Job) -> None:
        """Release the children of a job that has ended, and those of jobs that can no longer run."""
        job.settled = True
        done = [job]
        while done:
            parent = done.pop()
            for child in map(self._jobs.__getitem__, self._children.get(parent.past.id, ())):
                if parent.state is State.COMPLETED or child.past.when_finished:
                    child.left -= 1
                    if child.left == 0 and child.state is State.WAITING:
                        self._enqueue(child.past.id)
                elif child.state is State.WAITING and not child.settled:
                    child.settled = True
                    done.append(child)

    def _enqueue(self, job: int) -> None:
        self._jobs[job].state = State.READY
        heapq.heappush(self._ready, (-self._jobs[job].past.priority, job))

    # --- rounds

    def _round(self) -> RoundDecision | None:
        """Decide about a rerun and begin it. Return the decision if it ends the supervision."""
        decision = decide_round(len(self._rounds), list(self._candidates()), self._guards)
        if decision.end is not None:
            return decision
        again = {job for job in decision.rerun if not self._jobs[job].past.rerun_forbidden}
        if not again:
            return replace(decision, end=SupervisionEnd.REFUSED, why="no job that is left may run again")
        groups = self._canaries(again)
        waits = {job for group in groups for job, _ in group.waits}
        reset = self._with_descendants(again - waits)
        if (why := over_budget(self._guards.budget, self._spent(reset, len(waits)))) is not None:
            return replace(decision, rerun=(), end=SupervisionEnd.BUDGET, why=why)
        self._rounds.append(self._at_rest(decision, len(again)))
        self._first = self._first or (self._attempts, self._core_seconds)
        self._groups, self._round_began = groups, self._now
        self._reset(reset)
        return None

    def _candidates(self) -> Iterator[RerunCandidate]:
        by = self._guards.group_by
        for number, job in self._jobs.items():
            live, past = job.last if job.state in ENDED else NO_RECORD, job.past
            matrix = json.loads(past.binding or "{}") if by and by.startswith("matrix.") else {}
            group = group_of(by, GroupKeys(live.host, live.signature, live.cause, past.template_name, matrix))
            yield RerunCandidate(number, job.status, live.cause, live.signature, group, past.aggregate, past.quarantine)

    def _canaries(self, again: Collection[int]) -> list[CanaryChoice]:
        if self._guards.canary is None:
            return []
        failed = [
            FailedJob(number, job.past.name, 0, job.past.template, job.made, job.last.host, job.last.signature)
            for number in again
            if (job := self._jobs[number]).state is State.FAILED and job.last.signature is not None
        ]
        return choose_canaries(failed, self._guards.canary, How(keep_modified=True))

    def _decide_groups(self) -> None:
        """Run the rest of each group of canaries that have passed."""
        for group in tuple(self._groups):
            canaries = tuple(
                Canary(number, name, job.state, signature=job.last.signature if job.state is State.FAILED else None)
                for number, name in group.canaries
                for job in (self._jobs[number],)
            )
            decided = decide_group(CanaryGroup(0, 0, 0, group.signature, group.type, group.message, canaries))
            if decided is not None:
                self._groups.remove(group)
                if decided.outcome is GroupOutcome.RELEASED:
                    self._reset(self._with_descendants({job for job, _ in group.waits}))

    def _with_descendants(self, jobs: Collection[int]) -> set[int]:
        """Return the jobs and what needs them, without descendants that run now."""
        below = descendants(self._children, jobs)
        return {*jobs, *(one for one in below if self._jobs[one].state is not State.RUNNING)}

    def _spent(self, reset: Collection[int], waits: int) -> SpentBudget:
        attempts, core_seconds = self._first or (self._attempts, self._core_seconds)
        expected = sum(self._records.expected(self._jobs[one].past) * self._jobs[one].past.cpus for one in reset)
        return SpentBudget(
            self._attempts - attempts, self._core_seconds - core_seconds, self._now, len(reset) + waits, expected
        )

    def _reset(self, jobs: Collection[int]) -> None:
        for one in jobs:
            self._jobs[one].state, self._jobs[one].retries = State.WAITING, 0
        self._delayed = [entry for entry in self._delayed if entry[1] not in jobs]
        heapq.heapify(self._delayed)
        self._derive()

    def _derive(self) -> None:
        """Count the open needs of waiting jobs, settle jobs that cannot run, and enqueue those that can."""
        for number in self._order:
            job = self._jobs[number]
            parents = [self._jobs[one] for one in self._parents.get(number, ())]
            if job.past.when_finished:
                job.left = sum(not one.settled for one in parents)
            else:
                job.left = sum(one.state is not State.COMPLETED for one in parents)
            blocked = any(one.settled and one.state is not State.COMPLETED for one in parents)
            job.settled = job.state in ENDED or (job.state is State.WAITING and blocked and not job.past.when_finished)
        self._ready = [entry for entry in self._ready if self._jobs[entry[1]].state is State.READY]
        heapq.heapify(self._ready)
        for number in self._order:
            if self._jobs[number].state is State.WAITING and self._jobs[number].left == 0:
                self._enqueue(number)

    # --- results

    def _at_rest(self, decision: RoundDecision, jobs: int) -> SimulatedRound:
        return SimulatedRound(
            len(self._rounds) + 1,
            self._now,
            self._attempts,
            self._core_seconds,
            decision.percent,
            decision.matching,
            decision.total,
            decision.aggregates,
            jobs,
            decision.stopped,
        )

    def _report(self, decision: RoundDecision) -> Backtest:
        assert decision.end is not None
        last = (self._at_rest(decision, 0),) if decision.total else ()
        counts = Counter(job.status for job in self._jobs.values())
        return Backtest(
            decision.end,
            decision.why,
            self._now,
            self._attempts,
            self._core_seconds,
            (*self._rounds, *last),
            {status: counts[status] for status in Status if counts[status]},
            {source: self._drawn[source] for source in Source if self._drawn[source]},
        )


def _parents_first(jobs: Sequence[int], needs: Sequence[tuple[int, int]]) -> list[int]:
    at = {job: position for position, job in enumerate(jobs)}
    edges = [(at[parent], at[child]) for parent, child in needs]
    return [jobs[position] for position in topological_order(len(jobs), edges)]
