"""The pilots of a server: each has a runner in a thread of the server, whose workers are the pilot's."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rekindle.domain.errors import NotFound, RekindleError
from rekindle.engine.allocation import Allocation
from rekindle.engine.pilots import cancel_unneeded
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.executor_choice import LOCAL
from rekindle.engine.running.signals import StopHandle
from rekindle.engine.running.work import work
from rekindle.executors.remote_pool import RemotePool

if TYPE_CHECKING:
    from rekindle.engine.session import Session
    from rekindle.executors.pilot_messages import OpenPilot, Report


class Pilot:
    """One pilot: its pool, and its runner's thread."""

    def __init__(self, opened: Callable[[], Session], opening: OpenPilot, pool: RemotePool) -> None:
        """`opened` opens a session: each thread needs one of its own."""
        self.pool, self._opened, self._opening = pool, opened, opening
        self._stop = StopHandle()
        self._thread = threading.Thread(target=self._run, name=f"pilot on {opening.host}", daemon=True)
        self._until = None if opening.seconds is None else time.monotonic() + opening.seconds
        self._thread.start()

    @property
    def over(self) -> bool:
        """Return whether its run has ended, and the pilot knows it or is gone."""
        return not self._thread.is_alive() and (self.pool.finished or self.pool.silent)

    def receive(self, report: Report) -> None:
        """Take a report."""
        self.pool.receive(report)
        if report.terminated:
            self._stop.terminate()

    def join(self, seconds: float) -> None:
        """Wait for the end of its run."""
        self._thread.join(seconds)

    def _run(self) -> None:
        one = self._opening
        options = WorkOptions(
            workflow=one.workflow,
            slots=one.slots,
            executor=LOCAL,
            watch=one.watch,
            memory=one.memory,
            gpus=one.gpus,
            label=f"pilot on {one.host}",
            allocation=Allocation(name=one.name, cpus=one.cpus, memory=one.memory, until=self._until, grace=one.grace),
        )
        try:
            with self._opened() as session:
                report = work(session, options, executor=self.pool, stop=self._stop)
                if one.cancels:
                    cancel_unneeded(session, lambda text: logging.getLogger(__name__).warning(text))
            counts = {"completed": report.completed, "failed": report.failed, "canceled": report.canceled}
            ran = ", ".join(f"{number:,} {word}" for word, number in counts.items() if number)
            self.pool.finish(report.exit_code, f"ran: {ran or 'nothing'}")
        except RekindleError as error:
            self.pool.finish(error.exit_code, error.message)
        except BaseException:  # the pilot must not wait for a server whose thread has died
            self.pool.finish(1, "the server failed: see its messages")
            raise


class Pilots:
    """The pilots of a server, by id. All methods may be called from any thread."""

    def __init__(self, opened: Callable[[], Session], silence: float) -> None:
        """`silence`: the seconds after which a silent pilot is lost."""
        self._opened, self._silence = opened, silence
        self._lock = threading.Lock()
        self._pilots: dict[str, Pilot] = {}

    def open(self, opening: OpenPilot, spool: str) -> str:
        """Start the runner of a new pilot, and return its id."""
        number = secrets.token_hex(8)
        with self._lock:
            for key in [key for key, one in self._pilots.items() if one.over]:
                self._pilots.pop(key).pool.dispose()
            pool = RemotePool(spool, opening.host, self._silence)
            self._pilots[number] = Pilot(self._opened, opening, pool)
        return number

    def find(self, number: str) -> Pilot:
        """Return a pilot. Raise NotFound: it was of a server that has ended."""
        found = self._pilots.get(number)
        if found is None:
            raise NotFound(f"there is no pilot {number}")
        return found

    def leave(self) -> None:
        """Before the server ends: let all runners leave their attempts to the next server's."""
        for one in list(self._pilots.values()):
            one.pool.lose("the server ends")
        for one in list(self._pilots.values()):
            one.join(5.0)
