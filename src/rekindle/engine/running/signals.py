"""SIGINT, SIGTERM and SIGHUP, counted, and a descriptor that becomes readable when one arrives."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType
from typing import Any

WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def deliver(interrupted_by: signal.Signals | None) -> None:
    """Let a signal that interrupted a run have the effect that it has without a run: SIGINT raises KeyboardInterrupt
    unless the program handles it otherwise."""
    if interrupted_by is not None:
        signal.raise_signal(interrupted_by)


class Interrupts:
    """While it is entered, interrupts are counted instead of raised; `first` is the first of them. A SIGHUP that the
    process ignores (nohup) stays ignored. Outside the main thread, where Python takes no signals, it counts nothing."""

    def __init__(self) -> None:
        self.count = 0
        self.first: signal.Signals | None = None
        self.fd, self._ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
            taken = [number for number in WATCHED if number != signal.SIGHUP or hangs_up]
            self._before = {number: signal.signal(number, self._take) for number in taken}
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

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP and self.count:
            return  # one hangup comes from the terminal, from the shell and from systemd: it does not insist
        self.first = self.first or signal.Signals(number)
        self.count += 1
        with contextlib.suppress(BlockingIOError):
            os.write(self._ring, b"!")
