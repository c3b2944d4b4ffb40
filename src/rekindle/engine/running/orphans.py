"""Workers whose runners are dead: each finishes what it runs, journals it, and goes.

One that has not begun yet is kept from it (see journal.opening). Of one that has gone without finishing, what it had
started may live on: that is killed, and only when none of it is left has its journal been read to the end.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from rekindle.engine.running.ingest import Page, read_page
from rekindle.journal.ledger import mend, read_past_damage
from rekindle.journal.opening import seal
from rekindle.journal.processes import CANCEL, boot_id, session_members, start_of
from rekindle.journal.records import Ended, Leaving, Record, Sealed
from rekindle.store.paths import Convert, with_partial, with_prints

STUCK_SECONDS = 5.0
"""A process that lives for so long after it was killed is named, and waited for no more than need be."""


@dataclass(slots=True)
class Clinging:
    """Processes that were killed and live still, since when (monotonic)."""

    pids: tuple[int, ...]
    since: float = field(default_factory=time.monotonic)

    @property
    def stuck(self) -> bool:
        """They do not end."""
        return time.monotonic() - self.since > STUCK_SECONDS


@dataclass(slots=True)
class Orphan:
    """One of them. `told`: it has gone, nothing it had started is left, and what it journalled has been read."""

    worker: str
    path: Path
    pid: int
    pid_start: int
    boot_id: str
    position: int  # bytes of its journal that have been ingested
    convert: Convert | None = None  # paths in its journal to what they are now; None: the store has not been moved
    told: bool = False
    left: Clinging | None = None  # of its session, after its end
    handle: int = -1  # pidfd; -1: none
    _may_begin: frozenset[str] | None = None  # tokens; None: it has not said
    _asked: bool = False

    def __post_init__(self) -> None:
        with suppress(ProcessLookupError):
            self.handle = os.pidfd_open(self.pid)
        if self.gone:  # it was another process that has its number now
            self.forget()

    @property
    def gone(self) -> bool:
        """Its process is not there any more."""
        return self.boot_id != boot_id() or start_of(self.pid) != self.pid_start

    def forget(self) -> None:
        """Wait for its end no more."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def could_begin(self, token: str) -> bool:
        """This attempt, which it has perhaps been given, may still begin."""
        if self.told or (self.left is not None and self.left.stuck):
            return False
        return self._may_begin is None or token in self._may_begin

    def read_on(self) -> Page | None:
        """What it has journalled since it was read last. A journal that is not there is sealed; what is left of one
        that has gone is killed."""
        if self.position == 0 and seal(self.path, Sealed(f"pid {os.getpid()} on {socket.gethostname()}", time.time())):
            self.told = True
            return None
        over = self.gone and not self._kill_rest()
        if over:
            mend(self.path)
        page = self._take_in(read_page(self.worker, self.path, self.position))
        self.told = over
        return page

    def look(self) -> Page | None:
        """The same, and nothing is done."""
        records, position, damaged = read_past_damage(self.path, self.position)
        return self._take_in(Page(self.worker, records, position, damaged) if records or damaged else None)

    def _take_in(self, page: Page | None) -> Page | None:
        for record in page.records if page is not None else ():
            if isinstance(record, Leaving):
                self._may_begin = frozenset(record.tokens)
        if page is None or self.convert is None:
            return page
        return replace(page, records=[_moved(record, self.convert) for record in page.records])

    def cancel(self) -> None:
        """Have it cancel what it runs, once: it reads no orders any more."""
        if not self._asked and self.handle >= 0:
            self._asked = True
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.handle, CANCEL)

    def _kill_rest(self) -> bool:
        """Kill what is left of the session that it led: its call host, commands, and what they started. Whether there
        was anything. Where another process has its number by now, that session is surely empty."""
        self.forget()
        if self.boot_id != boot_id() or start_of(self.pid) is not None:
            return False
        members = session_members(self.pid)
        if not members:
            self.left = None
            return False
        kill(members)
        self.left = Clinging(tuple(members), self.left.since if self.left else time.monotonic())
        return True


def _moved(record: Record, convert: Convert) -> Record:
    """A record whose worker knew the store in another folder."""
    if not isinstance(record, Ended) or not (record.prints or record.seen or record.left):
        return record
    seen = tuple(replace(one, path=convert(one.path)) for one in record.seen)
    prints = None if record.prints is None else with_prints(record.prints, convert)
    return msgspec.structs.replace(record, prints=prints, seen=seen, left=with_partial(record.left, convert))


def kill(pids: Iterable[int]) -> None:
    """SIGKILL these, whoever's children they are, as far as they are ours to kill. Their ends are not waited for."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
        finally:
            os.close(handle)
