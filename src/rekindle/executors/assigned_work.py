"""The attempts that a worker was given, followed in its journal, and the ends of those that it can no longer report."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rekindle.domain.models import Failure, StepOutcome
from rekindle.domain.states import Cause, State
from rekindle.executors.dead_workers import clear_up
from rekindle.journal.log import read_past_damage
from rekindle.journal.processes import boot_id
from rekindle.journal.records import Closed, Ended, Opened, Returned, Sealed, Started, StepStarted

if TYPE_CHECKING:
    from rekindle.journal.orders import Assignment, TaskTemplate
    from rekindle.journal.records import Record

_PRUNE = 4096  # assignments after which the journal is read, to forget those that have ended


class AssignedWork:
    """The attempts of one worker, as far as its journal has been read."""

    def __init__(self, journal: str) -> None:
        self.journal = journal
        self.tasks: dict[int, TaskTemplate] = {}  # task templates that the worker has, by number
        self.unfinished: dict[str, Assignment] = {}  # by token
        self.current_step: dict[str, tuple[int, float]] = {}  # by token: the step begun last, and when
        self.started: dict[str, Started] = {}  # by token: how the attempt started
        self.opened: Opened | None = None
        self.sealed = False  # a runner has sealed the journal: the worker starts nothing
        self.closed = False  # it has reported all its attempts
        self.damaged: list[str] = []  # unreadable parts of its journal
        self._position = 0
        self._prune_at = _PRUNE

    def add(self, tasks: Sequence[TaskTemplate], work: Sequence[Assignment]) -> list[TaskTemplate]:
        """Add assignments. Return those of the task templates that the worker does not have.

        The worker may be given again what it has given back. Its journal is read first then: read later, `Returned`
        would count for the second time too, and an attempt that runs would seem to be none of this worker's."""
        unknown = [task for task in tasks if task.id not in self.tasks]
        self.tasks.update((task.id, task) for task in unknown)
        again = any(one.token in self.unfinished for one in work)
        if again or len(self.unfinished) >= self._prune_at:
            self.read_journal()
            self._prune_at = 2 * len(self.unfinished) + _PRUNE
        self.unfinished.update((one.token, one) for one in work)
        return unknown

    def read_journal(self) -> None:
        """Read new records of the journal, and forget assignments that have ended.

        An attempt whose end stands in a damaged line stays unfinished."""
        records, self._position, damaged = read_past_damage(self.journal, self._position)
        self.damaged += [one.describe(self.journal) for one in damaged]
        self._note(records)

    def take_records(self, records: Sequence[Record], start: int, end: int) -> None:
        """Note the records from byte `start` to byte `end` of the journal, which its runner has read. Records that were
        read here before are not noted again."""
        if start == self._position:
            self._position = end
            self._note(records)
        else:
            self.read_journal()

    def _note(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, Started):
                self.started[record.token] = record
                self.current_step[record.token] = self._first_step(record.token), record.at
            elif isinstance(record, StepStarted):
                self.current_step[record.token] = record.step, record.at
            elif isinstance(record, Ended):
                self._forget(record.token)
            elif isinstance(record, Returned):
                for token in record.tokens:
                    self._forget(token)
            elif isinstance(record, Opened):
                self.opened = record
            elif isinstance(record, Sealed):
                self.sealed = True
            elif isinstance(record, Closed):
                self.closed = True

    def unreported(
        self, cause: Cause, message: str, evidence: Mapping[str, Any]
    ) -> tuple[list[Ended], list[Assignment]]:
        """Return the ends of the unfinished attempts that had started, and the others, after the worker's end.

        With a damaged journal each may have started. The journal must have been read to its end."""
        if self.damaged:
            evidence = {**evidence, "damaged": self.damaged}
            message += "; its journal is damaged, and may have held the end"
        ran = self._ran()
        ends = [self.end_of(self.unfinished[token], cause, message, evidence) for token in ran]
        return ends, [one for token, one in self.unfinished.items() if token not in ran]

    def clear_up(self, scratch: str) -> None:
        """Keep the logs of the unfinished attempts that had started, and remove what they no longer need."""
        for token in self._ran():
            one = self.unfinished[token]
            position = self.current_step[token][0] if token in self.current_step else None
            clear_up(None if position is None else scratch, one.file_prefix, one.folder, token, position or 0)
            if not one.own and not self.tasks[one.template].keeps_folder:
                _remove_if_empty(one.folder)

    def _ran(self) -> list[str]:
        """Return the tokens of the unfinished attempts that had, or may have, started."""
        return [token for token in self.unfinished if self.damaged or token in self.started]

    def end_of(self, one: Assignment, cause: Cause, message: str, evidence: Mapping[str, Any]) -> Ended:
        """Return the end of an attempt that its worker cannot report."""
        start = self.started.get(one.token) or Started(one.attempt, one.token, time.time())
        position, begun = self.current_step.get(one.token, (one.start_step, start.at))
        here = self.opened is None or self.opened.boot_id == boot_id()  # another host's clock says nothing
        ended = max(begun, start.now(time.monotonic()) if here else time.time())
        state = State.CANCELED if cause is Cause.CANCELED else State.FAILED
        steps = self.tasks[one.template].steps
        outcomes = tuple(  # empty for an attempt that starts after the last step
            StepOutcome(position, step.name, state, cause, started=begun, ended=ended)
            for step in steps[position : position + 1]
        )
        return Ended(
            attempt=one.attempt,
            token=one.token,
            state=state,
            ended=ended,
            started=start.at,
            cause=cause,
            failure=Failure(message=message),
            evidence=json.dumps(evidence),
            steps=outcomes,
        )

    def _first_step(self, token: str) -> int:
        assignment = self.unfinished.get(token)
        return assignment.start_step if assignment else 0

    def _forget(self, token: str) -> None:
        self.unfinished.pop(token, None)
        self.current_step.pop(token, None)
        self.started.pop(token, None)


def _remove_if_empty(folder: str) -> None:
    try:
        Path(folder).rmdir()
    except OSError:
        return  # not empty, or never made
