"""Ingest: journal records become attempts' rows, job states and released children, in one transaction.

Ingest is idempotent: a record of an attempt that has ended, or with a token that is not the attempt's, changes nothing.
A record of an archived attempt is stored with that attempt and changes no job's state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.models import AttemptEnd, AttemptJobState, Failure, StateChange
from rekindle.domain.signatures import signature
from rekindle.domain.states import ENDED, ENDED_BADLY, Cause, JobEvent, State, transition
from rekindle.engine.automatic_reruns import RetryErrorMatches, apply_repeats, apply_retries
from rekindle.engine.canaries import resolve_canaries
from rekindle.engine.dynamic_actions import apply_dynamic_actions
from rekindle.engine.fan_outs import end_subtasks, record_fan_outs
from rekindle.journal.encoding import to_json
from rekindle.journal.log import Damage, read_past_damage, restore_length
from rekindle.journal.records import Ended, FannedOut, Record, RecordedCode, Returned, Started, StepEnded, Subtasks

if TYPE_CHECKING:
    from rekindle.store.archive import Transaction


class JournalBatch(msgspec.Struct, frozen=True):
    """New content of one worker's journal: records, the position in bytes after them, and the unreadable parts."""

    worker: str
    records: Sequence[Record]
    position: int
    damaged: Sequence[Damage] = ()


def read_batch(worker: str, journal: Path, position: int) -> JournalBatch | None:
    """Return the content of a journal from `position` (bytes) on, or None if there is none.

    A journal that was truncated is filled up to `position`, so that positions never decrease. Raise JournalError when
    it cannot be read."""
    records, after, damaged = read_past_damage(journal, position)
    if damaged and damaged[0].offset < position:
        restore_length(journal, position)
    return JournalBatch(worker, records, after, damaged) if records or damaged else None


def failures_of(batches: Sequence[JournalBatch]) -> dict[int, Failure]:
    """Return, by attempt, the failures in these batches."""
    ends = (record for batch in batches for record in batch.records if isinstance(record, Ended))
    return {one.attempt: one.failure or Failure() for one in ends if one.state == State.FAILED}


class IngestResult(msgspec.Struct):
    """The changes that a set of batches made."""

    started: list[int] = msgspec.field(default_factory=list)  # attempts
    ended: list[tuple[int, State, float]] = msgspec.field(
        default_factory=list
    )  # (attempt, state, running time in seconds)
    archived: set[int] = msgspec.field(default_factory=set)  # ended attempts that a rerun had archived
    returned: list[str] = msgspec.field(default_factory=list)  # tokens of attempts that workers gave back
    requeued: set[int] = msgspec.field(default_factory=set)  # jobs that run again automatically (retried or repeated)
    damaged: list[str] = msgspec.field(default_factory=list)  # descriptions of unreadable parts
    lost_to_damage: set[int] = msgspec.field(default_factory=set)  # jobs whose attempts were lost to unreadable parts
    warnings: list[str] = msgspec.field(default_factory=list)


def ingest(
    archive: Transaction,
    batches: Sequence[JournalBatch],
    host: str,
    now: float,
    errors: RetryErrorMatches | None = None,
) -> IngestResult:
    """Store the records of the batches, and the positions of the journals.

    Jobs that are retried become ready from `now` on. `errors`: the matches of an ErrorSearch over the batches'
    failures."""
    errors = errors or RetryErrorMatches()
    sorted_records = _SortedRecords()
    for batch in batches:
        for record in batch.records:
            sorted_records.add(batch.worker, record)
        archive.runners.advance(batch.worker, batch.position)
    result = IngestResult(returned=sorted_records.returned, damaged=_record_damage(archive, batches, now))
    standing = archive.queue.status(sorted_records.attempts())
    steps = [(one.attempt, one.step) for one in sorted_records.steps if _is_new(standing, one.attempt, one.token)]
    archive.queue.steps(steps)
    record_fan_outs(archive, [one for one in sorted_records.fan_outs if _is_new(standing, one.attempt, one.token)])
    # Ends first: dynamic actions apply to a graph in which attempts and jobs agree.
    ends = _store_ends(archive, sorted_records, standing, host, result)
    moves = [
        end_move(known, ending.state, ran=ending.started is not None)
        for ending, known in ends
        if known.job_attempt == ending.attempt
    ]
    moves += _store_starts(archive, sorted_records, standing, host, result)
    archive.queue.move(moves)
    repeated = apply_repeats(archive, ends, now)
    completed = [move.job for move in moves if move.after is State.COMPLETED and move.job not in repeated]
    if completed:
        archive.queue.move(archive.queue.completed(completed))
    result.warnings = _record_slow_patterns(archive, ends, errors.slow, now)
    retried = apply_retries(archive, [one for one in ends if one[1].job not in repeated], now, errors.policies)
    result.requeued = repeated | retried
    result.lost_to_damage = {
        known.job for ending, known in ends if known.job_attempt == ending.attempt and _is_lost_to_damage(ending)
    }
    undecided = result.requeued | result.lost_to_damage
    failed = [move.job for move in moves if move.after in ENDED_BADLY and move.job not in undecided]
    archive.queue.move(archive.queue.gave_up(failed))
    # rerun_lost_to_damage decides later whether jobs lost to damage run again
    if not result.lost_to_damage and any(known.canaries_open for _, known in ends):
        resolve_canaries(archive, now)
    return result


class _SortedRecords(msgspec.Struct):
    """Records by kind. Of several starts or ends of an attempt the first counts."""

    starts: dict[int, tuple[str, Started]] = msgspec.field(default_factory=dict)  # by attempt: (worker, record)
    ends: dict[int, tuple[str, Ended]] = msgspec.field(default_factory=dict)
    steps: list[StepEnded] = msgspec.field(default_factory=list)
    fan_outs: list[FannedOut | Subtasks] = msgspec.field(default_factory=list)
    sources: list[RecordedCode] = msgspec.field(default_factory=list)
    returned: list[str] = msgspec.field(default_factory=list)  # tokens

    def add(self, worker: str, record: Record) -> None:
        """Add one record of a worker's journal."""
        if isinstance(record, Ended):
            self.ends.setdefault(record.attempt, (worker, record))
        elif isinstance(record, Started):
            self.starts.setdefault(record.attempt, (worker, record))
        elif isinstance(record, StepEnded):
            self.steps.append(record)
        elif isinstance(record, FannedOut | Subtasks):
            self.fan_outs.append(record)
        elif isinstance(record, RecordedCode):
            self.sources.append(record)
        elif isinstance(record, Returned):
            self.returned.extend(record.tokens)

    def attempts(self) -> set[int]:
        """Return the attempts that have records."""
        others = {one.attempt for one in self.steps} | {one.attempt for one in self.fan_outs}
        return {*self.starts, *self.ends, *others}


def _record_damage(archive: Transaction, batches: Sequence[JournalBatch], now: float) -> list[str]:
    """Record the unreadable parts of journals, which later decide whether a worker's attempts count as lost."""
    descriptions = []
    for batch in batches:
        for one in batch.damaged:
            journal = archive.runners.damage(batch.worker, one.offset, one.length)
            detail = {"journal": journal, "byte": one.offset, "length": one.length, "reason": one.reason}
            archive.events.add(now, "damaged", None, detail)
            descriptions.append(one.describe(journal))
    return descriptions


def _record_slow_patterns(
    archive: Transaction, ends: Sequence[tuple[AttemptEnd, AttemptJobState]], slow: Mapping[int, str], now: float
) -> list[str]:
    """Record the patterns of `retry: error:` whose searches took too long, and return warnings about them."""
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


def _is_lost_to_damage(ending: AttemptEnd) -> bool:
    """Return whether the attempt counts as lost because its outcome may stand in an unreadable part."""
    return ending.cause is Cause.LOST and "damaged" in json.loads(ending.evidence or "{}")


def _is_new(standing: dict[int, AttemptJobState], attempt: int, token: str) -> bool:
    known = standing.get(attempt)
    return known is not None and known.token == token and known.state not in ENDED


def _store_starts(
    archive: Transaction, records: _SortedRecords, standing: dict[int, AttemptJobState], host: str, result: IngestResult
) -> list[StateChange]:
    rows, moves = [], []
    for attempt, (worker, record) in records.starts.items():
        if attempt in records.ends or not _is_new(standing, attempt, record.token):
            continue  # an end in the same batches stores the start too
        known = standing[attempt]
        if known.state is not State.QUEUED:
            continue
        result.started.append(attempt)
        rows.append((attempt, record.at, worker, host, record.pid, record.pid_start))
        if known.job_attempt == attempt:
            after = transition(known.job_state, JobEvent.START, _describe(known))
            moves.append(StateChange(known.job, known.workflow, known.resource_class, known.job_state, after))
    archive.queue.start(rows)
    return moves


def _store_ends(
    archive: Transaction, records: _SortedRecords, standing: dict[int, AttemptJobState], host: str, result: IngestResult
) -> list[tuple[AttemptEnd, AttemptJobState]]:
    """Store the ends of attempts, and return them with the attempts' rows. Job states are not changed yet."""
    endings = []
    for attempt, (worker, record) in records.ends.items():
        if _is_new(standing, attempt, record.token):
            start = records.starts.get(attempt)
            endings.append(ending_of(record, worker, host, start[1] if start else None))
    endings = apply_dynamic_actions(archive, endings, standing)
    result.archived = {ending.attempt for ending in endings if standing[ending.attempt].archived}
    for ending in endings:
        result.ended.append((ending.attempt, ending.state, ending.ended - (ending.started or ending.ended)))
    archive.queue.end(endings)
    _store_fingerprints(archive, records, endings)
    end_subtasks(archive, endings)
    return [(ending, standing[ending.attempt]) for ending in endings]


def _store_fingerprints(archive: Transaction, records: _SortedRecords, endings: Sequence[AttemptEnd]) -> None:
    """Store the fingerprints and partial outputs of attempts that ended. Storing them twice is harmless."""
    for one in records.sources:
        archive.fingerprints.put_source(one.digest, one.modules)
    ends = [records.ends[ending.attempt][1] for ending in endings]
    archive.fingerprints.put_files({one.attempt: one.prints for one in ends if one.prints is not None})
    archive.fingerprints.put_partial({one.attempt: one.left for one in ends if one.left})
    archive.fingerprints.remember_files([seen for one in ends for seen in one.seen])


_EVENT = {State.COMPLETED: JobEvent.COMPLETE, State.FAILED: JobEvent.FAIL, State.CANCELED: JobEvent.CANCEL}


def end_move(known: AttemptJobState, state: State, *, ran: bool) -> StateChange:
    """Return the change of a job's state when its live attempt ends. `ran`: the attempt had started, whether or not
    its start was ingested before."""
    before = known.job_state
    if before is State.QUEUED and ran:
        before = transition(before, JobEvent.START, _describe(known))
    after = transition(before, _EVENT[state], _describe(known))
    return StateChange(known.job, known.workflow, known.resource_class, known.job_state, after)


def _describe(known: AttemptJobState) -> str:
    return f"job {known.job} {known.name}, attempt {known.attempt}"


def ending_of(record: Ended, worker: str, host: str, start: Started | None) -> AttemptEnd:
    """Return the columns that an end sets on an attempt's row."""
    started = record.started if record.started is not None else (start.at if start else None)
    cause = Cause(record.cause) if record.cause else None
    return AttemptEnd(
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
    failure = record.failure or Failure()
    found = signature(cause or "", failure.type, failure.message, failure.traceback, failure.stderr)
    return found.digest, found.type, found.message
