"""Ingest: journal records become attempts' rows, job states and released children, in one transaction.

Ingest is idempotent: a record of an attempt that has ended, or with a token that is not the attempt's, changes nothing.
A record of an archived attempt is stored with that attempt and changes no job's state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.models import AttemptEnd, AttemptJobState, Failure, StateChange
from rekindle.domain.signatures import failure_signature
from rekindle.domain.states import ENDED, ENDED_BADLY, Cause, JobEvent, State, transition
from rekindle.engine.automatic_reruns import RetryErrorMatches, apply_repeats, bounded_by_policy
from rekindle.engine.canaries import resolve_canaries
from rekindle.engine.dynamic_actions import apply_dynamic_actions
from rekindle.engine.failure_policy import decide_failures
from rekindle.engine.fan_outs import end_subtasks, record_fan_outs
from rekindle.journal.log import Damage, first_record, read_past_damage, records_at_leaving, restore_length
from rekindle.journal.records import (
    ALLOCATION,
    Closed,
    Depended,
    Ended,
    FannedOut,
    Leaving,
    Opened,
    Record,
    RecordedCode,
    Returned,
    Started,
    StepEnded,
    Subtasks,
)

if TYPE_CHECKING:
    from rekindle.domain.rerun.resolve import Exists
    from rekindle.store.archive import Transaction


class JournalBatch(msgspec.Struct, frozen=True):
    """New content of one worker's journal: records, the position in bytes after them, and the unreadable parts.
    `host`: where the worker ran; None: its journal does not say."""

    worker: str
    records: Sequence[Record]
    position: int
    damaged: Sequence[Damage] = ()
    host: str | None = None
    is_cut_short: bool = False  # the journal is shorter than what was read before


class JournalReader(msgspec.Struct):
    """Reads one worker's journal from the position on that was committed last."""

    worker: str
    path: Path
    position: int = 0  # in bytes
    opened: Opened | None = None  # its first record, once that has been read

    def read(self) -> JournalBatch | None:
        """Return the new content, or None if there is none.

        A journal that was truncated is filled up to the position, so that positions never decrease. Raise JournalError
        when it cannot be read."""
        found = self.peek()
        if found is not None and found.is_cut_short:
            restore_length(self.path, self.position)
        return found

    def peek(self, *, final: bool = False) -> JournalBatch | None:
        """Return the new content, and change nothing. `final`: no process writes the journal any more."""
        records, after, damaged = read_past_damage(self.path, self.position, final=final)
        if not records and not damaged:
            return None
        self.identify()
        host = None if self.opened is None else self.opened.host
        is_cut_short = bool(damaged) and damaged[0].offset < self.position
        return JournalBatch(self.worker, records, after, damaged, host, is_cut_short)

    def said_at_leaving(self) -> list[Leaving | Closed]:
        """Return what the worker said at its end before the position."""
        return records_at_leaving(self.path, self.position) if self.position else []

    def identify(self) -> None:
        """Read which process writes the journal, if it has said so."""
        if self.opened is None:
            first = first_record(self.path)
            self.opened = first if isinstance(first, Opened) else None


def failures_of(batches: Sequence[JournalBatch], unreported: Sequence[Ended] = ()) -> dict[int, Failure]:
    """Return, by attempt, the failures in these batches and among the ends that no journal has."""
    ends = [record for batch in batches for record in batch.records if isinstance(record, Ended)] + [*unreported]
    return {one.attempt: one.failure or Failure() for one in ends if one.state is State.FAILED}


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
    lost: set[int] = msgspec.field(
        default_factory=set
    )  # jobs whose attempts were lost, if no policy decides about that
    cut_off: set[int] = msgspec.field(default_factory=set)  # jobs whose attempts were ended with their allocation
    recovery: int | None = None  # the rerun of lost jobs
    warnings: list[str] = msgspec.field(default_factory=list)
    retries: int = 0  # jobs that run again as their policies say
    not_retried: int = 0  # jobs that do not, because there were enough retries
    asked: bool = False  # judges are to be asked
    needed: bool = False  # other jobs need some of those whose attempts have ended


def ingest(
    archive: Transaction,
    batches: Sequence[JournalBatch],
    now: float,
    exists: Exists,
    errors: RetryErrorMatches | None = None,
    unreported: Sequence[Ended] = (),
    terminated: float | None = None,
) -> IngestResult:
    """Store the records of the batches, and the positions of the journals.

    Jobs that are retried become ready from `now` on. `exists`: see `KnownPaths`. `errors`: the matches of a
    RetryErrorSearch over the batches' failures. `unreported`: the ends of attempts that no process is left to
    journal. `terminated`: when the runner's batch system sent SIGTERM, which jobs may have got too.

    Raise NotAlone in a turn, unless the records are of attempts that started, and that completed without dynamic
    actions and repetitions."""
    errors = errors or RetryErrorMatches()
    sorted_records = _SortedRecords()
    for batch in batches:
        for record in batch.records:
            sorted_records.add(batch, record)
        archive.runners.advance(batch.worker, batch.position)
    for end in unreported:
        sorted_records.ends.setdefault(end.attempt, _signed(end))
    standing = archive.queue.status(sorted_records.attempts())
    if sorted_records.returned or not all(end.state is State.COMPLETED for end in sorted_records.ends.values()):
        archive.require_alone()
    result = IngestResult(returned=sorted_records.returned, damaged=_record_damage(archive, batches, now))
    steps = [(one.attempt, one.step) for one in sorted_records.steps if _is_new(standing, one.attempt, one.token)]
    archive.queue.steps(steps)
    record_fan_outs(archive, [one for one in sorted_records.fan_outs if _is_new(standing, one.attempt, one.token)])
    # Ends first: dynamic actions apply to a graph in which attempts and jobs agree.
    ends = _store_ends(archive, sorted_records, standing, result)
    live = [(ending, known) for ending, known in ends if known.job_attempt == ending.attempt]
    moves = [end_move(known, ending.state, ran=ending.started is not None) for ending, known in live]
    bad = [one for one in ends if one[0].state is not State.COMPLETED]  # of most batches none
    lost = {known.job for ending, known in bad if known.job_attempt == ending.attempt and _is_lost(ending)}
    result.lost = lost - bounded_by_policy(archive, sorted(lost))
    result.cut_off = {known.job for ending, known in bad if _is_cut_off(ending, known, terminated)}
    moves += _store_starts(archive, sorted_records, standing, result)
    archive.queue.move(moves)
    not_repeated = lost | result.cut_off
    repeated = apply_repeats(archive, [one for one in ends if one[1].job not in not_repeated], now, exists)
    completed = [move.job for move in moves if move.after is State.COMPLETED and move.job not in repeated]
    archive.queue.completed(completed)
    result.warnings = _record_warnings(archive, sorted_records, ends, errors.slow, now)
    interrupted, result.requeued = result.lost | result.cut_off, repeated
    if bad:
        decided = repeated | interrupted
        found = decide_failures(archive, [one for one in bad if one[1].job not in decided], now, exists, errors)
        result.retries, result.not_retried, result.asked = len(found.retried), found.not_retried, bool(found.asked)
        result.requeued = repeated | set(found.retried)
        decided |= found.open
        archive.queue.gave_up([one.job for one in moves if one.after in ENDED_BADLY and one.job not in decided])
    # `rerun_lost` decides later whether lost jobs and those that were cut off run again
    if not interrupted and any(known.canaries_open for _, known in ends):
        resolve_canaries(archive, now, exists)
    return result


class _SortedRecords(msgspec.Struct):
    """Records by kind. Of several starts or ends of an attempt the first counts."""

    starts: dict[int, tuple[JournalBatch, Started]] = msgspec.field(default_factory=dict)  # by attempt
    ends: dict[int, Ended] = msgspec.field(default_factory=dict)  # by attempt, with the process that ran it
    steps: list[StepEnded] = msgspec.field(default_factory=list)
    fan_outs: list[FannedOut | Depended | Subtasks] = msgspec.field(default_factory=list)
    sources: list[RecordedCode] = msgspec.field(default_factory=list)
    returned: list[str] = msgspec.field(default_factory=list)  # tokens

    def add(self, batch: JournalBatch, record: Record) -> None:
        """Add one record of a batch."""
        if isinstance(record, Ended):
            start = self.starts.get(record.attempt)
            self.ends.setdefault(record.attempt, _where_it_ran(record, batch, start[1] if start else None))
        elif isinstance(record, Started):
            self.starts.setdefault(record.attempt, (batch, record))
        elif isinstance(record, StepEnded):
            self.steps.append(record)
        elif isinstance(record, FannedOut | Depended | Subtasks):
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


def _record_warnings(
    archive: Transaction,
    records: _SortedRecords,
    ends: Sequence[tuple[AttemptEnd, AttemptJobState]],
    slow: Mapping[int, str],
    now: float,
) -> list[str]:
    """Record what attempts have left in the content store, and return warnings about that and about slow patterns."""
    return _record_slow_patterns(archive, ends, slow, now) + _record_cached(archive, records, ends, now)


def _record_cached(
    archive: Transaction, records: _SortedRecords, ends: Sequence[tuple[AttemptEnd, AttemptJobState]], now: float
) -> list[str]:
    """Record the attempts whose outputs are in the content store, and return warnings about those that could not be
    kept. Such an attempt has completed all the same."""
    kept, warnings = {}, []
    for ending, known in ends:
        cached = records.ends[ending.attempt].cached
        if cached is None or ending.state is not State.COMPLETED:
            continue
        if not cached.problem:
            kept[ending.attempt] = cached, now
            continue
        detail = {"job": known.job, "attempt": ending.attempt, "why": cached.problem}
        archive.events.add(now, "not_cached", known.workflow, detail)
        warnings.append(f"{known.name}: its outputs are not in the cache: {cached.problem:.300}")
    if kept:
        archive.cached_outputs.put(kept)
    return warnings


def _is_lost(ending: AttemptEnd) -> bool:
    """Return whether the attempt was lost with its runner, or counts as lost because its outcome may stand in an
    unreadable part of a journal. An attempt whose worker alone has died is not: the job may have ended it."""
    return ending.cause is Cause.LOST and not {"runner", "damaged"}.isdisjoint(json.loads(ending.evidence or "{}"))


_AT_ONCE = 1.0
"""Seconds in which a batch system sends its signal to all processes of a job."""


def _is_cut_off(ending: AttemptEnd, known: AttemptJobState, terminated: float | None) -> bool:
    """Return whether the live attempt of a job was ended because its allocation ends, and not by a user too: by its
    runner, or by the batch system, which may send SIGTERM to every process. What fails at that moment counts as ended
    by it: a command by the signal, a function by the exception that it raises."""
    if known.job_attempt != ending.attempt or known.cancel_asked:
        return False
    if ending.state is State.FAILED:
        return terminated is not None and ending.ended > terminated - _AT_ONCE
    return ending.cause is Cause.CANCELED and ALLOCATION in json.loads(ending.evidence or "{}")


def _is_new(standing: dict[int, AttemptJobState], attempt: int, token: str) -> bool:
    known = standing.get(attempt)
    return known is not None and known.token == token and known.state not in ENDED


def _store_starts(
    archive: Transaction, records: _SortedRecords, standing: dict[int, AttemptJobState], result: IngestResult
) -> list[StateChange]:
    rows, moves = [], []
    for attempt, (batch, record) in records.starts.items():
        if attempt in records.ends or not _is_new(standing, attempt, record.token):
            continue  # an end in the same batches stores the start too
        known = standing[attempt]
        if known.state is not State.QUEUED:
            continue
        result.started.append(attempt)
        rows.append((attempt, record.at, batch.worker, batch.host, record.pid, record.pid_start))
        if known.job_attempt == attempt:
            after = transition(known.job_state, JobEvent.START, known)
            moves.append(StateChange(known.job, known.workflow, known.resource_class, known.job_state, after))
    archive.queue.start(rows, standing)
    return moves


def _store_ends(
    archive: Transaction, records: _SortedRecords, standing: dict[int, AttemptJobState], result: IngestResult
) -> list[tuple[AttemptEnd, AttemptJobState]]:
    """Store the ends of attempts, and return them with the attempts' rows. Job states are not changed yet."""
    new = [one for one in records.ends.values() if _is_new(standing, one.attempt, one.token)]
    endings = apply_dynamic_actions(archive, new, standing, {one.attempt for one in records.steps})
    result.archived = {ending.attempt for ending in endings if standing[ending.attempt].archived}
    for ending in endings:
        result.ended.append((ending.attempt, ending.state, ending.ended - (ending.started or ending.ended)))
    archive.queue.end(endings, standing)
    _store_fingerprints(archive, records, endings)
    end_subtasks(archive, endings)
    result.needed = any(standing[ending.attempt].is_needed for ending in endings)
    return [(ending, standing[ending.attempt]) for ending in endings]


def _store_fingerprints(archive: Transaction, records: _SortedRecords, endings: Sequence[AttemptEnd]) -> None:
    """Store the fingerprints and partial outputs of attempts that ended. Storing them twice is harmless."""
    for one in sorted(records.sources, key=attrgetter("digest")):  # so that no two turns wait for each other
        archive.fingerprints.put_source(one.digest, one.modules)
    ends = [records.ends[ending.attempt] for ending in endings]
    archive.fingerprints.put_files({one.attempt: one.prints for one in ends if one.prints is not None})
    archive.fingerprints.put_partial({one.attempt: one.left for one in ends if one.left})
    archive.fingerprints.remember_files([seen for one in ends for seen in one.seen])


_EVENT = {State.COMPLETED: JobEvent.COMPLETE, State.FAILED: JobEvent.FAIL, State.CANCELED: JobEvent.CANCEL}


def end_move(known: AttemptJobState, state: State, *, ran: bool) -> StateChange:
    """Return the change of a job's state when its live attempt ends. `ran`: the attempt had started, whether or not
    its start was ingested before."""
    before = known.job_state
    if before is State.QUEUED and ran:
        before = transition(before, JobEvent.START, known)
    after = transition(before, _EVENT[state], known)
    return StateChange(known.job, known.workflow, known.resource_class, known.job_state, after)


def _signed(end: Ended) -> Ended:
    """Return a failed attempt's end with its signature, unless it has one."""
    if end.state is not State.FAILED or end.signature is not None:
        return end
    return msgspec.structs.replace(end, signature=failure_signature(end.cause, end.failure))


def _where_it_ran(end: Ended, batch: JournalBatch, start: Started | None) -> Ended:
    """Return the end with the process that ran the attempt, and with its signature if it failed."""
    pid, pid_start = (start.pid, start.pid_start) if start else (None, None)
    started = start.at if end.started is None and start else end.started
    return msgspec.structs.replace(
        _signed(end), worker=batch.worker, host=batch.host, pid=pid, pid_start=pid_start, started=started
    )
