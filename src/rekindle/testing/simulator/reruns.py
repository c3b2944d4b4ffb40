"""Reruns in a simulation: supervision decides which failed jobs run again, and the planner plans it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.batches.supervision import Guards, RerunCandidate, RoundDecision, decide_round
from rekindle.domain.rerun.planner import plan_rerun
from rekindle.domain.rerun.request import How, Requests
from rekindle.domain.rerun.views import AttemptView, JobGraph, JobView
from rekindle.domain.states import Cause, State
from rekindle.domain.verdicts import Status

if TYPE_CHECKING:
    from rekindle.domain.rerun.plan import RerunPlan
    from rekindle.testing.simulator.cluster import Cluster
    from rekindle.testing.simulator.workload import Workload


class PlanCost(msgspec.Struct, frozen=True):
    """The cost of one plan, in seconds of processor time."""

    jobs: int  # of the workload
    failed: int
    planned: int
    gathered: float  # seconds to read what the planner needs from the arrays
    seconds: float  # of the planner


def supervise_round(cluster: Cluster, rerun: int, guards: Guards) -> tuple[RoundDecision, PlanCost | None]:
    """Decide about a batch at rest after `rerun` reruns, and plan and apply what is decided. The errors of the jobs
    are mended first."""
    done, failed = RerunCandidate(0, Status.PASSED), []
    jobs = [done] * cluster.workload.total
    for number, state in enumerate(cluster.states):
        if number and state == State.FAILED:
            jobs[number - 1] = RerunCandidate(number, Status.ERROR, Cause.EXIT)
            failed.append(number)
    decision = decide_round(rerun, jobs, guards)
    del jobs
    if not decision.rerun:
        return decision, None
    cluster.broken.clear()
    plan, cost = plan_failed(cluster.workload, cluster.states, cluster.unmet, decision.rerun)
    for job in plan.jobs:
        cluster.reset(job.id, job.after, job.unmet)
    return decision, cost


def plan_failed(
    workload: Workload, states: Sequence[int], unmet: Sequence[int], failed: Sequence[int]
) -> tuple[RerunPlan, PlanCost]:
    """Plan a rerun of these jobs, as `rekindle rerun -s failed` does."""
    began = time.process_time()
    reached = _reached(workload, failed)
    wanted = reached | {parent for job in reached for parent in workload.parents(job)}
    views = {job: _view(job, State(states[job]), unmet[job]) for job in sorted(wanted)}
    graph = JobGraph({job: workload.children(job) for job in wanted})
    how = How()
    gathered = time.process_time()
    plan = plan_rerun(views, graph, Requests(dict.fromkeys(failed, how)))
    ended = time.process_time()
    return plan, PlanCost(workload.total, len(failed), len(plan.jobs), gathered - began, ended - gathered)


def measure_plans(sizes: Iterable[int], share: float, seed: int, make: type[Workload]) -> list[PlanCost]:
    """Return the cost of planning a rerun of a share of the jobs, which have failed, in workloads of several sizes.
    What is below the failed jobs waits, and everything else is completed."""
    costs = []
    for size in sizes:
        workload = make(jobs=size, seed=seed)
        failed = random.Random(seed).sample(range(1, workload.layer + 1), max(1, round(share * workload.total)))
        failed.sort()
        states, unmet = bytearray([State.COMPLETED]) * (workload.total + 1), bytearray(workload.total + 1)
        for job in sorted(_reached(workload, failed)):
            states[job] = State.WAITING
        for job in failed:
            states[job] = State.FAILED
        for job in range(workload.layer + 1, workload.total + 1):
            if states[job] == State.WAITING:
                unmet[job] = sum(states[parent] != State.COMPLETED for parent in workload.parents(job))
        costs.append(plan_failed(workload, states, unmet, failed)[1])
    return costs


def _reached(workload: Workload, failed: Iterable[int]) -> set[int]:
    found = set(failed)
    level = list(found)
    for job in level:  # grows during the loop
        for child in workload.children(job):
            if child not in found:
                found.add(child)
                level.append(child)
    return found


def _view(job: int, state: State, unmet: int) -> JobView:
    attempt = None
    if state in (State.COMPLETED, State.FAILED):
        cause = Cause.EXIT.value if state is State.FAILED else None
        attempt = AttemptView(job, state, cause)
    return JobView(job, f"job-{job}", state, 1, ("work",), unmet=unmet, attempt=attempt, template=1)
