"""A worker's loop: orders in, attempts one after the other, everything told before it is waited for."""

from __future__ import annotations

import math
import os
import select
import time
from collections import deque
from collections.abc import Collection, Sequence
from itertools import islice, takewhile

from rekindle.journal.orders import Assign, Assignment, Cancel, Order, Recall, Recipe, Stop
from rekindle.journal.processes import CANCEL
from rekindle.journal.records import Closed, Leaving, Returned
from rekindle.worker.attempts import Attempt, begin
from rekindle.worker.batches import LARGEST, CallBatch
from rekindle.worker.clock import CLOCK, date
from rekindle.worker.findings import canceled_before
from rekindle.worker.telling import BREATH
from rekindle.worker.tools import Tools
from rekindle.worker.wire import Lines

STDIN = 0
LONGEST_WAIT = 24 * 3600 * 1000
"""Milliseconds; poll(2) takes no more than 24 days."""

NEARLY_OUT = 4
"""With fewer attempts than this before it, a worker tells its runner of each end at once."""


LONG_BREATH = 0.1
"""Seconds between two bytes to the runner amid a fan-out: nothing waits for the end of one of its subtasks."""


class Bench:
    """One slot: what it has to do, and what it does."""

    def __init__(self, tools: Tools, alarm: int) -> None:
        """`alarm` is a descriptor that becomes readable when the worker shall stop: the numbers of signals."""
        self._tools, self._alarm = tools, alarm
        self._orders = Lines(STDIN, Order)
        self._recipes: dict[int, Recipe] = {}
        self._queue: deque[Assignment] = deque()
        self._attempt: Attempt | None = None
        self._batch: CallBatch | None = None
        self._batch_size = LARGEST
        self._stopping = False

    def run(self) -> None:
        """Work until told to stop, and until what runs then has ended."""
        while True:
            self._fill()
            if self._stopping and self._idle:
                break
            now = time.monotonic()
            self._tools.teller.offer(now)
            fanned_out = self._attempt is not None and self._attempt.fanned_out
            self._tools.teller.ring(
                now,
                urgent=len(self._queue) < NEARLY_OUT and not fanned_out,
                breath=LONG_BREATH if fanned_out else BREATH,
            )
            readable = self._wait()
            if self._idle:
                CLOCK.set()
            if self._alarm in readable:
                self._heed(os.read(self._alarm, 64))
            if STDIN in readable:
                self._obey()
            self._turn()
        self._tools.hosts.retire()
        self._tools.teller.add(Closed(at=date()))
        self._tools.teller.flush()
        self._tools.teller.ring(time.monotonic(), urgent=True)

    @property
    def _idle(self) -> bool:
        return self._attempt is None and self._batch is None

    def _wait(self) -> set[int]:
        """Wait for something to happen or fall due; the readable descriptors."""
        poll = select.poll()
        poll.register(self._alarm, select.POLLIN)
        if not self._orders.ended:
            poll.register(STDIN, select.POLLIN)
        dues = [self._tools.teller.due]
        running = self._attempt or self._batch
        if running is not None:
            dues.append(running.due)
            for handle in running.handles:
                poll.register(handle, select.POLLIN)
        first = min((due for due in dues if due is not None), default=None)
        milliseconds = None
        if first is not None:
            milliseconds = min(LONGEST_WAIT, max(0, math.ceil((first - time.monotonic()) * 1000)))
        return {fd for fd, _ in poll.poll(milliseconds)}

    def _fill(self) -> None:
        """Begin what is next, when nothing runs and what did is told."""
        while self._idle and self._queue and not self._tools.teller.storage.trouble:
            CLOCK.set()
            recipe = self._recipes[self._queue[0].recipe]
            first, alone = recipe.steps[0], bool(self._queue[0].copy_from) or recipe.leave_running
            if len(recipe.steps) == 1 and first.call is not None and first.each is None and not alone:
                self._begin_batch(recipe)
            else:
                self._attempt = begin(self._tools, recipe, self._queue.popleft())

    def _begin_batch(self, recipe: Recipe) -> None:
        teller = self._tools.teller
        code = self._tools.fingerprints.code(recipe, teller.add)
        teller.flush()
        first = islice(self._queue, self._batch_size)
        work = list(takewhile(lambda one: one.recipe == recipe.id and not one.copy_from, first))
        for _ in work:
            self._queue.popleft()
        self._tools.hosts.spare(False)
        self._batch = CallBatch(self._tools.hosts, teller, self._tools.kills, recipe, work, code)

    def _turn(self) -> None:
        """See what has become of what runs."""
        now = time.monotonic()
        if self._attempt is not None:
            self._attempt.turn(now)
            if self._attempt.over:
                leaves, self._attempt = self._attempt.leaves, None
                if leaves:  # these processes would count as the next attempt's: when this worker ends, they are init's
                    self._stop()
        elif self._batch is not None:
            left = self._batch.turn(now)
            if left is not None:
                self._batch_size = min(LARGEST, max(8, 2 * self._batch.done))
                self._batch = None
                self._tools.teller.others()
                self._queue.extendleft(reversed(left))
                if self._stopping:
                    self._give_back()

    def _obey(self) -> None:
        for order in self._orders.take():
            if isinstance(order, Recipe):
                self._recipes[order.id] = order
            elif isinstance(order, Assign):
                self._queue.extend(order.work)
            elif isinstance(order, Cancel):
                self._cancel(order.tokens)
            elif isinstance(order, Recall):
                self._withdraw()
                self._give_back()
            elif isinstance(order, Stop):
                self._stop()
        if self._orders.ended or self._stopping:
            self._stop()

    def _heed(self, signals: bytes) -> None:
        """SIGTERM means to stop. CANCEL comes from whoever has taken over from this worker's runner, which is dead:
        what still runs is canceled."""
        self._stop()
        if CANCEL in signals:
            self._cancel_running(self._tokens())

    def _stop(self) -> None:
        """Give back what has not started; what runs goes on to its end."""
        told, self._stopping = self._stopping, True
        self._withdraw()
        self._give_back()
        if not told:
            self._tools.teller.add(Leaving(self._tokens()))

    def _tokens(self) -> tuple[str, ...]:
        """Of what is in hand: it runs, or may still begin."""
        if self._batch is not None:
            return self._batch.tokens
        return () if self._attempt is None else (self._attempt.assignment.token,)

    def _withdraw(self) -> None:
        """Take what is not started out of the host's hands."""
        if self._batch is not None:
            self._queue.extendleft(reversed(self._batch.withdraw()))

    def _give_back(self) -> None:
        if self._queue:
            tokens, attempts = zip(*((one.token, one.attempt) for one in self._queue), strict=True)
            self._tools.teller.add(Returned(tokens=tokens, attempts=attempts))
            self._queue.clear()

    def _cancel(self, tokens: Sequence[str]) -> None:
        wanted = set(tokens)
        self._withdraw()
        waiting, self._queue = self._queue, deque()
        for one in waiting:
            if one.token in wanted:
                self._tools.teller.add(canceled_before(one))
            else:
                self._queue.append(one)
        self._cancel_running(wanted)

    def _cancel_running(self, wanted: Collection[str]) -> None:
        if self._attempt is not None and self._attempt.assignment.token in wanted:
            self._attempt.cancel(time.monotonic())
        elif self._batch is not None:
            self._batch.cancel(wanted)
