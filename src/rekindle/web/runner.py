"""The server's own runner: `rekindle serve --work`. It runs in a thread, and can be stopped and started again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from rekindle.domain.errors import RekindleError
from rekindle.engine.running.signals import StopHandle
from rekindle.engine.running.work import work

if TYPE_CHECKING:
    from rekindle.engine.results import WorkOptions
    from rekindle.engine.session import Session


class ServerRunner:
    """A runner in a thread of the server. All methods may be called from any thread."""

    def __init__(self, opened: Callable[[], Session], options: WorkOptions) -> None:
        """`opened` opens a session: the thread needs one of its own."""
        self._opened, self._options = opened, options
        self._lock = threading.Lock()
        self._stop = StopHandle()
        self._thread: threading.Thread | None = None
        self.error = ""  # why it ended by itself

    @property
    def is_alive(self) -> bool:
        """Return whether it runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start it, unless it runs."""
        with self._lock:
            if not self.is_alive:
                self._stop, self.error = StopHandle(), ""
                self._thread = threading.Thread(target=self._run, args=[self._stop], name="runner")
                self._thread.start()

    def stop(self, *, cancel: bool) -> None:
        """Claim nothing more, and wait until what runs has ended. With `cancel` it is canceled."""
        with self._lock:
            if self._thread is not None:
                self._stop.stop(cancel=cancel)
                self._thread.join()
                self._thread = None

    def _run(self, stop: StopHandle) -> None:
        try:
            with self._opened() as session:
                work(session, self._options, stop=stop)
        except RekindleError as error:
            self.error = error.message
            logging.getLogger(__name__).warning("the server's runner ended: %s", error.message)
