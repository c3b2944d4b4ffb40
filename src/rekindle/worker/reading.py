"""Large files are read beside the worker's loop, so that it hears what it is told meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from rekindle.domain.causes import Cause
from rekindle.domain.states import State
from rekindle.files.digests import Tell
from rekindle.worker.clock import date
from rekindle.worker.findings import StepEnd, stopped


class _Halted(Exception):
    """The reading shall end."""


class Reading:
    """Files that are being read, as the loop sees it: a thread that looks after each piece whether it shall end."""

    def __init__(self, read: Callable[[Tell], None]) -> None:
        """Start it. `read` calls what it is given for each piece."""
        self.quiet = True
        self.started = date()
        self._read = read
        self._stopped: tuple[Cause, str] | None = None
        self._trouble: BaseException | None = None
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def handles(self) -> list[int]:
        """Where its end is seen."""
        return [self._bell]

    @property
    def due(self) -> float | None:
        """Nothing is due by itself."""
        return None

    def stop(self, cause: Cause, message: str, now: float, grace: float) -> None:  # noqa: ARG002 - at once
        """End it behind the piece at hand."""
        if self._stopped is None:
            self._stopped = cause, message

    def hurry(self, now: float) -> None:
        """It ends as soon as it can anyway."""

    def turn(self, now: float) -> StepEnd | None:  # noqa: ARG002 - it has no clock of its own
        """COMPLETED when all is read."""
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            return None
        self._thread.join()
        os.close(self._bell)
        if self._trouble is not None:
            raise self._trouble
        if self._stopped is None:
            return StepEnd(State.COMPLETED, self.started, date())
        return stopped(self.started, *self._stopped)

    def _run(self) -> None:
        try:
            self._read(self._tell)
        except _Halted:
            pass
        except BaseException as trouble:  # noqa: BLE001 - raised where the loop sees it
            self._trouble = trouble
        finally:
            os.eventfd_write(self._bell, 1)

    def _tell(self, count: int) -> None:  # noqa: ARG002 - how much does not matter
        if self._stopped is not None:
            raise _Halted
