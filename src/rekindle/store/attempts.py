"""Attempts with their steps, and the subtasks of their fan-outs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.errors import UsageError
from rekindle.domain.models import Attempt, Failure, FailureGroup, PreviousAttempt, StepOutcome
from rekindle.domain.signatures import headline
from rekindle.domain.states import Cause, State
from rekindle.domain.subtasks import Subtask, SubtaskEnd, SubtaskLayer, counts, merge_layers
from rekindle.journal.encoding import from_json, to_json
from rekindle.store.database import NO_LIMIT, Database
from rekindle.store.queries import Query, Row, as_set, load
from rekindle.store.rows import CAUSES, STATES, attempt_of, step_of

if TYPE_CHECKING:
    from rekindle.domain.selection import JobFilter

SQL = load("attempts")
SUBTASK_SQL = load("subtasks")

_CHUNK = 1_000
"""The number of attempts whose steps are read together."""

BEYOND = "\U0010ffff"
"""A prefix with this character appended sorts after every text that begins with the prefix."""


class Attempts:
    """Attempts, live and archived."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def listing(self, jobs: Sequence[int] | None, workflow: int | None, live: bool = False) -> list[Attempt]:
        """Return attempts with steps, oldest first: of these jobs (None: of all), and only of `workflow` if given."""
        if jobs is not None:
            wanted = as_set(jobs)
            rows = self._db.rows(SQL["attempts_of_jobs"], jobs=wanted, live=live)
            steps = self._db.rows(SQL["steps_of_jobs"], jobs=wanted, live=live)
        elif workflow is not None:
            rows = self._db.rows(SQL["attempts_of_workflow"], workflow=workflow, live=live)
            steps = self._db.rows(SQL["steps_of_workflow"], workflow=workflow, live=live)
        else:
            rows = self._db.rows(SQL["attempts_of_all"], live=live)
            steps = self._db.rows(SQL["steps_of_all"], live=live)
        found = self._with_steps(rows, steps)
        if jobs is None or workflow is None:
            return found
        return [attempt for attempt in found if attempt.workflow == workflow]

    def page(
        self, chosen: JobFilter | None, live: bool, limit: int | None, offset: int
    ) -> Iterator[tuple[str, Attempt]]:
        """Yield a page of the attempts of chosen jobs (None: of all), oldest first, each with its job's name."""
        page = {"live": live, "limit": NO_LIMIT if limit is None else limit, "offset": offset}
        rows = self._of_chosen(SQL["attempts_page"], SQL["attempts_page_of_jobs"], chosen, page)
        while chunk := list(islice(rows, _CHUNK)):
            ids = as_set(row[1] for row in chunk)
            steps = _steps(self._db.rows(SQL["steps_of_attempts"], attempts=ids))
            for name, *row in chunk:
                yield name, attempt_of(tuple(row), self._db.paths, steps.get(row[0], ()))

    def count(self, chosen: JobFilter | None, live: bool) -> int:
        """Return the number of attempts of chosen jobs (None: of all)."""
        of_all = SQL["count_live_attempts" if live else "count_attempts"]
        rows = self._of_chosen(of_all, SQL["count_attempts_of_jobs"], chosen, {"live": live})
        return int(next(rows)[0])

    def get(self, attempt: int) -> Attempt | None:
        """Return an attempt with its steps. Raise OverflowError for a number that no database holds."""
        if attempt.bit_length() > 63:
            raise OverflowError(attempt)
        return next(iter(self.by_id([attempt])), None)

    def by_id(self, attempts: Collection[int]) -> list[Attempt]:
        """Return these attempts with their steps, by id."""
        wanted = as_set(attempts)
        rows = self._db.rows(SQL["attempts_by_id"], attempts=wanted)
        return self._with_steps(rows, self._db.rows(SQL["steps_of_attempts"], attempts=wanted))

    def active(self, runner: int | None = None) -> list[Attempt]:
        """Return the attempts that have not ended (of one runner, if given), without steps."""
        query, values = (SQL["active"], {}) if runner is None else (SQL["active_of_runner"], {"runner": runner})
        return [attempt_of(row, self._db.paths) for row in self._db.rows(query, **values)]

    def want_cancel(self, attempts: Sequence[int]) -> None:
        """Request that active attempts be canceled by their runners."""
        self._db.change(SQL["want_cancel"], attempts=as_set(attempts))

    def wanted_cancel(self, runner: int) -> list[tuple[int, str]]:
        """Return (attempt, token) of a runner's active attempts that are to be canceled."""
        return [(number, token) for number, token in self._db.rows(SQL["wanted_cancel"], runner=runner)]

    def interrupted(self, workflow: int) -> list[int]:
        """Return the jobs of a workflow whose live attempt was lost, or was canceled because its runner was
        interrupted. Jobs that a user canceled, and retired jobs, are left out."""
        return [row[0] for row in self._db.rows(SQL["interrupted"], workflow=workflow)]

    def blocking(self, jobs: Sequence[int] | None) -> dict[int, list[int]]:
        """Return, for those of these jobs (None: of all) that are READY and must not start yet, the archived attempts
        that have not ended: the job's own, and those of descendants reached through jobs that are not done."""
        found: dict[int, list[int]] = {}
        wanted = None if jobs is None else as_set(jobs)
        for job, attempt in self._db.rows(SQL["blocking"], jobs=wanted):
            found.setdefault(job, []).append(attempt)
        return found

    def recovering(self, workflow: int) -> dict[int, int]:
        """Return the jobs of a workflow that wait to resume an attempt because it was lost or cut off, with it."""
        return dict(self._db.rows(SQL["recovering"], workflow=workflow))

    def previous(self, jobs: Sequence[int]) -> dict[int, PreviousAttempt]:
        """Return how the attempt before the newest one ended, by job. Jobs with a single attempt are left out."""
        found = {}
        for row in self._db.named_rows(SQL["previous"], jobs=as_set(jobs)):
            texts = (row.error_type, row.error_message, row.error_traceback, row.error_stderr)
            failure = Failure(*(text or "" for text in texts)) if STATES[row.state] is State.FAILED else None
            found[row.job] = PreviousAttempt(row.number, STATES[row.state], CAUSES[row.cause], failure)
        return found

    def failures(self, workflow: int | None, archived: bool = False) -> list[FailureGroup]:
        """Return the live failed attempts by signature, largest group first. With `archived`, all failed attempts,
        those of archived workflows and retired jobs included."""
        if workflow is None:
            rows = self._db.named_rows(SQL["failures"], archived=archived)
        else:
            rows = self._db.named_rows(SQL["failures_of_workflow"], workflow=workflow, archived=archived)
        by_digest: dict[str, list[Any]] = {}
        for row in rows:
            by_digest.setdefault(row.digest, []).append(row)
        messages = raw_messages(self._db, [max(row.newest for row in alike) for alike in by_digest.values()])
        groups = [_failure_group(alike, messages) for alike in by_digest.values()]
        return sorted(groups, key=lambda group: (-group.count, group.signature))

    def failed_in_quarantine(self, workflow: int) -> dict[int, list[int]]:
        """Return the failed jobs whose templates have a quarantine, by template."""
        found: dict[int, list[int]] = {}
        for template, job in self._db.rows(SQL["failed_in_quarantine"], workflow=workflow, pattern='%"quarantine":{%'):
            found.setdefault(template, []).append(job)
        return found

    def signature(self, prefix: str) -> str | None:
        """Return the digest that begins with `prefix`, if any. Raise UsageError if several do."""
        found = [row[0] for row in self._db.rows(SQL["signatures"], prefix=prefix, beyond=prefix + BEYOND)]
        if len(found) > 1 and prefix not in found:
            listed = ", ".join(found[:10]) + (" …" if len(found) > 10 else "")
            raise UsageError(f"several signatures begin with {prefix}: {listed}", hint="give more of its digits")
        return found[0] if found else None

    def _of_chosen(
        self, of_all: Query, of_jobs: Query, chosen: JobFilter | None, values: Mapping[str, Any]
    ) -> Iterator[Row]:
        if chosen is None:
            return self._db.stream(of_all.text, values)
        from rekindle.store.predicates import compile_chosen

        compiled = compile_chosen(chosen, "select_jobs", self._db)
        text = of_jobs.text.replace("{jobs}", compiled.text)
        return self._db.stream(text, {**compiled.values, **values})

    def _with_steps(self, rows: Sequence[Row], steps: Sequence[Row]) -> list[Attempt]:
        known = _steps(steps)
        return [attempt_of(row, self._db.paths, known.get(row[0], ())) for row in rows]


def live_attempts(database: Database, jobs: Sequence[int]) -> dict[int, Attempt]:
    """Return the live attempts (without steps) of jobs, by job."""
    if not jobs:
        return {}
    attempts = (attempt_of(row, database.paths) for row in database.rows(SQL["live_of_jobs"], jobs=as_set(jobs)))
    return {attempt.job: attempt for attempt in attempts}


def raw_messages(database: Database, attempts: Collection[int]) -> dict[int, tuple[int, str]]:
    """Return (job, message in one line, not normalised) of failed attempts, by attempt."""
    return {
        row.id: (
            row.job,
            headline(
                row.cause or "",
                row.error_type or "",
                row.error_message or "",
                row.error_traceback or "",
                row.error_stderr or "",
            )[1],
        )
        for row in database.named_rows(SQL["messages"], attempts=as_set(attempts))
    }


def _failure_group(rows: Sequence[Any], messages: Mapping[int, tuple[int, str]]) -> FailureGroup:
    """Return the group of the rows of one signature, one row for each host."""
    hosts = sorted(((row.host, row.n) for row in rows if row.host is not None), key=lambda one: (-one[1], one[0]))
    newest = max(row.newest for row in rows)
    newest_job, newest_message = messages[newest]
    jobs = {job for row in rows for job in msgspec.json.decode(row.jobs, type=list[int])}
    return FailureGroup(
        rows[0].digest,
        Cause(rows[0].cause),
        rows[0].type,
        rows[0].message,
        count=sum(row.n for row in rows),
        jobs=tuple(sorted(jobs)),
        first=min((row.first for row in rows if row.first is not None), default=None),
        last=max((row.last for row in rows if row.last is not None), default=None),
        hosts=tuple(hosts),
        newest=newest,
        newest_job=newest_job,
        newest_message=newest_message,
    )


def _steps(rows: Sequence[Row]) -> dict[int, list[StepOutcome]]:
    """Return steps by attempt, which is the first of `step_columns`."""
    found: dict[int, list[StepOutcome]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(step_of(row))
    return found


class Subtasks:
    """Fan-outs and their subtasks. An attempt has rows only for the subtasks that run in it; the others belong to the
    attempts that it builds on."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def fan_out(
        self,
        attempt: int,
        step: int,
        total: int,
        base: int | None,
        gone: Sequence[int],
        run: Sequence[tuple[int, str, int]],
        held: Mapping[int, str] | None = None,
    ) -> None:
        """Record the items of a fan-out. Recording them again changes nothing.

        `total` is the number of items, `base` the attempt whose subtasks are kept, `gone` the indexes of kept subtasks
        whose items no longer exist, `run` holds (index, item as JSON, earlier starts) of each subtask that will run,
        and `held` the digests of the items' files by index.
        """
        text = to_json(list(gone)).decode()
        digests = held or {}
        self._db.change_each(SUBTASK_SQL["insert_fan_out"], [(attempt, step, total, base, text)])
        self._db.change_each(SUBTASK_SQL["insert_subtask"], [(attempt, step, *one, digests.get(one[0])) for one in run])

    def report(self, attempt: int, step: int, started: Sequence[tuple[int, int]], ended: Sequence[SubtaskEnd]) -> None:
        """Record the ends of subtasks, then the starts of others: (index, number of starts)."""
        self._db.change_each(SUBTASK_SQL["end_subtask"], [_subtask_end(attempt, step, one) for one in ended])
        self._db.change_each(SUBTASK_SQL["start_subtask"], [(times, attempt, step, index) for index, times in started])

    def end_with_attempts(self, attempts: Sequence[tuple[int, State, Cause, float]]) -> None:
        """End the subtasks that still run in (attempt, state, cause, time)."""
        rows = [(attempt, int(state), cause.value, at) for attempt, state, cause, at in attempts]
        self._db.change_each(SUBTASK_SQL["end_with_attempt"], rows)

    def of(self, attempt: int, step: int) -> list[Subtask]:
        """Return all subtasks of an attempt's fan-out by index, those kept from other attempts included."""
        return merge_layers(self._layers(attempt, step))

    def find(self, attempt: int, step: int, index: int) -> Subtask | None:
        """Return one subtask of an attempt's fan-out, which may be kept from another attempt."""
        return next((one for one in merge_layers(self._layers(attempt, step, index)) if one.index == index), None)

    def owner(self, attempt: int, step: int) -> int | None:
        """Return the attempt that ran this fan-out: this one, or the one that it keeps the step from; None if no
        attempt reached it."""
        if self._db.row(SUBTASK_SQL["fan_out"], attempt=attempt, step=step) is not None:
            return attempt
        earlier: int | None = self._db.value(SUBTASK_SQL["previous_owner"], attempt=attempt, step=step)
        return None if earlier is None else self.owner(earlier, step)

    def counts(self, attempts: Sequence[int]) -> dict[tuple[int, int], Mapping[State, int]]:
        """Return the number of subtasks by state, by (attempt, step) of every fan-out."""
        wanted = as_set(attempts)
        kept = self._db.rows(SUBTASK_SQL["kept_steps"], attempts=wanted)
        with_owners = as_set({*attempts, *(owner for _, _, owner in kept)})
        bases: dict[tuple[int, int], int | None] = {
            (attempt, step): base
            for attempt, step, base in self._db.rows(SUBTASK_SQL["fan_outs"], attempts=with_owners)
        }
        requested = set(attempts)
        owners = {key: key[0] for key in bases if key[0] in requested}
        owners |= {(attempt, step): by for attempt, step, by in kept if (by, step) in bases}
        own = self._states({by for (_, step), by in owners.items() if bases[by, step] is None})
        return {
            (attempt, step): own.get((by, step), {}) if bases[by, step] is None else counts(self.of(by, step))
            for (attempt, step), by in owners.items()
        }

    def ran_in(self, attempts: Collection[int]) -> list[tuple[int, int, int, bool]]:
        """Return (attempt, step, an earlier attempt, whether only subtasks ran there) of the steps that these attempts
        keep, and of their fan-outs with complete subtasks that they keep."""
        kept = self._db.rows(SUBTASK_SQL["kept_steps"], attempts=as_set(attempts))
        found = {(attempt, step, owner, False) for attempt, step, owner in kept}
        keepers: dict[tuple[int, int], set[int]] = {}
        for attempt, step, owner in kept:
            keepers.setdefault((owner, step), set()).add(attempt)
        with_owners = as_set({*attempts, *(owner for owner, _ in keepers)})
        for owner, step, base in self._db.rows(SUBTASK_SQL["fan_outs"], attempts=with_owners):
            if base is None:
                continue
            ran = {one.attempt for one in self.of(owner, step) if one.state is State.COMPLETED} - {owner}
            those = keepers.get((owner, step), set()) | ({owner} & set(attempts))
            found |= {(attempt, step, source, True) for attempt in those for source in ran}
        return sorted(found)

    def mark_partial(self, attempts: Sequence[int]) -> None:
        """Mark attempts that continue with a part of a fan-out."""
        self._db.change(SUBTASK_SQL["mark_partial"], attempts=as_set(attempts))

    def partial(self, jobs: Sequence[int] | None) -> set[int]:
        """Return those jobs (None: all) whose live attempt depends on a partial fan-out, its own or one upstream."""
        wanted = None if jobs is None else as_set(jobs)
        return {row[0] for row in self._db.rows(SUBTASK_SQL["partial"], jobs=wanted)}

    def _states(self, attempts: set[int]) -> dict[tuple[int, int], dict[State, int]]:
        found: dict[tuple[int, int], dict[State, int]] = {}
        for attempt, step, state, n in self._db.rows(SUBTASK_SQL["states"], attempts=as_set(attempts)):
            found.setdefault((attempt, step), {})[STATES[state]] = n
        return found

    def _layers(self, attempt: int, step: int, index: int | None = None) -> Iterator[SubtaskLayer]:
        """Yield the subtasks of the owner and of each attempt it builds on, newest first; only that with this index, if
        one is given."""
        owner = self.owner(attempt, step)
        while owner is not None:
            fan_out = self._db.named_row(SUBTASK_SQL["fan_out"], attempt=owner, step=step)
            if fan_out is None:
                return
            rows = self._db.named_rows(SUBTASK_SQL["subtasks"], attempt=owner, step=step, idx=index)
            yield SubtaskLayer([_subtask(row) for row in rows], from_json(fan_out.gone))
            owner = fan_out.base


def _subtask(row: Any) -> Subtask:
    return Subtask(
        row.idx,
        row.item,
        STATES[row.state],
        row.attempts,
        row.attempt,
        CAUSES[row.cause],
        row.exit_code,
        row.signal,
        row.started,
        row.ended,
        row.result,
        row.digest,
    )


def _subtask_end(attempt: int, step: int, one: SubtaskEnd) -> Row:
    cause = one.cause and one.cause.value
    return (
        int(one.state), cause, one.exit_code, one.signal, one.started, one.ended, one.result, attempt, step, one.index
    )  # fmt: skip
