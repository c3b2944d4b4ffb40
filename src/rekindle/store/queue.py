"""The hot path: claims and outcomes, always many at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rekindle.domain.errors import StoreUnavailable
from rekindle.domain.lifecycle import Event, transition
from rekindle.domain.models import Ending, Move, NewAttempt, ReadyClass, ReadyJob, Standing, StepOutcome
from rekindle.domain.selection import Predicate
from rekindle.domain.states import State
from rekindle.store.counts import CountKey, add_counts
from rekindle.store.database import Database, Row
from rekindle.store.deriving import derive_afresh
from rekindle.store.finishing import concerned
from rekindle.store.jobs import known_resources
from rekindle.store.predicates import compile_condition
from rekindle.store.queries import as_set, load
from rekindle.store.rowshape import STATES, verdict_columns

SQL = load("queue")


class Queue:
    """See rekindle.store.port.Queue."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def ready_classes(self, workflow: int | None) -> list[ReadyClass]:
        if workflow is None:
            rows = self._db.rows(SQL["ready_classes"])
        else:
            rows = self._db.rows(SQL["ready_classes_of_one"], workflow=workflow)
        resources = known_resources(self._db, {row[1] for row in rows})
        return [ReadyClass(owner, number, resources[number], ready) for owner, number, ready in rows]

    def ready(
        self, workflow: int, resource_class: int, limit: int, host: str = "", only: Predicate | None = None
    ) -> list[ReadyJob]:
        values = {"workflow": workflow, "resource_class": resource_class, "limit": limit, "host": host}
        if only is None:
            return [self._ready_job(row) for row in self._db.rows(SQL["ready"], **values)]
        condition = compile_condition(only, self._db.paths)
        text = SQL["ready_of_those"].text.replace("{where}", condition.text)
        return [self._ready_job(row) for row in self._db.select(text, {**values, **condition.values})]

    def _ready_job(self, row: Row) -> ReadyJob:
        values = [*row[:13], self._db.paths.decode(row[13]), *row[14:]]
        return ReadyJob(*values)

    def next_attempt(self) -> int:
        return int(self._db.value(SQL["highest_attempt"])) + 1

    def claim(self, attempts: Sequence[NewAttempt], runner: int, now: float) -> None:
        encode = self._db.paths.encode
        rows = [_reservation(one, encode(one.folder), runner, now) for one in attempts]
        self._db.change_each(SQL["insert_attempt"], rows)
        claimed = self._db.change_each(SQL["claim_job"], [(attempt.id, attempt.job.id) for attempt in attempts])
        expect(claimed, len(attempts), "claimed")
        deltas: Counter[CountKey] = Counter()
        for (workflow, number), n in Counter((one.job.workflow, one.job.resource_class) for one in attempts).items():
            deltas[workflow, number, State.READY] -= n
            deltas[workflow, number, State.QUEUED] += n
        add_counts(self._db, deltas)

    def standing(self, attempts: Iterable[int]) -> dict[int, Standing]:
        rows = self._db.rows(SQL["standing"], attempts=as_set(attempts))
        return {row[0]: _standing(row) for row in rows}

    def start(self, started: Sequence[tuple[int, float, str, str, int | None, int | None]]) -> None:
        if not started:
            return
        expect(self._db.change_each(SQL["start_attempt"], started), len(started), "started")
        self._extend_spans([row[0] for row in started])

    def end(self, endings: Sequence[Ending]) -> None:
        if not endings:
            return
        ended = self._db.change_each(SQL["end_attempt"], [_end(ending) for ending in endings])
        expect(ended, len(endings), "ended")
        self._db.change_each(
            SQL["write_step"], [_step(ending.attempt, step) for ending in endings for step in ending.steps]
        )
        explained = [one for one in endings if one.failure is not None or one.signature is not None]
        if explained:
            self._db.change_each(SQL["explain_attempt"], [self._explanation(ending) for ending in explained])
        self._extend_spans([ending.attempt for ending in endings])

    def steps(self, rows: Sequence[tuple[int, StepOutcome]]) -> None:
        if rows:
            self._db.change_each(SQL["write_step"], [_step(attempt, step) for attempt, step in rows])

    def move(self, moves: Sequence[Move]) -> None:
        if not moves:
            return
        moved = self._db.change_each(SQL["move_job"], ((move.after, move.job, move.before) for move in moves))
        expect(moved, len(moves), "moved")
        deltas: Counter[CountKey] = Counter()
        kinds = Counter((move.workflow, move.resource_class, move.before, move.after) for move in moves)
        for (workflow, number, before, after), n in kinds.items():
            deltas[workflow, number, before] -= n
            deltas[workflow, number, after] += n
        add_counts(self._db, deltas)

    def completed(self, parents: Sequence[int]) -> list[Move]:
        return self._released(self._db.rows(SQL["children_of_completed"], parents=as_set(parents)))

    def _released(self, rows: Sequence[Row]) -> list[Move]:
        """Less is missing of what these need; the moves of those for which nothing is."""
        self._db.change_each(SQL["lower_unmet"], [(n, child) for child, n, *_ in rows])
        return [
            Move(child, workflow, number, State.WAITING, transition(State.WAITING, Event.NEEDS_MET, f"job {child}"))
            for child, n, workflow, number, state, unmet, canceled, retired in rows
            if unmet == n and state == State.WAITING and not canceled and not retired
        ]

    def gave_up(self, jobs: Sequence[int], *, idle: bool = False) -> list[Move]:
        found = concerned(self._db, jobs)
        if not found.jobs:
            return []
        if idle or found.between:  # some may have waited in vain before, for something else
            derive_afresh(self._db, jobs)
            return []
        return self._released(self._db.rows(SQL["children_of_given_up"], parents=as_set(jobs)))

    def release(self, attempts: Mapping[int, int]) -> None:
        if not attempts:
            return
        released = as_set(attempts)
        expect(len(self._db.rows(SQL["unstarted_claims"], attempts=released)), len(attempts), "released")
        self._db.change(SQL["remember_attempts"], highest=max(attempts))
        self._db.change(SQL["unclaim_jobs"], attempts=released, jobs=as_set(attempts.values()))
        self._db.change(SQL["delete_steps"], attempts=released)
        self._db.change(SQL["delete_fingerprints"], attempts=released)
        self._db.change(SQL["delete_attempts"], attempts=released)

    def leaving(self, workflow: int | None) -> int:
        if workflow is None:
            return int(self._db.value(SQL["leaving"]))
        return int(self._db.value(SQL["leaving_of_one"], workflow=workflow))

    def awaited(self, jobs: Sequence[int] | None) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for job, attempt in self._db.rows(SQL["awaited"], jobs=None if jobs is None else as_set(jobs)):
            found.setdefault(job, []).append(attempt)
        return found

    def fall_due(self, now: float) -> None:
        self._db.change(SQL["fall_due"], now=now)

    def hasten(self, now: float) -> None:
        self._db.change(SQL["hasten"], now=now)

    def next_due(self, workflow: int | None, now: float) -> float | None:
        if workflow is None:
            due: float | None = self._db.value(SQL["next_due"], now=now)
        else:
            due = self._db.value(SQL["next_due_of_one"], workflow=workflow, now=now)
        return due

    def delayed(self, now: float) -> dict[int, int]:
        return dict(self._db.rows(SQL["delayed"], now=now))

    def _extend_spans(self, attempts: Sequence[int]) -> None:
        self._db.change_each(SQL["extend_span"], self._db.rows(SQL["spans"], attempts=as_set(attempts)))

    def _explanation(self, ending: Ending) -> Row:
        said = ending.failure
        texts = (None, None, None, None) if said is None else (said.type, said.message, said.traceback, said.stderr)
        return (ending.attempt, self._signature(ending), *texts, ending.evidence)

    def _signature(self, ending: Ending) -> int | None:
        if ending.signature is None:
            return None
        digest, kind, message = ending.signature
        known = self._db.signatures.get(digest)
        if known is None:
            known = self._db.value(SQL["find_signature"], digest=digest)
            if known is None:
                cause = ending.cause.value if ending.cause else ""
                known = self._db.insert(SQL["insert_signature"], digest=digest, cause=cause, type=kind, message=message)
            self._db.signatures[digest] = known
        return known


def _standing(row: Row) -> Standing:
    attempt, token, state, archived, job, name, workflow, number, job_state, live, cancel, repeats = row
    stands = (job, name, workflow, number, STATES[job_state], live, cancel != 0, repeats)
    return Standing(attempt, token, STATES[state], archived != 0, *stands)


def expect(changed: int, wanted: int, what: str) -> None:
    """Everything was decided on rows as they stood: if one does not stand there any more, nothing is written."""
    if changed != wanted:
        raise StoreUnavailable(
            f"{wanted - changed} of {wanted} rows that were to be {what} have been changed by someone else",
            hint="nothing was written; try again",
        )


def _reservation(attempt: NewAttempt, folder: str, runner: int, now: float) -> Row:
    job = attempt.job
    return (
        attempt.id,
        job.id,
        job.workflow,
        job.attempts + 1,
        attempt.token,
        job.revision,
        job.template,
        runner,
        folder,
        int(attempt.shared),
        now,
        job.resume_attempt,
        job.resume_step,
        job.overrides,
        job.own_binding,
        job.pinned_to,
    )


def _end(ending: Ending) -> Row:
    return (
        ending.attempt,
        int(ending.state),
        ending.ended,
        ending.started,
        ending.worker,
        ending.host,
        ending.pid,
        ending.pid_start,
        ending.cause and ending.cause.value,
        ending.exit_code,
        ending.signal,
        ending.cpu_seconds,
        ending.max_rss_bytes,
        ending.result,
        *verdict_columns(ending.verdict),
        int(ending.partial),
        ending.code,
        ending.left_running,
    )


def _step(attempt: int, step: StepOutcome) -> Row:
    return (
        attempt,
        step.position,
        step.name,
        int(step.state),
        step.cause and step.cause.value,
        step.exit_code,
        step.signal,
        step.started,
        step.ended,
        step.result,
        step.kept_from,
        step.action,
        *verdict_columns(step.verdict),
    )
