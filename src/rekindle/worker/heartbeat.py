"""The heartbeat of a worker: signs of life for other hosts, and the requests that they send.

Other hosts see of a worker only its journal. They count the worker as gone once the journal has not changed for
executors.dead_workers.SILENT_SECONDS, revoke its attempts (journal.requests) and let the jobs run again. A worker that
was stopped meanwhile, or whose host was suspended, finds that request before it journals anything else. A worker that
cannot reach its journal cannot find it either: where other hosts may use the spool, it therefore ends itself after half
of that time."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rekindle.files.store_files import DATABASE_FILE
from rekindle.journal.processes import CANCEL_SIGNAL, descendants_of, start_of
from rekindle.journal.requests import TOUCH_SECONDS, Request, make_requests_file, read_requests

if TYPE_CHECKING:
    from rekindle.journal.log import JournalWriter

FENCE_SECONDS = 30.0
"""Time without a successful touch after which the attempts may have been given to others."""

REVOKED_EXIT_CODE = 75
"""The exit code of a worker whose attempts were, or may have been, given to others."""

_KILL_SECONDS = 5.0


def running_clock() -> float:
    """Return seconds that also pass while the host is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class RevocationCheck:
    """Looks for a revocation before a process that may have been stopped journals anything."""

    def __init__(self, journal: str, act: Callable[[], None]) -> None:
        """`act` is called if the attempts of the worker that writes `journal` were given to others."""
        self._journal, self._act = journal, act
        self._at = running_clock()

    def __call__(self) -> None:
        """Look, if the last look is so long ago that the attempts may have been given to others since."""
        now = running_clock()
        if now - self._at > FENCE_SECONDS:
            self.look()
            self._at = now

    def look(self) -> None:
        """Look whether the attempts were given to others."""
        with contextlib.suppress(OSError):  # the journal cannot be reached either
            if Request.REVOKE in read_requests(self._journal):
                self._act()


class Heartbeat:
    """Touches the journal of this worker from a thread, and acts on requests, whatever else the worker does."""

    def __init__(self, journal: JournalWriter, *, shared: bool = False) -> None:
        """`shared`: other hosts are known to use the spool."""
        self._journal = journal
        self._obeyed = 0  # requests
        self._missed = 0.0  # seconds that this process ran without a touch
        self._ending = False
        self._check = RevocationCheck(journal.path, self._end)
        store = os.path.dirname(os.path.dirname(journal.path))
        # A spool apart from its rows has the file.
        self._is_shared = shared or os.path.exists(os.path.join(store, DATABASE_FILE))

    def start(self) -> None:
        """Touch the journal from now on."""
        if self._is_shared:
            make_requests_file(self._journal.path)
            _thread.start_new_thread(self._count_missed, ())
        _thread.start_new_thread(self._touch_always, ())
        self._journal.before_write = self._before_write

    def _before_write(self) -> None:
        """Do not return if the attempts were given to others."""
        self._check()
        while self._ending:  # the end of a process that the other thread has killed is not journaled
            time.sleep(1)

    def _touch_always(self) -> None:
        while True:
            time.sleep(TOUCH_SECONDS)
            with contextlib.suppress(OSError):
                os.utime(self._journal.fd)
                self._missed = 0.0
                self._obey(read_requests(self._journal.path))

    def _count_missed(self) -> None:
        """End this worker if it runs and cannot touch its journal. The other thread may be blocked in the touch."""
        while True:
            time.sleep(TOUCH_SECONDS)
            self._missed += TOUCH_SECONDS  # not the time passed: a worker that was stopped looks for requests first
            if self._missed > FENCE_SECONDS:
                self._end()

    def _obey(self, requests: list[str]) -> None:
        new, self._obeyed = requests[self._obeyed :], len(requests)
        if Request.REVOKE in requests:
            self._end()
        if Request.CANCEL in new:
            os.kill(os.getpid(), CANCEL_SIGNAL)
        elif Request.STOP in new:
            os.kill(os.getpid(), signal.SIGTERM)

    def _end(self) -> None:
        """Kill every process of this worker and exit, without journaling anything."""
        self._ending = True
        limit = time.monotonic() + _KILL_SECONDS
        while time.monotonic() < limit:
            living = [pid for pid in descendants_of([os.getpid()])[1:] if start_of(pid) is not None]
            if not living:
                break
            for pid in living:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        os._exit(REVOKED_EXIT_CODE)
