"""The thread that talks to a placement: it submits batches, asks how their elements are, and cancels.

A runner's loop must not wait for another engine, whose commands can hang for half a minute. It only leaves requests
here and reads what the thread has learned. The thread calls `wake` when there is something new."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping

import msgspec

from rekindle.executors.placement import (
    Batch,
    Phase,
    Placement,
    PlacementBusy,
    PlacementRefused,
    PlacementUnreachable,
    Seen,
)
from rekindle.journal.batches import ElementWait, read_handle, write_handle, write_waits

FIRST_POLL_SECONDS, LAST_POLL_SECONDS = 0.5, 10.0
"""The time between two polls, at first and while nothing changes. Outcomes come through journals, not through polls."""

RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""The times between two tries, where the engine is busy or does not answer."""

CONFIRMATIONS = 2
"""How many polls in a row must agree that an element has ended, or is unknown."""


class ElementState(msgspec.Struct, frozen=True):
    """What is known of one element: what was `seen` last, and in how many polls in a row it had ended (`confirmed`) or
    was `unknown` to the engine. While it is unknown, `seen` is the last news before, or None."""

    seen: Seen | None = None
    confirmed: int = 0
    unknown: int = 0
    refused: str = ""  # why the engine does not take its batch

    @property
    def has_ended(self) -> bool:
        """Return whether the engine has said often enough that the element has ended."""
        return self.confirmed >= CONFIRMATIONS

    @property
    def is_unknown(self) -> bool:
        """Return whether the engine has said often enough that it does not know the element."""
        return self.unknown >= CONFIRMATIONS


class _Submission(msgspec.Struct):
    """A batch, and how far it is."""

    token: str
    folder: str
    elements: int
    batch: Batch | None  # None: of another process, which may not have submitted it
    handle: str | None = None
    tries: int = 0
    due: float = 0.0  # monotonic: the next try
    busy: bool = False  # the engine took nothing of it
    in_doubt: bool = False  # it may have been submitted
    not_found: int = 0  # answers in a row that the engine does not know the token
    note: str = ""  # why it is not submitted yet
    states: dict[int, ElementState] = msgspec.field(default_factory=dict)
    waits: dict[int, ElementWait] = msgspec.field(default_factory=dict)  # as written in its folder
    canceled: set[int] = msgspec.field(default_factory=set)
    to_cancel: set[int] = msgspec.field(default_factory=set)
    refused: str = ""


class PlacementThread:
    """Calls one placement. All methods return at once."""

    def __init__(self, placement: Placement, wake: Callable[[], None]) -> None:
        self.name = placement.name
        self._placement, self._wake = placement, wake
        self._condition = threading.Condition()
        self._batches: dict[str, _Submission] = {}
        self._closed = False
        self._poll_at, self._poll_seconds = 0.0, FIRST_POLL_SECONDS
        self._thread: threading.Thread | None = None
        self.unreachable = ""
        """Why the engine does not answer; empty: it does."""

    # --- for the runner

    def submit(self, batch: Batch) -> None:
        """Submit a batch, whose manifest is written."""
        self._add(_Submission(batch.token, batch.folder, batch.elements, batch))

    def watch(self, token: str, folder: str, elements: int) -> None:
        """Watch a batch of another process. Does nothing if it is known."""
        if token not in self._batches:
            self._add(_Submission(token, folder, elements, None, handle=read_handle(folder), in_doubt=True))

    def cancel(self, token: str, elements: Collection[int]) -> None:
        """Cancel elements of a batch."""
        with self._condition:
            submission = self._batches.get(token)
            if submission is not None:
                submission.to_cancel |= set(elements) - submission.canceled
                self._hurry()

    def withdraw_busy(self) -> list[Batch]:
        """Forget the batches of several elements that the engine was too busy to take, and return them: smaller ones
        may be taken."""
        with self._condition:
            found = [one.batch for one in self._batches.values() if one.busy and one.batch and one.elements > 1]
            for batch in found:
                del self._batches[batch.token]
        return found

    def forget(self, token: str) -> None:
        """Forget a batch whose elements have ended."""
        with self._condition:
            self._batches.pop(token, None)

    def state(self, token: str, element: int) -> ElementState:
        """Return what is known of an element."""
        with self._condition:
            submission = self._batches.get(token)
            return ElementState() if submission is None else _state_of(submission, element)

    def never_start(self) -> Mapping[str, int]:
        """Return the engine's reasons why elements can never start, each with the number of elements."""
        with self._condition:
            waits = [wait for one in self._batches.values() for wait in one.waits.values()]
        return Counter(wait.reason for wait in waits if wait.never)

    def close(self, seconds: float = 0.0) -> None:
        """Stop, once the cancellations that were asked for are done, within `seconds`. Elements continue."""
        limit = time.monotonic() + seconds
        with self._condition:
            while any(one.to_cancel for one in self._batches.values()) and time.monotonic() < limit:
                self._condition.wait(min(0.1, max(0.0, limit - time.monotonic())))
            self._closed = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join(max(0.0, limit - time.monotonic()))

    def _add(self, submission: _Submission) -> None:
        with self._condition:
            self._batches[submission.token] = submission
            self._hurry()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"placement-{self.name}", daemon=True)
                self._thread.start()

    def _hurry(self) -> None:
        self._poll_seconds = FIRST_POLL_SECONDS
        self._poll_at = min(self._poll_at, time.monotonic() + self._poll_seconds)
        self._condition.notify_all()

    # --- the thread

    def _run(self) -> None:
        while True:
            with self._condition:
                if self._closed:
                    break
                now = time.monotonic()
                work = [one for one in self._batches.values() if one.handle is None and not one.refused]
                due = [one for one in work if one.due <= now]
                cancels = any(one.to_cancel and one.handle is not None for one in self._batches.values())
                poll = self._poll_at <= now and any(one.handle is not None for one in self._batches.values())
                if not (due or cancels or poll):
                    times = [one.due for one in work] + [self._poll_at if len(work) < len(self._batches) else now + 60]
                    self._condition.wait(max(0.01, min(times) - now))
                    continue
            for one in due:
                self._try_submit(one)
            if cancels:
                self._cancel()
            if poll:
                self._poll()
        self._placement.close()

    def _try_submit(self, one: _Submission) -> None:
        """Find out whether a batch in doubt is submitted, and submit it if it is not."""
        try:
            if one.in_doubt:
                handle = self._placement.adopt([one.token]).get(one.token)
                if handle is None and (one.not_found + 1 < CONFIRMATIONS or one.batch is None):
                    self._later(one, "", not_found=one.not_found + 1)
                    return
                one.in_doubt = handle is not None
            else:
                handle = None
            if handle is None:
                assert one.batch is not None
                with self._condition:
                    if self._batches.get(one.token) is not one:  # withdrawn
                        return
                    one.in_doubt, one.busy = True, False
                handle = self._placement.submit(one.batch)
            write_handle(one.folder, handle)
        except PlacementRefused as error:
            one.refused, one.in_doubt = error.message, False
            self._wake()
            return
        except PlacementBusy as error:
            one.in_doubt = False
            self._later(one, error.message)
            one.busy = True
            return
        except PlacementUnreachable as error:
            self._note_unreachable(error.message)
            self._later(one, error.message)
            return
        with self._condition:
            one.handle, one.in_doubt, one.note, one.not_found = handle, False, "", 0
            self._hurry()
        self._note_unreachable("")

    def _later(self, one: _Submission, note: str, not_found: int = 0) -> None:
        with self._condition:
            one.due = time.monotonic() + RETRY_SECONDS[min(one.tries, len(RETRY_SECONDS) - 1)]
            one.tries, one.note, one.not_found = one.tries + 1, note, not_found
        _write_waits(one)
        self._wake()

    def _cancel(self) -> None:
        with self._condition:
            wanted = {
                one.handle: (one, set(one.to_cancel))
                for one in self._batches.values()
                if one.to_cancel and one.handle is not None
            }
        try:
            self._placement.cancel({handle: elements for handle, (_, elements) in wanted.items()})
        except PlacementUnreachable as error:
            self._note_unreachable(error.message)
            time.sleep(RETRY_SECONDS[0])
            return
        with self._condition:
            for one, elements in wanted.values():
                one.canceled |= elements
                one.to_cancel -= elements
            self._hurry()

    def _poll(self) -> None:
        with self._condition:
            handles = {one.handle: one for one in self._batches.values() if one.handle is not None}
        try:
            answers = self._placement.poll(list(handles))
        except PlacementUnreachable as error:
            self._note_unreachable(error.message)
            with self._condition:
                self._poll_at = time.monotonic() + RETRY_SECONDS[2]
            return
        self._note_unreachable("")
        with self._condition:
            changed = _take(handles, answers)
            self._poll_seconds = FIRST_POLL_SECONDS if changed else min(2 * self._poll_seconds, LAST_POLL_SECONDS)
            self._poll_at = time.monotonic() + self._poll_seconds
        for one in handles.values():
            _write_waits(one)
        if changed:
            self._wake()

    def _note_unreachable(self, message: str) -> None:
        if message != self.unreachable:
            self.unreachable = message
            self._wake()


def _write_waits(one: _Submission) -> None:
    """Write why the elements of a batch wait, for other processes, if that has changed."""
    waits = {index: ElementWait(one.note) for index in range(one.elements)} if one.note and one.handle is None else {}
    for index, state in one.states.items():
        if state.seen is not None and state.seen.phase is Phase.PENDING and state.seen.waits_for:
            waits[index] = ElementWait(state.seen.waits_for, state.seen.never_starts)
    if waits != one.waits:
        one.waits = waits
        with contextlib.suppress(OSError):  # only the explanation is missing
            write_waits(one.folder, waits)


def _take(handles: Mapping[str, _Submission], answers: Collection[Seen]) -> bool:
    """Note the answers of one poll. Return whether any state has changed, or is not confirmed yet."""
    changed = False
    answered = {(seen.handle, seen.element): seen for seen in answers}
    for (handle, element), seen in answered.items():
        one = handles.get(handle)
        if one is None:
            continue
        before = one.states.get(element, ElementState())
        confirmed = before.confirmed + 1 if seen.phase is Phase.ENDED else 0
        one.states[element] = ElementState(seen, confirmed)
        changed |= before.seen != seen or (before.confirmed < CONFIRMATIONS and confirmed > 0)
    for handle, one in handles.items():
        for element in range(one.elements):
            if (handle, element) not in answered:
                before = one.states.get(element, ElementState())
                one.states[element] = msgspec.structs.replace(before, unknown=before.unknown + 1)
                changed |= before.unknown < CONFIRMATIONS
    return changed


def _state_of(submission: _Submission, element: int) -> ElementState:
    if submission.refused:
        return ElementState(refused=submission.refused)
    if submission.batch is None and submission.handle is None and submission.not_found >= CONFIRMATIONS:
        return ElementState(unknown=submission.not_found)
    return submission.states.get(element, ElementState())
