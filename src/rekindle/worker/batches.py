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
from rekindle.journal.ledger import mend, read_past_damage
from rekindle.journal.oomkills import OomKills
from rekindle.journal.orders import Assignment, Recipe
from rekindle.journal.records import Ended, Started
from rekindle.worker.calls import CallGrace, CallHost, Hosts, death
from rekindle.worker.findings import StepEnd, Totals, canceled_before, ended_of, never_started, outcome_of
from rekindle.worker.frame import forget_inputs, memory_limit, time_limit
from rekindle.worker.halts import Halt, canceled, judged, over_memory, over_time
from rekindle.worker.leftovers import with_left
from rekindle.worker.memory import Gauge
from rekindle.worker.patience import AGAIN
from rekindle.worker.telling import BREATH, Teller
from rekindle.worker.wire import TURN, Batch, Done

LARGEST = 256
LOOK_AGAIN = 0.05
"""Seconds between two looks at which call runs, while one that must end may still begin."""


class CallBatch:
    """Some attempts of one recipe, in the hands of the host."""

    def __init__(
        self,
        hosts: Hosts,
        teller: Teller,
        kills: OomKills,
        recipe: Recipe,
        work: Sequence[Assignment],
        code: str | None,
    ) -> None:
        """`code` is the digest of the modules that the function is."""
        self._hosts, self._teller, self._recipe, self._code = hosts, teller, recipe, code
        self._kills = kills
        self._work = list(work)
        limits = [limit for one in work if (limit := time_limit(recipe, one)) is not None]
        self._shortest = min(limits) if limits else None
        self._stopped: Halt | None = None
        self._halted = ""  # the token of the call that was stopped
        self._grace = CallGrace()
        self._wanted: set[str] = set()
        self._host: CallHost = hosts.get(recipe.directory)
        self._offset = os.fstat(teller.journal.fd).st_size
        self._host.board.reset()
        self._host.give(recipe, Batch(tuple(work), code))
        now = time.monotonic()
        self._look_at: float | None = None if self._shortest is None else now + self._shortest
        self._tell_at: float | None = now + BREATH
        self._size = self._offset
        self._kills_before = kills.count(now)
        limited = any(memory_limit(recipe, one) for one in work)
        self._gauge = Gauge(lambda: [self._host.pid], now) if limited else None
        self._trouble = 0  # the host's with the disk
        self.done = 0

    @property
    def due(self) -> float | None:
        """When to look although nothing is readable."""
        gauged = None if self._gauge is None else self._gauge.due
        return min(
            (at for at in (self._look_at, self._tell_at, gauged, self._grace.due) if at is not None), default=None
        )

    @property
    def tokens(self) -> tuple[str, ...]:
        """Of the calls that are the host's: made, under way, or still to come."""
        return tuple(one.token for one in self._work)

    @property
    def handles(self) -> list[int]:
        """Where the report or the host's death is seen."""
        return [self._host.replies, self._host.handle]

    def turn(self, now: float) -> list[Assignment] | None:
        """Look at what has happened; when the batch is over, those of it that were not started."""
        gone = not self._host.alive
        self._grace.turn(self._host, now)
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
        if self._gauge is not None and now >= self._gauge.due:
            self._measure(self._gauge, now)
        return None

    def _see_growth(self, now: float) -> None:
        """The host does not wake the runner, so that calls need not care: the worker does, a breath after the other.
        Once a call has run for longer than a host's turn, nothing comes before its end."""
        size = os.fstat(self._teller.journal.fd).st_size
        if size != self._size:
            self._size = size
            self._teller.others()
        trouble = self._host.board.trouble
        if trouble or self._trouble:
            self._trouble = trouble
            self._teller.complain(trouble)
        start = self._host.board.start
        settled = start and now - start > TURN + BREATH
        self._tell_at = now + AGAIN if trouble else None if settled else now + BREATH

    def withdraw(self) -> list[Assignment]:
        """Take back what the host has not claimed: it will not start that."""
        if self._stopped is not None or not self._host.stand_still():
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
        if self._halted in tokens:
            self._grace.end(time.monotonic())
        elif self._wanted and self._stopped is None:
            self._look(time.monotonic())

    def _look(self, now: float) -> None:
        """End the call that runs if it must end, and say when to look again."""
        started = self._host.board.start
        overdue = self._shortest is not None and started and now >= started + self._shortest
        if (overdue or self._running_is_wanted()) and self._halt(now):
            return
        self._look_at = now + LOOK_AGAIN if self._wanted else self._next_limit(now)

    def _halt(self, now: float) -> bool:
        """Make the host stand still, and end it if the call that runs must end; whether it was."""
        if self._stopped is not None or not self._host.stand_still():
            return False
        self._stopped = self._must_end(now)
        if self._stopped is None:
            self._host.go_on()
            return False
        running = self._running()
        self._halted = running[0].token if running else ""
        self._look_at = self._tell_at = self._gauge = None
        self._grace.begin(self._host, now, 0.0 if self._stopped.cause is Cause.OOM else self._recipe.grace)
        return True

    def _measure(self, gauge: Gauge, now: float) -> None:
        """End the call that runs if it holds more than it may."""
        gauge.postpone(now)
        at = self._host.board.claimed
        if at < len(self._work) and self._overheld(self._work[at]) is not None:
            self._halt(now)

    def _overheld(self, assignment: Assignment) -> Halt | None:
        """Why a call must end for what it holds; None: it need not, or has not begun."""
        board, limit = self._host.board, memory_limit(self._recipe, assignment)
        if self._gauge is None or not limit or not board.start:
            return None
        held = self._gauge.over(limit, board.held)
        return None if held is None else over_memory(limit, held)

    def _running_is_wanted(self) -> bool:
        return bool(self._wanted) and (running := self._running()) is not None and running[0].token in self._wanted

    def _must_end(self, now: float) -> Halt | None:
        """Why the call that runs must end; the host stands still."""
        running = self._running()
        if running is None:
            return None
        assignment = running[0]
        if assignment.token in self._wanted:
            return canceled()
        limit = time_limit(self._recipe, assignment)
        started = self._host.board.start
        if limit is not None and started and now >= started + limit:
            return over_time(limit, now - started)
        return self._overheld(assignment)

    def _next_limit(self, now: float) -> float | None:
        """When the call that runs may be over its limit; short ones are looked at again and again, cheaply."""
        if self._shortest is None:
            return None
        return max((self._host.board.start or now) + self._shortest, now + LOOK_AGAIN)

    def _running(self) -> tuple[Assignment, Started] | None:
        """The attempt that was started and has not ended, and its start; by the journal."""
        records, _, _ = read_past_damage(self._teller.journal.path, self._offset)
        ended = {record.token for record in records if isinstance(record, Ended)}
        by_token = {assignment.token: assignment for assignment in self._work}
        for record in reversed(records):
            if isinstance(record, Started) and record.token in by_token and record.token not in ended:
                return by_token[record.token], record
        return None

    def _after_death(self) -> list[Assignment]:
        """The host has died: what it journalled is done, what it had started died with it, the rest is to do.

        A host that dies before it has started anything would do so again: the first of the batch fails."""
        code, peak = self._host.bury()
        self._hosts.forget()
        self._teller.storage.insist(lambda: mend(self._teller.journal.path))
        records, _, _ = read_past_damage(self._teller.journal.path, self._offset)
        ended = {record.token for record in records if isinstance(record, Ended)}
        running = self._running()
        if running is not None:
            assignment, start = running
            stderr = self._host.salvage(assignment.beside, 0)
            self._tell(assignment, start.at, self._death(start, code, peak, stderr))
            ended.add(assignment.token)
        elif not ended and self._work:
            assignment = self._work[0]
            stderr = self._host.salvage(assignment.beside, 0)
            message = f"the process for calls ended before it began (exit code {code}): {stderr}"
            self._teller.add(never_started(assignment, State.FAILED, Cause.START, message))
            ended.add(assignment.token)
        self.done = len(ended)
        return self._unwanted([assignment for assignment in self._work if assignment.token not in ended])

    def _death(self, start: Started, code: int, peak: int, stderr: str) -> StepEnd:
        ended, halt = start.now(time.monotonic()), self._stopped
        if halt is None:
            return judged(death(start.at, ended, code, peak, None, stderr), self._kills, self._kills_before)
        return halt.told(death(start.at, ended, code, peak, (halt.cause, halt.message), stderr))

    def _unwanted(self, left: list[Assignment]) -> list[Assignment]:
        """What is still to do of what was not started; what is canceled is told."""
        for one in left:
            if one.token in self._wanted:
                self._teller.add(canceled_before(one))
        return [one for one in left if one.token not in self._wanted]

    def _tell(self, assignment: Assignment, started: float, end: StepEnd) -> None:
        step = outcome_of(0, self._recipe.steps[0].name, end)
        ended = ended_of(assignment, started, step, end, Totals(None, end.max_rss_bytes), code=self._code)
        self._teller.add(with_left(ended, self._recipe, assignment))
        forget_inputs(assignment)
        if assignment.own:
            return
        try:
            os.rmdir(assignment.folder)
        except OSError:
            return  # something is in it: it stays
