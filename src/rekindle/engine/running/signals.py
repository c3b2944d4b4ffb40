"""SIGINT and SIGTERM, counted, and a descriptor that becomes readable when one arrives."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType
from typing import Any

WATCHED = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While it is entered, interrupts are counted instead of raised. Outside the main thread, where Python takes
    no signals, it counts nothing."""

    def __init__(self) -> None:
        self.count = 0
        self.fd, self._ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._take) for number in WATCHED}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self.fd)
        os.close(self._ring)

    def hush(self) -> None:
        """Take out what made the descriptor readable."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        with contextlib.suppress(BlockingIOError):
            os.write(self._ring, b"!")
