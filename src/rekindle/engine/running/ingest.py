"""Journal to store: what workers wrote becomes history, states and released children, in one transaction.

Ingest is idempotent: a record about an attempt that has ended, or whose token is another's, changes nothing. A
record about an archived attempt is kept on that attempt and moves no job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rekindle.domain.causes import Cause
from rekindle.domain.lifecycle import Event, transition
from rekindle.domain.models import Ending, Failure, Move, Standing
from rekindle.domain.signatures import signature
from rekindle.domain.states import ENDED, ENDED_BADLY, State
from rekindle.engine.acting.actions import act
from rekindle.engine.fan_outs import end_subtasks, take_in
from rekindle.engine.planning.canaries import settle
from rekindle.engine.planning.repeating import repeat
from rekindle.engine.planning.retrying import ErrorMatches, retry
from rekindle.journal.encoding import to_json
from rekindle.journal.ledger import Damage, fill, read_past_damage
from rekindle.journal.records import Ended, FannedOut, Record, Returned, Sources, Started, StepEnded, Subtasks
from rekindle.store.port import Archive


@dataclass(frozen=True, slots=True)
class Page:
    """What one worker's journal holds from where it was read last: records, the position behind them, and what between
    them cannot be read."""

    worker: str
    records: Sequence[Record]
    position: int
    damaged: Sequence[Damage] = ()


def read_page(worker: str, journal: Path, position: int) -> Page | None:
    """What a journal holds from `position` on; None: nothing new. One that was cut short is filled up, so that
    positions never move backwards. JournalError when it cannot be read."""
    records, behind, damaged = read_past_damage(journal, position)
    if damaged and damaged[0].offset < position:
        fill(journal, position)
    return Page(worker, records, behind, damaged) if records or damaged else None


@dataclass(slots=True)
class Told:
    """What a batch of pages told: attempts that started or ended, with their final states and running times, those of
    them that a rerun had archived, the tokens of those that were given back, the jobs that run again by themselves
    (retried or repeated), what could not be read, and the jobs whose attempts were lost to that."""

    started: list[int] = field(default_factory=list)
    ended: list[tuple[int, State, float]] = field(default_factory=list)
    archived: set[int] = field(default_factory=set)
    returned: list[str] = field(default_factory=list)
    again: set[int] = field(default_factory=set)
    damaged: list[str] = field(default_factory=list)
    unread: set[int] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Batch:
    starts: dict[int, tuple[str, Started]] = field(default_factory=dict)
    ends: dict[int, tuple[str, Ended]] = field(default_factory=dict)
    steps: list[StepEnded] = field(default_factory=list)
    fan_outs: list[FannedOut | Subtasks] = field(default_factory=list)
    sources: list[Sources] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)


def failures_of(pages: Sequence[Page]) -> dict[int, Failure]:
    """Return the failures of the attempts that failed, as the pages hold them."""
    ends = (record for page in pages for record in page.records if isinstance(record, Ended))
    return {one.attempt: one.failure or Failure() for one in ends if one.state == State.FAILED}


def ingest(archive: Archive, pages: Sequence[Page], host: str, now: float, errors: ErrorMatches | None = None) -> Told:
    """Write what the pages hold, and advance the journals' positions with it. What failed and is to run again by
    itself does so from `now` on. `errors`: what an ErrorSearch found in the failures of the pages."""
    errors = errors or ErrorMatches()
    batch = _Batch()
    for page in pages:
        for record in page.records:
            _sort(batch, page.worker, record)
        archive.runners.advance(page.worker, page.position)
    damaged = _damaged(archive, pages, now)
    others = (record.attempt for records in (batch.steps, batch.fan_outs) for record in records)
    standing = archive.queue.standing({*batch.starts, *batch.ends, *others})
    told = Told(returned=batch.returned, damaged=damaged)
    archive.queue.steps([(one.attempt, one.step) for one in batch.steps if _is_news(standing, one.attempt, one.token)])
    take_in(archive, [one for one in batch.fan_outs if _is_news(standing, one.attempt, one.token)])
    # Ends first: actions take effect on a graph whose attempts stand as their jobs do.
    ends = _ends(archive, batch, standing, host, told)
    moves = [
        end_move(known, ending.state, ran=ending.started is not None)
        for ending, known in ends
        if known.job_attempt == ending.attempt
    ]
    moves += _starts(archive, batch, standing, host, told)
    archive.queue.move(moves)
    repeated = repeat(archive, ends, now)
    done = [move.job for move in moves if move.after is State.COMPLETED and move.job not in repeated]
    if done:
        archive.queue.move(archive.queue.completed(done))
    told.warnings = _slow(archive, ends, errors.slow, now)
    told.again = repeated | retry(archive, [one for one in ends if one[1].job not in repeated], now, errors.policies)
    told.unread = {known.job for ending, known in ends if known.job_attempt == ending.attempt and _is_unread(ending)}
    again = told.again | told.unread
    over = [move.job for move in moves if move.after in ENDED_BADLY and move.job not in again]
    archive.queue.move(archive.queue.gave_up(over))
    if ends and not told.unread:  # of these it is not decided yet whether they run again
        settle(archive, now)
    return told


def _damaged(archive: Archive, pages: Sequence[Page], now: float) -> list[str]:
    """Record once what cannot be read of the journals: whoever settles what is left of a worker must know of it."""
    told = []
    for page in pages:
        for one in page.damaged:
            journal = archive.runners.damage(page.worker, one.offset, one.length)
            detail = {"journal": journal, "byte": one.offset, "length": one.length, "reason": one.reason}
            archive.events.add(now, "damaged", None, detail)
            told.append(one.told(journal))
    return told


def _slow(archive: Archive, ends: Sequence[tuple[Ending, Standing]], slow: Mapping[int, str], now: float) -> list[str]:
    """Record the patterns of `retry: error:` whose searches took too long."""
    warnings = []
    for ending, known in ends:
        if ending.attempt in slow:
            pattern = slow[ending.attempt]
            detail = {"job": known.job, "attempt": ending.attempt, "pattern": pattern}
            archive.events.add(now, "slow_pattern", known.workflow, detail)
            warnings.append(
                f"{known.name}: the pattern {pattern!r:.200} of `retry: error:` takes too long, and counts as not found"
            )
    return warnings


def _is_unread(ending: Ending) -> bool:
    """Its end, or that it had none, may have stood where its journal cannot be read."""
    return ending.cause is Cause.LOST and "damaged" in json.loads(ending.evidence or "{}")


def _sort(batch: _Batch, worker: str, record: Record) -> None:
    if isinstance(record, Ended):
        batch.ends.setdefault(record.attempt, (worker, record))
    elif isinstance(record, Started):
        batch.starts.setdefault(record.attempt, (worker, record))
    elif isinstance(record, StepEnded):
        batch.steps.append(record)
    elif isinstance(record, FannedOut | Subtasks):
        batch.fan_outs.append(record)
    elif isinstance(record, Sources):
        batch.sources.append(record)
    elif isinstance(record, Returned):
        batch.returned.extend(record.tokens)


def _is_news(standing: dict[int, Standing], attempt: int, token: str) -> bool:
    known = standing.get(attempt)
    return known is not None and known.token == token and known.state not in ENDED


def _starts(archive: Archive, batch: _Batch, standing: dict[int, Standing], host: str, told: Told) -> list[Move]:
    rows, moves = [], []
    for attempt, (worker, record) in batch.starts.items():
        if attempt in batch.ends or not _is_news(standing, attempt, record.token):
            continue  # an end in the same batch tells the start too
        known = standing[attempt]
        if known.state is not State.QUEUED:
            continue
        told.started.append(attempt)
        rows.append((attempt, record.at, worker, host, record.pid, record.pid_start))
        if known.job_attempt == attempt:
            moves.append(_move(known, Event.START))
    archive.queue.start(rows)
    return moves


def _ends(
    archive: Archive, batch: _Batch, standing: dict[int, Standing], host: str, told: Told
) -> list[tuple[Ending, Standing]]:
    """Write the ends, and tell of which jobs' attempts they are. Jobs have not moved yet."""
    endings = []
    for attempt, (worker, record) in batch.ends.items():
        if _is_news(standing, attempt, record.token):
            start = batch.starts.get(attempt)
            endings.append(ending_of(record, worker, host, start[1] if start else None))
    endings = act(archive, endings, standing)
    told.archived = {ending.attempt for ending in endings if standing[ending.attempt].archived}
    for ending in endings:
        told.ended.append((ending.attempt, ending.state, ending.ended - (ending.started or ending.ended)))
    archive.queue.end(endings)
    _fingerprints(archive, batch, endings)
    end_subtasks(archive, endings)
    return [(ending, standing[ending.attempt]) for ending in endings]


def _fingerprints(archive: Archive, batch: _Batch, endings: Sequence[Ending]) -> None:
    """What the attempts that ended depended on; told again it is the same."""
    for one in batch.sources:
        archive.fingerprints.put_source(one.digest, one.modules)
    records = [batch.ends[ending.attempt][1] for ending in endings]
    archive.fingerprints.put_files({one.attempt: one.prints for one in records if one.prints is not None})
    archive.fingerprints.put_partial({one.attempt: one.left for one in records if one.left})
    archive.fingerprints.remember_files([seen for one in records for seen in one.seen])


_EVENT = {State.COMPLETED: Event.COMPLETE, State.FAILED: Event.FAIL, State.CANCELED: Event.CANCEL}


def end_move(known: Standing, state: State, *, ran: bool) -> Move:
    """How the job moves when its live attempt ends; `ran`: it had started, whether or not that was told before."""
    story = f"job {known.job} {known.name}, attempt {known.attempt}"
    before = known.job_state
    if before is State.QUEUED and ran:
        before = transition(before, Event.START, story)
    return Move(
        known.job, known.workflow, known.resource_class, known.job_state, transition(before, _EVENT[state], story)
    )


def _move(known: Standing, event: Event) -> Move:
    after = transition(known.job_state, event, f"job {known.job} {known.name}, attempt {known.attempt}")
    return Move(known.job, known.workflow, known.resource_class, known.job_state, after)


def ending_of(record: Ended, worker: str, host: str, start: Started | None) -> Ending:
    """The row that an end writes."""
    started = record.started if record.started is not None else (start.at if start else None)
    cause = Cause(record.cause) if record.cause else None
    return Ending(
        attempt=record.attempt,
        state=State(record.state),
        ended=record.at,
        started=started,
        worker=worker,
        host=host,
        pid=start.pid if start else None,
        pid_start=start.pid_start if start else None,
        cause=cause,
        exit_code=record.exit_code,
        signal=record.signal,
        failure=record.failure,
        signature=_signature(record, cause) if record.state == State.FAILED else None,
        cpu_seconds=record.cpu_seconds,
        max_rss_bytes=record.max_rss_bytes,
        result=record.result,
        verdict=record.verdict,
        steps=record.steps,
        partial=record.partial,
        code=record.code,
        evidence=record.evidence,
        left_running=to_json(record.left_running).decode() if record.left_running else None,
    )


def _signature(record: Ended, cause: Cause | None) -> tuple[str, str, str]:
    failure = record.failure
    found = signature(
        cause or "",
        failure.type if failure else "",
        failure.message if failure else "",
        failure.traceback if failure else "",
        failure.stderr if failure else "",
    )
    return found.digest, found.type, found.message
