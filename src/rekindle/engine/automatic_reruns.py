"""Reruns that start by themselves: retries and repeats.

Each is planned and applied in the transaction that ends the attempt, so that a crash loses none. All retries of a batch
are one rerun. RetryErrorSearch searches the errors that policies name before the transaction.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.definition import JobTemplate, RetryRule
from rekindle.domain.errors import SlowPattern
from rekindle.domain.overrides import decode_overrides
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.rerun.planner import plan_rerun
from rekindle.domain.rerun.request import FROM_BEGINNING, InternalHow, RequestMode, Requests
from rekindle.domain.retry import FailedAttempt, Retry, decide_retry, match_errors, retries_lost
from rekindle.domain.states import Cause, State
from rekindle.domain.texts.patterns import SEARCH_SECONDS, compile_pattern
from rekindle.engine.fan_outs import planning_views
from rekindle.engine.presence import works_elsewhere

if TYPE_CHECKING:
    from rekindle.domain.models import AttemptEnd, AttemptJobState, Failure, Job
    from rekindle.domain.rerun.resolve import Exists
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot, Transaction

_MOST_NOTES = 3
"""The most distinct notes that one rerun records."""

BATCH_SECONDS = 3.0
"""After this many seconds of searching in one batch, or once a pattern has been slow, each search is limited to
SHORT_SECONDS."""

SHORT_SECONDS = 0.05


class RetryErrorMatches(msgspec.Struct, frozen=True):
    """By attempt, for failed attempts whose policies name an `error`: the rules whose error was found or that name
    none. `slow` holds a pattern whose search timed out, which counts as not found. `most`: how many retries policies
    may still make in this run; None: any number."""

    policies: Mapping[int, tuple[RetryRule, ...]] = msgspec.field(default_factory=dict)
    slow: Mapping[int, str] = msgspec.field(default_factory=dict)
    most: int | None = None


class RetryErrorSearch:
    """Searches failures for the errors that retry policies name, outside of any transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._policies: dict[int, tuple[RetryRule, ...]] = {}  # by template: a template never changes
        self._slow: set[str] = set()

    def search(self, failures: Mapping[int, Failure]) -> RetryErrorMatches:
        """Search the failures of these attempts."""
        wanted = self._policies_with_errors(failures)
        policies: dict[int, tuple[RetryRule, ...]] = {}
        slow: dict[int, str] = {}
        spent = 0.0

        def found(pattern: str, text: str) -> bool:
            nonlocal spent
            short = pattern in self._slow or spent > BATCH_SECONDS
            began = time.monotonic()
            try:
                return compile_pattern(pattern).found_in(text, SHORT_SECONDS if short else SEARCH_SECONDS)
            except SlowPattern:
                self._slow.add(pattern)
                slow[attempt] = pattern
                return False
            finally:
                spent += time.monotonic() - began

        for attempt, policy in wanted.items():
            policies[attempt] = match_errors(policy, failures[attempt], found)
        return RetryErrorMatches(policies, slow)

    def _policies_with_errors(self, failures: Mapping[int, Failure]) -> dict[int, tuple[RetryRule, ...]]:
        """Return, by attempt, the policies that name an error."""
        if not failures:
            return {}
        with self._session.store.read() as archive:
            standing = archive.queue.status(failures)
            live = {known.job: attempt for attempt, known in standing.items() if known.job_attempt == attempt}
            jobs = {live[job.id]: job.template for job in archive.jobs.get(sorted(live))}
            for template in set(jobs.values()) - self._policies.keys():
                self._policies[template] = archive.workflows.template(template).retry
        found = {attempt: self._policies[template] for attempt, template in jobs.items()}
        return {attempt: policy for attempt, policy in found.items() if any(rule.error is not None for rule in policy)}


def apply_retries(
    archive: Transaction,
    ended: Sequence[tuple[AttemptEnd, AttemptJobState]],
    now: float,
    exists: Exists,
    errors: Mapping[int, tuple[RetryRule, ...]] | None = None,
    most: int | None = None,
) -> tuple[set[int], int]:
    """Rerun the jobs whose live attempt failed and whose policy allows a retry. Jobs whose cancellation was requested
    are skipped. The attempts have ended and their jobs' states have changed. Return the jobs that run again, and how
    many do not because they are more than `most`: the first ones by id run again.

    `exists`: see `KnownPaths`. `errors` are the policies of a RetryErrorSearch; for attempts that were not searched,
    rules that name an error do not match."""
    failed = {
        known.job: (ending, known)
        for ending, known in ended
        if ending.state is State.FAILED and known.job_attempt == ending.attempt and not known.cancel_asked
    }
    policies = _policies(archive, sorted(failed))
    if not policies:
        return set(), 0
    before = archive.reruns.retries([job.id for job, _ in policies])
    decided = {}
    for job, template in policies:
        ending, known = failed[job.id]
        policy = (errors or {}).get(ending.attempt)
        if policy is None:
            policy = tuple(rule for rule in template.retry if rule.error is None)
        decision = decide_retry(policy, _failed_attempt(job, template, ending, known, before.get(job.id, 0)))
        if decision is not None:
            decided[job.id] = decision
    chosen = dict(sorted(decided.items())[:most])
    return _apply_decisions(archive, chosen, now, exists), len(decided) - len(chosen)


def bounded_by_policy(archive: Snapshot, jobs: Sequence[int]) -> set[int]:
    """Return the jobs whose policy alone decides whether lost attempts are retried."""
    return {job.id for job, template in _policies(archive, jobs) if retries_lost(template.retry)}


def _policies(archive: Snapshot, jobs: Sequence[int]) -> list[tuple[Job, JobTemplate]]:
    """Return the jobs that have a policy in their latest definition."""
    if not jobs:
        return []
    found = archive.jobs.get(jobs)
    templates = {number: archive.workflows.template(number) for number in {job.template for job in found}}
    return [(job, templates[job.template]) for job in found if templates[job.template].retry]


def _failed_attempt(
    job: Job, template: JobTemplate, ending: AttemptEnd, known: AttemptJobState, retries: int
) -> FailedAttempt:
    return FailedAttempt(
        token=known.token,
        cause=ending.cause or Cause.EXIT,
        exit_code=ending.exit_code,
        retries=retries,
        had=decode_overrides(job.next.overrides).resources(template.resources),
        memory=ending.max_rss_bytes,
        seconds=None if ending.started is None else max(0.0, ending.ended - ending.started),
        host=ending.host,
    )


def _apply_decisions(archive: Transaction, decided: dict[int, Retry], now: float, exists: Exists) -> set[int]:
    if not decided:
        return set()
    alone = {
        host: not works_elsewhere(archive, host, now)
        for host in {one.avoids for one in decided.values() if one.avoids is not None}
    }
    why = {job: (one.reason(alone=alone.get(one.avoids or "", False)),) for job, one in decided.items()}
    hows = {job: _how_to_retry(one, now) for job, one in decided.items()}
    requests = Requests(hows)
    views, graph, earlier = planning_views(archive, requests)
    plan = plan_rerun(views, graph, requests, exists, why, earlier)
    if plan.refused:  # a job that cannot resume at its failed step starts from the beginning
        refused = {job.id for job in plan.refused}
        requests = Requests({job: _from_beginning(how) if job in refused else how for job, how in hows.items()})
        plan = plan_rerun(views, graph, requests, exists, why, earlier)
    if plan.jobs:
        jobs = plan.jobs.ids
        archive.reruns.apply(plan, "retry", {"jobs": jobs}, _note([decided[job] for job in jobs]), now)
    return set(plan.jobs.ids)


def _how_to_retry(one: Retry, now: float) -> InternalHow:
    how = InternalHow(
        start=one.rule.start,
        overrides=one.overrides,
        keep_modified=True,
        mode=RequestMode.RESUME,
        not_before=now + one.delay if one.delay else None,
        avoids=one.avoids,
    )
    return _from_beginning(how) if one.rule.start == FROM_BEGINNING else how


def _from_beginning(how: InternalHow) -> InternalHow:
    return InternalHow(mode=RequestMode.REPEAT, overrides=how.overrides, not_before=how.not_before, avoids=how.avoids)


def _note(retries: Sequence[Retry]) -> str:
    """Return the note of the rerun, such as `retry 2 of 3: timeout`."""
    notes = list(dict.fromkeys(one.note for one in retries))
    more = len(notes) - _MOST_NOTES
    return "; ".join(notes[:_MOST_NOTES]) + (f"; and {more} more kinds" if more > 0 else "")


def apply_repeats(
    archive: Transaction, ended: Sequence[tuple[AttemptEnd, AttemptJobState]], now: float, exists: Exists
) -> set[int]:
    """Rerun the jobs that have repeats left, whether their attempt completed or failed. Jobs whose cancellation was
    requested are skipped. Must be called before descendants are released: until its last repeat has ended, a job is not
    done for them. Return the jobs that run again."""
    left = {
        known.job: known.next.repeats - 1
        for ending, known in ended
        if known.next.repeats
        and ending.state in (State.COMPLETED, State.FAILED)
        and known.job_attempt == ending.attempt
        and not known.cancel_asked
    }
    if not left:
        return set()
    archive.require_alone()
    requests = Requests({job: InternalHow(mode=RequestMode.REPEAT, repeats=more) for job, more in left.items()})
    why = {job: (Reason(ReasonKind.REPEAT, {"left": more}),) for job, more in left.items()}
    views, graph, earlier = planning_views(archive, requests)
    plan = plan_rerun(views, graph, requests, exists, why, earlier)
    jobs = plan.jobs.ids
    if jobs:
        archive.reruns.apply(plan, "repeat", {"jobs": jobs}, "as --repeat asked", now)
    return set(jobs)
