"""Attempts of one step that is a call, many at a time: the host makes and journals them, the worker watches.

What has happened is in the journal. The worker reads it only when it must know which call runs: to end that call, or
when the host has died. To end one and not the next it makes the host stand still first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence

from rekindle.domain.causes import Cause
from rekindle.domain.states import State
from rekindle.journal.ledger import mend, read
from rekindle.journal.orders import Assignment, Recipe
from rekindle.journal.records import Ended, Started
from rekindle.worker.calls import CallHost, Hosts, death
from rekindle.worker.findings import StepEnd, Totals, canceled_before, ended_of, never_started, outcome_of
from rekindle.worker.frame import forget_inputs, time_limit
from rekindle.worker.telling import BREATH, Teller
from rekindle.worker.wire import TURN, Batch, Done

LARGEST = 256
LOOK_AGAIN = 0.05
"""Seconds between two looks at which call runs, while one that must end may still begin."""


class CallBatch:
    """Some attempts of one recipe, in the hands of the host."""

    def __init__(
        self, hosts: Hosts, teller: Teller, recipe: Recipe, work: Sequence[Assignment], code: str | None
    ) -> None:
        """`code` is the digest of the modules that the function is."""
        self._hosts, self._teller, self._recipe, self._code = hosts, teller, recipe, code
        self._work = list(work)
        limits = [limit for one in work if (limit := time_limit(recipe, one)) is not None]
        self._shortest = min(limits) if limits else None
        self._stopped: tuple[Cause, str] | None = None
        self._wanted: set[str] = set()
        self._host: CallHost = hosts.get(recipe.directory)
        self._offset = os.fstat(teller.journal.fd).st_size
        self._host.board.reset()
        self._host.give(recipe, Batch(tuple(work), code))
        now = time.monotonic()
        self._look_at: float | None = None if self._shortest is None else now + self._shortest
        self._tell_at: float | None = now + BREATH
        self._size = self._offset
        self.done = 0

    @property
    def due(self) -> float | None:
        """When to look although nothing is readable."""
        return min((at for at in (self._look_at, self._tell_at) if at is not None), default=None)

    @property
    def handles(self) -> list[int]:
        """Where the report or the host's death is seen."""
        return [self._host.replies, self._host.handle]

    def turn(self, now: float) -> list[Assignment] | None:
        """Look at what has happened; when the batch is over, those of it that were not started."""
        gone = not self._host.alive
        for answer in self._host.answers():
            if isinstance(answer, Done):
                self.done = answer.count
                if not answer.fresh:
                    self._hosts.retire()
                return self._unwanted(self._work[answer.count :])
        if gone:
            return self._after_death()
        if self._tell_at is not None and now >= self._tell_at:
            self._see_growth(now)
        if self._look_at is not None and now >= self._look_at:
            self._look(now)
        return None

    def _see_growth(self, now: float) -> None:
        """The host does not wake the runner, so that calls need not care: the worker does, a breath after the other.
        Once a call has run for longer than a host's turn, nothing comes before its end."""
        size = os.fstat(self._teller.journal.fd).st_size
        if size != self._size:
            self._size = size
            self._teller.others()
        start = self._host.board.start
        settled = start and now - start > TURN + BREATH
        self._tell_at = None if settled else now + BREATH

    def withdraw(self) -> list[Assignment]:
        """Take back what the host has not claimed: it will not start that."""
        if not self._host.stand_still():
            return []
        board = self._host.board
        board.halt()
        rest = self._work[board.claimed + 1 :]
        del self._work[board.claimed + 1 :]
        self._host.go_on()
        return rest

    def cancel(self, tokens: Collection[str]) -> None:
        """End the one that runs if it is among these. What is not claimed has been withdrawn before."""
        self._wanted |= {one.token for one in self._work if one.token in tokens}
        if self._wanted:
            self._look(time.monotonic())

    def _look(self, now: float) -> None:
        """End the call that runs if it must end, and say when to look again."""
        started = self._host.board.start
        overdue = self._shortest is not None and started and now >= started + self._shortest
        if (overdue or self._running_is_wanted()) and self._host.stand_still():
            self._stopped = self._verdict(now)
            if self._stopped is not None:
                os.kill(self._host.pid, 9)
                self._look_at = self._tell_at = None
                return
            self._host.go_on()
        self._look_at = now + LOOK_AGAIN if self._wanted else self._next_limit(now)

    def _running_is_wanted(self) -> bool:
        return bool(self._wanted) and (running := self._running()) is not None and running[0].token in self._wanted

    def _verdict(self, now: float) -> tuple[Cause, str] | None:
        """Why the call that runs must end; the host stands still."""
        running = self._running()
        if running is None:
            return None
        assignment = running[0]
        if assignment.token in self._wanted:
            return Cause.CANCELED, "canceled while it ran"
        limit = time_limit(self._recipe, assignment)
        started = self._host.board.start
        if limit is not None and started and now >= started + limit:
            return Cause.TIMEOUT, over_limit(limit)
        return None

    def _next_limit(self, now: float) -> float | None:
        """When the call that runs may be over its limit; short ones are looked at again and again, cheaply."""
        if self._shortest is None:
            return None
        return max((self._host.board.start or now) + self._shortest, now + LOOK_AGAIN)

    def _running(self) -> tuple[Assignment, float] | None:
        """The attempt that was started and has not ended, and when it was started; by the journal."""
        records, _ = read(self._teller.journal.path, self._offset)
        ended = {record.token for record in records if isinstance(record, Ended)}
        by_token = {assignment.token: assignment for assignment in self._work}
        for record in reversed(records):
            if isinstance(record, Started) and record.token in by_token and record.token not in ended:
                return by_token[record.token], record.at
        return None

    def _after_death(self) -> list[Assignment]:
        """The host has died: what it journalled is done, what it had started died with it, the rest is to do.

        A host that dies before it has started anything would do so again: the first of the batch fails."""
        code, peak = self._host.bury()
        self._hosts.forget()
        mend(self._teller.journal.path)
        records, _ = read(self._teller.journal.path, self._offset)
        ended = {record.token for record in records if isinstance(record, Ended)}
        running = self._running()
        if running is not None:
            assignment, started = running
            stderr = self._host.salvage(assignment.beside, 0)
            self._tell(assignment, started, death(started, code, peak, self._stopped, stderr))
            ended.add(assignment.token)
        elif not ended and self._work:
            assignment = self._work[0]
            stderr = self._host.salvage(assignment.beside, 0)
            message = f"the process for calls ended before it began (exit code {code}): {stderr}"
            self._teller.add(never_started(assignment, State.FAILED, Cause.START, message))
            ended.add(assignment.token)
        self.done = len(ended)
        return self._unwanted([assignment for assignment in self._work if assignment.token not in ended])

    def _unwanted(self, left: list[Assignment]) -> list[Assignment]:
        """What is still to do of what was not started; what is canceled is told."""
        for one in left:
            if one.token in self._wanted:
                self._teller.add(canceled_before(one))
        return [one for one in left if one.token not in self._wanted]

    def _tell(self, assignment: Assignment, started: float, end: StepEnd) -> None:
        step = outcome_of(0, self._recipe.steps[0].name, end)
        self._teller.add(ended_of(assignment, started, step, end, Totals(None, end.max_rss_bytes), code=self._code))
        forget_inputs(assignment)
        if assignment.own:
            return
        try:
            os.rmdir(assignment.folder)
        except OSError:
            return  # something is in it: it stays


def over_limit(seconds: float) -> str:
    """What a timeout says."""
    return f"ran longer than its limit of {seconds:g} s"
