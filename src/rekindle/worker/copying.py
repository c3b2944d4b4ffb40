"""A folder is copied before an attempt's first step: by a process of its own, so that it can be ended at any time.

`python -P -m rekindle.worker.copying SOURCE PART OWN` copies SOURCE to PART, and writes beside the attempt's own path
how far it is. The worker moves it to where it belongs when it is whole, and removes it when it is not.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping

from rekindle.domain.causes import Cause
from rekindle.domain.states import State
from rekindle.files.modes import make_folder
from rekindle.journal.copies import copy_tree, remove_tree, size_of
from rekindle.journal.orders import Assignment
from rekindle.journal.places import TOKEN, copy_part, forget_progress, write_progress
from rekindle.worker.capture import BadLog, Capture
from rekindle.worker.clock import date
from rekindle.worker.commands import ended
from rekindle.worker.findings import StepEnd, failed, signal_name, stopped
from rekindle.worker.frame import ACTION_NAME, RESULT_NAME, VERDICT_NAME
from rekindle.worker.reaping import kill_group
from rekindle.worker.spawn import spawn

TOLD_EVERY = 0.2
"""Seconds between two lines of progress."""


class FolderCopy:
    """A copy under way, as the loop sees it. Its end is COMPLETED when `folder` is there, whole."""

    def __init__(
        self, assignment: Assignment, position: int, surroundings: Mapping[str, str], capture: Capture
    ) -> None:
        """Start it. StartError or OSError when it does not start."""
        self._source, self._folder, self._own = assignment.copy_from, assignment.folder, assignment.beside
        self._position, self._capture = position, capture
        self._part = copy_part(self._own, self._folder, assignment.token)
        self._stopped: tuple[Cause, str] | None = None
        self.quiet = True
        self.started = date()
        parent = os.path.dirname(self._folder)
        if self._folder == self._own:
            make_folder(parent)
        else:
            os.makedirs(parent, exist_ok=True)
        remove_tree(self._part)
        argv = [sys.executable, "-P", "-m", "rekindle.worker.copying", self._source, self._part, self._own]
        environment = {**surroundings, "REKINDLE_DIR": self._folder, TOKEN: assignment.token}
        self._pid = spawn(argv, environment, parent, capture.out, capture.err)
        self._handle = os.pidfd_open(self._pid)

    @property
    def handles(self) -> list[int]:
        """The process's pidfd."""
        return [self._handle]

    @property
    def due(self) -> float | None:
        """Nothing is due by itself."""
        return None

    def stop(self, cause: Cause, message: str, now: float, grace: float) -> None:  # noqa: ARG002 - at once
        """Kill it."""
        if self._stopped is None:
            self._stopped = cause, message
            kill_group(self._pid)

    def hurry(self, now: float) -> None:
        """It is killed at once anyway."""

    def turn(self, now: float) -> StepEnd | None:  # noqa: ARG002 - it has no clock of its own
        """Reap it when it has ended, and put the folder in its place."""
        if not ended(self._handle):
            return None
        os.close(self._handle)
        _, status, _ = os.wait4(self._pid, 0)
        end = self._conclude(os.waitstatus_to_exitcode(status))
        with contextlib.suppress(BadLog):  # the copy runs nothing of the job's
            self._capture.keep(self._own, self._position)
        forget_progress(self._own)
        if not end.completed:
            remove_tree(self._part)
        return end

    def _conclude(self, code: int) -> StepEnd:
        if self._stopped is not None:
            return stopped(self.started, *self._stopped)
        if code:
            said = self._capture.tail().strip().splitlines()
            why = f"it was killed by {signal_name(-code)}" if code < 0 else said[-1] if said else f"exit code {code}"
            return self._failed(why)
        try:
            os.rename(self._part, self._folder)
        except OSError as error:
            return self._failed(error.strerror or str(error))
        return StepEnd(State.COMPLETED, self.started, date())

    def _failed(self, why: str) -> StepEnd:
        return failed(self.started, Cause.START, f"cannot copy the folder {self._source}: {why}")


def main(arguments: list[str]) -> int:
    """Copy, telling how far it is; the exit code."""
    source, part, own = arguments
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        whole = size_of(source)
        done, told = 0, 0.0

        def tell(copied: int) -> None:
            nonlocal done, told
            done += copied
            if time.monotonic() - told > TOLD_EVERY:
                told = time.monotonic()
                write_progress(own, done, whole)

        tell(0)
        copy_tree(source, part, tell, (RESULT_NAME, ACTION_NAME, VERDICT_NAME))
    except OSError as error:
        print(error.strerror or error, f"({error.filename})" if error.filename else "", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
