"""Run a detached attempt where no store is: on this host, from an order in a file, with its journal in a folder."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.errors import ExecutorError, Refused
from rekindle.domain.models import StepOutcome
from rekindle.engine.running.signals import Interrupts
from rekindle.executors.worker_process import WorkerProcess, reap
from rekindle.journal.log import first_record, read_past_damage
from rekindle.journal.orders import Cancel, Stop
from rekindle.journal.paths import journal_path
from rekindle.journal.processes import OomKillCounter, boot_id, wait_readable
from rekindle.journal.records import Ended, Opened, StepEnded

if TYPE_CHECKING:
    from rekindle.engine.running.detached import DetachedOrder

PING_SECONDS = 60.0
"""Seconds between two calls of `ping`."""


class DetachedEnd(msgspec.Struct, frozen=True):
    """How a detached attempt ended (None: it did not start), its steps, and the signal that canceled it, if any."""

    ended: Ended | None
    steps: tuple[StepOutcome, ...] = ()
    interrupted_by: signal.Signals | None = None


def run(
    order: DetachedOrder, folder: str, directory: str, ping: Callable[[], None], ping_seconds: float = PING_SECONDS
) -> DetachedEnd:
    """Run an attempt in `directory` on a worker of its own, and wait for its end.

    Journal and logs are written into `folder`. `ping` is called now and then while the attempt runs. The first SIGINT,
    SIGTERM or SIGHUP cancels it. Raise Refused if it has run before, or was given up."""
    one = order.assignment
    journal = journal_path(folder, one.token)
    if Path(journal).exists():
        raise _already(folder)
    # A folder that the attempt continues in, or a copy that it makes, stays where it is.
    here = one.folder if one.copy_from or not one.given else directory
    assignment = msgspec.structs.replace(one, folder=here, own=f"{folder}/{one.token}")
    wake, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    kills = OomKillCounter()
    with contextlib.ExitStack() as stack, Interrupts() as interrupts:
        stack.callback(os.close, wake)
        stack.callback(os.close, writer)
        worker = WorkerProcess(one.token, folder, writer, sys.executable, os.environ)
        worker.oom_kills = kills.count(time.monotonic(), 0.0)
        worker.assign([order.task], [assignment])
        _watch(worker, wake, interrupts, ping, ping_seconds)
        worker.order(Stop())
        _wait_for_end(worker)
        opened = first_record(journal)
        if not isinstance(opened, Opened) or (opened.pid, opened.boot_id) != (worker.info.pid, boot_id()):
            lines, code = worker.stderr_tail().strip().splitlines(), worker.wait_for_exit()
            if code:
                raise ExecutorError(f"the worker ended before it began to work: {''.join(lines[-1:])}")
            raise _already(folder)  # the journal belongs to another process: it is neither read nor completed here
        reap(worker, kills)
    records, _, _ = read_past_damage(journal)
    ended = next((found for found in records if isinstance(found, Ended)), None)
    before = tuple(found.step for found in records if isinstance(found, StepEnded))
    return DetachedEnd(ended, (*before, *(ended.steps if ended is not None else ())), interrupts.first)


def _already(folder: str) -> Refused:
    return Refused(
        f"this launch has run before, or was given up: its journal is in {folder}",
        hint="nothing is started; a new launch needs a new reservation",
    )


def _watch(
    worker: WorkerProcess, wake: int, interrupts: Interrupts, ping: Callable[[], None], ping_seconds: float
) -> None:
    """Wait until the worker's attempts have ended, or the worker has."""
    due, handled = time.monotonic(), 0
    poll = select.poll()
    for handle in (worker.handle, wake, interrupts.fd):
        poll.register(handle, select.POLLIN)
    while True:
        worker.work.read_journal()
        if not worker.work.unfinished:
            return
        if time.monotonic() >= due:
            ping()
            due = time.monotonic() + ping_seconds
        if worker.writing is not None:
            worker.push()
        readable = {fd for fd, _ in poll.poll(max(0.0, min(due - time.monotonic(), 1.0)) * 1000)}
        if worker.handle in readable:
            return
        if wake in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 65536)
        if interrupts.count > handled:
            interrupts.drain()
            handled = interrupts.count
            worker.order(Cancel(tuple(worker.work.unfinished)))


def _wait_for_end(worker: WorkerProcess) -> None:
    wait_readable((worker.handle,))
