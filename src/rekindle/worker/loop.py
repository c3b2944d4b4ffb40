"""The worker's loop: take orders, run attempts one after the other, journal everything before waiting."""

from __future__ import annotations

import math
import os
import select
import signal
import time
from collections import deque
from collections.abc import Collection, Sequence
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from rekindle.domain.states import State
from rekindle.journal.orders import Assign, Assignment, Cancel, Drain, Order, Recall, Stop, TaskTemplate
from rekindle.journal.processes import CANCEL_SIGNAL
from rekindle.journal.records import Closed, Leaving, Returned
from rekindle.worker.attempt import Attempt, begin
from rekindle.worker.call_batches import MAX_BATCH, CallBatch
from rekindle.worker.call_protocol import LineReader
from rekindle.worker.reporter import NOTIFY_INTERVAL
from rekindle.worker.steps import CLOCK, canceled_record, wall_time

if TYPE_CHECKING:
    from rekindle.journal.records import Ended
    from rekindle.worker.subtasks import WorkerResources

STDIN = 0

LOOK_SECONDS = 1.0
"""Seconds between two looks for new orders in a file: no system call reports changes on a shared file system."""

MAX_WAIT = 24 * 3600 * 1000
"""Milliseconds; poll(2) takes no more than 24 days."""

KILLED_SECONDS, FAILED_SECONDS = 1.0, 0.1
"""How long an element waits for its engine's signal before it journals that a step was killed, or has failed."""

_ENGINE_SIGNALS = (signal.SIGTERM, signal.SIGKILL)
_ENGINE_CODES = tuple(128 + one for one in _ENGINE_SIGNALS)

LOW_QUEUE = 4
"""With fewer waiting attempts than this, a worker wakes its runner at each end at once."""


FAN_OUT_NOTIFY_INTERVAL = 0.1
"""Seconds between two wake-ups of the runner during a fan-out: nothing waits for the end of a subtask."""


class WorkerLoop:
    """One worker slot: its queue, and the attempt or batch that it runs."""

    def __init__(self, resources: WorkerResources, signal_fd: int, *, element: bool = False) -> None:
        """`signal_fd` is a descriptor from which the numbers of received signals can be read. An `element` of a batch
        has its orders in a file that may grow, and another engine's signals to obey."""
        self._resources, self._signal_fd, self._element = resources, signal_fd, element
        self._orders = LineReader(STDIN, Order, grows=element)
        self._ended_by_engine = False  # SIGTERM has come to an element
        self._signals = b""  # numbers of signals that have come and are not handled
        if element:
            resources.reporter.withholds = self._fails_with_element
        self._look_at = 0.0  # monotonic: the next look for new orders of an element
        self._drain_at: float | None = None  # monotonic: no attempt starts after this time
        self._templates: dict[int, TaskTemplate] = {}
        self._queue: deque[Assignment] = deque()
        self._attempt: Attempt | None = None
        self._batch: CallBatch | None = None
        self._batch_size = MAX_BATCH
        self._stopping = False

    def run(self) -> None:
        """Work until ordered to stop, and until the running attempt has ended."""
        while True:
            now = time.monotonic()
            if self._drain_at is not None and now >= self._drain_at and not self._stopping:
                self._stop()
            self._start_next()
            if self._idle and (self._stopping or (self._drain_at is not None and not self._queue)):
                break
            if self._idle:
                self._resources.folders.take_back()
            self._resources.reporter.try_flush(now)
            fanned_out = self._attempt is not None and self._attempt.fanned_out
            self._resources.reporter.notify(
                now,
                urgent=len(self._queue) < LOW_QUEUE and not fanned_out,
                interval=FAN_OUT_NOTIFY_INTERVAL if fanned_out else NOTIFY_INTERVAL,
            )
            readable = self._wait()
            if self._idle:
                CLOCK.set()
            if self._signal_fd in readable:
                self._signals += os.read(self._signal_fd, 64)
            if self._signals:
                signals, self._signals = self._signals, b""
                self._handle_signals(signals)
            if STDIN in readable:
                self._handle_orders()
            self._poll()
        self._resources.hosts.retire()
        if not self._resources.reporter.withheld:
            self._resources.reporter.add(Closed(at=wall_time()))
        self._resources.reporter.flush()
        self._resources.reporter.notify(time.monotonic(), urgent=True)

    @property
    def _idle(self) -> bool:
        return self._attempt is None and self._batch is None

    def _wait(self) -> set[int]:
        """Wait for an event or the next due time; return the readable descriptors."""
        poll = select.poll()
        poll.register(self._signal_fd, select.POLLIN)
        dues = [0.0 if self._signals else self._resources.reporter.due]
        if self._element:
            dues.append(self._look_at)
            if self._queue or not self._idle:
                dues.append(self._drain_at)
        elif not self._orders.ended:
            poll.register(STDIN, select.POLLIN)
        running = self._attempt or self._batch
        if running is not None:
            dues.append(running.due)
            for handle in running.handles:
                poll.register(handle, select.POLLIN)
        first = min((due for due in dues if due is not None), default=None)
        milliseconds = None
        if first is not None:
            milliseconds = min(MAX_WAIT, max(0, math.ceil((first - time.monotonic()) * 1000)))
        readable = {fd for fd, _ in poll.poll(milliseconds)}
        if self._element and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_SECONDS
            readable.add(STDIN)
        return readable

    def _start_next(self) -> None:
        """Start the next attempt or batch if nothing runs and everything is journaled."""
        while self._idle and self._queue and not (self._ended_by_engine or self._resources.reporter.storage.disk_error):
            CLOCK.set()
            template = self._templates[self._queue[0].template]
            first, alone = template.steps[0], bool(self._queue[0].copy_from) or template.leave_running
            if len(template.steps) == 1 and first.call is not None and first.each is None and not alone:
                self._begin_batch(template)
            else:
                self._attempt = begin(self._resources, template, self._queue.popleft())

    def _begin_batch(self, template: TaskTemplate) -> None:
        reporter = self._resources.reporter
        code = self._resources.fingerprints.code(template, reporter.add)
        self._resources.folders.take_back()
        reporter.flush()
        first = islice(self._queue, self._batch_size)
        work = list(takewhile(lambda one: one.template == template.id and not one.copy_from, first))
        for _ in work:
            self._queue.popleft()
        self._resources.hosts.set_leave_running(False)
        self._batch = CallBatch(self._resources.hosts, reporter, self._resources.kills, template, work, code)

    def _poll(self) -> None:
        """Poll the running attempt or batch."""
        now = time.monotonic()
        if self._attempt is not None:
            self._attempt.poll(now)
            if self._attempt.over:
                left_processes, self._attempt = self._attempt.left_processes, None
                if (
                    left_processes
                ):  # these processes would count as the next attempt's: when this worker ends, they are init's
                    self._stop()
        elif self._batch is not None:
            left = self._batch.poll(now)
            if left is not None:
                self._batch_size = min(MAX_BATCH, max(8, 2 * self._batch.done))
                self._batch = None
                self._queue.extendleft(reversed(left))
                if self._stopping:
                    self._give_back()

    def _handle_orders(self) -> None:
        for order in self._orders.take():
            if isinstance(order, TaskTemplate):
                self._templates[order.id] = order
            elif isinstance(order, Assign):
                self._queue.extend(order.work)
            elif isinstance(order, Cancel):
                self._cancel(order.tokens, order.allocation)
            elif isinstance(order, Recall):
                self._withdraw()
                self._give_back()
            elif isinstance(order, Stop):
                self._stop()
            elif isinstance(order, Drain):
                self._drain_at = time.monotonic() + order.seconds
        if self._orders.ended or self._stopping:
            self._stop()

    def _handle_signals(self, signals: bytes) -> None:
        """Stop on SIGTERM. On CANCEL_SIGNAL, which comes from the successor of a dead runner, cancel the running
        attempts too. So does an element on SIGTERM, which comes from its engine."""
        self._ended_by_engine |= self._element and signal.SIGTERM in signals
        self._stop()
        if CANCEL_SIGNAL in signals or self._ended_by_engine:
            self._cancel_running(self._tokens())

    def _fails_with_element(self, end: Ended) -> bool:
        """Return whether an attempt failed, or was canceled, because the engine of this element ends it. The engine
        knows why, so this end is not journaled.

        An engine signals all processes of an element at about the same time: wait a moment for the signal to this one,
        and longer after an end that looks like the engine's doing."""
        if self._ended_by_engine or end.state is State.CANCELED:
            return self._ended_by_engine
        killed = any(step.signal in _ENGINE_SIGNALS or step.exit_code in _ENGINE_CODES for step in end.steps)
        poll = select.poll()
        poll.register(self._signal_fd, select.POLLIN)
        if poll.poll(1000.0 * (KILLED_SECONDS if killed else FAILED_SECONDS)):
            self._signals += os.read(self._signal_fd, 64)
        self._ended_by_engine = signal.SIGTERM in self._signals
        return self._ended_by_engine

    def _stop(self) -> None:
        """Give back unstarted attempts; the running one continues to its end."""
        was_stopping, self._stopping = self._stopping, True
        self._withdraw()
        self._give_back()
        if not was_stopping:
            self._resources.reporter.add(Leaving(self._tokens()))

    def _tokens(self) -> tuple[str, ...]:
        """Return the tokens of the attempts that run or may still start."""
        if self._batch is not None:
            return self._batch.tokens
        return () if self._attempt is None else (self._attempt.assignment.token,)

    def _withdraw(self) -> None:
        """Take unstarted attempts back from the call host."""
        if self._batch is not None:
            self._queue.extendleft(reversed(self._batch.withdraw()))

    def _give_back(self) -> None:
        if self._queue:
            tokens, attempts = zip(*((one.token, one.attempt) for one in self._queue), strict=True)
            self._resources.reporter.add(Returned(tokens=tokens, attempts=attempts))
            self._queue.clear()

    def _cancel(self, tokens: Sequence[str], allocation: str) -> None:
        wanted = set(tokens)
        self._withdraw()
        waiting, self._queue = self._queue, deque()
        for one in waiting:
            if one.token in wanted:
                self._resources.reporter.add(canceled_record(one))
            else:
                self._queue.append(one)
        self._cancel_running(wanted, allocation)

    def _cancel_running(self, wanted: Collection[str], allocation: str = "") -> None:
        if self._attempt is not None and self._attempt.assignment.token in wanted:
            self._attempt.cancel(time.monotonic(), allocation)
        elif self._batch is not None:
            self._batch.cancel(wanted, allocation)
