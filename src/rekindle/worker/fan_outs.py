"""A fan-out step: first its items, then a subtask for each, several at once."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rekindle.domain.actions import BadAction
from rekindle.domain.causes import Cause, state_after
from rekindle.domain.definition import Each
from rekindle.domain.errors import RekindleError
from rekindle.domain.models import Failure
from rekindle.domain.states import State
from rekindle.domain.subtasks import Division, Known, SubtaskEnd, divide
from rekindle.domain.texts.surrogates import shown_json
from rekindle.domain.verdicts import BadVerdict
from rekindle.journal.encoding import from_json
from rekindle.journal.items import settled
from rekindle.journal.orders import FanOut
from rekindle.journal.places import log_path
from rekindle.journal.records import FannedOut, Subtasks
from rekindle.worker.activity import LINGER, Activity
from rekindle.worker.calls import CallStep
from rekindle.worker.clock import date
from rekindle.worker.commands import Command
from rekindle.worker.findings import StepEnd, Totals, failed
from rekindle.worker.halts import judged
from rekindle.worker.items import items_of, items_step
from rekindle.worker.reaping import end_leftovers, left_running
from rekindle.worker.staging import in_place, spoiled
from rekindle.worker.subtasks import Pool, Site

_NO_VERDICT = BadVerdict(
    "a fan-out step cannot give a verdict, nor can its subtasks", hint="let a step behind it say what they found"
)
_NO_ACTION = BadAction("a fan-out step cannot act yet, nor can its subtasks", hint="let a step behind it act")
_SHOWN = 120  # characters of an item in a message


class FanOutStep:
    """A fan-out that runs, as an attempt sees it. Its subtasks' records are written here, the step's by the attempt."""

    def __init__(self, site: Site, earlier: FanOut | None, held: Mapping[str, str]) -> None:
        """`earlier`: what is known of the subtasks where the attempt resumes this step. `held`: by item, what its file
        holds, where that is compared later. BadValue, UnknownWord or StartError when the items cannot be had."""
        self._site, self._earlier, self._held = site, earlier, held
        self._each = site.step.each or Each()
        self._stopped: tuple[Cause, str] | None = None
        self._division: Division | None = None
        self._waiting: deque[Known] = deque()
        self._running: dict[int, Activity] = {}
        self._tries: dict[int, int] = {}
        self._ends: dict[int, SubtaskEnd] = {}  # the last of each
        self._kills: dict[int, int] = {}  # of the kernel, when each was started
        self._kill_at = self._look_at = 0.0
        self._news: list[SubtaskEnd] = []  # not journalled yet
        self._first_failure: tuple[Known, StepEnd] | None = None
        self._totals = Totals()
        self._resubmits = self._each.resubmit
        self._pool: Pool | None = None
        self.quiet = True
        self.partial = False
        self.started = date()
        self._finding = self._find()

    def _find(self) -> Activity | None:
        """Begin to find the items; None: they are there."""
        site = self._site
        items = settled(self._each, site.frame.scope, site.frame.directory)
        if items is not None:
            self._begin(items)
            return None
        if self._each.call is not None:
            return CallStep(site.tools.hosts, site.recipe, site.assignment, site.position, items=True)
        tools = site.tools
        return Command(
            items_step(site.step), site.position, site.frame, site.assignment, tools.capture, tools.hosts.own
        )

    @property
    def handles(self) -> list[int]:
        """Where ends are seen."""
        if self._finding is not None:
            return self._finding.handles
        return [handle for activity in self._running.values() for handle in activity.handles]

    @property
    def due(self) -> float | None:
        """When a grace ends, or what was left behind may have ended; at once when nothing runs."""
        if self._finding is not None:
            return self._finding.due
        if not self._running:
            return self._look_at
        return min((activity.due for activity in self._running.values() if activity.due is not None), default=None)

    def stop(self, cause: Cause, message: str, now: float, grace: float) -> None:
        """End all that runs, also what subtasks have left behind, and start nothing more."""
        if self._stopped is not None:
            return
        self._stopped = cause, message
        self._kill_at = now + grace
        self._waiting.clear()
        for activity in self._under_way():
            activity.stop(cause, message, now, grace)
        if self._pool is not None:
            self._pool.signal_strays(signal.SIGTERM if grace > 0 else signal.SIGKILL)

    def hurry(self, now: float) -> None:
        """End all that still runs at once."""
        self._kill_at = self._look_at = now
        for activity in self._under_way():
            activity.hurry(now)

    def turn(self, now: float) -> StepEnd | None:
        """Take in what has ended, start what is next; the step's end when all have ended."""
        if self._finding is not None:
            end = self._finding.turn(now)
            if end is None:
                return None
            self.quiet = self._finding.quiet
            self._finding = None
            end = _by_itself(end)
            if not end.completed:
                return end
            try:
                self._begin(items_of(self._each, end, self._printed()))
            except RekindleError as error:
                return failed(self.started, Cause.START, str(error))
        division = self._division
        assert division is not None, "items are there once nothing looks for them"
        for one in [one for one in division.run if one.index in self._running]:
            end = self._running[one.index].turn(now)
            if end is not None:
                del self._running[one.index]
                self._take(one, end)
        self._fill()
        if self._running:
            return None
        if self._stopped is not None and now < self._kill_at and self._pool is not None and self._pool.strays():
            self._look_at = min(now + LINGER, self._kill_at)
            return None
        return self._conclude(division)

    def complete(self) -> list[tuple[str, str | None]]:
        """(item, result), JSON texts, of the subtasks that are complete, by index."""
        division = self._division
        if division is None:
            return []
        done = {one.index: (one.item, one.result) for one in division.kept if one.complete}
        for one in division.run:
            end = self._ends.get(one.index)
            if end is not None and end.state is State.COMPLETED:
                done[one.index] = one.item, end.result
        return [done[index] for index in sorted(done)]

    def _under_way(self) -> list[Activity]:
        return [*self._running.values(), *([self._finding] if self._finding else [])]

    def _printed(self) -> str:
        return log_path(self._site.assignment.beside, self._site.position, "out")

    def _begin(self, items: Sequence[str]) -> None:
        """The items are there: tell them, and let their subtasks start."""
        earlier = self._earlier
        division = divide(items, earlier.known if earlier else (), earlier.choice if earlier else "all")
        self._division = division
        self._waiting.extend(division.run)
        self._tries = {one.index: one.attempts for one in division.run}
        assignment, base = self._site.assignment, earlier.base if earlier and division.kept else None
        self._site.tools.teller.add(
            FannedOut(
                assignment.attempt,
                assignment.token,
                self._site.position,
                len(items),
                run=tuple((one.index, one.item, one.attempts) for one in division.run),
                base=base,
                gone=() if base is None else tuple(one.index for one in division.gone),
                held={one.index: self._held[item] for one in division.run if (item := _path(one.item)) in self._held}
                if self._held
                else {},
            )
        )
        cpus = self._site.recipe.cpus if assignment.cpus is None else assignment.cpus
        self._pool = Pool(self._site, self._each.parallel or max(1, int(cpus)))

    def _fill(self) -> None:
        """Start what there is room for. It is told before."""
        pool = self._pool
        while pool is not None and self._waiting and len(self._running) < pool.size:
            room = min(len(self._waiting), pool.size - len(self._running))
            batch = [self._waiting.popleft() for _ in range(room)]
            for one in batch:
                self._tries[one.index] += 1
            self._tell([(one.index, self._tries[one.index]) for one in batch])
            self._site.tools.teller.flush()
            kills = self._site.tools.kills.count(time.monotonic())
            for one in batch:
                self._kills[one.index] = kills
                begun = date()
                try:
                    self._running[one.index] = pool.start(one)
                except RekindleError as error:
                    self._take(one, failed(begun, Cause.START, str(error)))
        if self._news:
            self._tell([])

    def _tell(self, started: Sequence[tuple[int, int]]) -> None:
        assignment = self._site.assignment
        ended, self._news = tuple(self._news), []
        self._site.tools.teller.add(
            Subtasks(assignment.attempt, assignment.token, self._site.position, ended, tuple(started))
        )

    def _take(self, one: Known, end: StepEnd) -> None:
        """A subtask has ended."""
        end = _by_itself(end)
        end = judged(end, self._site.tools.kills, self._kills[one.index])
        end = in_place(end, self._site.assignment.leaves)
        if self._pool is not None:
            self._pool.clear(one, end)
        told = SubtaskEnd(
            one.index, end.state, end.started, end.ended, end.cause, end.exit_code, end.signal, end.result
        )
        self._ends[one.index] = told
        self._news.append(told)
        self._totals.add(end)
        if not end.completed and (self._first_failure is None or self._explains_stop(end, self._first_failure[1])):
            self._first_failure = one, end

    def _explains_stop(self, end: StepEnd, before: StepEnd) -> bool:
        """Whether this end, and not an earlier one, has the cause for which the whole step was stopped."""
        cause = self._stopped[0] if self._stopped else None
        return end.cause is cause is not before.cause

    def _conclude(self, division: Division) -> StepEnd | None:
        """All have ended: halted; few enough failed; run the failed ones again; or failed."""
        incomplete = [one for one in division.run if self._incomplete(one)]
        bad = len(incomplete) + sum(not one.complete for one in division.kept)
        total = len(division.run) + len(division.kept)
        allowed = bad <= self._each.max_failed and (bad < total or not total)
        if self._stopped is None and not allowed and incomplete and self._resubmits > 0:
            self._resubmits -= 1
            self._first_failure = None
            self._waiting.extend(incomplete)
            self._fill()
            if self._running:
                return None
            return self._conclude(division)
        self._close()
        if self._stopped is not None:
            return self._end(*self._stopped)
        if not allowed:
            return self._end(Cause.SUBTASKS, f"{bad:,} of {total:,} subtasks failed{self._example()}")
        self.partial = bad > 0
        return self._end(None, "")

    def _incomplete(self, one: Known) -> bool:
        end = self._ends.get(one.index)
        return end is None or end.state is not State.COMPLETED

    def _close(self) -> None:
        """Nothing runs any more: end what was left behind."""
        if self._pool is not None:
            self._pool.close()
        own = self._site.tools.hosts.own()
        left = left_running(own)
        if self._site.recipe.leave_running:  # the attempt sees to these
            self.quiet = self.quiet and left is None
            return
        if left is not None and self._stopped is None:
            self._totals.leave(left)
        found, _ = end_leftovers(own)
        self.quiet = self.quiet and not found

    def _example(self) -> str:
        if self._first_failure is None:
            return ""
        one, end = self._first_failure
        said = end.failure.message if end.failure else ""
        return f"; {one.index} ({shown_json(one.item):.{_SHOWN}}): {said}"

    def _end(self, cause: Cause | None, message: str) -> StepEnd:
        failure = None
        if cause is not None:
            end = self._first_failure[1] if self._first_failure else None
            example = end.failure if end is not None and cause in (end.cause, Cause.SUBTASKS) else None
            failure = replace(example or Failure(), message=message)
        return StepEnd(
            state_after(cause),
            self.started,
            date(),
            cause,
            failure=failure,
            cpu_seconds=self._totals.cpu_seconds,
            max_rss_bytes=self._totals.max_rss_bytes,
            left=self._totals.left,
        )


def _path(item: str) -> str:
    """The path that an item of a pattern is."""
    return str(from_json(item))


def _by_itself(end: StepEnd) -> StepEnd:
    """What looks for items, and each subtask, does its own work: there is nowhere to keep more than its result."""
    if end.verdict is not None and end.completed:
        return spoiled(end, _NO_VERDICT)
    if end.action is not None and end.completed:
        return spoiled(end, _NO_ACTION)
    return end


def document(complete: Sequence[tuple[str, str | None]]) -> dict[str, Any]:
    """What later steps see of a fan-out: `{"items": [{"item": …, "result": …}]}`, of complete subtasks only."""
    return {
        "items": [
            {"item": from_json(item), "result": None if result is None else from_json(result)}
            for item, result in complete
        ]
    }
