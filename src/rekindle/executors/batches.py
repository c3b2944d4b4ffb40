"""The executor that runs attempts in elements of another engine, through a placement.

To the runner an element is a worker. Its orders are complete before it starts: the runner fills a worker once, and
opens others for further jobs. The elements that were filled since the last wait become batches of equal resources."""

from __future__ import annotations

import math
import os
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rekindle.domain.definition import Resources
from rekindle.domain.errors import ExecutorError
from rekindle.domain.states import Cause
from rekindle.executors.assigned_work import AssignedWork
from rekindle.executors.elements import Element
from rekindle.executors.placement import Batch, PlacementUnreachable
from rekindle.executors.placement_thread import PlacementThread
from rekindle.executors.pool import Supply, WorkerGone, WorkerInfo
from rekindle.journal.batches import BatchManifest, batch_folder, write_manifest
from rekindle.journal.log import seal_journal
from rekindle.journal.orders import Assign, Assignment, Cancel, Drain, Recall, Stop, TaskTemplate
from rekindle.journal.paths import absent_journals, clear_scratch
from rekindle.journal.processes import host_name, wait_readable
from rekindle.journal.records import Sealed
from rekindle.journal.trees import remove_tree

if TYPE_CHECKING:
    from rekindle.executors.dead_workers import AttemptsEnd
    from rekindle.executors.placement import Placement
    from rekindle.journal.records import Ended, Record

SLICE_SECONDS = 30.0
"""The work that an element takes on: it starts no attempt after this time."""

FIRST_ELEMENTS = 32
"""The number of elements over which jobs of unknown durations are spread."""

MAX_ELEMENTS = 1000
"""The most elements of a runner at once, unless the user says (`-j`)."""

MAX_SLICE = 4096
"""The most attempts of one element."""

MARGIN_SECONDS = 60.0
"""Wall time that an element asks for beside its attempts: to start, and to write its journal."""

CANCEL_SECONDS = 20.0
"""How long an interrupted run waits for its elements to end: they look for orders once a second, and its engine must
say twice that a pending one is canceled."""

WORKER_MEMORY = 64 * 1024**2
"""Bytes that an element asks for beside the memory of an attempt: its worker's own."""

LOOK_SECONDS = 0.2
"""The least time between two looks for news in the elements' journals; more elements are looked at less often."""


class _OwnElement(Element):
    """An element of this runner, with its attempts."""

    def __init__(self, store: str) -> None:
        super().__init__(store, uuid.uuid4().hex[:12])
        self.work = AssignedWork(self.journal)
        self.resources = Resources()
        self.cancel_asked: set[str] = set()


class BatchExecutor:
    """Runs attempts in elements of a placement. See `executors.pool.Executor` for the methods."""

    supply = Supply(
        SLICE_SECONDS, MAX_SLICE, FIRST_ELEMENTS, workers=MAX_ELEMENTS, cancel_seconds=CANCEL_SECONDS, refills=False
    )

    def __init__(
        self,
        placement: Placement,
        store_folder: str,
        options: Sequence[str] = (),
        note: Callable[[str], None] | None = None,
        python: str = sys.executable,
    ) -> None:
        """`store_folder`: the spool, absolute, at the same path on all hosts. `options`: for each batch. `note` is
        called with what the user should know."""
        self.name = placement.name
        self._store, self._options, self._python = store_folder, tuple(options), python
        self._most = _max_elements(placement)
        self._wake, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.thread = PlacementThread(placement, self._notify)
        self._elements: dict[str, _OwnElement] = {}
        self._filled: list[_OwnElement] = []  # and in no batch yet
        self._left: dict[str, int] = {}  # by batch: elements that have not ended
        self._note, self._noted, self._noted_away = note, set[str](), False
        self._sealer = f"pid {os.getpid()} on {host_name()}"

    # --- the methods of an executor

    def open(self) -> WorkerInfo:
        """Return a new element. It starts once it has work."""
        element = _OwnElement(self._store)
        self._elements[element.name] = element
        return WorkerInfo(element.name, element.journal, 0, 0)

    def assign(self, worker: str, tasks: Sequence[TaskTemplate], work: Sequence[Assignment]) -> None:
        """Give an element its work: attempts that ask for the same resources."""
        element = self._elements[worker]
        unknown = element.work.add(tasks, work)
        element.resources = _resources(element.work.tasks[work[0].template], work[0])
        element.order(*unknown, Assign(tuple(work)), Drain(SLICE_SECONDS))
        self._filled.append(element)

    def cancel(self, worker: str, tokens: Sequence[str], allocation: str = "") -> None:
        """Cancel these attempts; those of an element that has not started by not starting it."""
        element = self._elements.get(worker)
        if element is None:
            return
        element.cancel_asked.update(tokens)
        element.order(Cancel(tuple(tokens), allocation))
        self._cancel_unstarted(element)

    def recall(self, worker: str) -> None:
        """Ask an element to give back the attempts that it has not started."""
        element = self._elements.get(worker)
        if element is None:
            return
        element.order(Recall())
        element.cancel_asked.update(element.work.unfinished)
        self._cancel_unstarted(element)

    def retire(self, worker: str) -> None:
        """Ask an element to finish its running attempt and exit."""
        if worker in self._elements:
            self._elements[worker].order(Stop())

    def take_records(self, worker: str, records: Sequence[Record], start: int, end: int) -> None:
        """Do nothing: `gone` reads the elements' journals."""

    def wait(self, timeout: float | None, also: Sequence[int] = ()) -> Sequence[int]:
        """Submit what was assigned, and block until there may be news."""
        self._submit()
        self._note_trouble()
        if self._wake < 0:
            return []
        if self._elements:
            look = LOOK_SECONDS + 0.002 * len(self._elements)
            timeout = look if timeout is None else min(timeout, look)
        readable = wait_readable((self._wake, *also), timeout)
        if self._wake in readable:
            os.read(self._wake, 65536)
        return [fd for fd in also if fd in readable]

    def gone(self) -> Sequence[WorkerGone]:
        """Return the elements that have ended since the last call, with the ends of the attempts that they had started
        and cannot report."""
        found = []
        absent = absent_journals([one.journal for one in self._elements.values() if one.work.opened is None])
        for element in list(self._elements.values()):
            if element.journal not in absent:
                element.work.read_journal()
            if element.work.closed:
                found.append(self._remove(element, ()))
                continue
            end = element.end(self.thread)
            if end is None:
                continue
            element.work.read_journal()
            if not end.started and not seal_journal(element.journal, Sealed(self._sealer, time.time())):
                continue  # it has started meanwhile
            found.append(self._remove(element, self._ends(element, end)))
        return found

    def leave(self) -> None:
        """Stop talking to the engine: the elements finish their work without this runner. What is in no batch yet is
        left to the next runner."""
        self.thread.close()
        self._elements.clear()
        self._close_wake()

    def close(self, grace: float) -> None:
        """Cancel all elements. Those that do not end within `grace` seconds are left to the next runner."""
        for element in self._elements.values():
            if element.place is not None:
                self.thread.cancel(element.place[0], [element.place[1]])
        self.thread.close(max(grace, 10.0) if self._elements else 0.0)
        self._close_wake()

    # --- batches

    def _submit(self) -> None:
        """Make batches of the elements that were filled, and hand them to the thread."""
        self._split_busy()
        filled, self._filled = self._filled, []
        groups: dict[Resources, list[_OwnElement]] = {}
        for element in filled:
            groups.setdefault(element.resources, []).append(element)
        for asked, elements in groups.items():
            size = self._most or len(elements)
            for at in range(0, len(elements), size):
                self._submit_batch(asked, elements[at : at + size])

    def _split_busy(self) -> None:
        """Halve the batches that the engine is too busy to take: a limit may be lower than their size."""
        names = {one.place: one for one in self._elements.values()}
        for batch in self.thread.withdraw_busy():
            elements = [one for index in range(batch.elements) if (one := names.get((batch.token, index))) is not None]
            remove_tree(batch.folder)
            del self._left[batch.token]
            half = -(-len(elements) // 2)
            for part in (elements[:half], elements[half:]):
                if part:
                    self._submit_batch(part[0].resources, part)

    def _submit_batch(self, asked: Resources, elements: Sequence[_OwnElement]) -> None:
        token = uuid.uuid4().hex[:16]
        manifest = BatchManifest(token, self._store, tuple(one.name for one in elements))
        try:
            folder = write_manifest(manifest, [one.work.unfinished for one in elements])
        except OSError as error:
            raise ExecutorError(
                f"no batch can be written in {self._store}: {error.strerror}",
                hint="check its disk, and who may write there",
            ) from error
        for index, element in enumerate(elements):
            element.place = (token, index)
        self._left[token] = len(elements)
        batch = Batch(
            token=token,
            name=f"rekindle-{token}",
            argv=(self._python, "-P", "-m", "rekindle.worker.element", folder),
            elements=len(elements),
            folder=folder,
            cpus=max(1, math.ceil(asked.cpus)),
            memory=asked.memory + WORKER_MEMORY if asked.memory else 0,
            gpus=asked.gpus,
            seconds=None if asked.time is None else SLICE_SECONDS + asked.time + MARGIN_SECONDS,
            options=(*self._options, *asked.options),
        )
        self.thread.submit(batch)
        for element in elements:
            if element.cancel_asked:
                self._cancel_unstarted(element)

    def _cancel_unstarted(self, element: _OwnElement) -> None:
        """Cancel an element in its engine if nothing of it shall run and it has not started."""
        wanted = element.cancel_asked >= element.work.unfinished.keys() and element.work.opened is None
        if wanted and element.place is not None:
            self.thread.cancel(element.place[0], [element.place[1]])

    def _ends(self, element: _OwnElement, end: AttemptsEnd) -> Sequence[Ended]:
        """Return the ends of the attempts that an ended element has not reported, and that are not given back."""
        asked = element.cancel_asked
        ends, unstarted = element.work.unreported(end.cause, end.message, end.evidence)
        canceled_here = bool(asked) and asked >= element.work.unfinished.keys()
        by_hand = end.cause is Cause.CANCELED and not canceled_here and not end.started
        if by_hand or end.cause is Cause.START:
            ends += [element.work.end_of(one, end.cause, end.message, end.evidence) for one in unstarted]
        element.work.clear_up(element.scratch)
        return ends

    def _remove(self, element: _OwnElement, ends: Sequence[Ended]) -> WorkerGone:
        del self._elements[element.name]
        clear_scratch(element.scratch)
        if element.place is not None:
            token = element.place[0]
            self._left[token] -= 1
            if not self._left[token]:
                self.thread.forget(token)
                remove_tree(batch_folder(self._store, token))
        return WorkerGone(element.name, tuple(ends))

    def _note_trouble(self) -> None:
        """Note once that the engine does not answer, that it does again, and each reason why elements cannot start."""
        if self._note is None:
            return
        away = self.thread.unreachable
        if bool(away) != self._noted_away:
            self._noted_away = bool(away)
            self._note(
                f"{self.name} does not answer; running jobs go on: {away}" if away else f"{self.name} answers again"
            )
        for reason, number in self.thread.never_start().items():
            if reason not in self._noted:
                self._noted.add(reason)
                elements = "1 element" if number == 1 else f"{number:,} elements"
                self._note(f"{elements} cannot start in {self.name} without a change: {reason}")

    def _notify(self) -> None:
        try:
            os.write(self._wake_writer, b"!")
        except (BlockingIOError, OSError):
            return  # full, or closed

    def _close_wake(self) -> None:
        if self._wake >= 0:
            os.close(self._wake)
            os.close(self._wake_writer)
            self._wake = self._wake_writer = -1


def _max_elements(placement: Placement) -> int | None:
    try:
        return placement.max_elements()
    except PlacementUnreachable:
        return MAX_ELEMENTS


def _resources(task: TaskTemplate, one: Assignment) -> Resources:
    """Return what an attempt asks for."""
    return Resources(
        task.cpus if one.cpus is None else one.cpus,
        task.memory if one.memory is None else one.memory,
        task.gpus,
        task.time if one.time is None else one.time,
        options=task.options,
    )
