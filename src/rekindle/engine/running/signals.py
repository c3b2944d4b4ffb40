"""Ways to end a run: SIGINT, SIGTERM and SIGHUP, counted while it lasts, and a handle for other threads."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopHandle:
    """Ends a run of `work` from any thread, also before it has started. Once stopped, it stays stopped.

    The runner then claims no more jobs and gives back those that have not started. Running attempts finish, or are
    canceled with `stop(cancel=True)` as by a first Ctrl-C."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wakers: list[Callable[[], None]] = []
        self._stopped = self._canceling = self._terminating = False

    @property
    def is_stopped(self) -> bool:
        """Return whether `stop` was called."""
        return self._stopped

    @property
    def cancels(self) -> bool:
        """Return whether `stop` was called with `cancel`."""
        return self._canceling

    def stop(self, *, cancel: bool = False) -> None:
        """Ask the runs that have this handle to end, and wake them. Do not wait for their ends.

        A first call may let running attempts finish, and a later one cancel them."""
        with self._lock:
            self._canceling |= cancel
            self._stopped = True
            for wake in self._wakers:
                wake()

    @property
    def terminates(self) -> bool:
        """Return whether `terminate` was called."""
        return self._terminating

    def terminate(self) -> None:
        """End the runs as SIGTERM ends one in an allocation: running attempts are ended, and their jobs run again."""
        with self._lock:
            self._terminating = True
            for wake in self._wakers:
                wake()

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Call `wake`, in the thread of `stop`, for each `stop` while the context lasts."""
        with self._lock:
            self._wakers.append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._wakers.remove(wake)


class Interrupts:
    """Counts SIGINT, SIGTERM and SIGHUP instead of letting them end the process, while it is entered.

    `first` is the first signal. `fd` becomes readable when one arrives. A SIGHUP that the process ignores (nohup) stays
    ignored. Outside the main thread, where Python installs no handlers, nothing is counted."""

    def __init__(self) -> None:
        self.count = 0
        self.first: signal.Signals | None = None
        self.fd, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
            handled = [number for number in WATCHED if number != signal.SIGHUP or hangs_up]
            self._previous = {number: signal.signal(number, self._handle) for number in handled}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        os.close(self.fd)
        os.close(self._writer)

    def drain(self) -> None:
        """Empty the pipe behind `fd`."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP and self.count:
            return  # one hangup arrives from the terminal, the shell and systemd: repeats are no second request
        self.first = self.first or signal.Signals(number)
        self.count += 1
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"!")


def deliver(interrupted_by: signal.Signals | None) -> None:
    """Raise a signal that ended a run, so that it has its usual effect: SIGINT raises KeyboardInterrupt by default."""
    if interrupted_by is not None:
        signal.raise_signal(interrupted_by)
