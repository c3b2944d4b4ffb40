"""What becomes of failures, in the transaction that ends their attempts: unknown ones wait for a person, others are
retried as their policies say, and the judges of those that are left are asked (outside of any transaction)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.judging import UNKNOWN, most_retries
from rekindle.domain.models import AttemptEnd
from rekindle.domain.states import State
from rekindle.engine.automatic_reruns import RetryErrorMatches, apply_retries
from rekindle.store.judgements import AskedQuestion

if TYPE_CHECKING:
    from rekindle.domain.definition import JobTemplate
    from rekindle.domain.models import AttemptJobState
    from rekindle.domain.rerun.resolve import Exists
    from rekindle.store.archive import Snapshot, Transaction

Ends = Sequence[tuple[AttemptEnd, "AttemptJobState"]]

_MOST_LISTED = 100


class DecidedFailures(msgspec.Struct, frozen=True):
    """Jobs that have failed: `retried` ones run again, `held` ones wait for a person, `asked` ones for their judge; the
    failures of the others stand. `not_retried`: how many are not because there were enough retries."""

    retried: Collection[int] = ()
    not_retried: int = 0
    held: Collection[int] = ()
    asked: Collection[int] = ()

    @property
    def open(self) -> set[int]:
        """The jobs whose failures do not stand, at least not yet."""
        return {*self.retried, *self.held, *self.asked}


def decide_failures(
    archive: Transaction, ended: Ends, now: float, exists: Exists, errors: RetryErrorMatches, *, known: bool = False
) -> DecidedFailures:
    """Decide about the jobs whose live attempt failed. The attempts have ended and their jobs' states have changed.
    `known`: a person has seen these failures. `exists`: see `KnownPaths`."""
    failed = [
        (ending, one)
        for ending, one in ended
        if ending.state is State.FAILED and one.job_attempt == ending.attempt and not one.cancel_asked
    ]
    templates = _templates(archive, [one.job for _, one in failed])
    held = set[int]() if known else _hold_unknown(archive, failed, templates, now)
    rest = [one for one in ended if one[1].job not in held]
    retried, not_retried = apply_retries(archive, rest, now, exists, errors.policies, errors.most)
    left = [one for one in failed if one[1].job not in held | retried]
    asked = set[int]() if not_retried else _ask_judges(archive, left, templates, now)
    return DecidedFailures(retried, not_retried, held, asked)


def release_failures(
    archive: Transaction, jobs: Collection[int], now: float, exists: Exists, errors: RetryErrorMatches
) -> list[int]:
    """Let the failures among these jobs' live attempts wait no longer. An unknown one is treated as any failure: it is
    retried, or its judge is asked, or it stands. Others stand. Return the jobs."""
    found = archive.judgements.undecided(jobs)
    if not found:
        return []
    archive.judgements.decide(attempt for attempt, _ in found.values())
    unknown = {attempt for attempt, why in found.values() if why == UNKNOWN}
    status = archive.queue.status(unknown)
    ends = [(_end_of(archive, attempt), status[attempt]) for attempt in sorted(unknown)]
    decided = decide_failures(archive, ends, now, exists, errors, known=True)
    stand = sorted(found.keys() - decided.open)
    archive.queue.gave_up(stand)
    return sorted(found)


def _end_of(archive: Snapshot, number: int) -> AttemptEnd:
    """Return how an attempt ended, as far as policies look at it."""
    one = archive.attempts.get(number)
    assert one is not None
    return AttemptEnd(
        one.id,
        one.state,
        one.ended or 0.0,
        started=one.started,
        cause=one.cause,
        exit_code=one.exit_code,
        signal=one.signal,
        failure=one.failure,
        max_rss_bytes=one.max_rss_bytes,
        host=one.host,
    )


def _templates(archive: Snapshot, jobs: Collection[int]) -> dict[int, JobTemplate]:
    """Return the latest definitions of jobs."""
    if not jobs:
        return {}
    found = archive.jobs.get(sorted(jobs))
    templates = {number: archive.workflows.template(number) for number in {job.template for job in found}}
    return {job.id: templates[job.template] for job in found}


def _hold_unknown(archive: Transaction, failed: Ends, templates: Mapping[int, JobTemplate], now: float) -> set[int]:
    """Let failures with an unknown signature wait for a person, of jobs that ask for that. Return these jobs."""
    asking = [
        (ending, one)
        for ending, one in failed
        if templates[one.job].on_unknown_failure == "hold" and ending.signature is not None
    ]
    if not asking:
        return set()
    digests = {ending.signature.digest for ending, _ in asking if ending.signature is not None}
    known = archive.judgements.known_signatures(digests, [ending.attempt for ending, _ in failed])
    unknown = [(ending, one) for ending, one in asking if ending.signature and ending.signature.digest not in known]
    archive.judgements.leave_undecided({ending.attempt: UNKNOWN for ending, _ in unknown})
    by_workflow = defaultdict[int, list[int]](list)
    for _, one in unknown:
        by_workflow[one.workflow].append(one.job)
    for workflow, jobs in sorted(by_workflow.items()):
        detail = {"why": UNKNOWN, "jobs": len(jobs), "first": sorted(jobs)[:_MOST_LISTED]}
        archive.events.add(now, "undecided", workflow, detail)
    return {one.job for _, one in unknown}


def _ask_judges(archive: Transaction, failed: Ends, templates: Mapping[int, JobTemplate], now: float) -> set[int]:
    """Ask the judges of failed jobs that have one and are within their limit. Return these jobs."""
    judged = [one for _, one in failed if templates[one.job].judge is not None]
    if not judged:
        return set()
    made = archive.reruns.retries([one.job for one in judged], "judge")
    questions = []
    for one in judged:
        template = templates[one.job]
        most = most_retries(template.retry)
        if made.get(one.job, 0) < most and template.judge is not None:
            questions.append(AskedQuestion(one.workflow, one.job, one.attempt, template.judge))
            continue
        reason = f"not asked: it has had the job retried {most} time{'' if most == 1 else 's'}"
        detail = {"job": one.job, "attempt": one.attempt, "answer": "error", "reason": reason}
        archive.events.add(now, "judged", one.workflow, detail)
    archive.judgements.ask(questions, now)
    return {one.job for one in questions}
