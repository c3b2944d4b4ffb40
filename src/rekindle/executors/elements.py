"""Elements: workers that another engine starts, and the decision whether one has ended.

The journal comes first: a worker that has closed its journal has reported everything, whatever its engine says. An
engine's word that an element has ended counts once it was repeated and the journal has been still since. Where the
element's node does not answer, or the engine no longer knows the element, its processes may still run: its journal,
which a living worker touches every few seconds, must then be still for longer. A journal that does not exist is sealed
before its attempts are given to others, so that a late start of the element does nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.states import Cause
from rekindle.executors.dead_workers import SILENT_SECONDS, AdoptedWorker, AttemptsEnd, SilenceWatch
from rekindle.files.store_files import make_folder, open_file
from rekindle.journal.batches import batch_folder, manifests, orders_path
from rekindle.journal.encoding import json_reader, to_json
from rekindle.journal.log import is_sealed
from rekindle.journal.orders import Assign, Cancel, Order
from rekindle.journal.paths import journal_path, scratch_path
from rekindle.journal.requests import TOUCH_SECONDS

if TYPE_CHECKING:
    from rekindle.executors.placement_thread import ElementState, PlacementThread

SETTLE_SECONDS = 2.5 * TOUCH_SECONDS
"""How long a journal must be still before its worker counts as dead, if its engine says that it has ended. The engine
is not always right: a worker may outlive the daemon that watched it."""

_TAIL = 2048  # bytes kept of an element's stderr

_decode_order = json_reader(Order)


class Element:
    """One element of a batch. `place`: the token of its batch and its index there; None: it is in no batch yet."""

    def __init__(self, store: str, name: str, place: tuple[str, int] | None = None) -> None:
        self.name, self.place, self._store = name, place, store
        self.journal, self.scratch = journal_path(store, name), scratch_path(store, name)
        self._silence: SilenceWatch | None = None

    def order(self, *orders: Order) -> None:
        """Add orders to its file. It reads them when it starts, and about once a second from then on."""
        make_folder(self.scratch)
        make_folder(Path(self.journal).parent)
        fd = open_file(orders_path(self.scratch), os.O_WRONLY | os.O_APPEND)
        try:
            # the first newline ends a line that a dead runner may have left unfinished
            os.write(fd, b"\n" + b"".join(to_json(order) + b"\n" for order in orders))
        finally:
            os.close(fd)

    def assigned(self) -> frozenset[str] | None:
        """Return the tokens of the attempts in its orders; None: it has ended, and removed them."""
        try:
            with open(orders_path(self.scratch), "rb") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return None
        found: set[str] = set()
        for line in lines:
            with contextlib.suppress(ValueError, msgspec.MsgspecError):  # an unfinished line of a dead runner
                order = _decode_order(line)
                if isinstance(order, Assign):
                    found.update(one.token for one in order.work)
        return frozenset(found)

    def end(self, thread: PlacementThread) -> AttemptsEnd | None:
        """Return how the element has ended, if it has without closing its journal; None: it may still run or start.

        `thread` talks to its engine."""
        if self.place is None:
            return None
        state, name = thread.state(*self.place), thread.name
        if not (state.refused or state.has_ended or state.is_unknown):  # a look at the journal costs a request
            self._silence = None
            return None
        started = self._has_started()
        if state.refused:
            return AttemptsEnd(Cause.START, state.refused, {"engine": name, "refused": state.refused}, started)
        if state.has_ended and state.seen is not None:
            seen = state.seen
            doubtful = seen.node_down or seen.restarts > 0
            if started and not self._is_silent(SILENT_SECONDS if doubtful else SETTLE_SECONDS):
                return None
            message, evidence = seen.message or f"{name} ended its worker", _evidence(name, state)
            cause = seen.cause or Cause.LOST
            if not started and seen.evidence.get("exit_code"):  # it would fail again
                cause, evidence = Cause.START, {**evidence, "stderr": self._stderr_tail()}
                message = f"its worker did not start: {message}"
            return AttemptsEnd(cause, message, evidence, started)
        if state.is_unknown and (not started or self._is_silent(SILENT_SECONDS)):
            message = f"{name} does not know its worker, whose journal has not changed for {SILENT_SECONDS:.0f} s"
            return AttemptsEnd(Cause.LOST, message, _evidence(name, state), started)
        self._silence = None
        return None

    def _stderr_tail(self) -> str:
        """Return the end of what the element has written to stderr, where its engine keeps that."""
        assert self.place is not None
        token, index = self.place
        try:
            content = Path(batch_folder(self._store, token), f"{index}.err").read_bytes()
        except OSError:
            return ""
        return content[-_TAIL:].decode(errors="replace")

    def _has_started(self) -> bool:
        """Return whether its journal exists, and is not sealed by a runner."""
        return Path(self.journal).exists() and not is_sealed(self.journal)

    def _is_silent(self, seconds: float) -> bool:
        """Return whether its journal has been still for so long that its attempts were revoked."""
        if self._silence is None or self._silence.limit != seconds:
            self._silence = SilenceWatch(self.journal, seconds)
        if not self._silence.over:
            self._silence.look()
        return self._silence.over


def _evidence(name: str, state: ElementState) -> dict[str, Any]:
    if state.seen is None:
        return {"engine": name}
    return {"engine": name, **state.seen.evidence, "restarts": state.seen.restarts}


class AdoptedElement(AdoptedWorker):
    """The element of a dead runner. Unlike a worker of this host it goes on with all its attempts.

    Without a `thread`, which only a runner has, it counts as living until its journal is closed."""

    store: str = ""
    thread_of: Callable[[], PlacementThread | None] = lambda: None
    thread: PlacementThread | None = None
    element: Element | None = None
    end: AttemptsEnd | None = None
    _assigned: frozenset[str] | None = None
    _canceled: set[str] = msgspec.field(default_factory=set)

    @property
    def is_visible(self) -> bool:
        """Return False: its journal and its engine alone say whether it lives."""
        return False

    @property
    def gone(self) -> bool:
        """Return whether it has ended."""
        return self.elsewhere or self.closed or self.end is not None

    @property
    def may_be_sealed(self) -> bool:
        """Return whether its engine will not start it any more, or was never asked to."""
        return self.gone or self._known().place is None

    @property
    def has_queued(self) -> bool:
        """Return True: it starts the attempts of its slice one after the other."""
        return True

    def end_of_attempts(self) -> AttemptsEnd | None:
        """Return why its attempts ended; None: with their runner."""
        return self.end

    def watch(self) -> None:
        """Find out whether it has ended."""
        element = self._known()
        if self.thread is not None and not self.gone:
            self.end = element.end(self.thread)

    @property
    def assigned(self) -> frozenset[str] | None:
        """Return the tokens of the attempts in its orders, if they were there when it was first looked at."""
        self._known()
        return self._assigned

    def _known(self) -> Element:
        """Return the element, whose place its batch's folder tells. Reads files and may start a thread: not to be
        called in a transaction."""
        if self.element is None:
            self.thread = self.thread_of()
            name = Path(self.journal).stem
            self.element = Element(self.store, name)
            self._assigned = self.element.assigned()
            for manifest in manifests(self.store):
                if name in manifest.workers:
                    self.element.place = (manifest.token, manifest.workers.index(name))
                    if self.thread is not None:
                        folder = batch_folder(self.store, manifest.token)
                        self.thread.watch(manifest.token, folder, len(manifest.workers))
        return self.element

    def cancel(self, tokens: Sequence[str] = ()) -> None:
        """Cancel these attempts, each once."""
        new = [token for token in tokens if token not in self._canceled]
        if new and not self.gone:
            self._canceled.update(new)
            self._known().order(Cancel(tuple(new)))
