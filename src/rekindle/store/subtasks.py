"""Fan-outs: what each attempt did of one, and what that means together with the attempts that it builds on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rekindle.domain.causes import Cause
from rekindle.domain.states import State
from rekindle.domain.subtasks import Layer, Subtask, SubtaskEnd, compose, counts
from rekindle.journal.encoding import from_json, to_json
from rekindle.store.database import Database, Row
from rekindle.store.queries import as_set, load
from rekindle.store.rowshape import CAUSES, STATES

SQL = load("subtasks")


class Subtasks:
    """See rekindle.store.port.Subtasks."""

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
        text = to_json(list(gone)).decode()
        self._db.change_each(SQL["insert_fan_out"], [(attempt, step, total, base, text)])
        self._db.change_each(SQL["insert_subtask"], [(attempt, step, *one, (held or {}).get(one[0])) for one in run])

    def tell(self, attempt: int, step: int, started: Sequence[tuple[int, int]], ended: Sequence[SubtaskEnd]) -> None:
        self._db.change_each(SQL["end_subtask"], [_end(attempt, step, one) for one in ended])
        self._db.change_each(SQL["start_subtask"], [(times, attempt, step, index) for index, times in started])

    def end_with(self, attempts: Sequence[tuple[int, State, Cause, float]]) -> None:
        rows = [(attempt, int(state), cause.value, at) for attempt, state, cause, at in attempts]
        self._db.change_each(SQL["end_with_attempt"], rows)

    def of(self, attempt: int, step: int) -> list[Subtask]:
        return compose(self._layers(attempt, step))

    def owner(self, attempt: int, step: int) -> int | None:
        if self._db.row(SQL["fan_out"], attempt=attempt, step=step) is not None:
            return attempt
        earlier: int | None = self._db.value(SQL["did_before"], attempt=attempt, step=step)
        return None if earlier is None else self.owner(earlier, step)

    def counts(self, attempts: Sequence[int]) -> dict[tuple[int, int], Mapping[State, int]]:
        wanted = as_set(attempts)
        kept = self._db.rows(SQL["kept_steps"], attempts=wanted)
        bases: dict[tuple[int, int], int | None] = {}
        for attempt, step, base in self._db.rows(SQL["fan_outs"], attempts=as_set({*attempts, *(r[2] for r in kept)})):
            bases[attempt, step] = base
        asked = set(attempts)
        owners = {key: key[0] for key in bases if key[0] in asked}
        owners |= {(attempt, step): by for attempt, step, by in kept if (by, step) in bases}
        own = self._states({by for (_, step), by in owners.items() if bases[by, step] is None})
        return {
            (attempt, step): own.get((by, step), {}) if bases[by, step] is None else counts(self.of(by, step))
            for (attempt, step), by in owners.items()
        }

    def mark_partial(self, attempts: Sequence[int]) -> None:
        self._db.change(SQL["mark_partial"], attempts=as_set(attempts))

    def partial(self, jobs: Sequence[int] | None) -> set[int]:
        return {row[0] for row in self._db.rows(SQL["partial"], jobs=None if jobs is None else as_set(jobs))}

    def _states(self, attempts: set[int]) -> dict[tuple[int, int], dict[State, int]]:
        found: dict[tuple[int, int], dict[State, int]] = {}
        for attempt, step, state, n in self._db.rows(SQL["states"], attempts=as_set(attempts)):
            found.setdefault((attempt, step), {})[STATES[state]] = n
        return found

    def _layers(self, attempt: int, step: int) -> Iterator[Layer]:
        owner = self.owner(attempt, step)
        while owner is not None:
            row = self._db.row(SQL["fan_out"], attempt=owner, step=step)
            if row is None:
                return
            base, gone = row
            own = [_subtask(one) for one in self._db.rows(SQL["subtasks"], attempt=owner, step=step)]
            yield Layer(own, from_json(gone))
            owner = base


def _subtask(row: Row) -> Subtask:
    index, item, state, attempts, attempt, cause, *rest = row
    return Subtask(index, item, STATES[state], attempts, attempt, CAUSES[cause], *rest)


def _end(attempt: int, step: int, one: SubtaskEnd) -> Row:
    cause = one.cause and one.cause.value
    return (
        int(one.state), cause, one.exit_code, one.signal, one.started, one.ended, one.result, attempt, step, one.index
    )  # fmt: skip
