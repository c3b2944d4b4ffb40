"""Retries: what failed and is to run again by itself is planned and applied in the transaction that ends it.

So nothing is forgotten whatever dies: an attempt that has ended and a retry that its policy wants are there together,
or not at all. All that failed in a batch is one rerun. The errors that policies ask for are searched before the
transaction: see ErrorSearch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rekindle.domain.causes import Cause
from rekindle.domain.definition import JobTemplate, RetryRule
from rekindle.domain.errors import SlowPattern
from rekindle.domain.models import Ending, Failure, Job, Standing
from rekindle.domain.overrides import modified_of
from rekindle.domain.rerunning.planning import plan_rerun
from rekindle.domain.rerunning.rerun import FROM_BEGINNING, How
from rekindle.domain.rerunning.retrying import Failed, Retry, bounds_lost, decide_retry, with_errors_found
from rekindle.domain.states import State
from rekindle.domain.texts.patterns import SECONDS, pattern_of
from rekindle.engine.fan_outs import planning_views
from rekindle.engine.presence import works_elsewhere
from rekindle.engine.session import Session
from rekindle.store.port import Archive

_NOTES = 3
"""So many different notes stand with one rerun."""

BATCH_SECONDS = 3.0
"""When the searches of one batch have taken longer, and once a pattern has been slow, a search gets SHORT_SECONDS."""

SHORT_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class ErrorMatches:
    """By attempt, for failed attempts whose policies ask for an `error`: the rules whose error was found or that ask
    for none; and a pattern whose search took too long, which counts as not found."""

    policies: Mapping[int, tuple[RetryRule, ...]] = field(default_factory=dict)
    slow: Mapping[int, str] = field(default_factory=dict)


class ErrorSearch:
    """Searches failures for the errors that retry policies ask for, outside of any transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._policies: dict[int, tuple[RetryRule, ...]] = {}  # by template: a template never changes
        self._slow: set[str] = set()

    def search(self, failures: Mapping[int, Failure]) -> ErrorMatches:
        """Search the failures of these attempts."""
        wanted = self._asking(failures)
        policies: dict[int, tuple[RetryRule, ...]] = {}
        slow: dict[int, str] = {}
        spent = 0.0

        def found(pattern: str, text: str) -> bool:
            nonlocal spent
            short = pattern in self._slow or spent > BATCH_SECONDS
            began = time.monotonic()
            try:
                return pattern_of(pattern).found_in(text, SHORT_SECONDS if short else SECONDS)
            except SlowPattern:
                self._slow.add(pattern)
                slow[attempt] = pattern
                return False
            finally:
                spent += time.monotonic() - began

        for attempt, policy in wanted.items():
            policies[attempt] = with_errors_found(policy, failures[attempt], found)
        return ErrorMatches(policies, slow)

    def _asking(self, failures: Mapping[int, Failure]) -> dict[int, tuple[RetryRule, ...]]:
        """The policies that ask for an error, by attempt."""
        if not failures:
            return {}
        with self._session.store.read() as archive:
            standing = archive.queue.standing(failures)
            live = {known.job: attempt for attempt, known in standing.items() if known.job_attempt == attempt}
            jobs = {live[job.id]: job.template for job in archive.jobs.get(sorted(live))}
            for template in set(jobs.values()) - self._policies.keys():
                self._policies[template] = archive.workflows.template(template).retry
        found = {attempt: self._policies[template] for attempt, template in jobs.items()}
        return {attempt: policy for attempt, policy in found.items() if any(rule.error is not None for rule in policy)}


def retry(
    archive: Archive,
    ended: Sequence[tuple[Ending, Standing]],
    now: float,
    errors: Mapping[int, tuple[RetryRule, ...]] | None = None,
) -> set[int]:
    """Run again what failed in its job's live attempt, as far as its policy wants it; nothing whose end was asked for.
    The attempts have ended, and their jobs have moved. Returns the jobs that run again. `errors` are the policies of
    an ErrorSearch; of attempts that it has not searched, rules that ask for an error do not fit."""
    failed = {
        known.job: (ending, known)
        for ending, known in ended
        if ending.state is State.FAILED and known.job_attempt == ending.attempt and not known.cancel_asked
    }
    policies = _policies(archive, sorted(failed))
    if not policies:
        return set()
    before = archive.reruns.retries([job.id for job, _ in policies])
    decided = {}
    for job, template in policies:
        ending, known = failed[job.id]
        policy = (errors or {}).get(ending.attempt)
        if policy is None:
            policy = tuple(rule for rule in template.retry if rule.error is None)
        decision = decide_retry(policy, _failed(job, template, ending, known, before.get(job.id, 0)))
        if decision is not None:
            decided[job.id] = decision
    return _apply(archive, decided, now)


def bounded_by_policy(archive: Archive, jobs: Sequence[int]) -> set[int]:
    """Those of these jobs whose policy alone decides what becomes of lost attempts."""
    return {job.id for job, template in _policies(archive, jobs) if bounds_lost(template.retry)}


def _policies(archive: Archive, jobs: Sequence[int]) -> list[tuple[Job, JobTemplate]]:
    """The jobs that have a policy, as their latest definition says."""
    if not jobs:
        return []
    found = archive.jobs.get(jobs)
    templates = {number: archive.workflows.template(number) for number in {job.template for job in found}}
    return [(job, templates[job.template]) for job in found if templates[job.template].retry]


def _failed(job: Job, template: JobTemplate, ending: Ending, known: Standing, retries: int) -> Failed:
    return Failed(
        token=known.token,
        cause=ending.cause or Cause.EXIT,
        exit_code=ending.exit_code,
        retries=retries,
        had=modified_of(job.overrides).resources(template.resources),
        memory=ending.max_rss_bytes,
        seconds=None if ending.started is None else max(0.0, ending.ended - ending.started),
        host=ending.host,
    )


def _apply(archive: Archive, decided: dict[int, Retry], now: float) -> set[int]:
    if not decided:
        return set()
    alone = {
        host: not works_elsewhere(archive, host, now)
        for host in {one.avoids for one in decided.values() if one.avoids is not None}
    }
    why = {job: (one.reason(alone=alone.get(one.avoids or "", False)),) for job, one in decided.items()}
    requests = [([job], _how(one, now)) for job, one in decided.items()]
    views, graph, earlier = planning_views(archive, requests)
    plan = plan_rerun(views, graph, requests, os.path.exists, why, earlier)
    if plan.refused:  # what cannot go on at its failed step is made over again as it was
        refused = {job.id for job in plan.refused}
        requests = [(jobs, _again(how) if jobs[0] in refused else how) for jobs, how in requests]
        plan = plan_rerun(views, graph, requests, os.path.exists, why, earlier)
    if plan.jobs:
        jobs = [job.id for job in plan.jobs]
        archive.reruns.apply(plan, "retry", {"jobs": jobs}, _note([decided[job] for job in jobs]), now)
    return {job.id for job in plan.jobs}


def _how(one: Retry, now: float) -> How:
    how = How(
        start=one.rule.start,
        overrides=one.overrides,
        keep_modified=True,
        automatic=True,
        not_before=now + one.delay if one.delay else None,
        avoids=one.avoids,
    )
    return _again(how) if one.rule.start == FROM_BEGINNING else how


def _again(how: How) -> How:
    return How(again=True, overrides=how.overrides, not_before=how.not_before, avoids=how.avoids)


def _note(retries: Sequence[Retry]) -> str:
    """What led to the rerun, for people: `retry 2 of 3: timeout`."""
    notes = list(dict.fromkeys(one.note for one in retries))
    more = len(notes) - _NOTES
    return "; ".join(notes[:_NOTES]) + (f"; and {more} more kinds" if more > 0 else "")
