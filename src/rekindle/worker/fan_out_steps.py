"""A fan-out step: find its items, then run a subtask for each, several at once."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rekindle.domain.actions import BadAction
from rekindle.domain.definition import Each, Step
from rekindle.domain.errors import BadValue, RekindleError
from rekindle.domain.models import Failure
from rekindle.domain.states import Cause, State, state_after
from rekindle.domain.subtasks import KnownSubtask, SubtaskDivision, SubtaskEnd, divide_subtasks
from rekindle.domain.texts.display import show_json_bytes
from rekindle.domain.texts.function_source import shown_call
from rekindle.domain.verdicts import BadVerdict
from rekindle.files.file_patterns import item_texts, static_items
from rekindle.files.store_files import open_regular_file
from rekindle.journal.encoding import from_json
from rekindle.journal.paths import log_path
from rekindle.journal.records import FannedOut, Subtasks
from rekindle.worker.attempt_folders import MAX_RESULT, check_in_place, reject_end
from rekindle.worker.call_steps import CallStep
from rekindle.worker.command_steps import CommandStep, kill_children, left_running
from rekindle.worker.limits import classify_kill
from rekindle.worker.steps import LEFTOVER_INTERVAL, Activity, StepEnd, StepTotals, failed_step, wall_time
from rekindle.worker.subtasks import FanOutContext, SubtaskPool

if TYPE_CHECKING:
    from rekindle.journal.orders import FanOut

_NO_VERDICT = BadVerdict(
    "a fan-out step cannot give a verdict, nor can its subtasks", hint="let a step behind it say what they found"
)
_NO_ACTION = BadAction("a fan-out step cannot act yet, nor can its subtasks", hint="let a step behind it act")
_SHOWN = 120  # characters of an item in a message


class FanOutStep:
    """A running fan-out step. It writes its subtasks' records; the attempt writes the step's."""

    def __init__(self, context: FanOutContext, earlier: FanOut | None, item_digests: Mapping[str, str]) -> None:
        """`earlier`: the earlier subtasks, if the attempt resumes this step. `item_digests`: by item, the digest of
        its file, if it is compared later. Raise BadValue, UnknownWord or StartError if the items cannot be found."""
        self._context, self._earlier, self._item_digests = context, earlier, item_digests
        self._each = context.step.each or Each()
        self._stopped: tuple[Cause, str] | None = None
        self._division: SubtaskDivision | None = None
        self._waiting: deque[KnownSubtask] = deque()
        self._running: dict[int, Activity] = {}
        self._runs: dict[int, int] = {}
        self._ends: dict[int, SubtaskEnd] = {}  # the last of each
        self._kills: dict[int, int] = {}  # of the kernel, when each was started
        self._kill_at = self._check_at = 0.0
        self._unrecorded: list[SubtaskEnd] = []  # not journalled yet
        self._first_failure: tuple[KnownSubtask, StepEnd] | None = None
        self._totals = StepTotals()
        self._resubmits = self._each.resubmit
        self._pool: SubtaskPool | None = None
        self.left_nothing = True
        self.partial = False
        self.started = wall_time()
        self._finder = self._find_items()

    def _find_items(self) -> Activity | None:
        """Start to find the items; return None if they are known."""
        context = self._context
        items = static_items(self._each, context.env.scope, context.env.directory)
        if items is not None:
            self._start_subtasks(items)
            return None
        if self._each.call is not None:
            return CallStep(context.resources.hosts, context.template, context.assignment, context.position, items=True)
        resources = context.resources
        return CommandStep(
            items_step(context.step),
            context.position,
            context.env,
            context.assignment,
            resources.capture,
            resources.hosts.pids,
            resources.folders,
        )

    @property
    def handles(self) -> list[int]:
        """Where ends are seen."""
        if self._finder is not None:
            return self._finder.handles
        return [handle for activity in self._running.values() for handle in activity.handles]

    @property
    def due(self) -> float | None:
        """When a grace ends, or left processes may have ended; at once if nothing runs."""
        if self._finder is not None:
            return self._finder.due
        if not self._running:
            return self._check_at
        return min((activity.due for activity in self._running.values() if activity.due is not None), default=None)

    def stop(self, cause: Cause, message: str, now: float, grace: float) -> None:
        """End everything that runs, left processes included, and start nothing more."""
        if self._stopped is not None:
            return
        self._stopped = cause, message
        self._kill_at = now + grace
        self._waiting.clear()
        for activity in self._activities():
            activity.stop(cause, message, now, grace)
        if self._pool is not None:
            self._pool.signal_stray_processes(signal.SIGTERM if grace > 0 else signal.SIGKILL)

    def cut_grace(self, now: float) -> None:
        """End everything that still runs at once."""
        self._kill_at = self._check_at = now
        for activity in self._activities():
            activity.cut_grace(now)

    def poll(self, now: float) -> StepEnd | None:
        """Handle ended subtasks and start waiting ones; return the step's end when all have ended."""
        if self._finder is not None:
            end = self._finder.poll(now)
            if end is None:
                return None
            self.left_nothing = self._finder.left_nothing
            self._finder = None
            end = _refuse_reports(end)
            if not end.completed:
                return end
            try:
                self._start_subtasks(items_of(self._each, end, self._items_log()))
            except RekindleError as error:
                return failed_step(self.started, Cause.START, str(error))
        division = self._division
        assert division is not None, "items are there once nothing looks for them"
        for one in [one for one in division.run if one.index in self._running]:
            end = self._running[one.index].poll(now)
            if end is not None:
                del self._running[one.index]
                self._finish_subtask(one, end)
        self._start_waiting()
        if self._running:
            return None
        if (
            self._stopped is not None
            and now < self._kill_at
            and self._pool is not None
            and self._pool.stray_processes()
        ):
            self._check_at = min(now + LEFTOVER_INTERVAL, self._kill_at)
            return None
        return self._conclude(division)

    def complete(self) -> list[tuple[str, str | None]]:
        """Return (item, result) as JSON texts of the complete subtasks, by index."""
        division = self._division
        if division is None:
            return []
        done = {one.index: (one.item, one.result) for one in division.kept if one.complete}
        for one in division.run:
            end = self._ends.get(one.index)
            if end is not None and end.state is State.COMPLETED:
                done[one.index] = one.item, end.result
        return [done[index] for index in sorted(done)]

    def _activities(self) -> list[Activity]:
        return [*self._running.values(), *([self._finder] if self._finder else [])]

    def _items_log(self) -> str:
        return log_path(self._context.assignment.file_prefix, self._context.position, "out")

    def _start_subtasks(self, items: Sequence[str]) -> None:
        """Record the items and let their subtasks start."""
        earlier = self._earlier
        division = divide_subtasks(items, earlier.known if earlier else (), earlier.choice if earlier else "all")
        self._division = division
        self._waiting.extend(division.run)
        self._runs = {one.index: one.attempts for one in division.run}
        assignment, base = self._context.assignment, earlier.base if earlier and division.kept else None
        self._context.resources.reporter.add(
            FannedOut(
                assignment.attempt,
                assignment.token,
                self._context.position,
                len(items),
                run=tuple((one.index, one.item, one.attempts) for one in division.run),
                base=base,
                gone=() if base is None else tuple(one.index for one in division.gone),
                held={
                    one.index: self._item_digests[item]
                    for one in division.run
                    if (item := _path(one.item)) in self._item_digests
                }
                if self._item_digests
                else {},
            )
        )
        cpus = self._context.template.cpus if assignment.cpus is None else assignment.cpus
        self._pool = SubtaskPool(self._context, self._each.parallel or max(1, int(cpus)))

    def _start_waiting(self) -> None:
        """Start waiting subtasks while there is room. Each start is recorded before."""
        pool = self._pool
        while pool is not None and self._waiting and len(self._running) < pool.size:
            room = min(len(self._waiting), pool.size - len(self._running))
            batch = [self._waiting.popleft() for _ in range(room)]
            for one in batch:
                self._runs[one.index] += 1
            self._record([(one.index, self._runs[one.index]) for one in batch])
            self._context.resources.reporter.flush()
            kills = self._context.resources.kills.count(time.monotonic())
            for one in batch:
                self._kills[one.index] = kills
                begun = wall_time()
                try:
                    self._running[one.index] = pool.start(one)
                except RekindleError as error:
                    self._finish_subtask(one, failed_step(begun, Cause.START, str(error)))
        if self._unrecorded:
            self._record([])

    def _record(self, started: Sequence[tuple[int, int]]) -> None:
        assignment = self._context.assignment
        ended, self._unrecorded = tuple(self._unrecorded), []
        self._context.resources.reporter.add(
            Subtasks(assignment.attempt, assignment.token, self._context.position, ended, tuple(started))
        )

    def _finish_subtask(self, one: KnownSubtask, end: StepEnd) -> None:
        """Handle the end of a subtask."""
        end = _refuse_reports(end)
        end = classify_kill(end, self._context.resources.kills, self._kills[one.index])
        end = check_in_place(end, self._context.assignment.report_prefix)
        if self._pool is not None:
            self._pool.clear(one, end)
        subtask_end = SubtaskEnd(
            one.index, end.state, end.started, end.ended, end.cause, end.exit_code, end.signal, end.result
        )
        self._ends[one.index] = subtask_end
        self._unrecorded.append(subtask_end)
        self._totals.add(end)
        if not end.completed and (self._first_failure is None or self._explains_stop(end, self._first_failure[1])):
            self._first_failure = one, end

    def _explains_stop(self, end: StepEnd, before: StepEnd) -> bool:
        """Return whether this end, and not the earlier one, has the cause for which the step was stopped."""
        cause = self._stopped[0] if self._stopped else None
        return end.cause is cause is not before.cause

    def _conclude(self, division: SubtaskDivision) -> StepEnd | None:
        """Return the step's end after all subtasks, or run failed ones again and return None."""
        incomplete = [one for one in division.run if self._incomplete(one)]
        bad = len(incomplete) + sum(not one.complete for one in division.kept)
        total = len(division.run) + len(division.kept)
        allowed = bad <= self._each.max_failed and (bad < total or not total)
        if self._stopped is None and not allowed and incomplete and self._resubmits > 0:
            self._resubmits -= 1
            self._first_failure = None
            self._waiting.extend(incomplete)
            self._start_waiting()
            if self._running:
                return None
            return self._conclude(division)
        self._close()
        if self._stopped is not None:
            return self._step_end(*self._stopped)
        if not allowed:
            return self._step_end(Cause.SUBTASKS, f"{bad:,} of {total:,} subtasks failed{self._failure_example()}")
        self.partial = bad > 0
        return self._step_end(None, "")

    def _incomplete(self, one: KnownSubtask) -> bool:
        end = self._ends.get(one.index)
        return end is None or end.state is not State.COMPLETED

    def _close(self) -> None:
        """Kill processes that subtasks left."""
        if self._pool is not None:
            self._pool.close()
        own = self._context.resources.hosts.pids()
        left = left_running(own)
        if self._context.template.leave_running:  # the attempt sees to these
            self.left_nothing = self.left_nothing and left is None
            return
        if left is not None and self._stopped is None:
            self._totals.leave(left)
        found, _ = kill_children(own)
        self.left_nothing = self.left_nothing and not found

    def _failure_example(self) -> str:
        if self._first_failure is None:
            return ""
        one, end = self._first_failure
        said = end.failure.message if end.failure else ""
        return f"; {one.index} ({show_json_bytes(one.item):.{_SHOWN}}): {said}"

    def _step_end(self, cause: Cause | None, message: str) -> StepEnd:
        failure = None
        if cause is not None:
            end = self._first_failure[1] if self._first_failure else None
            example = end.failure if end is not None and cause in (end.cause, Cause.SUBTASKS) else None
            failure = replace(example or Failure(), message=message)
        return StepEnd(
            state_after(cause),
            self.started,
            wall_time(),
            cause,
            failure=failure,
            cpu_seconds=self._totals.cpu_seconds,
            max_rss_bytes=self._totals.max_rss_bytes,
            left=self._totals.left,
        )


def _path(item: str) -> str:
    """Return the path that an item of a pattern is."""
    return str(from_json(item))


def _refuse_reports(end: StepEnd) -> StepEnd:
    """Fail a subtask that reports a verdict or an action: only its result can be stored."""
    if end.verdict is not None and end.completed:
        return reject_end(end, _NO_VERDICT)
    if end.action is not None and end.completed:
        return reject_end(end, _NO_ACTION)
    return end


def fan_out_result(complete: Sequence[tuple[str, str | None]]) -> dict[str, Any]:
    """Return the value that later steps see: `{"items": [{"item": …, "result": …}]}`, of complete subtasks only."""
    return {
        "items": [
            {"item": from_json(item), "result": None if result is None else from_json(result)}
            for item, result in complete
        ]
    }


def items_step(step: Step) -> Step:
    """Return the command or call that finds the items, as a step."""
    each = step.each or Each()
    return Step(step.name, run=each.run, shell=each.shell, call=each.call, args=each.args)


def items_of(each: Each, end: StepEnd, printed: str) -> list[str]:
    """Return the items as JSON texts after their step has completed; `printed`: its log. Raise BadValue if they
    cannot be read."""
    if each.call is None:
        return item_texts(_lines(printed))
    value = None if end.result is None else from_json(end.result)
    if not isinstance(value, list):
        raise BadValue(f"{shown_call(each.call)} returned no list of items, but {end.result or 'nothing'!s:.80}")
    return item_texts(value)


def _lines(path: str) -> list[str]:
    """Return the lines that are not empty."""
    try:
        with open_regular_file(path) as file:
            content = file.read(MAX_RESULT + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BadValue(f"the list of items cannot be read: {error.strerror}") from error
    if len(content) > MAX_RESULT:
        raise BadValue("the list of items is longer than 16 MiB")
    return [line for line in os.fsdecode(content).splitlines() if line.strip()]
