"""The supervisors of a server: `rekindle serve --work` supervises workflows in threads, whose jobs its runner runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from rekindle.domain.errors import Refused, RekindleError
from rekindle.engine.running.signals import StopHandle
from rekindle.engine.supervising.supervise import acknowledge, supervise

if TYPE_CHECKING:
    from rekindle.engine.results import SuperviseOptions
    from rekindle.engine.session import Session


class Supervisors:
    """The supervisors of one server, at most one for each workflow. All methods may be called from any thread."""

    def __init__(self, opened: Callable[[], Session]) -> None:
        """`opened` opens a session: each thread needs one of its own."""
        self._opened = opened
        self._lock = threading.Lock()
        self._running: dict[int, tuple[threading.Thread, StopHandle]] = {}
        self.errors: dict[int, str] = {}  # by workflow: why its last supervisor ended by itself

    def runs(self, workflow: int) -> bool:
        """Return whether a supervisor of this server supervises a workflow."""
        with self._lock:
            return workflow in self._running

    def start(self, workflow: int, options: SuperviseOptions, by: str) -> None:
        """Start a supervisor. Raise Refused if this server has one for the workflow."""
        with self._lock:
            if workflow in self._running:
                raise Refused("this server supervises the workflow already", hint="stop that first")
            stop = StopHandle()
            thread = threading.Thread(target=self._run, args=[workflow, options, by, stop], name="supervisor")
            self._running[workflow] = thread, stop
            self.errors.pop(workflow, None)
            thread.start()

    def stop(self, workflow: int) -> None:
        """Ask the supervisor of a workflow to end. Its jobs go on."""
        with self._lock:
            if workflow not in self._running:
                raise Refused(
                    "this server does not supervise the workflow", hint="end `rekindle supervise` where it runs"
                )
            self._running[workflow][1].stop()

    def leave(self) -> None:
        """End all supervisors, and wait for them."""
        with self._lock:
            running = list(self._running.values())
        for _, stop in running:
            stop.stop()
        for thread, _ in running:
            thread.join()

    def _run(self, workflow: int, options: SuperviseOptions, by: str, stop: StopHandle) -> None:
        try:
            with self._opened() as session, session.store.written_by(by):
                acknowledge(session, supervise(session, options, None, stop=stop))
        except RekindleError as error:
            self.errors[workflow] = error.message
            logging.getLogger(__name__).warning("supervising workflow %d ended: %s", workflow, error.message)
        finally:
            with self._lock:
                del self._running[workflow]
