"""Batches of attempts of one call step each: the host runs and journals them, the worker watches.

The worker reads the journal only when it must know which call runs: to end that call, or after the host's death. To end
one call and not the next, it pauses the host first."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from rekindle.domain.states import Cause, State
from rekindle.journal.log import read_past_damage, repair_end
from rekindle.journal.records import Ended, Started
from rekindle.worker.attempt_environment import memory_limit, remove_inputs_file, time_limit
from rekindle.worker.call_protocol import REPORT_INTERVAL, BatchReply, BatchTask
from rekindle.worker.call_steps import CallGrace, CallHost, CallHosts, host_death
from rekindle.worker.declared_files import with_partial_outputs
from rekindle.worker.limits import MemoryMonitor, Termination, cancellation, classify_kill, over_memory, over_time
from rekindle.worker.reporter import NOTIFY_INTERVAL, RETRY_INTERVAL, Reporter
from rekindle.worker.steps import StepEnd, StepTotals, canceled_record, ended_record, never_started, step_outcome

if TYPE_CHECKING:
    from rekindle.journal.orders import Assignment, TaskTemplate
    from rekindle.journal.processes import OomKillCounter

MAX_BATCH = 256
CHECK_INTERVAL = 0.05
"""Seconds between two checks of the running call, while a call to be ended may still start."""


class CallBatch:
    """Attempts of one template that a call host runs."""

    def __init__(
        self,
        hosts: CallHosts,
        reporter: Reporter,
        kills: OomKillCounter,
        template: TaskTemplate,
        work: Sequence[Assignment],
        code: str | None,
    ) -> None:
        """`code` is the digest of the function's modules."""
        self._hosts, self._reporter, self._template, self._code = hosts, reporter, template, code
        self._kills = kills
        self._work = list(work)
        limits = [limit for one in work if (limit := time_limit(template, one)) is not None]
        self._shortest = min(limits) if limits else None
        self._stopped: Termination | None = None
        self._stopped_token = ""  # the token of the call that was stopped
        self._grace = CallGrace()
        self._wanted: set[str] = set()
        self._allocation = ""  # see `cancel`
        self._host: CallHost = hosts.get(template.directory)
        self._offset = os.fstat(reporter.journal.fd).st_size
        self._host.status.reset()
        self._host.give(template, BatchTask(tuple(work), code))
        now = time.monotonic()
        self._check_at: float | None = None if self._shortest is None else now + self._shortest
        self._report_at: float | None = now + NOTIFY_INTERVAL
        self._size = self._offset
        self._kills_before = kills.count(now)
        limited = any(memory_limit(template, one) for one in work)
        self._monitor = MemoryMonitor(lambda: [self._host.pid], now) if limited else None
        self._disk_error = 0  # the host's with the disk
        self.done = 0

    @property
    def due(self) -> float | None:
        """When to poll although nothing is readable."""
        next_sample = None if self._monitor is None else self._monitor.due
        return min(
            (at for at in (self._check_at, self._report_at, next_sample, self._grace.due) if at is not None),
            default=None,
        )

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens of the host's calls: ended, running or waiting."""
        return tuple(one.token for one in self._work)

    @property
    def handles(self) -> list[int]:
        """Where the reply or the host's death is seen."""
        return [self._host.replies, self._host.handle]

    def poll(self, now: float) -> list[Assignment] | None:
        """Handle what has happened. When the batch is over, return its unstarted attempts."""
        gone = not self._host.alive
        self._grace.poll(self._host, now)
        for answer in self._host.answers():
            if isinstance(answer, BatchReply):
                self.done = answer.count
                if not answer.fresh:
                    self._hosts.retire()
                return self._without_canceled(self._work[answer.count :])
        if gone:
            return self._after_death()
        if self._report_at is not None and now >= self._report_at:
            self._report_progress(now)
        if self._check_at is not None and now >= self._check_at:
            self._check_running(now)
        if self._monitor is not None and now >= self._monitor.due:
            self._measure(self._monitor, now)
        return None

    def _report_progress(self, now: float) -> None:
        """Wake the runner for records that the host has written. Once a call has run longer than a host's interval,
        nothing comes before its end."""
        size = os.fstat(self._reporter.journal.fd).st_size
        if size != self._size:
            self._size = size
            self._reporter.mark_unread()
        disk_error = self._host.status.disk_error
        if disk_error or self._disk_error:
            self._disk_error = disk_error
            self._reporter.report_disk_error(disk_error)
        start = self._host.status.start
        settled = start and now - start > REPORT_INTERVAL + NOTIFY_INTERVAL
        self._report_at = now + RETRY_INTERVAL if disk_error else None if settled else now + NOTIFY_INTERVAL

    def withdraw(self) -> list[Assignment]:
        """Take back and return the attempts that the host has not claimed; it will not start them."""
        if self._stopped is not None or not self._host.pause():
            return []
        status = self._host.status
        status.stop_claims()
        rest = self._work[status.claimed + 1 :]
        del self._work[status.claimed + 1 :]
        self._host.resume()
        return rest

    def cancel(self, tokens: Collection[str], allocation: str = "") -> None:
        """End the running call if it is among these. Unclaimed attempts have been withdrawn before. `allocation`: the
        one that ends, if that is why."""
        self._allocation = allocation
        self._wanted |= {one.token for one in self._work if one.token in tokens}
        if self._stopped_token in tokens:
            self._grace.end(time.monotonic())
        elif self._wanted and self._stopped is None:
            self._check_running(time.monotonic())

    def _check_running(self, now: float) -> None:
        """End the running call if necessary, and plan the next check."""
        started = self._host.status.start
        overdue = self._shortest is not None and started and now >= started + self._shortest
        if (overdue or self._running_is_wanted()) and self._stop_running(now):
            return
        self._check_at = now + CHECK_INTERVAL if self._wanted else self._next_limit(now)

    def _stop_running(self, now: float) -> bool:
        """Pause the host, and end it if the running call must end. Return whether it was ended."""
        if self._stopped is not None or not self._host.pause():
            return False
        self._stopped = self._must_end(now)
        if self._stopped is None:
            self._host.resume()
            return False
        running = self._running()
        self._stopped_token = running[0].token if running else ""
        self._check_at = self._report_at = self._monitor = None
        self._grace.begin(self._host, now, 0.0 if self._stopped.cause is Cause.OOM else self._template.grace)
        return True

    def _measure(self, monitor: MemoryMonitor, now: float) -> None:
        """End the running call if it holds too much memory."""
        monitor.postpone(now)
        at = self._host.status.claimed
        if at < len(self._work) and self._memory_excess(self._work[at]) is not None:
            self._stop_running(now)

    def _memory_excess(self, assignment: Assignment) -> Termination | None:
        """Return the termination of a call that holds too much; None if it does not, or has not begun."""
        status, limit = self._host.status, memory_limit(self._template, assignment)
        if self._monitor is None or not limit or not status.start:
            return None
        held = self._monitor.exceeds(limit, status.held)
        return None if held is None else over_memory(limit, held)

    def _running_is_wanted(self) -> bool:
        return bool(self._wanted) and (running := self._running()) is not None and running[0].token in self._wanted

    def _must_end(self, now: float) -> Termination | None:
        """Return why the running call must end, if so; the host is paused."""
        running = self._running()
        if running is None:
            return None
        assignment = running[0]
        if assignment.token in self._wanted:
            return cancellation(self._allocation)
        limit = time_limit(self._template, assignment)
        started = self._host.status.start
        if limit is not None and started and now >= started + limit:
            return over_time(limit, now - started)
        return self._memory_excess(assignment)

    def _next_limit(self, now: float) -> float | None:
        """Return when the running call may exceed its limit."""
        if self._shortest is None:
            return None
        return max((self._host.status.start or now) + self._shortest, now + CHECK_INTERVAL)

    def _running(self) -> tuple[Assignment, Started] | None:
        """Return the started, unended attempt and its start, from the journal."""
        records, _, _ = read_past_damage(self._reporter.journal.path, self._offset)
        ended = {record.token for record in records if isinstance(record, Ended)}
        by_token = {assignment.token: assignment for assignment in self._work}
        for record in reversed(records):
            if isinstance(record, Started) and record.token in by_token and record.token not in ended:
                return by_token[record.token], record
        return None

    def _after_death(self) -> list[Assignment]:
        """Handle the host's death: journaled attempts are done, the started one died with it, the rest is to do.

        A host that dies before it starts anything would do so again: fail the first attempt of the batch."""
        code, peak = self._host.reap()
        self._hosts.forget()
        self._reporter.mark_unread()  # the host may not have woken the runner
        self._reporter.storage.retry(lambda: repair_end(self._reporter.journal.path))
        records, _, _ = read_past_damage(self._reporter.journal.path, self._offset)
        ended = {record.token for record in records if isinstance(record, Ended)}
        running = self._running()
        if running is not None:
            assignment, start = running
            stderr = self._host.rescue_logs(assignment.file_prefix, 0)
            self._record_end(assignment, start.at, self._death(start, code, peak, stderr))
            ended.add(assignment.token)
        elif not ended and self._work:
            assignment = self._work[0]
            stderr = self._host.rescue_logs(assignment.file_prefix, 0)
            message = f"the process for calls ended before it began (exit code {code}): {stderr}"
            self._reporter.add(never_started(assignment, State.FAILED, Cause.START, message))
            ended.add(assignment.token)
        self.done = len(ended)
        return self._without_canceled([assignment for assignment in self._work if assignment.token not in ended])

    def _death(self, start: Started, code: int, peak: int, stderr: str) -> StepEnd:
        ended, termination = start.now(time.monotonic()), self._stopped
        if termination is None:
            return classify_kill(host_death(start.at, ended, code, peak, None, stderr), self._kills, self._kills_before)
        return termination.apply(
            host_death(start.at, ended, code, peak, (termination.cause, termination.message), stderr)
        )

    def _without_canceled(self, left: list[Assignment]) -> list[Assignment]:
        """Return the unstarted attempts that are still to do; journal the canceled ones."""
        for one in left:
            if one.token in self._wanted:
                self._reporter.add(canceled_record(one))
        return [one for one in left if one.token not in self._wanted]

    def _record_end(self, assignment: Assignment, started: float, end: StepEnd) -> None:
        step = step_outcome(0, self._template.steps[0].name, end)
        ended = ended_record(assignment, started, step, end, StepTotals(None, end.max_rss_bytes), code=self._code)
        self._reporter.add(with_partial_outputs(ended, self._template, assignment))
        remove_inputs_file(assignment)
        if assignment.own:
            return
        try:
            os.rmdir(assignment.folder)
        except OSError:
            return  # not empty
