"""Simulate a supervision on the history of its workflow: read the history in one snapshot, and write nothing."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.batches.backtest import Backtest, Policy, backtest
from rekindle.domain.batches.past_attempts import Draw, PastAttempt, PastJob
from rekindle.domain.batches.quarantine import is_in_force, utc_day
from rekindle.domain.batches.supervision import Guards, check_guards
from rekindle.domain.batches.supervision_report import count_statuses
from rekindle.domain.errors import SlowPattern
from rekindle.domain.retry import match_errors
from rekindle.domain.states import State
from rekindle.domain.texts.patterns import compile_pattern
from rekindle.domain.verdicts import Status
from rekindle.engine.queries.selections import find_workflow

if TYPE_CHECKING:
    from rekindle.domain.definition import JobTemplate, RetryRule
    from rekindle.domain.models import Failure
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot
    from rekindle.store.supervisions import RecordedAttempt


class SimulationOptions(msgspec.Struct, frozen=True):
    """A policy to simulate on a workflow. Without `slots`, as many jobs run at once as have in its history."""

    workflow: str
    guards: Guards
    slots: int | None = None
    retries_at_most: int | None = None
    wait_timeout: float | None = None
    seed: int = 0


class SimulatedSupervision(msgspec.Struct, frozen=True):
    """What a supervision would have done, and what happened.

    Attributes:
        workflow: The id of the workflow.
        name: Its name.
        policy: What was simulated.
        seed: By which attempts without a record were drawn.
        found: The rounds and the end of the simulated supervision.
        attempts: How many attempts there are in fact.
        core_seconds: Their running time, multiplied by processors.
        statuses: How many jobs have each status in fact.
        canceled: Canceled attempts, which say nothing about a job and were left out.
    """

    workflow: int
    name: str
    policy: Policy
    seed: int
    found: Backtest
    attempts: int
    core_seconds: float
    statuses: Mapping[Status, int]
    canceled: int


def simulate(session: Session, options: SimulationOptions) -> SimulatedSupervision:
    """Replay the history of a workflow under a policy. Raise Refused if it has no attempt that completed or failed."""
    check_guards(options.guards)
    workflow = find_workflow(session, options.workflow)
    with session.store.read() as archive:
        members = archive.supervisions.batch(workflow.id)
        templates = dict(archive.workflows.templates(workflow.id))
        classes = archive.supervisions.classes(workflow.id)
        needs = archive.supervisions.needs(workflow.id)
        recorded = list(archive.supervisions.past_attempts(workflow.id))
        of = {one.id: templates[one.template] for one in members}
        failures = _failures(archive, recorded, of)
    rules = _rules(recorded, of, failures)
    past: dict[int, list[PastAttempt]] = {}
    for one in recorded:
        if one.past.state is not State.CANCELED:
            past.setdefault(one.job, []).append(one.past._replace(rules=rules.get(one.id, ())))
    today = utc_day(session.clock())
    jobs = [
        PastJob(
            one.id,
            one.name,
            one.template,
            of[one.id].name,
            tuple(past.get(one.id, ())),
            one.binding,
            *classes[one.id],
            of[one.id].aggregate,
            of[one.id].when == "finished",
            of[one.id].quarantine if is_in_force(of[one.id].quarantine, today) else None,
            bool(of[one.id].rerun_forbidden),
        )
        for one in members
    ]
    slots = options.slots or most_at_once(recorded)
    policy = Policy(options.guards, slots, options.retries_at_most, options.wait_timeout)
    return SimulatedSupervision(
        workflow.id,
        workflow.name,
        policy,
        options.seed,
        backtest(jobs, needs, policy, seeded(options.seed)),
        sum(one.past.state is not State.CANCELED for one in recorded),
        sum(one.past.seconds * classes[one.job][1] for one in recorded if one.past.state is not State.CANCELED),
        count_statuses(members),
        sum(one.past.state is State.CANCELED for one in recorded),
    )


def seeded(seed: int) -> Draw:
    """Return draws that depend on a seed."""
    return lambda job, made, size: random.Random(f"{seed}/{job}/{made}").randrange(size)


def most_at_once(recorded: Collection[RecordedAttempt]) -> int:
    """Return the most attempts that ran at the same time; at least 1."""
    changes = Counter[float]()
    for one in recorded:
        if one.started is not None and one.ended is not None and one.ended > one.started:
            changes[one.started] += 1
            changes[one.ended] -= 1
    now = most = 0
    for _, change in sorted(changes.items()):
        now += change
        most = max(most, now)
    return max(1, most)


def _failures(
    archive: Snapshot, recorded: Sequence[RecordedAttempt], of: Mapping[int, JobTemplate]
) -> dict[int, Failure]:
    """Return, by attempt, the error texts that a retry rule searches."""
    wanted = [
        one.id
        for one in recorded
        if one.past.state is State.FAILED and any(rule.error is not None for rule in of[one.job].retry)
    ]
    return {one.id: one.failure for one in archive.attempts.by_id(wanted) if one.failure is not None}


def _rules(
    recorded: Sequence[RecordedAttempt], of: Mapping[int, JobTemplate], failures: Mapping[int, Failure]
) -> dict[int, tuple[RetryRule, ...]]:
    """Return, by failed attempt, the retry rules whose error text it contains, or that ask for none."""
    found = {}
    for one in recorded:
        if one.past.state is not State.FAILED:
            continue
        rules = of[one.job].retry
        if one.id in failures:
            rules = match_errors(rules, failures[one.id], _contains)
        found[one.id] = tuple(rule for rule in rules if rule.error is None or one.id in failures)
    return found


def _contains(pattern: str, text: str) -> bool:
    """Search a pattern; one that takes too long is not found, as for a runner."""
    try:
        return compile_pattern(pattern).found_in(text)
    except SlowPattern:
        return False
