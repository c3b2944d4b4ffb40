"""Claims and outcomes in bulk. The runner's loop spends most of its time here.

The domain decides and the store writes: a state change arrives as a Move with the state that it leaves. If a row has
changed since it was read, the write fails with StoreUnavailable.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.domain.errors import StoreUnavailable
from rekindle.domain.models import (
    AttemptEnd,
    AttemptJobState,
    NewAttempt,
    ReadyJob,
    StateChange,
    StepOutcome,
)
from rekindle.domain.selection import Compare, Op
from rekindle.domain.states import State
from rekindle.store.candidates import find_jobs
from rekindle.store.derived import CountKey, add_counts, derive_states, extend_spans, finish_dependents
from rekindle.store.predicates import compile_condition
from rekindle.store.queries import Query, as_set, load
from rekindle.store.rows import (
    STATE_NUMBERS,
    STATES,
    claim_row,
    end_columns,
    next_attempt_of,
    only_completed,
    only_completed_step,
    step_columns,
)

if TYPE_CHECKING:
    from rekindle.domain.selection import Predicate
    from rekindle.store.candidates import Candidates
    from rekindle.store.database import Database
    from rekindle.store.stored_paths import StoredPaths

SQL = load("queue")
POSTGRES = load("postgres")


_WAITING, _READY, _QUEUED = (STATE_NUMBERS[one] for one in (State.WAITING, State.READY, State.QUEUED))

MOST_AHEAD = 256
"""Attempt ids that a process takes ahead."""


class Queue:
    """Claims and outcomes, many at a time."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._childless: set[int] = set()  # jobs that no other needs, for as long as the block is a turn

    def ready(
        self,
        workflow: int | None,
        limit: int,
        host: str = "",
        only: Predicate | None = None,
        *,
        resource_class: int | None = None,
        stopped: Collection[int] = (),
        skipped: Collection[int] = (),
    ) -> list[ReadyJob]:
        """Return the first `limit` ready jobs of each resource class, or of one: highest priority first, then by id.

        Jobs that are held, delayed, avoid `host`, have a reuse candidate, or wait for an archived attempt to end (see
        `Attempts.blocking`) are left out, and so are those of archived and `stopped` workflows and of `skipped`
        templates; with `only`, so are jobs that do not match it.
        """
        values = {
            "workflow": workflow,
            "resource_class": resource_class,
            "limit": limit,
            "host": host,
            "stopped": as_set(stopped),
            "skipped": as_set(skipped),
        }
        name = "any_workflow" if workflow is None else "one_workflow"
        if only is None:
            query = _ready_query(
                self._db.text(SQL["ready"]), name, shared=self._db.shared, whole=not (stopped or skipped)
            )
        else:
            found = compile_condition(self._ready_in(SQL[name].text), only, self._db.paths)
            if found.decide is not None:
                found = self._decide_ready(SQL[name].text, only, values)
            query = Query("ready", "", found.text)
            values.update(found.values)
        paths = self._db.paths
        return [_ready_job(row, paths) for row in self._db.named_rows(query, **values)]

    def _ready_in(self, scope: str) -> str:
        """Return the query for the first ready jobs of a scope."""
        return _ready_text(self._db.text(SQL["ready"]), scope, shared=self._db.shared)

    def _decide_ready(self, scope: str, only: Predicate, values: Mapping[str, Any]) -> Candidates:
        """Return the query for the first jobs of each class that match a condition that SQL only narrows."""
        text = SQL["ready_in_class"].text.replace("{scope}", scope).replace("class.id", ":resource_class")
        found: list[int] = []
        for (number,) in self._db.select(SQL["ready_classes"].text.replace("{scope}", scope), values):
            narrowed = compile_condition(text, only, self._db.paths)
            values_of_class = {**narrowed.values, **values, "resource_class": number}
            found += islice(find_jobs(self._db, replace(narrowed, values=values_of_class)), values["limit"])
        among = Compare("id", Op.IN, tuple(found))
        return compile_condition(self._ready_in(scope), among, self._db.paths)

    def next_attempt(self) -> int:
        """Return the first free attempt id. The transaction may use it and all ids above."""
        return int(self._db.value(SQL["highest_attempt"])) + 1

    def attempt_ids(self, count: int) -> list[int]:
        """Return free attempt ids for the transaction. In a turn that others run beside, ids are taken ahead for later
        turns, up to as many as the store has used."""
        if self._db.driver.dialect == "sqlite":
            first = self.next_attempt()
            return list(range(first, first + count))
        free = self._db.cache.attempt_ids if self._db.shared else []
        if len(free) < count:
            ahead = min(self._db.cache.attempts, MOST_AHEAD) if self._db.shared else 0
            free += (number for (number,) in self._db.rows(POSTGRES["attempt_ids"], count=count - len(free) + ahead))
        self._db.cache.attempts += count
        taken, free[:count] = free[:count], []
        return taken

    def claim(self, attempts: Sequence[NewAttempt], runner: int, now: float) -> None:
        """Insert attempts (QUEUED) as the live ones of their jobs, which become QUEUED."""
        encode = self._db.paths.encode
        rows = (claim_row(one, runner, encode(one.folder), now) for one in attempts)
        self._db.change_each(SQL["insert_attempt"], rows)
        jobs = [(attempt.id, attempt.job.id) for attempt in attempts]
        self._db.change_each(SQL["claim_job"], jobs, partial(expect, wanted=len(jobs), what="claimed"))
        self._count((one.job.workflow, one.job.resource_class, _READY, _QUEUED) for one in attempts)

    def status(self, attempts: Iterable[int]) -> dict[int, AttemptJobState]:
        """Return the status of attempts and of their jobs, by attempt."""
        rows = self._db.named_rows(SQL["status"], attempts=as_set(attempts))
        self._childless.update(row.job for row in rows if not row.has_children)
        return {row.id: _status(row, self._db.paths) for row in rows}

    def start(
        self,
        started: Sequence[tuple[int, float, str, str | None, int | None, int | None]],
        standing: Mapping[int, AttemptJobState],
    ) -> None:
        """Mark attempts RUNNING: (attempt, time, worker, host, pid, pid_start). `standing` is their status. `move`
        changes their jobs."""
        if not started:
            return
        self._db.change_each(SQL["start_attempt"], started, partial(expect, wanted=len(started), what="started"))
        extend_spans(self._db, [(standing[row[0]].workflow, row[1], None) for row in started])

    def end(self, endings: Sequence[AttemptEnd], standing: Mapping[int, AttemptJobState]) -> None:
        """Write the ends of attempts, with their steps and signatures. `standing`: their status. `move` changes their
        jobs."""
        if not endings:
            return
        self._db.concerns_others = True
        completed = [ending for ending in endings if only_completed(ending)]
        others = [ending for ending in endings if not only_completed(ending)] if len(completed) < len(endings) else []
        if completed:
            query = SQL["complete_attempt"]
            rows = map(attrgetter(*query.row), completed)
            self._db.change_each(query, rows, partial(expect, wanted=len(completed), what="ended"))
        if others:
            query = SQL["end_attempt"]
            columns = query.rows(end_columns(ending, self._signature(ending)) for ending in others)
            self._db.change_each(query, columns, partial(expect, wanted=len(others), what="ended"))
        self.steps((ending.attempt, step) for ending in endings for step in ending.steps)
        extend_spans(self._db, [(standing[one.attempt].workflow, one.started, one.ended) for one in endings])

    def steps(self, steps: Iterable[tuple[int, StepOutcome]]) -> None:
        """Write steps of attempts; an existing row is replaced, and of several ends of a step the last one counts."""
        found = {(attempt, step.position): step for attempt, step in steps}
        completed = [
            (*key, step.name, step.exit_code, step.started, step.ended, step.result)
            for key, step in found.items()
            if only_completed_step(step)
        ]
        if completed:
            self._db.change_each(SQL["complete_step"], completed)
        if len(completed) < len(found):
            query = SQL["write_step"]
            others = (step_columns(key[0], one) for key, one in found.items() if not only_completed_step(one))
            self._db.change_each(query, query.rows(others))

    def move(self, moves: Sequence[StateChange]) -> None:
        """Change the states of jobs (version + 1) and the counts. Every job must be in the state `before`."""
        if not moves:
            return
        self._db.concerns_others |= any(move.after is State.READY for move in moves)
        rows = ((STATE_NUMBERS[move.after], move.job, STATE_NUMBERS[move.before]) for move in moves)
        self._db.change_each(SQL["move_job"], rows, partial(expect, wanted=len(moves), what="moved"))
        self._count(
            (one.workflow, one.resource_class, STATE_NUMBERS[one.before], STATE_NUMBERS[one.after]) for one in moves
        )

    def _count(self, moves: Iterable[tuple[int, int, int, int]]) -> None:
        """Change the counts by the moves of jobs: (workflow, resource class, state before, state after)."""
        kinds: dict[tuple[int, int, int, int], int] = {}
        for kind in moves:
            kinds[kind] = kinds.get(kind, 0) + 1
        deltas: dict[CountKey, int] = {}
        for (workflow, number, before, after), n in kinds.items():
            deltas[workflow, number, before] = deltas.get((workflow, number, before), 0) - n
            deltas[workflow, number, after] = deltas.get((workflow, number, after), 0) + n
        add_counts(self._db, deltas)

    def completed(self, parents: Sequence[int]) -> None:
        """Lower the unmet counts of the children of jobs that have just become COMPLETED. Children that need nothing
        more become READY."""
        if self._db.is_turn:  # nobody adds needs meanwhile
            parents = [parent for parent in parents if parent not in self._childless]
        if parents:
            self._meet_needs(SQL["meet_needs"], parents)

    def gave_up(self, jobs: Sequence[int], *, idle: bool = False) -> None:
        """Lower the unmet counts of jobs with `when: finished` below jobs that have failed or were canceled and are not
        retried. Those that need nothing more become READY. `idle`: the jobs had not run, so their children may have
        counted them as finished before."""
        found = finish_dependents(self._db, jobs)
        if not found.jobs:
            return
        if idle or found.between:  # a job may already count as given up for another reason: derive, do not subtract
            derive_states(self._db, jobs)
        else:
            self._meet_needs(SQL["meet_needs_to_finish"], jobs)

    def _meet_needs(self, query: Query, parents: Sequence[int]) -> None:
        """Lower unmet counts, and count the jobs that have become READY. The statement decides which have: two runners
        may complete the two parents of one child at once. A job that was READY before needed nothing."""
        if self._db.shared:
            self._db.change_each(POSTGRES["lock_children"], [(as_set(parents),)])
        rows = self._db.rows(query, parents=as_set(parents))
        ready = [(workflow, number) for workflow, number, state, unmet in rows if state == _READY and not unmet]
        if ready:
            self._db.concerns_others = True
            self._count((workflow, number, _WAITING, _READY) for workflow, number in ready)

    def release(self, attempts: Mapping[int, int]) -> None:
        """Take back claims: `attempts` maps live QUEUED attempts that never started to their jobs. The attempts' rows
        are deleted and their numbers given back. `move` changes the jobs."""
        if not attempts:
            return
        released = as_set(attempts)
        expect(len(self._db.rows(SQL["unstarted_claims"], attempts=released)), len(attempts), "released")
        self._db.change(SQL["remember_attempts"], highest=max(attempts))
        self._db.change(SQL["unclaim_jobs"], attempts=released, jobs=as_set(attempts.values()))
        self._db.change(SQL["delete_steps"], attempts=released)
        self._db.change(SQL["delete_fingerprints"], attempts=released)
        self._db.change(SQL["delete_attempts"], attempts=released)

    def count_archived_active(self, workflow: int | None) -> int:
        """Return the number of attempts that reruns have archived and that have not ended yet."""
        if workflow is None:
            return int(self._db.value(SQL["count_archived_active"]))
        return int(self._db.value(SQL["count_archived_active_of_one"], workflow=workflow))

    def clear_due_delays(self, now: float) -> None:
        """End the delays that are over by `now`."""
        self._db.change(SQL["clear_due_delays"], now=now)

    def clear_future_delays(self, now: float) -> None:
        """End the delays that began after `now`: the clock has been set back."""
        self._db.change(SQL["clear_future_delays"], now=now)

    def next_due(self, workflow: int | None, now: float) -> float | None:
        """Return when the next delay of a ready job ends after `now`; None if no job is delayed."""
        if workflow is None:
            due: float | None = self._db.value(SQL["next_due"], now=now)
        else:
            due = self._db.value(SQL["next_due_of_one"], workflow=workflow, now=now)
        return due

    def _signature(self, ending: AttemptEnd) -> int | None:
        """Return the row id of an ending's signature; insert the signature if it is new."""
        if ending.signature is None:
            return None
        found = ending.signature
        known = self._db.cache.signatures.get(found.digest)
        if known is None:
            known = self._db.value(SQL["find_signature"], digest=found.digest)
            if known is None:
                cause = ending.cause.value if ending.cause else ""
                known = self._db.insert(SQL["insert_signature"], cause=cause, **msgspec.structs.asdict(found))
            self._db.cache.signatures[found.digest] = known
        return known


def expect(changed: int, wanted: int, what: str) -> None:
    """Raise StoreUnavailable unless all rows were changed: the decision was made on rows that have changed since."""
    if changed != wanted:
        raise StoreUnavailable(
            f"{wanted - changed} of {wanted} rows that were to be {what} have been changed by someone else",
            hint="nothing was written; try again",
        )


def _ready_text(text: str, scope: str, *, shared: bool) -> str:
    if shared:
        text = text.replace("{where}", "{where} AND " + POSTGRES["not_locked"].text)
    lock = POSTGRES["lock_claimed"].text if shared else ""
    return text.replace("{lock}", lock).replace("{scope}", scope)


@cache
def _ready_query(text: str, scope: str, *, shared: bool, whole: bool) -> Query:
    """Return the query for the first ready jobs of a scope, by the name of its condition, without another condition.
    `whole`: no workflow and no template is left out."""
    text, everything = _ready_text(text, SQL[scope].text, shared=shared), SQL["any_workflow"].text
    if whole:
        text = text.replace(SQL["not_left_out"].text, everything)
    places = {"{columns}": "", "{joins}": "", "{where}": everything}
    for place, replacement in places.items():
        text = text.replace(place, replacement)
    return Query("ready", "", text)


def _ready_job(row: Any, paths: StoredPaths) -> ReadyJob:
    return ReadyJob(
        row.id,
        row.workflow,
        row.name,
        row.template,
        row.revision,
        row.binding,
        row.attempts,
        row.priority,
        row.resource_class,
        next_attempt_of(row.next_attempt, paths),
        row.latest,
        row.own_binding,
    )


def _status(row: Any, paths: StoredPaths) -> AttemptJobState:
    return AttemptJobState(
        attempt=row.id,
        token=row.token,
        state=STATES[row.state],
        archived=row.archived != 0,
        job=row.job,
        name=row.name,
        workflow=row.workflow,
        resource_class=row.resource_class,
        job_state=STATES[row.job_state],
        job_attempt=row.job_attempt,
        cancel_asked=row.cancel != 0,
        next=next_attempt_of(row.next_attempt, paths),
        canaries_open=row.canaries_open != 0,
        is_needed=row.has_children != 0,
        acts=row.acts != 0,
    )
