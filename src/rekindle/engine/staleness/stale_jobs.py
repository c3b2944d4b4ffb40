"""Find stale jobs, and explain why they are stale."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec.structs import replace

from rekindle.domain.changes.fingerprints import FileRecord
from rekindle.domain.changes.staleness import Assessment, ComparedPart
from rekindle.domain.errors import StoreUnavailable
from rekindle.domain.graph import nearest_start
from rekindle.domain.models import Attempt, Job
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.states import ACTIVE, ENDED, State, may_have_started
from rekindle.engine.session import Session
from rekindle.engine.staleness.contents import ReadProgress, read_contents
from rekindle.engine.staleness.measure import AttemptMeasures, measure_attempts
from rekindle.store.temporary_outputs import RemovedOutput

if TYPE_CHECKING:
    from rekindle.domain.changes.fingerprints import FileRecord
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot

StalenessWord = Literal[
    "stale", "upstream", "current", "unknown", "failed", "canceled", "active", "reset", "new", "retired"
]
"""The staleness of a job:

- stale: its attempt would come out differently now
- upstream: it is current, but something above it is stale
- current: compared, and equal
- unknown: there is nothing to compare
- failed, canceled: it ended so, and nothing has changed since
- active: it is queued or running
- reset: it has run and waits to run again
- new: it has never run
- retired: it is no longer part of its workflow
"""


class StaleJobs(msgspec.Struct, frozen=True):
    """The stale jobs among some jobs, with reasons, and the jobs that have nothing to compare."""

    stale: Mapping[int, tuple[Reason, ...]]
    unknown: tuple[int, ...] = ()


class ReuseCheck(msgspec.Struct, frozen=True):
    """The check of whether an archived attempt could be reused."""

    rerun: int
    at: float | None
    reinstated: bool
    reasons: tuple[Reason, ...] = ()  # why it could not be reused


class AutomaticRerun(msgspec.Struct, frozen=True):
    """A job that runs again by itself: as a retry or a recovery, and after which attempt."""

    kind: str  # retry, recovery
    attempt: Attempt
    retry: Mapping[str, Any] = msgspec.field(default_factory=dict)  # detail of the reason: see ReasonKind.RETRY


class Explanation(msgspec.Struct, frozen=True):
    """Whether a job would run again, and why. `accepted` is the `accept` rerun whose basis its attempt is measured
    by."""

    job: Job
    word: StalenessWord
    reasons: tuple[Reason, ...] = ()
    accepted: int | None = None
    checked: ReuseCheck | None = None
    awaits: tuple[int, ...] = ()  # canceled attempts that must end before it starts
    warnings: tuple[Reason, ...] = ()  # differences that do not make it stale
    compared: tuple[ComparedPart, ...] = ()  # what its attempt was compared by; empty if only its definition was
    mentioned: tuple[ComparedPart, ...] = ()  # named by its commands, not compared because a job writes them
    recorded: bool = True  # the dependencies of its attempt were recorded
    failed: Attempt | None = None  # its live attempt, which failed or was canceled
    again: AutomaticRerun | None = None  # it was reset by the engine, not by a user
    forbidden: str = ""  # why it is not run again, whatever has changed: it must not run twice
    removed: tuple[RemovedOutput, ...] = ()  # temporary outputs of its attempt that no job needs any more
    reused: Attempt | None = None  # its live attempt, which another one completed

    @property
    def stale(self) -> bool | None:
        """Return whether the job is stale; None if that is unknown."""
        return None if self.word == "unknown" else self.word == "stale"


def assess(
    session: Session, jobs: Iterable[int], progress: ReadProgress | None = None, *, strict: bool = False
) -> tuple[AttemptMeasures, dict[int, Assessment]]:
    """Measure the live attempts of jobs. Jobs that are retired or whose attempt has not ended are left out. Digests of
    files that had to be read are stored. An exception raised by `progress` ends the reading."""
    with session.store.read() as archive:
        measured = measure_attempts(archive, archive.staleness.live_ended(jobs), os.environ)
    return measured, assess_measures(session, measured, progress, strict=strict)


def assess_measures(
    session: Session, measured: AttemptMeasures, progress: ReadProgress | None = None, *, strict: bool = False
) -> dict[int, Assessment]:
    """Compare measures with the contents of files, and store the digests of files that had to be read. With `strict`,
    differences that are only warnings make a job stale."""
    contents = read_contents(measured.requests, measured.known, progress)
    _remember(session, contents.seen)
    found = measured.assess(contents)
    return {job: one.strict() for job, one in found.items()} if strict else found


def find_stale_jobs(
    session: Session, jobs: Sequence[int], progress: ReadProgress | None = None, *, strict: bool = False
) -> StaleJobs:
    """Return the stale jobs among these; `strict` as for `assess_measures`."""
    return stale_among(assess(session, jobs, progress, strict=strict)[1])


def stale_among(found: Mapping[int, Assessment]) -> StaleJobs:
    """Return the stale jobs among assessed jobs."""
    return StaleJobs(
        {job: one.reasons for job, one in found.items() if one.reasons},
        tuple(job for job, one in found.items() if not (one.reasons or one.comparable)),
    )


def _remember(session: Session, seen: Sequence[FileRecord]) -> None:
    if not seen:
        return
    try:
        with session.store.write() as archive:
            archive.fingerprints.remember_files(seen)
    except StoreUnavailable:
        return  # the files are read again next time


def explain(
    session: Session, jobs: Sequence[int], progress: ReadProgress | None = None, *, strict: bool = False
) -> list[Explanation]:
    """Explain the staleness of each of these jobs, in order. All their ancestors are measured too; `strict` as for
    `assess_measures`."""
    with session.store.read() as archive:
        above = archive.staleness.ancestors(jobs)
        every = sorted({*jobs, *above})
        rows = {job.id: job for job in archive.jobs.get(jobs)}
        edges = archive.staleness.needs(every)
        checked = archive.staleness.reuse_checks(jobs)
        awaited = archive.attempts.blocking(jobs)
        ended = archive.jobs.live([job.id for job in rows.values() if job.state in (State.FAILED, State.CANCELED)])
        reused = archive.jobs.live(archive.reuse_candidates.reused_jobs(rows))
        again = _automatic_reruns(archive, [job.id for job in rows.values() if job.attempts and job.state not in ENDED])
        forbidden = forbidden_reruns(archive, archive.jobs.get(every))
        removed: dict[int, list[RemovedOutput]] = {}
        for output in archive.temporary_outputs.removed_of([job.attempt for job in rows.values() if job.attempt]):
            removed.setdefault(output.attempt, []).append(output)
    measured, found = assess(session, every, progress, strict=strict)
    children: dict[int, list[int]] = {}
    for child, parent in edges:
        if parent not in forbidden:
            children.setdefault(parent, []).append(child)
    stale = [job for job, one in found.items() if one.reasons]
    nearest = nearest_start(children, stale)
    names = _names(session, {nearest[job] for job in jobs if job in nearest})
    explanations = (
        _explanation(rows[job], found.get(job), nearest.get(job), names, measured, checked.get(job), ended.get(job))
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
            forbidden=forbidden.get(one.job.id, ""),
            removed=tuple(removed.get(one.job.attempt or 0, ())),
            reused=reused.get(one.job.id),
        )
        for one in explanations
    ]


def _automatic_reruns(archive: Snapshot, jobs: Sequence[int]) -> dict[int, AutomaticRerun]:
    """Return, by job, the reruns that start by themselves."""
    kinds = archive.reruns.automatic(jobs)
    last = archive.attempts.by_id(kinds)
    due = archive.reruns.retried([one.job for one in last if kinds[one.id] == "retry"])
    retries = {job: reason.detail for job, attempt, reason in due if attempt is None}
    return {one.job: AutomaticRerun(kinds[one.id], one, retries.get(one.job, {})) for one in last}


def forbidden_reruns(archive: Snapshot, jobs: Collection[Job]) -> dict[int, str]:
    """Return, by job, why those that must not run twice do not run again: the reason in their definition."""
    reasons = {
        number: template.rerun_forbidden
        for number, (_, template) in archive.workflows.templates_by_id({job.template for job in jobs}).items()
        if template.rerun_forbidden
    }
    if not reasons:
        return {}
    live = archive.jobs.live([job.id for job in jobs if job.template in reasons])
    return {
        job.id: reasons[job.template]
        for job in jobs
        if (one := live.get(job.id)) is not None and may_have_started(one.state, one.cause, one.started)
    }


def _names(session: Session, jobs: Iterable[int]) -> dict[int, str]:
    with session.store.read() as archive:
        return {job.id: job.name for job in archive.jobs.get(sorted(jobs))}


def _explanation(
    job: Job,
    found: Assessment | None,
    above: int | None,
    names: Mapping[int, str],
    measured: AttemptMeasures,
    checked: tuple[int, int | None, dict[str, Any]] | None,
    ended: Attempt | None,
) -> Explanation:
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
    return Explanation(job, word, reasons, accepted, _last_check(job, checked), warnings=warnings, failed=ended)


def _word(job: Job, found: Assessment | None) -> StalenessWord:
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


def _last_check(job: Job, row: tuple[int, int | None, dict[str, Any]] | None) -> ReuseCheck | None:
    """Return the reuse check that led to the current state of the job."""
    if row is None:
        return None
    rerun, candidate, document = row
    reinstated = document.get("result") == "reinstated"
    if document.get("result") == "reused" or (reinstated and job.attempt != candidate):
        return None  # it has run or was reset since
    reasons = tuple(_reason_from_json(one) for one in document.get("reasons", ()))
    return ReuseCheck(rerun, document.get("at"), reinstated, reasons)


def _reason_from_json(document: Mapping[str, Any]) -> Reason:
    return Reason(ReasonKind(document["kind"]), {key: value for key, value in document.items() if key != "kind"})
