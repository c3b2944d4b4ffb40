"""Which jobs are stale, and why: what their attempts depended on is not what it is now. Nothing of a job is written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from rekindle.domain.changes.prints import FileSeen
from rekindle.domain.changes.staleness import Assessment, ComparedPart
from rekindle.domain.errors import StoreUnavailable
from rekindle.domain.graph import nearest_start
from rekindle.domain.models import Attempt, Job
from rekindle.domain.rerunning.rerun import Reason, ReasonKind
from rekindle.domain.states import ACTIVE, ENDED, State
from rekindle.engine.changes.measuring import Measured, gather
from rekindle.engine.changes.reading import Tell, take
from rekindle.engine.session import Session
from rekindle.store.port import Archive

Word = Literal["stale", "upstream", "current", "unknown", "failed", "canceled", "active", "reset", "new", "retired"]
"""What there is to say of a job: its attempt is not what would come out now; it is, but something above it is not; it
is; there is nothing to compare; it failed or was canceled, and nothing has changed since; it is queued or runs; it runs
again, or for the first time, when its turn comes; it is no part of its workflow any more."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What is stale among some jobs, with the reasons, and those of them that have nothing to compare."""

    stale: Mapping[int, tuple[Reason, ...]]
    unknown: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """A look at whether a job's reserve still held."""

    rerun: int
    at: float | None
    reinstated: bool
    reasons: tuple[Reason, ...] = ()  # why it was not


@dataclass(frozen=True, slots=True)
class RunsAgain:
    """That a job runs again by itself: after which attempt, and as what."""

    kind: str  # retry, recovery
    attempt: Attempt
    retry: Mapping[str, Any] = field(default_factory=dict)  # detail of the reason: see ReasonKind.RETRY


@dataclass(frozen=True, slots=True)
class Explained:
    """Whether a job would run again, and why or why not. `accepted`: the rerun (of kind `accept`) that its attempt is
    measured by."""

    job: Job
    word: Word
    reasons: tuple[Reason, ...] = ()
    accepted: int | None = None
    checked: Checked | None = None
    awaits: tuple[int, ...] = ()  # canceled attempts, without whose end it does not start
    warnings: tuple[Reason, ...] = ()  # what differs and does not make it stale
    compared: tuple[ComparedPart, ...] = ()  # by what its attempt was compared, unless nothing but its definition was
    mentioned: tuple[
        ComparedPart, ...
    ] = ()  # files that its commands name and that are not compared: a job writes them
    recorded: bool = True  # what its attempt depended on was
    failed: Attempt | None = None  # its live attempt, which failed or was canceled
    again: RunsAgain | None = None  # it has been reset by nobody

    @property
    def stale(self) -> bool | None:
        """None: it is unknown."""
        return None if self.word == "unknown" else self.word == "stale"


def assess(
    session: Session, jobs: Iterable[int], tell: Tell | None = None, *, strict: bool = False
) -> tuple[Measured, dict[int, Assessment]]:
    """Measure the live attempts of jobs, of those that have one which has ended and are not retired. What had to be
    read is remembered. `tell` is called meanwhile, and ends it by what it raises."""
    with session.store.read() as archive:
        measured = gather(archive, archive.measures.ended(jobs), os.environ)
    return measured, judged(session, measured, tell, strict=strict)


def judged(
    session: Session, measured: Measured, tell: Tell | None = None, *, strict: bool = False
) -> dict[int, Assessment]:
    """What was gathered, compared with what files hold; what had to be read is remembered. `strict`: what is only a
    warning elsewhere makes a job stale here."""
    contents = take(measured.requests, measured.known, tell)
    _remember(session, contents.seen)
    found = measured.judge(contents)
    return {job: one.strict() for job, one in found.items()} if strict else found


def changed(session: Session, jobs: Sequence[int], tell: Tell | None = None, *, strict: bool = False) -> Changed:
    """What is stale among these jobs; `strict` as for `judged`."""
    return changed_among(assess(session, jobs, tell, strict=strict)[1])


def changed_among(found: Mapping[int, Assessment]) -> Changed:
    """What is stale among jobs that were assessed."""
    return Changed(
        {job: one.reasons for job, one in found.items() if one.reasons},
        tuple(job for job, one in found.items() if not (one.reasons or one.comparable)),
    )


def _remember(session: Session, seen: Sequence[FileSeen]) -> None:
    if not seen:
        return
    try:
        with session.store.write() as archive:
            archive.fingerprints.remember_files(seen)
    except StoreUnavailable:
        return  # what could not be remembered is read again


def explain(
    session: Session, jobs: Sequence[int], tell: Tell | None = None, *, strict: bool = False
) -> list[Explained]:
    """What there is to say of each of these jobs, in their order. All that is above them is looked at too; `strict` as
    for `judged`."""
    with session.store.read() as archive:
        above = archive.measures.above(jobs)
        every = sorted({*jobs, *above})
        rows = {job.id: job for job in archive.jobs.get(jobs)}
        edges = archive.measures.needs(every)
        checked = archive.measures.checked(jobs)
        awaited = archive.queue.awaited(jobs)
        ended = archive.jobs.live([job.id for job in rows.values() if job.state in (State.FAILED, State.CANCELED)])
        again = _again(archive, [job.id for job in rows.values() if job.attempts and job.state not in ENDED])
    measured, found = assess(session, every, tell, strict=strict)
    children: dict[int, list[int]] = {}
    for child, parent in edges:
        children.setdefault(parent, []).append(child)
    stale = [job for job, one in found.items() if one.reasons]
    nearest = nearest_start(children, stale)
    names = _names(session, {nearest[job] for job in jobs if job in nearest})
    told = (
        _explained(rows[job], found.get(job), nearest.get(job), names, measured, checked.get(job), ended.get(job))
        for job in jobs
        if job in rows
    )
    parts = measured.parts(set(jobs))
    return [
        replace(
            one,
            awaits=tuple(awaited.get(one.job.id, ())),
            compared=parts[one.job.id][0] if one.job.id in parts and found[one.job.id].comparable else (),
            mentioned=parts[one.job.id][1] if one.job.id in parts else (),
            recorded=one.job.id not in found or found[one.job.id].recorded,
            again=again.get(one.job.id),
        )
        for one in told
    ]


def _again(archive: Archive, jobs: Sequence[int]) -> dict[int, RunsAgain]:
    """By job, for those that run again by themselves."""
    kinds = archive.reruns.by_itself(jobs)
    last = archive.attempts.some(kinds)
    due = archive.reruns.retried([one.job for one in last if kinds[one.id] == "retry"])
    retries = {job: reason.detail for job, attempt, reason in due if attempt is None}
    return {one.job: RunsAgain(kinds[one.id], one, retries.get(one.job, {})) for one in last}


def _names(session: Session, jobs: Iterable[int]) -> dict[int, str]:
    with session.store.read() as archive:
        return {job.id: job.name for job in archive.jobs.get(sorted(jobs))}


def _explained(
    job: Job,
    found: Assessment | None,
    above: int | None,
    names: Mapping[int, str],
    measured: Measured,
    checked: tuple[int, int | None, dict[str, Any]] | None,
    ended: Attempt | None,
) -> Explained:
    word, reasons = _word(job, found), found.reasons if found else ()
    if above is not None and word in ("current", "unknown"):
        word = "upstream"
        reasons = (Reason(ReasonKind.UPSTREAM, {"job": above, "name": names.get(above, str(above))}),)
    if word in ("failed", "canceled"):
        cause = ended.cause.value if ended and ended.cause else None
        reasons = (Reason(ReasonKind.FAILED, {"state": job.state.label, "cause": cause}),)
    if word == "new":
        reasons = (Reason(ReasonKind.NEVER_RAN),)
    if word == "unknown":
        reasons = (Reason(ReasonKind.UNKNOWN),)
    accepted = measured.accepted.get(found.attempt) if found else None
    warnings = found.warnings if found else ()
    return Explained(job, word, reasons, accepted, _checked(job, checked), warnings=warnings, failed=ended)


def _word(job: Job, found: Assessment | None) -> Word:
    if job.retired:
        return "retired"
    if job.state in ACTIVE:
        return "active"
    if found is None or job.state not in ENDED:
        if job.state is State.CANCELED:
            return "canceled"
        return "reset" if job.attempts else "new"
    if found.reasons:
        return "stale"
    if job.state is State.FAILED:
        return "failed"
    if job.state is State.CANCELED:
        return "canceled"
    return "current" if found.comparable else "unknown"


def _checked(job: Job, row: tuple[int, int | None, dict[str, Any]] | None) -> Checked | None:
    """The look that led to how the job stands now."""
    if row is None:
        return None
    rerun, reserve, document = row
    reinstated = document.get("result") == "reinstated"
    if reinstated and job.attempt != reserve:
        return None  # it has run, or was reset, since
    reasons = tuple(_reason(one) for one in document.get("reasons", ()))
    return Checked(rerun, document.get("at"), reinstated, reasons)


def _reason(document: Mapping[str, Any]) -> Reason:
    return Reason(ReasonKind(document["kind"]), {key: value for key, value in document.items() if key != "kind"})
